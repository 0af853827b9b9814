"""A person's keys: which of several is used, what a provider says of one, and how its use is noted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.api.assistant import at_work, everything_in, outside, start
from tests.api.product import Person
from tests.standins.server import Standin

ADD = """
mutation Add($input: AddApiKeyInput!) { addApiKey(input: $input) { apiKey { id hint } errors { message code field } } }
"""
UPDATE = """
mutation Update($input: UpdateApiKeyInput!) {
  updateApiKey(input: $input) { apiKey { id isActive expiresAt } errors { message code field } }
}
"""
TEST = """
mutation Test($input: IdInput!) {
  testApiKey(input: $input) {
    test { apiKey { id hint lastUsedAt } isAccepted modelCount error { code reason message } }
    errors { message code field }
  }
}
"""
KEYS = "{ viewer { apiKeys { hint isActive lastUsedAt } } }"
SERVER_KEY = "sk-the-servers-own-0123456789"
PROVIDERS = ["openai", "anthropic", "deepseek"]


async def add(person: Person, key: str, **more: Any) -> str:
    """The id of a new key at OpenAI."""
    return str((await person.do(ADD, input={"provider": "openai", "key": key, **more}))["apiKey"]["id"])


async def used_by(person: Person, standin: Standin) -> str:
    """The key with which an answer is asked for now."""
    await start(person, provider="openai", model="gpt-6.1-sol", wait=True)
    asked = next(each for each in reversed(standin.requests) if each.method == "POST")
    return asked.headers["authorization"].removeprefix("Bearer ")


async def test_the_newest_that_is_active_and_has_not_expired_is_used(database_url: str) -> None:
    async with outside() as world, at_work(database_url, world, {"openai_api_key": SERVER_KEY}) as running:
        ada = await running.person()
        first, second = await add(ada, "sk-first-1111"), await add(ada, "sk-second-2222")
        soon = datetime.now(UTC) + timedelta(minutes=2)
        await add(ada, "sk-third-3333", expiresAt=soon.isoformat())
        assert await used_by(ada, world.openai) == "sk-third-3333"
        running.assistant.services.providers._clock = lambda: soon
        assert await used_by(ada, world.openai) == "sk-second-2222"
        await ada.do(UPDATE, input={"id": second, "isActive": False})
        assert await used_by(ada, world.openai) == "sk-first-1111"
        await ada.do(UPDATE, input={"id": first, "isActive": False})
        assert await used_by(ada, world.openai) == SERVER_KEY
        changed = await ada.do(UPDATE, input={"id": second, "isActive": True, "expiresAt": None})
        assert changed["apiKey"] == {"id": second, "isActive": True, "expiresAt": None}
        assert await used_by(ada, world.openai) == "sk-second-2222"


async def test_a_use_is_noted_but_not_written_each_time(database_url: str) -> None:
    async with outside() as world, at_work(database_url, world) as running:
        ada = await running.person()
        await add(ada, "sk-first-1111")
        assert (await ada.ask(KEYS))["viewer"]["apiKeys"][0]["lastUsedAt"] is None
        noted = set()
        for _ in range(2):
            await used_by(ada, world.openai)
            noted.add((await ada.ask(KEYS))["viewer"]["apiKeys"][0]["lastUsedAt"])
        assert len(noted) == 1
        assert None not in noted
        later = datetime.now(UTC) + timedelta(seconds=61)
        running.assistant.services.providers._clock = lambda: later
        await used_by(ada, world.openai)
        assert (await ada.ask(KEYS))["viewer"]["apiKeys"][0]["lastUsedAt"] not in noted


async def test_every_provider_is_asked_what_it_thinks_of_a_key(database_url: str) -> None:
    async with outside() as world, at_work(database_url, world) as running:
        ada = await running.person()
        for provider in PROVIDERS:
            good, bad = [
                (await ada.do(ADD, input={"provider": provider, "key": key}))["apiKey"]["id"]
                for key in ("sk-quite-good-1234", "sk-invalid-5678")
            ]
            test = (await ada.do(TEST, input={"id": good}))["test"]
            assert (test["isAccepted"], test["error"], test["apiKey"]["hint"]) == (True, None, "1234")
            assert test["modelCount"] > 0
            test = (await ada.do(TEST, input={"id": bad}))["test"]
            assert (test["isAccepted"], test["modelCount"], test["apiKey"]["hint"]) == (False, None, "5678")
            assert (test["error"]["code"], test["error"]["reason"]) == ("PROVIDER_FAILED", "AUTHENTICATION")
            assert "sk-invalid" not in test["error"]["message"]
            standin: Standin = getattr(world, provider)
            # It costs nothing: the models are asked for, and no answer.
            assert {request.method for request in standin.requests} == {"GET"}


async def test_a_provider_that_cannot_be_asked_says_nothing_of_a_key(database_url: str) -> None:
    settings = {"openai_base_url": "http://127.0.0.1:9/v1"}
    async with at_work(database_url, settings=settings) as running:
        ada = await running.person()
        key_id = await add(ada, "sk-first-1111")
        test = (await ada.do(TEST, input={"id": key_id}))["test"]
        assert (test["isAccepted"], test["error"]["reason"]) == (None, "UNREACHABLE")


async def test_anothers_key_is_nobodys(database_url: str) -> None:
    async with outside() as world, at_work(database_url, world) as running:
        ada, bob = await running.person("ada"), await running.person("bob")
        hers = await add(ada, "sk-first-1111")
        before = await everything_in(database_url)
        assert await bob.fail(TEST, input={"id": hers}) == ("NOT_FOUND", ["input", "id"])
        assert await bob.fail(UPDATE, input={"id": hers, "isActive": False}) == ("NOT_FOUND", ["input", "id"])
        past = "2020-01-01T00:00:00Z"
        assert await ada.fail(UPDATE, input={"id": hers, "expiresAt": past}) == (
            "INVALID_INPUT",
            ["input", "expiresAt"],
        )
        assert await everything_in(database_url) == before
        assert world.openai.requests == []
