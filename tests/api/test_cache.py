"""Kept answers through the API of the whole product."""

from typing import Any

from ops.config import Config
from tests.api.assistant import Outside, at_work, outside, over_websocket, text_of
from tests.api.product import Person
from tests.standins.scenario import Finish, Scenario

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
        before = (await ada.ask(BUDGET))["viewer"]["budget"]
        again = await generate(ada, useCache=True)
        assert len(answered(world)) == 1
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
