"""What was taken from somebody is gone from what they have begun, too; and no token gets around that."""

from __future__ import annotations

import asyncio
import io
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import httpx
import pytest

from schema import downloads
from tests.api.assistant import CONNECT, at_work, outside
from tests.api.product import Person, Product, product
from tests.waiting import PATIENCE_SECONDS

UPDATE = """
mutation ($input: UpdateUserInput!) {
  updateUser(input: $input) { user { role isActive } errors { message code field } }
}
"""
TOKEN = """
mutation ($input: CreateAccessTokenInput!) {
  createAccessToken(input: $input) { secret errors { message code field } }
}
"""
INVITE = """
mutation ($input: CreateInvitationInput!) { createInvitation(input: $input) { secret errors { message code field } } }
"""
OFFER_RESET = """
mutation ($input: CreatePasswordResetInput!) {
  createPasswordReset(input: $input) { secret errors { message code field } }
}
"""
TWO_THINGS = """
mutation {
  generateContent(input: { prompt: "Bees", wait: true }) { generation { status } errors { code } }
  setMaintenance(input: { isOn: true }) { server { state } errors { code } }
}
"""
CANCEL_ALL = "UPDATE content_history SET cancel_requested_at = now() WHERE status IN ('QUEUED', 'RUNNING')"
WHO = "{ viewer { id username role } }"
EVERYTHING = ["READ", "GENERATE", "PUBLISH", "ADMIN"]


async def _id_of(person: Person) -> str:
    return str((await person.ask(WHO))["viewer"]["id"])


async def _program(running: Product, owner: Person) -> Person:
    """Somebody with a token of the owner's that is good for everything a token can be good for."""
    secret = (await owner.do(TOKEN, input={"name": "A program", "scopes": EVERYTHING}))["secret"]
    program = await running.visitor()
    program.headers = {"authorization": f"Bearer {secret}"}
    return program


@asynccontextmanager
async def _connected(database_url: str) -> AsyncIterator[asyncpg.Connection[Any]]:
    connection = await asyncpg.connect(database_url.replace("postgresql+asyncpg", "postgresql"))
    try:
        yield connection
    finally:
        await connection.close()


async def _until(connection: asyncpg.Connection[Any], condition: str) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await connection.fetchval(f"SELECT {condition}"):  # noqa: ASYNC110  (PostgreSQL tells nobody)
            await asyncio.sleep(0.02)


async def test_no_token_lets_its_holder_in_as_somebody(database_url: str) -> None:
    async with product(database_url) as running:
        root, ada = await running.administrator(), await running.person()
        program = await _program(running, root)
        root_id, ada_id = await _id_of(root), await _id_of(ada)
        for role in ("USER", "ADMIN"):
            assert await program.fail(INVITE, input={"role": role}) == ("FORBIDDEN", None)
        for user_id in (root_id, ada_id):
            assert await program.fail(OFFER_RESET, input={"userId": user_id}) == ("FORBIDDEN", None)
        # An accomplice with an administrator's rights could make these links.
        assert await program.fail(UPDATE, input={"id": ada_id, "role": "ADMIN"}) == ("FORBIDDEN", None)
        async with _connected(database_url) as connection:
            assert await connection.fetchval("SELECT count(*) FROM account_links") == 0
            assert await connection.fetchval("SELECT count(*) FROM users WHERE role = 'ADMIN'") == 1
        second = await running.administrator("second")
        second_id = await _id_of(second)
        await program.do(UPDATE, input={"id": second_id, "isActive": False})
        assert await program.fail(UPDATE, input={"id": second_id, "isActive": True}) == ("FORBIDDEN", None)
        # What it takes away, or leaves, it may.
        for change in ({"role": "USER"}, {"signOut": True}, {"isActive": False}):
            await program.do(UPDATE, input={"id": ada_id, **change})
        await program.do(UPDATE, input={"id": root_id, "role": "ADMIN"})


async def test_a_deactivated_accounts_tokens_stay_ended(database_url: str) -> None:
    async with product(database_url) as running:
        root, ada = await running.administrator(), await running.person()
        program, ada_id = await _program(running, ada), await _id_of(ada)
        await program.ask(WHO)
        await root.do(UPDATE, input={"id": ada_id, "isActive": False})
        await root.do(UPDATE, input={"id": ada_id, "isActive": True})
        assert (await program.request(WHO)).status_code == 401
        await ada.log_in("ada")
        assert (await ada.ask("{ viewer { accessTokens { id } } }"))["viewer"]["accessTokens"] == []


