"""Generations through the API of the whole product: started, watched, repeated, stopped, found again, deleted."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine
from structlog.contextvars import get_contextvars

from ops.config import Config
from resolvers import ids
from tests.api.assistant import at_work, outside
from tests.api.product import Person, product
from tests.standins.openai import OpenAIStandin
from tests.standins.scenario import DEFAULT_ANSWER, DEFAULT_TEXT, Failure, Fault, Finish, Gate, Scenario
from tests.standins.server import running as standin_running
from tests.waiting import until

GENERATION = """
fragment Whole on Generation {
  id status prompt systemPrompt content reasoning parameters cost finishReason createdAt startedAt finishedAt
  provider { id name isAvailable unavailableReason }
  model { id name }
  usage { inputTokens cachedInputTokens outputTokens reasoningTokens }
  error { message code field reason retryAfterSeconds }
  publication { id }
  parent { id prompt }
}
"""
GENERATE = (
    """
mutation ($input: GenerateContentInput!) {
  generateContent(input: $input) { generation { ...Whole } errors { message code field } }
}
"""
    + GENERATION
)
WATCH = """
subscription ($id: ID!, $after: String) {
  generationEvents(id: $id, after: $after) {
    __typename
    ... on Positioned { cursor }
    ... on GenerationText { text }
    ... on GenerationReasoning { text }
    ... on GenerationRestarted { reason }
    ... on GenerationFinished { generation { id status content finishReason error { code reason } } }
  }
}
"""
FIND = "query ($id: ID!) { generation(id: $id) { ...Whole } }" + GENERATION
CANCEL = """
mutation ($input: IdInput!) {
  cancelGeneration(input: $input) { generation { id status } errors { message code field } }
}
"""
REGENERATE = """
mutation ($input: RegenerateInput!) {
  regenerate(input: $input) {
    generation { id parent { id } provider { id } model { id } }
    errors { message code field }
  }
}
"""
ADD_KEY = """
mutation ($input: AddApiKeyInput!) {
  addApiKey(input: $input) { apiKey { id hint isActive provider { id name } } errors { message code field } }
}
"""
DELETE = (
    "mutation ($input: IdsInput!) { deleteGenerations(input: $input) { deletedIds errors { message code field } } }"
)
LONG_LIST = """
query ($first: Int!) {
  viewer {
    history(first: $first) {
      nodes {
        prompt systemPrompt content reasoning
        publication { id } parent { id } provider { name } model { name }
      }
    }
  }
}
"""
HISTORY = """
query (
  $first: Int, $after: String, $last: Int, $before: String,
  $filter: HistoryFilter, $orderBy: HistoryOrder! = NEWEST_FIRST
) {
  viewer {
    history(first: $first, after: $after, last: $last, before: $before, filter: $filter, orderBy: $orderBy) {
      edges { cursor node { id prompt } }
      nodes { id }
      pageInfo { hasPreviousPage hasNextPage startCursor endCursor }
      totalCount
    }
  }
}
"""


async def generate(person: Person, prompt: str, **rest: object) -> dict[str, Any]:
    """A generation that has ended."""
    payload = await person.do(GENERATE, input={"prompt": prompt, "wait": True, **rest})
    return dict(payload["generation"])


def text_of(events: list[dict[str, Any]]) -> str:
    """What the events write, all together."""
    return "".join(each["text"] for each in events if each["__typename"] == "GenerationText")


@contextmanager
def statements() -> Iterator[list[str]]:
    """What requests say to the database meanwhile; the workers of the background have no request's id."""
    seen: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if "request_id" in get_contextvars():
            seen.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", note)


async def test_a_generation_from_start_to_end(database_url: str) -> None:
    async with product(database_url) as running:
        ada = await running.person()
        found = await generate(
            ada, "Why is the sky blue?", systemPrompt="Be brief.", parameters={"maxOutputTokens": 900}
        )
        assert found["status"] == "SUCCEEDED"
        assert (found["prompt"], found["systemPrompt"]) == ("Why is the sky blue?", "Be brief.")
        assert found["content"].startswith("# Why is the sky blue")
        assert found["provider"]["id"] == "demo"
        assert found["provider"]["isAvailable"]
        assert found["model"]["id"] == "demo-writer"
        assert found["parameters"]["max_output_tokens"] == 900
        assert found["usage"]["outputTokens"] > 0
        assert (found["finishReason"], found["error"], found["publication"], found["parent"]) == (
            "stop",
            None,
            None,
            None,
        )
        assert found["createdAt"] <= found["startedAt"] <= found["finishedAt"]
        assert (await ada.ask(FIND, id=found["id"]))["generation"] == found


