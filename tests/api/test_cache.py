"""Kept answers through the API of the whole product."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from redis.asyncio import Redis

from domain.housekeeping import Housekeeper
from ops.config import Config
from tests.api.assistant import Outside, at_work, outside, over_websocket, stored, text_of
from tests.api.product import PASSWORD, Person
from tests.api.test_journey import ANSWER_IN_NOTION, connect, lines_of
from tests.standins.scenario import Finish, Scenario
from tests.standins.valkey import Valkey, line_to, running_valkey

GENERATE = """
mutation ($input: GenerateContentInput!) {
  generateContent(input: $input) {
    generation {
      id status content isCached cost usage { inputTokens outputTokens isEstimated } finishReason attempts { status }
      startedAt finishedAt
    }
    errors { code field }
  }
}
"""
SETTINGS = """
mutation ($input: UpdateSettingsInput!) { updateSettings(input: $input) { settings { useCache } errors { code } } }
"""
REGENERATE = "mutation ($input: RegenerateInput!) { regenerate(input: $input) { generation { id } errors { code } } }"
DELETE = """
mutation ($input: IdsInput!) { deleteGenerations(input: $input) { deletedIds errors { code message } } }
"""
DELETE_ACCOUNT = """
mutation ($input: DeleteAccountInput!) {
  deleteAccount(input: $input) { deleted { kind } errors { code message } }
}
"""
BUDGET = "{ viewer { budget { spent reserved } history(first: 10) { totalCount } } }"
KEY = {"openai_api_key": "sk-the-servers-own-0123456789"}


def answered(world: Outside) -> list[object]:
    """The requests for an answer, without those for the list of models."""
    return [each for each in world.openai.requests if each.method == "POST"]


async def generate(person: Person, **input_: object) -> dict[str, Any]:
    """A generation that has ended."""
    given = {"prompt": "Why?", "provider": "openai", "model": "gpt-5.5", "wait": True, **input_}
    return dict((await person.do(GENERATE, input=given))["generation"])


async def test_the_same_request_gets_the_same_answer_at_no_cost(database_url: str) -> None:
    async with outside() as world, at_work(database_url, world, KEY) as running:
        ada, bob = await running.person("ada"), await running.person("bob")
        first = await generate(ada, useCache=True)
        before, asked = (await ada.ask(BUDGET))["viewer"]["budget"], len(answered(world))
        again = await generate(ada, useCache=True)
        # On a slow machine the first may have taken more than one call.
        assert len(answered(world)) == asked >= 1
        assert (first["isCached"], again["isCached"]) == (False, True)
        assert again["id"] != first["id"]
        assert (again["status"], again["content"], again["finishReason"]) == ("SUCCEEDED", first["content"], "stop")
        assert (again["cost"], again["attempts"]) == ("0", [])
        assert again["usage"] == {"inputTokens": 0, "outputTokens": 0, "isEstimated": False}
        assert again["startedAt"] == again["finishedAt"]
        after = (await ada.ask(BUDGET))["viewer"]
        assert (after["budget"], after["history"]["totalCount"]) == (before, 2)

        events = await over_websocket(ada, again["id"])
        assert text_of(events) == first["content"]
        assert events[-1]["__typename"] == "GenerationFinished"

        for other in ({"useCache": False}, {}, {"useCache": True, "prompt": "Why not?"}):
            assert not (await generate(ada, **other))["isCached"]
        assert not (await generate(bob, useCache=True))["isCached"], "hers is not his"
        assert (await generate(bob, useCache=True))["isCached"]


async def test_settings_may_want_it_and_a_repetition_is_always_new(database_url: str) -> None:
    async with outside() as world, at_work(database_url, world, KEY) as running:
        ada = await running.person()
        assert (await ada.do(SETTINGS, input={"useCache": True}))["settings"] == {"useCache": True}
        first = await generate(ada)
        assert (await generate(ada))["isCached"]
        assert not (await generate(ada, useCache=False))["isCached"]
        repeated = (await ada.do(REGENERATE, input={"id": first["id"]}))["generation"]
        await over_websocket(ada, repeated["id"])
        assert len(answered(world)) == 3


async def test_only_complete_answers_are_kept(database_url: str) -> None:
    async with outside() as world, at_work(database_url, world, KEY) as running:
        ada = await running.person()
        world.openai.enqueue(Scenario(finish=Finish.LENGTH))
        assert (await generate(ada, useCache=True))["finishReason"] == "length"
        assert not (await generate(ada, useCache=True))["isCached"]
        assert (await generate(ada, useCache=True))["isCached"]


async def test_the_operator_may_share_them_or_have_none(database_url: str) -> None:
    shared = {**KEY, "answer_cache_shared": True}
    async with outside() as world, at_work(database_url, world, shared) as running:
        ada, bob = await running.person("ada"), await running.person("bob")
        first = await generate(ada, useCache=True)
        again = await generate(bob, useCache=True)
        assert (again["isCached"], again["content"]) == (True, first["content"])
    assert Config(answer_cache_ttl_seconds=0).answer_cache_ttl_seconds == 0


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    with running_valkey() as server:
        yield server


async def kept_in(valkey: Valkey) -> int:
    """How many answers."""
    client = Redis.from_url(valkey.url)
    try:
        return len(await client.keys("*:answer:*"))
    finally:
        await client.aclose()


async def execute(database_url: str, statement: str) -> None:
    connection = await asyncpg.connect(database_url.replace("postgresql+asyncpg", "postgresql"))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def test_an_answer_is_forgotten_with_its_generation_and_with_its_user(database_url: str, valkey: Valkey) -> None:
    settings = {**KEY, "redis_url": valkey.url}
    async with outside() as world, at_work(database_url, world, settings) as running:
        ada = await running.person("ada")
        first, other = await generate(ada, useCache=True), await generate(ada, useCache=True, prompt="Why not?")
        assert await kept_in(valkey) == 2
        assert (await ada.do(DELETE, input={"ids": [first["id"]]}))["deletedIds"] == [first["id"]]
        assert await kept_in(valkey) == 1
        assert not (await generate(ada, useCache=True))["isCached"]
        again = await generate(ada, useCache=True, prompt="Why not?")
        assert (again["isCached"], again["content"]) == (True, other["content"])

        await execute(database_url, "UPDATE content_history SET created_at = now() - interval '9 days'")
        later = datetime.now(UTC) + timedelta(minutes=5)
        keeper = Housekeeper(
            store=running.assistant.store, clock=lambda: later, answers=running.assistant.answers, retention_days=8
        )
        assert await keeper.delete_expired() == 3
        assert await kept_in(valkey) == 0

        await generate(ada, useCache=True)
        bob = await running.person("bob")
        await generate(bob, useCache=True)
        assert await kept_in(valkey) == 2
        await ada.do(DELETE_ACCOUNT, input={"password": PASSWORD})
        assert await kept_in(valkey) == 1
        assert (await generate(bob, useCache=True))["isCached"]


@pytest.mark.parametrize("is_shared", [False, True])
async def test_an_answer_that_could_not_be_forgotten_is_not_given_any_more(database_url: str, is_shared: bool) -> None:
    """As when it is in the memory of another instance, or Redis was away."""
    settings = {**KEY, "answer_cache_shared": is_shared}
    async with outside() as world, at_work(database_url, world, settings) as running:
        ada, bob = await running.person("ada"), await running.person("bob")
        await generate(ada, useCache=True)
        assert (await generate(ada, useCache=True))["isCached"]
        await execute(database_url, "DELETE FROM content_history WHERE NOT is_cached")
        assert not (await generate(bob if is_shared else ada, useCache=True))["isCached"]
        assert (await generate(bob if is_shared else ada, useCache=True))["isCached"]


async def test_a_redis_that_takes_its_time_means_no_kept_answers_and_no_waiting(
    database_url: str, valkey: Valkey
) -> None:
    async with outside() as world, line_to(valkey.port) as line:
        settings = {**KEY, "redis_url": f"redis://127.0.0.1:{line.port}/0"}
        async with at_work(database_url, world, settings) as running:
            ada = await running.person()
            await generate(ada, useCache=True)
            assert (await generate(ada, useCache=True))["isCached"]
            # Longer than any test lasts: whoever waited for its answers would not come back.
            line.slow_down(3_600)
            async with asyncio.timeout(60):
                slow = await generate(ada, useCache=True)
                assert (slow["isCached"], slow["status"]) == (False, "SUCCEEDED")
                await ada.do(DELETE, input={"ids": [slow["id"]]})
            line.speed_up()
            async with asyncio.timeout(60):
                while not (await generate(ada, useCache=True))["isCached"]:  # noqa: ASYNC110  (polled)
                    await asyncio.sleep(0.1)


async def test_a_kept_answer_gets_a_page_of_its_own(database_url: str) -> None:
    async with outside() as world, at_work(database_url, world, KEY) as running:
        ada = await running.person()
        inbox = await connect(ada, world)
        for is_cached in (False, True):
            found = await generate(ada, useCache=True, publish={"parent": world.notion.address(inbox)})
            assert found["isCached"] is is_cached
            publication = (await stored(ada, found["id"]))["publication"]
            assert publication["status"] == "PUBLISHED", publication
        first, second = world.notion.pages_under(inbox)
        assert (
            lines_of(world.notion.children_tree(first.id))
            == lines_of(world.notion.children_tree(second.id))
            == ANSWER_IN_NOTION
        )
