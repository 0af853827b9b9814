"""Sign-ins: listed, ended, and ended everywhere."""

from contextlib import AsyncExitStack

import asyncpg
import pytest

from composition import assistant
from domain.session_watch import SessionWatch
from ops.config import Config
from ops.encryption_key import EncryptionKey
from tests.api.product import PASSWORD, Person, Product, product
from tests.api.serving import serving

SESSIONS = "{ viewer { sessions { id userAgent ip createdAt lastSeenAt expiresAt isCurrent } } }"
REVOKE = """
mutation ($input: RevokeSessionInput!) {
  revokeSession(input: $input) { sessions { id isCurrent } errors { message code field } }
}
"""
LOGIN = """
mutation ($input: LoginInput!) {
  login(input: $input) { accessToken refreshToken expiresAt user { id } errors { message code field } }
}
"""
WHO = "{ viewer { username } }"


async def _signed_in_again(running: Product, name: str = "ada") -> Person:
    again = await running.visitor()
    again.sign_in(await again.do(LOGIN, input={"login": name, "password": PASSWORD}))
    return again


async def _execute(database_url: str, statement: str) -> None:
    connection = await asyncpg.connect(database_url.replace("postgresql+asyncpg", "postgresql"))
    await connection.execute(statement)
    await connection.close()


async def test_sessions_are_listed_and_one_is_ended(database_url: str) -> None:
    async with product(database_url) as running:
        ada = await running.person("ada")
        phone = await _signed_in_again(running)
        sessions = (await ada.ask(SESSIONS))["viewer"]["sessions"]
        assert [session["isCurrent"] for session in sessions] == [False, True]
        assert all(session["ip"] == "127.0.0.1" for session in sessions)
        assert all(session["userAgent"].startswith("python-httpx") for session in sessions)

        query = "query ($id: ID!) { node(id: $id) { id ... on Session { isCurrent } } }"
        lost = sessions[0]["id"]
        assert await ada.ask(query, id=lost) == {"node": {"id": lost, "isCurrent": False}}
        payload = await ada.do(REVOKE, input={"id": lost})
        assert payload["sessions"] == [{"id": sessions[1]["id"], "isCurrent": True}]
        assert (await phone.request(WHO)).status_code == 401
        assert (await ada.ask(WHO)) == {"viewer": {"username": "ada"}}
        assert await ada.fail(REVOKE, input={"id": lost}) == ("NOT_FOUND", ["input", "id"])


async def test_all_other_sessions_are_ended_and_nobody_elses(database_url: str) -> None:
    async with product(database_url) as running:
        ada, bob = await running.person("ada"), await running.person("bob")
        others = [await _signed_in_again(running) for _ in range(3)]
        payload = await ada.do(REVOKE, input={"allOthers": True})
        assert [session["isCurrent"] for session in payload["sessions"]] == [True]
        for other in others:
            assert (await other.request(WHO)).status_code == 401
        for person in (ada, bob):
            assert (await person.request(WHO)).status_code == 200


async def test_ending_ones_own_session_signs_out(database_url: str) -> None:
    async with product(database_url) as running:
        ada = await running.person("ada")
        (session,) = (await ada.ask(SESSIONS))["viewer"]["sessions"]
        assert (await ada.do(REVOKE, input={"id": session["id"]}))["sessions"] == []
        assert (await ada.request(WHO)).status_code == 401


async def test_sessions_of_others_look_like_none(database_url: str) -> None:
    async with product(database_url) as running:
        ada, bob = await running.person("ada"), await running.person("bob")
        (session,) = (await ada.ask(SESSIONS))["viewer"]["sessions"]
        assert await bob.ask("query ($id: ID!) { node(id: $id) { id } }", id=session["id"]) == {"node": None}
        assert await bob.fail(REVOKE, input={"id": session["id"]}) == ("NOT_FOUND", ["input", "id"])
        assert (await ada.request(WHO)).status_code == 200


@pytest.mark.parametrize("wrong", [{}, {"id": "VXNlcg", "allOthers": True}, {"id": "nonsense"}])
async def test_what_is_to_be_ended_must_be_said(database_url: str, wrong: dict[str, object]) -> None:
    async with product(database_url) as running:
        ada = await running.person("ada")
        assert await ada.fail(REVOKE, input=wrong) == ("INVALID_INPUT", ["input", "id"])


async def test_a_session_is_seen_once_a_minute(database_url: str) -> None:
    async with product(database_url) as running:
        ada = await running.person("ada")

        async def last_seen() -> str:
            (session,) = (await ada.ask(SESSIONS))["viewer"]["sessions"]
            return str(session["lastSeenAt"])

        first = await last_seen()
        assert await last_seen() == first
        await _execute(
            database_url, "UPDATE sessions SET last_seen_at = last_seen_at - interval '61 s', ip = '192.0.2.1'"
        )
        assert await last_seen() > first
        (session,) = (await ada.ask(SESSIONS))["viewer"]["sessions"]
        assert session["ip"] == "127.0.0.1"


async def test_of_too_many_sign_ins_the_oldest_ends(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("domain.sign_in._MAX_SESSIONS", 2)
    async with product(database_url) as running:
        ada = await running.person("ada")
        second, third = await _signed_in_again(running), await _signed_in_again(running)
        assert [(await person.request(WHO)).status_code for person in (ada, second, third)] == [401, 200, 200]


@pytest.mark.parametrize("end", ["sign out", "revoke", "deactivate"])
async def test_what_ends_at_one_instance_closes_sockets_at_the_other(
    database_url: str, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    defaults = SessionWatch.__init__.__kwdefaults__ or {}
    monkeypatch.setitem(defaults, "poll_seconds", 0.1)
    keys = [EncryptionKey.generate()]
    async with AsyncExitStack() as stack:
        first, second = [
            Product(address=await stack.enter_async_context(serving(instance.app)), assistant=instance, stack=stack)
            for instance in [
                await stack.enter_async_context(assistant(Config(), database_url=database_url, keys=keys))
                for _ in range(2)
            ]
        ]
        ada = await first.person("ada")
        elsewhere = await second.visitor()
        elsewhere.headers = ada.headers
        async with elsewhere.socket() as ws:
            await ws.subscribe("1", WHO)
            assert (await ws.receive())["payload"] == {"data": {"viewer": {"username": "ada"}}}
            assert (await ws.receive())["type"] == "complete"
            match end:
                case "sign out":
                    await ada.do("mutation { logout { errors { code } } }")
                case "revoke":
                    await (await _signed_in_again(first)).do(REVOKE, input={"allOthers": True})
                case _:
                    await _execute(database_url, "UPDATE users SET is_active = false")
            assert (await ws.closed())[0] == 4401