async def test_watching_over_both_transports_and_from_any_cursor(database_url: str) -> None:
    async with product(database_url, tokens_per_second=300) as running:
        ada = await running.person()
        payload = await ada.do(GENERATE, input={"prompt": "Watch me."})
        generation_id = payload["generation"]["id"]
        assert payload["generation"]["status"] in ("QUEUED", "RUNNING")
        async with ada.socket() as ws:
            await ws.subscribe("1", WATCH, variables={"id": generation_id})
            live: list[dict[str, Any]] = []
            while (message := await ws.receive())["type"] == "next":
                live.append(message["payload"]["data"]["generationEvents"])
            assert message == {"id": "1", "type": "complete"}
        assert [each["__typename"] for each in live].count("GenerationFinished") == 1
        content = live[-1]["generation"]["content"]
        assert text_of(live) == content
        assert live[-1]["generation"]["status"] == "SUCCEEDED"

        for position in (0, len(live) // 2, len(live) - 2):
            results = await ada.events(WATCH, id=generation_id, after=live[position]["cursor"])
            rest = [each["data"]["generationEvents"] for each in results]
            assert text_of(live[: position + 1]) + text_of(rest) == content
            assert rest[-1]["__typename"] == "GenerationFinished"
        everything = await ada.events(WATCH, id=generation_id)
        assert text_of([each["data"]["generationEvents"] for each in everything]) == content


async def test_content_grows_for_those_who_only_look(database_url: str) -> None:
    async with outside() as world, at_work(database_url, world, {"openai_api_key": "sk-server-0123456789"}) as running:
        ada = await running.person()
        gate = Gate()
        world.openai.enqueue(Scenario(gate=gate))
        generation_id = (await ada.do(GENERATE, input={"prompt": "Grow.", "provider": "openai"}))["generation"]["id"]
        for pieces in range(1, 4):
            gate.open(1)
            await _until_content(ada, generation_id, "".join(DEFAULT_TEXT[:pieces]))
        gate.open()
        await _until_content(ada, generation_id, DEFAULT_ANSWER)


async def _until_content(person: Person, generation_id: str, content: str) -> None:
    """Returns when it says so much; until then it says a beginning of that."""

    async def is_there() -> bool:
        found = (await person.ask(FIND, id=generation_id))["generation"]["content"]
        assert content.startswith(found)
        return bool(found == content)

    await until(is_there)


async def test_cancelling_keeps_what_is_written(database_url: str) -> None:
    async with product(database_url, tokens_per_second=30) as running:
        ada = await running.person()
        generation_id = (await ada.do(GENERATE, input={"prompt": "Stop me."}))["generation"]["id"]
        async with ada.socket() as ws:
            await ws.subscribe("1", WATCH, variables={"id": generation_id})
            await ws.receive()
            await ada.do(CANCEL, input={"id": generation_id})
            last: dict[str, Any] = {}
            while (message := await ws.receive())["type"] == "next":
                last = message["payload"]["data"]["generationEvents"]
        assert last["__typename"] == "GenerationFinished"
        assert last["generation"]["status"] == "CANCELLED"
        assert 0 < len(last["generation"]["content"]) < 600
        # once more changes nothing
        payload = await ada.do(CANCEL, input={"id": generation_id})
        assert payload["generation"] == {"id": generation_id, "status": "CANCELLED"}


async def test_repeating_makes_a_child(database_url: str) -> None:
    async with product(database_url) as running:
        ada = await running.person()
        first = await generate(ada, "Once more.")
        payload = await ada.do(REGENERATE, input={"id": first["id"], "idempotencyKey": "k"})
        child = payload["generation"]
        assert child == {
            "id": child["id"],
            "parent": {"id": first["id"]},
            "provider": {"id": "demo"},
            "model": {"id": "demo-writer"},
        }
        assert child["id"] != first["id"]
        assert await ada.do(REGENERATE, input={"id": first["id"], "idempotencyKey": "k"}) == payload
        await ada.events(WATCH, id=child["id"])
        await ada.do(DELETE, input={"ids": [first["id"]]})
        assert (await ada.ask(FIND, id=child["id"]))["generation"]["parent"] is None


async def test_the_same_idempotency_key_gives_the_same_generation(database_url: str) -> None:
    async with product(database_url) as running:
        ada, bob = await running.person("ada"), await running.person("bob")
        wanted = {"prompt": "Only once.", "idempotencyKey": "one", "wait": True}
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(ada.do(GENERATE, input=wanted)) for _ in range(5)]
        assert len({task.result()["generation"]["id"] for task in tasks}) == 1
        assert (await ada.ask(HISTORY))["viewer"]["history"]["totalCount"] == 1
        other = wanted | {"prompt": "Something else."}
        assert await ada.fail(GENERATE, input=other) == ("CONFLICT", ["input", "idempotencyKey"])
        assert (await bob.do(GENERATE, input=wanted))["generation"]["id"] != tasks[0].result()["generation"]["id"]


