"""A database that the server cannot use is told to the operator in one sentence that says which one, and no secret."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from ops.embedded_postgres import EmbeddedPostgres
from ops.encryption_key import EncryptionKey
from persistence.migrate import upgrade
from tests.api.server_process import environment
from tests.ops.processes import ROOT

COMMANDS = ("serve", "migrate", "reconcile")


async def complaint(folder: Path, command: str, **settings: str) -> list[str]:
    """The lines that a command prints on standard error before it ends with 2."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(ROOT / "main.py"), command),
        cwd=folder,
        env={**environment(), "PORT": "0", "ENCRYPTION_KEYS": EncryptionKey.generate().written(), **settings},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, told = await process.communicate()
    assert process.returncode == 2, told.decode()
    return told.decode().splitlines()


@pytest.mark.parametrize("command", COMMANDS)
async def test_a_server_that_does_not_answer_is_named(tmp_path: Path, command: str) -> None:
    told = await complaint(tmp_path, command, DATABASE_URL="postgresql://ada:geheim@127.0.0.1:1/library")
    assert told == [
        "DATABASE_URL names the database library at 127.0.0.1:1. It cannot be reached: see that it runs, and that its "
        "address is right."
    ]


@pytest.mark.parametrize(
    ("path", "user", "told"),
    [
        ("/no%20where", "postgres", "no where at {}. It does not exist: create it, with the encoding UTF8."),
        (
            "/postgres",
            "nobody",
            "postgres at {}. It refuses the sign-in: see that the user and the password are right.",
        ),
    ],
    ids=["no such database", "no such user"],
)
async def test_a_database_that_does_not_exist_or_refuses_is_named(
    tmp_path: Path, postgres: EmbeddedPostgres, path: str, user: str, told: str
) -> None:
    address = urlsplit(postgres.url)
    socket = address.query.removeprefix("host=")
    url = f"postgresql://{user}:geheim@{path}?host={socket}"
    assert await complaint(tmp_path, "migrate", DATABASE_URL=url) == [
        f"DATABASE_URL names the database {told.format(socket.replace('%2F', '/'))}"
    ]


async def test_a_lost_file_that_only_the_server_itself_reads_is_told_with_its_folder(
    tmp_path: Path, data_dir: Path
) -> None:
    database = EmbeddedPostgres(data_dir, is_durable=False)
    await asyncio.to_thread(database.start)
    await asyncio.to_thread(upgrade, database.url)
    connection = await asyncpg.connect(database.url.replace("+asyncpg", ""))
    file = await connection.fetchval("SELECT pg_relation_filepath('signing_keys')")
    await connection.close()
    await asyncio.to_thread(database.stop)
    folder = data_dir / "postgres"
    (folder / file).unlink()

    (told,) = await complaint(tmp_path, "serve", DATA_DIR=str(data_dir))

    assert told == f"The database is in {folder}. The database's disk fails; the operator has to look."


async def test_damaged_files_are_told_with_their_folder(tmp_path: Path, data_dir: Path) -> None:
    database = EmbeddedPostgres(data_dir, is_durable=False)
    await asyncio.to_thread(database.start)
    await asyncio.to_thread(database.stop)
    for file in (data_dir / "postgres" / "base").rglob("[0-9]*"):
        if file.is_file():
            file.write_bytes(b"\xa5" * file.stat().st_size)

    (told,) = await complaint(tmp_path, "migrate", DATA_DIR=str(data_dir))

    folder = data_dir / "postgres"
    assert told == f"The database is in {folder}. Its files are damaged: restore it from a backup."
