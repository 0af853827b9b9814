"""The command `reconcile` on a real database: 0 while the books agree, 1 when they differ, and then a repair."""

from __future__ import annotations

import asyncio
import sys
from decimal import Decimal
from pathlib import Path

import asyncpg
import pytest

from tests.api.product import product
from tests.api.server_process import environment
from tests.ops.processes import ROOT

pytestmark = pytest.mark.usefixtures("within_one_day")

GENERATE = "mutation ($input: GenerateContentInput!) { generateContent(input: $input) { errors { code } } }"


async def reconcile(folder: Path, database_url: str, *arguments: str) -> tuple[int, str]:
    """The command's exit code, and what it has printed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(ROOT / "main.py"), "reconcile", *arguments),
        cwd=folder,
        env={
            **environment(),
            "DATABASE_URL": database_url.replace("postgresql+asyncpg", "postgresql"),
        },
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


async def test_books_are_compared_and_repaired(tmp_path: Path, database_url: str) -> None:
    connection = await asyncpg.connect(database_url.replace("postgresql+asyncpg", "postgresql"))
    try:
        await connection.execute(
            """UPDATE ai_providers SET config = '{"prices": {"demo-writer": {"input": 0, "output": 250000}}}'
            WHERE id = 'demo'"""
        )
        async with product(database_url) as running:
            ada = await running.person()
            await ada.do(GENERATE, input={"prompt": "Go.", "parameters": {"maxOutputTokens": 3}, "wait": True})

        code, told = await reconcile(tmp_path, database_url)
        assert (code, "All entries agree." in told) == (0, True), told
        assert "bills of generations" in told
        assert "0.75" in told

        await connection.execute("UPDATE budget_periods SET spent_usd = 100 WHERE period = 'DAY'")
        code, told = await reconcile(tmp_path, database_url)
        assert (code, "99.25" in told, "--repair" in told) == (1, True, True), told

        assert (await reconcile(tmp_path, database_url, "--repair"))[0] == 0
        assert await connection.fetchval("SELECT spent_usd FROM budget_periods WHERE period = 'DAY'") == Decimal("0.75")
    finally:
        await connection.close()