async def test_deleting(database_url: str) -> None:
    async with product(database_url, tokens_per_second=30) as running:
        ada, bob = await running.person("ada"), await running.person("bob")
        over = await generate(ada, "Short.", parameters={"maxOutputTokens": 3})
        goes_on = (await ada.do(GENERATE, input={"prompt": "Long."}))["generation"]
        assert (await bob.do(DELETE, input={"ids": [over["id"]]}))["deletedIds"] == []
        assert (await ada.ask(FIND, id=over["id"]))["generation"] is not None
        wanted = [over["id"], goes_on["id"], ada.credentials["user"]["id"]]
        assert (await ada.do(DELETE, input={"ids": wanted}))["deletedIds"] == [over["id"]]
        assert (await ada.do(DELETE, input={"ids": [ada.credentials["user"]["id"]]}))["deletedIds"] == []
        assert (await ada.ask(FIND, id=over["id"]))["generation"] is None
        await ada.do(CANCEL, input={"id": goes_on["id"]})


async def test_history_page_by_page(database_url: str) -> None:
    async with product(database_url) as running:
        ada, bob = await running.person("ada"), await running.person("bob")
        made = [(await generate(ada, f"Number {number}."))["id"] for number in range(5)]
        await generate(bob, "Not hers.")

        async def page(**arguments: object) -> tuple[list[int], dict[str, Any]]:
            history = (await ada.ask(HISTORY, **arguments))["viewer"]["history"]
            listed = [edge["node"]["id"] for edge in history["edges"]]
            assert [node["id"] for node in history["nodes"]] == listed
            assert history["totalCount"] == 5
            cursors = [edge["cursor"] for edge in history["edges"]]
            info = history["pageInfo"]
            assert (info["startCursor"], info["endCursor"]) == ((cursors[0], cursors[-1]) if cursors else (None, None))
            return [made.index(each) for each in listed], info

        numbers, info = await page(first=2)
        assert (numbers, info["hasPreviousPage"], info["hasNextPage"]) == ([4, 3], False, True)
        numbers, info = await page(first=2, after=info["endCursor"])
        assert (numbers, info["hasPreviousPage"], info["hasNextPage"]) == ([2, 1], True, True)
        before = info["startCursor"]
        numbers, info = await page(first=2, after=info["endCursor"])
        assert (numbers, info["hasNextPage"]) == ([0], False)
        numbers, info = await page(last=1, before=before)
        assert (numbers, info["hasPreviousPage"], info["hasNextPage"]) == ([3], True, True)
        assert (await page(last=2))[0] == [1, 0]
        assert (await page(orderBy="OLDEST_FIRST"))[0] == [0, 1, 2, 3, 4]
        assert (await page(first=100, after=info["endCursor"], orderBy="OLDEST_FIRST"))[0] == [4]


