"""A production server, started as an operator starts it: refused with each weakness and its cure, until it is cured."""

import asyncio
import re
import sys
from pathlib import Path

import asyncpg
import httpx
import pytest

from ops.encryption_key import EncryptionKey
from tests.api.product import LOGIN, PASSWORD, Person
from tests.api.server_process import environment, server_process
from tests.ops.processes import ROOT

CHANGE_PASSWORD = """
mutation ($input: ChangePasswordInput!) { changePassword(input: $input) { errors { message code field } } }
"""
KEY = EncryptionKey.generate()
FIT = {
    "ENVIRONMENT": "production",
    "PUBLIC_URL": "https://ai.example.com",
    "TRUSTED_PROXIES": "127.0.0.1",
}
NEW_PASSWORD = "a quite different one, of length"


def kept(database_url: str) -> dict[str, str]:
    """The settings of every start on this database."""
    return {"DATABASE_URL": database_url, "ENCRYPTION_KEYS": KEY.written()}


async def command(folder: Path, *arguments: str, given: str = "", **settings: str) -> tuple[int, str]:
    """The exit code of a command of main.py that ends by itself, and what it has printed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(ROOT / "main.py"), *arguments),
        cwd=folder,
        env={**environment(), "PORT": "0", **settings},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(60):
            output, _ = await process.communicate(given.encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode or 0, output.decode()


async def count_users(database_url: str) -> int:
    """How many accounts there are."""
    connection = await asyncpg.connect(database_url.replace("postgresql+asyncpg", "postgresql"))
    try:
        return int(await connection.fetchval("SELECT count(*) FROM users"))
    finally:
        await connection.close()


async def test_the_first_starts_password_has_to_be_changed(tmp_path: Path, database_url: str) -> None:
    settings = kept(database_url)
    async with server_process(tmp_path / "first", **settings) as server:
        shown = re.search(r"username  admin\n    password  (\S+)", server.printed())
        assert shown is not None
        assert await server.stop() == 0

    code, printed = await command(tmp_path, "serve", **settings, **FIT)
    assert code == 2
    assert printed.splitlines()[-1] == (
        "ENVIRONMENT is production, but admin still has the password that the first start made: start once with "
        "ENVIRONMENT=development and change it (changePassword)."
    )
    assert "Ready" not in printed
    assert shown[1] not in printed

    # The cure, as it is told.
    async with (
        server_process(tmp_path / "second", **settings, ENVIRONMENT="development") as server,
        httpx.AsyncClient(base_url=f"http://{server.address}", timeout=30) as http,
    ):
        admin = Person(http, server.address)
        admin.sign_in(await admin.do(LOGIN, input={"login": "admin", "password": shown[1]}))
        await admin.do(CHANGE_PASSWORD, input={"currentPassword": shown[1], "newPassword": NEW_PASSWORD})
        assert await server.stop() == 0

    async with (
        server_process(tmp_path / "third", **settings, **FIT) as server,
        httpx.AsyncClient(base_url=f"http://{server.address}", timeout=30) as http,
    ):
        assert "Ready at https://ai.example.com (playground)" in server.printed()
        await Person(http, server.address).do(LOGIN, input={"login": "admin", "password": NEW_PASSWORD})
        assert await server.stop() == 0


async def test_production_makes_no_administrator_by_itself(tmp_path: Path, database_url: str) -> None:
    settings = {**kept(database_url), **FIT}
    code, printed = await command(tmp_path, "serve", **settings)
    assert code == 2
    assert printed.splitlines()[-1] == (
        "ENVIRONMENT is production, but there is no administrator: make one with "
        "`.venv/bin/python main.py create-admin --email … --username …`."
    )
    assert await count_users(database_url) == 0

    arguments = ("create-admin", "--email", "root@example.org", "--username", "root")
    code, printed = await command(tmp_path, *arguments, given=f"{PASSWORD}\n", **settings)
    assert code == 0, printed
    async with (
        server_process(tmp_path / "output", **settings) as server,
        httpx.AsyncClient(base_url=f"http://{server.address}", timeout=30) as http,
    ):
        await Person(http, server.address).do(LOGIN, input={"login": "root", "password": PASSWORD})
        assert "password" not in server.printed()
        assert await server.stop() == 0


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (
            {
                "PUBLIC_URL": "http://ai.example.com",
                "ALLOWED_ORIGINS": "https://app.example.com, http://app.example.com",
                "TRUSTED_PROXIES": "",
                "ENCRYPTION_KEYS": "",
                "DATABASE_URL": "postgresql://app:app@127.0.0.1:1/assistant",
                "REDIS_URL": "redis://cache.internal:6379/0",
                "SIGN_INS_PER_MINUTE": "0",
                "COST_PER_MINUTE": "0",
            },
            [
                "PUBLIC_URL is not an https address: give the one that browsers use, such as https://ai.example.com.",
                "TRUSTED_PROXIES is empty: name the addresses of the proxy where https ends, or all clients look like "
                "one.",
                "ENCRYPTION_KEYS is missing: a key beside the data protects nothing. Set k1:$(openssl rand -base64 "
                "32).",
                "ALLOWED_ORIGINS has http://app.example.com: allow https addresses only, each by its name.",
                "DATABASE_URL has a password that is guessed first: give the database user another.",
                "REDIS_URL names a server on the network without a password: set one there, and here.",
                "COST_PER_MINUTE is 0, which is no limit: leave it out, or set it to what people need.",
                "SIGN_INS_PER_MINUTE is 0, which is no limit: leave it out, or set it to what people need.",
            ],
        ),
        (
            {"PUBLIC_URL": "", "TRUSTED_PROXIES": "10.0.0.1", "ENCRYPTION_KEYS": KEY.written()},
            ["PUBLIC_URL is not an https address: give the one that browsers use, such as https://ai.example.com."],
        ),
    ],
    ids=["everything", "no address"],
)
async def test_every_weakness_is_told_before_anything_is_begun(
    tmp_path: Path, settings: dict[str, str], told: list[str]
) -> None:
    data = tmp_path / "data"
    code, printed = await command(tmp_path, "serve", ENVIRONMENT="production", DATA_DIR=str(data), **settings)
    assert code == 2
    assert printed.splitlines() == [f"ENVIRONMENT is production, but {sentence}" for sentence in told]
    assert not data.exists()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (
            {"ALLOWED_ORIGINS": "*"},
            'ALLOWED_ORIGINS is "*": expected a comma-separated list of origins such as https://app.example.com '
            "(neither paths nor *).",
        ),
        (
            {"ALLOWED_ORIGINS": "https://app.example.com, *"},
            'ALLOWED_ORIGINS is "https://app.example.com, *": expected a comma-separated list of origins such as '
            "https://app.example.com (neither paths nor *).",
        ),
        (
            {"TRUSTED_PROXIES": "*"},
            'TRUSTED_PROXIES is "*": expected a comma-separated list of addresses or networks such as 10.0.0.0/8.',
        ),
        (
            {"COOKIE_SESSIONS": "true", "PUBLIC_URL": "http://ai.example.com"},
            'COOKIE_SESSIONS is "true": expected PUBLIC_URL to be an https address, or localhost: browsers keep these '
            "cookies for no other.",
        ),
    ],
    ids=["wildcard", "wildcard among others", "every proxy", "cookies over plain http"],
)
async def test_what_no_server_is_started_with(tmp_path: Path, settings: dict[str, str], told: str) -> None:
    data = tmp_path / "data"
    fit = {**FIT, "ENCRYPTION_KEYS": KEY.written(), "DATA_DIR": str(data), **settings}
    code, printed = await command(tmp_path, "serve", **fit)
    assert (code, printed.splitlines()) == (2, [told])
    assert not data.exists()


async def test_a_database_of_ones_own_needs_its_key_in_any_environment(tmp_path: Path, database_url: str) -> None:
    code, printed = await command(tmp_path, "serve", DATABASE_URL=database_url)
    assert code == 2
    assert "ENCRYPTION_KEYS" in printed.splitlines()[-1]
    assert await count_users(database_url) == 0
