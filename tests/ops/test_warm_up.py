"""A server that serves loads what the first person who asks would else wait for: what somebody can use, and no more."""

import json
from pathlib import Path

import pytest

from ops.encryption_key import EncryptionKey
from tests.api.server_process import ServerProcess, server_process
from tests.waiting import until


def warmed_up(server: ServerProcess) -> list[str] | None:
    """The adapters that are ready."""
    lines = (json.loads(line) for line in server.printed().splitlines() if line.startswith("{"))
    return next((line["kinds"] for line in lines if line["event"] == "providers_warmed_up"), None)


@pytest.mark.parametrize(("keys", "kinds"), [({}, ["demo"]), ({"ANTHROPIC_API_KEY": "sk-ant-test"}, ["anthropic"])])
async def test_what_can_be_used_is_ready(
    tmp_path: Path, database_url: str, keys: dict[str, str], kinds: list[str]
) -> None:
    settings = {"DATABASE_URL": database_url, "ENCRYPTION_KEYS": EncryptionKey.generate().written()}
    async with server_process(tmp_path / "output", **settings, **keys, LOG_FORMAT="json") as server:
        await until(lambda: warmed_up(server) is not None)

        assert warmed_up(server) == kinds
        assert await server.stop() == 0