async def test_history_by_filter(database_url: str) -> None:
    async with product(database_url, tokens_per_second=200) as running:
        ada = await running.person()
        whale = await generate(ada, "Tell me about whales.")
        trees = await generate(ada, "Tell me about trees.")
        stopped = (await ada.do(GENERATE, input={"prompt": "Tell me about stones."}))["generation"]
        await ada.do(CANCEL, input={"id": stopped["id"]})
        await ada.events(WATCH, id=stopped["id"])
        names = {whale["id"]: "whale", trees["id"]: "trees", stopped["id"]: "stopped"}

        async def found(**filter_: object) -> set[str]:
            history = (await ada.ask(HISTORY, filter=filter_))["viewer"]["history"]
            assert history["totalCount"] == len(history["nodes"])
            return {names[node["id"]] for node in history["nodes"]}

        everything = {"whale", "trees", "stopped"}
        assert await found() == everything
        assert await found(search="whales") == {"whale"}
        assert await found(search="tell about") == everything
        assert await found(search="nothing of the kind") == set()
        assert await found(status=["CANCELLED"]) == {"stopped"}
        assert await found(status=["CANCELLED", "SUCCEEDED"]) == everything
        assert await found(provider=["demo"], model=["demo-writer"]) == everything
        assert await found(provider=["openai"]) == set()
        assert await found(createdAfter=trees["createdAt"]) == {"trees", "stopped"}
        assert await found(createdBefore=trees["createdAt"]) == {"whale"}
        assert await found(published=True) == set()
        assert await found(published=False, search="trees") == {"trees"}


async def test_a_list_loads_what_it_is_asked_for_and_that_at_once(database_url: str) -> None:
    async with product(database_url) as running:
        ada = await running.person()
        for number in range(4):
            await generate(ada, f"Number {number}.")
        with statements() as seen:
            await ada.ask("{ viewer { history { nodes { id status createdAt } pageInfo { hasNextPage } } } }")
        assert not any("prompt" in each or "generated_content" in each or "count(" in each for each in seen)
        short = len(seen)
        assert short > 0
        with statements() as seen:
            await ada.ask(LONG_LIST, first=4)
        assert sum("generated_content" in each for each in seen) == 1
        with statements() as seen_for_one:
            await ada.ask(LONG_LIST, first=1)
        assert len(seen) == len(seen_for_one) > short, "the number of queries does not depend on the number of items"


async def test_other_peoples_generations_are_like_none(database_url: str) -> None:
    async with product(database_url) as running:
        ada, bob = await running.person("ada"), await running.person("bob")
        hers = (await generate(ada, "Mine."))["id"]
        none = ids.encode(ids.NodeType.GENERATION, UUID(int=1))
        for global_id in (hers, none):
            assert (await bob.ask(FIND, id=global_id)) == {"generation": None}
            assert (await bob.ask("query ($id: ID!) { node(id: $id) { id } }", id=global_id)) == {"node": None}
            expected = ("NOT_FOUND", ["input", "id"])
            assert await bob.fail(CANCEL, input={"id": global_id}) == expected
            assert await bob.fail(REGENERATE, input={"id": global_id}) == expected
            results = await bob.events(WATCH, id=global_id)
            assert [error["extensions"]["code"] for error in results[0]["errors"]] == ["NOT_FOUND"]
        assert (await ada.ask(FIND, id=hers))["generation"]["status"] == "SUCCEEDED"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"prompt": ""}, ["prompt"]),
        ({"prompt": " \n"}, ["prompt"]),
        ({"prompt": "x" * 1001}, ["prompt"]),
        ({"provider": "nobody"}, ["provider"]),
        ({"provider": "openai"}, ["provider"]),
        ({"provider": ""}, ["provider"]),
        ({"model": "gpt-0"}, ["model"]),
        ({"provider": "demo", "model": "gpt-0"}, ["model"]),
        ({"model": ""}, ["model"]),
        ({"systemPrompt": " "}, ["systemPrompt"]),
        ({"idempotencyKey": ""}, ["idempotencyKey"]),
        ({"parameters": {"maxOutputTokens": 0}}, ["parameters", "maxOutputTokens"]),
        ({"parameters": {"temperature": 3}}, ["parameters", "temperature"]),
        ({"parameters": {"reasoningEffort": "HIGH"}}, ["parameters", "reasoningEffort"]),
        ({"parameters": {"stopSequences": ["a", "b", "c", "d", "e"]}}, ["parameters", "stopSequences"]),
        ({"publish": {}}, ["publish", "parent"]),
        ({"publish": {"parent": "x", "title": ""}}, ["publish", "title"]),
        ({"publish": {"parent": "x"}}, ["publish"]),
    ],
)
async def test_bad_input_is_told_with_its_path_and_starts_nothing(
    database_url: str, change: dict[str, Any], field: list[str]
) -> None:
    async with product(database_url, config=Config(max_prompt_chars=1000)) as running:
        ada = await running.person()
        assert await ada.fail(GENERATE, input={"prompt": "Hi", **change}) == ("INVALID_INPUT", ["input", *field])
        assert (await ada.ask(HISTORY))["viewer"]["history"]["totalCount"] == 0


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"first": 0}, ["first"]),
        ({"first": 101}, ["first"]),
        ({"first": -1}, ["first"]),
        ({"last": 0}, ["last"]),
        ({"first": 1, "last": 1}, ["last"]),
        ({"after": "nonsense"}, ["after"]),
        ({"before": ""}, ["before"]),
        ({"filter": {"search": " "}}, ["filter", "search"]),
    ],
)
async def test_bad_pages(database_url: str, arguments: dict[str, Any], field: list[str]) -> None:
    async with product(database_url) as running:
        ada = await running.person()
        assert await ada.refused(HISTORY, **arguments) == {"code": "INVALID_INPUT", "field": field}