@pytest.mark.parametrize("what", ["createAccessToken", "connectNotion"])
async def test_who_is_thrown_out_leaves_nothing_behind_that_lasts(database_url: str, what: str) -> None:
    async with outside() as world, at_work(database_url, world) as running, _connected(database_url) as connection:
        ada = await running.person()
        if what == "connectNotion":
            asked = ada.fail(CONNECT, input={"token": world.notion.add_workspace().token})
        else:
            asked = ada.fail(TOKEN, input={"name": "For later", "scopes": EVERYTHING})
        async with connection.transaction():
            # As a password's reset does it, which has not ended when she asks.
            await connection.execute("SELECT 1 FROM users FOR UPDATE")
            asking = asyncio.create_task(asked)
            await _until(connection, "count(*) > 0 FROM pg_locks WHERE NOT granted")
            await connection.execute("UPDATE sessions SET revoked_at = now()")
        assert (await asking)[0] == "UNAUTHENTICATED"
        for table in ("access_tokens", "notion_connections"):
            assert await connection.fetchval(f"SELECT count(*) FROM {table}") == 0


@pytest.mark.parametrize(("change", "code"), [({"role": "USER"}, "FORBIDDEN"), ({"signOut": True}, "UNAUTHENTICATED")])
async def test_of_a_long_operation_what_comes_later_is_refused(
    database_url: str, change: dict[str, Any], code: str
) -> None:
    async with product(database_url, tokens_per_second=5) as running, _connected(database_url) as connection:
        root, second = await running.administrator(), await running.administrator("second")
        root_id = await _id_of(root)
        asking = asyncio.create_task(root.ask(TWO_THINGS))
        await _until(connection, "count(*) > 0 FROM content_history WHERE status = 'RUNNING'")
        await second.do(UPDATE, input={"id": root_id, **change})
        await connection.execute(CANCEL_ALL)
        answer = await asking
        assert answer["generateContent"]["generation"]["status"] == "CANCELLED"
        assert answer["setMaintenance"] == {"server": None, "errors": [{"code": code}]}
        assert (await second.ask("{ server { state } }"))["server"]["state"] == "RUNNING"


async def test_a_download_ends_with_the_right_to_it(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "RECHECK_SECONDS", 0.0)
    async with product(database_url) as running, _connected(database_url) as connection:
        root, second = await running.administrator(), await running.administrator("second")
        # More than fits into what lies between a server and a reader who does not read.
        await connection.execute(
            "INSERT INTO audit_log (id, action, target, details) SELECT gen_random_uuid(), 'SIGNED_IN', 'filler', "
            "jsonb_build_object('filler', repeat('x', 20000)) FROM generate_series(1, 2500)"
        )
        second_id = await _id_of(second)
        async with second.http.stream("GET", "/export/audit", headers=second.headers) as response:
            assert response.status_code == 200
            pieces = response.aiter_bytes()
            await anext(pieces)
            # One file at a time for each, so that nobody takes all the places there are.
            again = await second.http.get("/export/account", headers=second.headers)
            assert again.status_code == 429
            assert (await root.http.get("/export/account", headers=root.headers)).status_code == 200
            await root.do(UPDATE, input={"id": second_id, "role": "USER"})
            with pytest.raises(httpx.RemoteProtocolError):
                async for _ in pieces:
                    pass
        assert (await second.http.get("/export/audit", headers=second.headers)).status_code == 403
        assert (await second.http.get("/export/account", headers=second.headers)).status_code == 200


async def test_a_token_exports_nothing_of_what_one_signs_in_with(database_url: str) -> None:
    async with product(database_url) as running:
        ada = await running.person()
        program = await _program(running, ada)
        found = {}
        for person in (ada, program):
            response = await person.http.get("/export/account", headers=person.headers)
            with zipfile.ZipFile(io.BytesIO(response.content)) as file:
                found[person] = {name.removeprefix("data/").removesuffix(".ndjson") for name in file.namelist()}
        assert found[ada] - found[program] == {"sessions", "access_tokens", "account_links"}
        assert {"users", "content_history"} <= found[program]
