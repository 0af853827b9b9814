"""Another encryption key, with the real commands: beside a server that serves, interrupted, and given up too early."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import httpx

from ops.encryption_key import EncryptionKey
from tests.api.product import Person
from tests.api.server_process import ServerProcess, environment, server_process
from tests.ops.processes import ROOT
from tests.standins.openai import OpenAIStandin
from tests.standins.server import running

ADD_KEY = """
mutation Add($input: AddApiKeyInput!) { addApiKey(input: $input) { apiKey { id } errors { code message field } } }
"""
TEST_KEY = """
mutation Test($input: IdInput!) {
  testApiKey(input: $input) { test { isAccepted modelCount } errors { code message field } }
}
"""
OWN_KEY = "sk-the-persons-own-9876543210"


async def run_command(folder: Path, *arguments: str, **settings: str) -> tuple[int, str]:
    """The exit code of a command of main.py, and what it has printed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(ROOT / "main.py"), *arguments),
        cwd=folder,
        env={**environment(), **settings},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(120):
        output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


async def is_accepted(person: Person, key_id: str) -> bool:
    """Whether a key opens here and is the one that it was."""
    return bool((await person.do(TEST_KEY, input={"id": key_id}))["test"]["isAccepted"])


def person_at(server: ServerProcess, http: httpx.AsyncClient) -> Person:
    """Somebody with a client."""
    return Person(http, server.address)


async def add_key(person: Person) -> str:
    """The id of a new key."""
    return str((await person.do(ADD_KEY, input={"provider": "openai", "key": OWN_KEY}))["apiKey"]["id"])


async def test_a_server_with_its_own_key_goes_on_serving(tmp_path: Path) -> None:
    """The key is made into the data folder, where the server finds it without being told."""
    secrets_file = tmp_path / "data" / "secrets.json"
    async with running(OpenAIStandin(api_key=OWN_KEY)) as base_url:
        settings = {"DATA_DIR": str(tmp_path / "data"), "OPENAI_BASE_URL": base_url}
        async with (
            server_process(tmp_path / "output", **settings) as server,
            httpx.AsyncClient(base_url=f"http://{server.address}", timeout=120) as http,
        ):
            ada = person_at(server, http)
            await ada.register("ada")
            before = await add_key(ada)
            code, printed = await run_command(tmp_path, "rotate-encryption-key", **settings)
            assert code == 0, printed
            # The two keys of the access tokens, and that of the person.
            assert "3 of 3 secrets" in printed
            active, old = (each.partition(":")[0] for each in json.loads(secrets_file.read_text())["encryption_keys"])
            assert f"Everything is sealed with {active}." in printed
            after = await add_key(ada)
            assert await is_accepted(ada, before)
            assert await is_accepted(ada, after)

            # What was sealed after the rotation is sealed with the new key: nothing is to do but to make another.
            code, printed = await run_command(tmp_path, "rotate-encryption-key", **settings)
            assert (code, "4 of 4 secrets" in printed) == (0, True), printed
            assert len(json.loads(secrets_file.read_text())["encryption_keys"]) == 3
            assert await is_accepted(ada, before)
            for secret in (OWN_KEY, *json.loads(secrets_file.read_text())["encryption_keys"]):
                assert secret not in printed + server.printed()
            assert await server.stop() == 0

        # Only the newest key is needed any more ...
        written = json.loads(secrets_file.read_text())["encryption_keys"]
        secrets_file.write_text(json.dumps({"encryption_keys": written[:1]}))
        async with server_process(tmp_path / "output", **settings) as server:
            assert await server.stop() == 0
        # ... and without it nothing starts.
        secrets_file.write_text(json.dumps({"encryption_keys": written[1:]}))
        code, printed = await run_command(tmp_path, "serve", PORT="0", **settings)
        assert code == 2
        newest = written[0].partition(":")[0]
        assert printed.splitlines()[-1] == (
            f"Stored secrets are sealed with encryption keys that this server does not have ({newest}): "
            "give them back in ENCRYPTION_KEYS, behind the active one, or restore the file secrets.json in DATA_DIR."
        )
        assert {active, old} == {each.partition(":")[0] for each in written[1:]}


async def test_configured_keys_change_in_three_steps(database_url: str, tmp_path: Path) -> None:
    old, new = EncryptionKey.generate(), EncryptionKey.generate()
    async with running(OpenAIStandin(api_key=OWN_KEY)) as base_url:
        settings = {"DATABASE_URL": database_url, "OPENAI_BASE_URL": base_url}
        both = {**settings, "ENCRYPTION_KEYS": f"{new.written()},{old.written()}"}
        async with (
            server_process(
                tmp_path / "output", **settings, ENCRYPTION_KEYS=f"{old.written()},{new.written()}"
            ) as server,
            httpx.AsyncClient(base_url=f"http://{server.address}", timeout=120) as http,
        ):
            ada = person_at(server, http)
            await ada.register("ada")
            key_id = await add_key(ada)
            code, printed = await run_command(tmp_path, "rotate-encryption-key", **both)
            assert (code, f"Everything is sealed with {new.id}." in printed) == (0, True), printed
            assert await is_accepted(ada, key_id)
            assert await server.stop() == 0
        code, printed = await run_command(tmp_path, "serve", PORT="0", **settings, ENCRYPTION_KEYS=old.written())
        assert code == 2
        assert f"does not have ({new.id})" in printed