async def test_ids_and_cursors_that_are_none(database_url: str) -> None:
    async with product(database_url) as running:
        ada = await running.person()
        own = ada.credentials["user"]["id"]
        generation = await generate(ada, "Hi")
        other = await generate(ada, "Hi")
        for wrong in ("", "nonsense", "Generation:1"):
            assert await ada.refused(FIND, id=wrong) == {"code": "INVALID_INPUT", "field": ["id"]}
            assert await ada.fail(CANCEL, input={"id": wrong}) == ("INVALID_INPUT", ["input", "id"])
            expected = ("INVALID_INPUT", ["input", "ids", "1"])
            assert await ada.fail(DELETE, input={"ids": [generation["id"], wrong]}) == expected
        assert await ada.fail(DELETE, input={"ids": []}) == ("INVALID_INPUT", ["input", "ids"])
        assert await ada.fail(DELETE, input={"ids": [own] * 1001}) == ("INVALID_INPUT", ["input", "ids"])
        assert await ada.fail(CANCEL, input={"id": own}) == ("NOT_FOUND", ["input", "id"])
        assert (await ada.ask(FIND, id=own)) == {"generation": None}
        cursor = (await ada.events(WATCH, id=other["id"]))[0]["data"]["generationEvents"]["cursor"]
        for after in ("nonsense", "", cursor):
            (result,) = await ada.events(WATCH, id=generation["id"], after=after)
            assert result["errors"][0]["extensions"] == {"code": "INVALID_INPUT", "field": ["after"]}
        assert (await ada.ask(FIND, id=generation["id"]))["generation"]["status"] == "SUCCEEDED"


async def test_a_subscription_for_nobody_is_refused_at_once(database_url: str) -> None:
    async with product(database_url) as running:
        ada = await running.person()
        generation = await generate(ada, "Hi")
        visitor = await running.visitor()
        async with visitor.socket() as ws:
            await ws.subscribe("1", WATCH, variables={"id": generation["id"]})
            message = await ws.receive()
        assert message["type"] == "error"
        assert message["payload"][0]["extensions"]["code"] == "UNAUTHENTICATED"


@pytest.mark.parametrize(
    ("scenario", "reason"),
    [
        (Scenario(failure=Failure.INVALID_KEY), "AUTHENTICATION"),
        (Scenario(failure=Failure.OUT_OF_CREDIT), "NO_BALANCE"),
        (Scenario(failure=Failure.CONTEXT_TOO_LONG), "CONTEXT_TOO_LONG"),
        (Scenario(fault=Fault.TRUNCATE, fault_after=3), "TRUNCATED"),
    ],
)
async def test_a_provider_that_fails(database_url: str, scenario: Scenario, reason: str) -> None:
    openai = OpenAIStandin()
    async with standin_running(openai) as base_url:
        config = Config.model_validate({"openai_base_url": base_url, "openai_api_key": "sk-test-1234567890"})
        async with product(database_url, config=config) as running:
            ada = await running.person()
            openai.enqueue(scenario)
            found = await generate(ada, "Hi", provider="openai")
            assert found["status"] == "FAILED"
            assert (found["error"]["code"], found["error"]["reason"]) == ("PROVIDER_FAILED", reason)
            assert found["finishReason"] is None
            assert (found["content"] != "") == (scenario.fault is not None)
            last = (await ada.events(WATCH, id=found["id"]))[-1]["data"]["generationEvents"]
            assert last["generation"]["error"] == {"code": "PROVIDER_FAILED", "reason": reason}


async def test_a_real_protocol_with_usage_cost_and_models(database_url: str) -> None:
    openai = OpenAIStandin()
    async with standin_running(openai) as base_url:
        config = Config.model_validate({"openai_base_url": base_url})
        async with product(database_url, config=config) as running:
            ada = await running.person()
            before = await ada.ask("{ providers { id isAvailable unavailableReason models { id } } }")
            by_id = {each["id"]: each for each in before["providers"]}
            assert by_id["demo"]["isAvailable"]
            assert not by_id["openai"]["isAvailable"]
            assert "addApiKey" in by_id["openai"]["unavailableReason"]
            assert by_id["openai"]["models"]
            added = await ada.do(
                ADD_KEY,
                input={"provider": "openai", "key": "sk-test-1234567890"},
            )
            assert added["apiKey"]["hint"] == "7890"
            assert added["apiKey"]["provider"] == {"id": "openai", "name": "OpenAI"}
            after = await ada.ask("{ providers { id isAvailable unavailableReason models { id name inputPrice } } }")
            by_id = {each["id"]: each for each in after["providers"]}
            assert "demo" not in by_id
            assert by_id["openai"]["isAvailable"]
            assert by_id["openai"]["unavailableReason"] is None
            assert "gpt-image-2" not in {model["id"] for model in by_id["openai"]["models"]}
            found = await generate(ada, "Hi", parameters={"reasoningEffort": "LOW"})
            assert found["status"] == "SUCCEEDED"
            assert found["content"] == DEFAULT_ANSWER
            assert found["provider"]["id"] == "openai"
            assert found["usage"]["inputTokens"] > 0
            assert float(found["cost"]) > 0
            openai.enqueue(Scenario(finish=Finish.LENGTH))
            cut_off = await generate(ada, "Hi")
            assert (cut_off["status"], cut_off["finishReason"]) == ("SUCCEEDED", "length")


async def test_once_there_is_a_key_the_demo_makes_way(database_url: str) -> None:
    openai = OpenAIStandin()
    async with standin_running(openai) as base_url:
        config = Config.model_validate({"openai_base_url": base_url})
        async with product(database_url, config=config) as running:
            ada = await running.person()
            of_demo = await generate(ada, "Hi")
            again = await ada.do(REGENERATE, input={"id": of_demo["id"]})
            assert again["generation"]["provider"]["id"] == "demo"
            await ada.do(ADD_KEY, input={"provider": "openai", "key": "sk-test-1234567890"})

            by_others = await ada.do(REGENERATE, input={"id": of_demo["id"]})
            assert by_others["generation"]["provider"]["id"] == "openai"
            assert by_others["generation"]["parent"]["id"] == of_demo["id"]
            named = await ada.do(
                REGENERATE, input={"id": of_demo["id"], "model": by_others["generation"]["model"]["id"]}
            )
            assert named["generation"]["provider"]["id"] == "openai"

            for document, wanted, field in (
                (REGENERATE, {"id": of_demo["id"], "provider": "demo"}, ["provider"]),
                (GENERATE, {"prompt": "Hi", "provider": "demo"}, ["provider"]),
                (GENERATE, {"prompt": "Hi", "fallback": [{"provider": "demo"}]}, ["fallback", "0", "provider"]),
            ):
                refused = await ada.ask(document, input=wanted)
                (payload,) = refused.values()
                message = "The demo writes only where no real provider has a key: choose another provider."
                assert payload["errors"] == [{"message": message, "code": "INVALID_INPUT", "field": ["input", *field]}]
