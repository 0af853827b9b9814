"""What is wrong is refused with a code and the field's path, and changes nothing."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from resolvers import ids
from tests.api.assistant import (
    CANCEL,
    CONNECT,
    GENERATE,
    PUBLISH,
    STORED,
    WATCH,
    Outside,
    at_work,
    event_of,
    everything_in,
    outside,
    over_sse,
    start,
    stored,
)
from tests.api.graphql_socket import socket
from tests.api.product import Person

MAX_PROMPT_CHARS = 1_000
SETTINGS = {"openai_api_key": "sk-server-0123456789", "max_prompt_chars": MAX_PROMPT_CHARS}
ADD_KEY = """
mutation Add($input: AddApiKeyInput!) { addApiKey(input: $input) { apiKey { id } errors { code message field } } }
"""
REMOVE_KEY = """
mutation Remove($input: IdInput!) { removeApiKey(input: $input) { apiKeys { id } errors { code message field } } }
"""
REGENERATE = """
mutation Again($input: RegenerateInput!) {
  regenerate(input: $input) { generation { id } errors { code message field } }
}
"""
DELETE = """
mutation Delete($input: IdsInput!) { deleteGenerations(input: $input) { deletedIds errors { code message field } } }
"""
SAVE = """
mutation Save($input: UpdateSettingsInput!) {
  updateSettings(input: $input) { settings { updatedAt } errors { code message field } }
}
"""
HISTORY = """
query History($first: Int, $after: String, $last: Int, $before: String, $filter: HistoryFilter) {
  viewer { history(first: $first, after: $after, last: $last, before: $before, filter: $filter) { totalCount } }
}
"""
NODE = "query Node($id: ID!) { node(id: $id) { __typename id } }"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrong:
    """A wrong operation, and how it is answered. Values that only the scene knows are looked up by `$name`."""

    document: str
    code: str
    path: list[str] | None
    variables: dict[str, Any]
    reason: str | None = None


def generate(path: list[str], **input_: object) -> Wrong:
    """A wrong request for an answer."""
    variables = {"input": {"prompt": "Hello.", **input_}}
    return Wrong(document=GENERATE, code="INVALID_INPUT", path=["input", *path], variables=variables)


def page(path: list[str], **variables: object) -> Wrong:
    """A wrong page of the history."""
    return Wrong(document=HISTORY, code="INVALID_INPUT", path=path, variables=variables)


def publish(code: str, path: list[str] | None, reason: str | None = None, **options: object) -> Wrong:
    """A wrong publication."""
    variables = {"input": {"generationId": "$generation_id", "publish": options}}
    return Wrong(document=PUBLISH, code=code, path=path, reason=reason, variables=variables)


def invalid(document: str, path: list[str], **input_: object) -> Wrong:
    """A wrong input of another mutation."""
    return Wrong(document=document, code="INVALID_INPUT", path=["input", *path], variables={"input": input_})


WRONG = {
    "unknown provider": generate(["provider"], provider="nobody"),
    "provider without a key": generate(["provider"], provider="deepseek"),
    "the demo beside a real provider": generate(["provider"], provider="demo"),
    "unknown model": generate(["model"], model="gpt-0"),
    "unknown model of a provider": generate(["model"], provider="openai", model="claude-haiku-5-5"),
    "empty prompt": generate(["prompt"], prompt=""),
    "blank prompt": generate(["prompt"], prompt=" \t\n\u00a0"),
    "over-long prompt": generate(["prompt"], prompt="x" * (MAX_PROMPT_CHARS + 1)),
    "NUL in the prompt": generate(["prompt"], prompt="a\x00b"),
    "NUL in the system prompt": generate(["systemPrompt"], systemPrompt="\x00"),
    "NUL deep in properties": generate(
        ["publish", "properties", "Tags", "1"], publish={"parent": "$inbox", "properties": {"Tags": ["a", "\x00"]}}
    ),
    "empty system prompt": generate(["systemPrompt"], systemPrompt=""),
    "no output tokens": generate(["parameters", "maxOutputTokens"], parameters={"maxOutputTokens": 0}),
    "temperature out of range": generate(["parameters", "temperature"], parameters={"temperature": -0.1}),
    "too many stops": generate(["parameters", "stopSequences"], parameters={"stopSequences": list("abcde")}),
    "publishing to nowhere": generate(["publish", "parent"], publish={}),
    "publishing to no address": generate(["publish", "parent"], publish={"parent": "nonsense"}),
    "title too long": generate(["publish", "title"], publish={"parent": "$inbox", "title": "x" * 2_001}),
    "unknown property": generate(
        ["publish", "properties", "Colour"], publish={"parent": "$database", "properties": {"Colour": "red"}}
    ),
    "value that a property cannot hold": generate(
        ["publish", "properties", "Score"], publish={"parent": "$database", "properties": {"Score": "many"}}
    ),
    "parent not shared, with a prompt": Wrong(
        document=GENERATE,
        code="NOTION_FAILED",
        reason="NOT_SHARED",
        path=["input", "publish", "parent"],
        variables={"input": {"prompt": "Hello.", "publish": {"parent": "$private"}}},
    ),
    "parent not shared": publish("NOTION_FAILED", ["input", "publish", "parent"], "NOT_SHARED", parent="$private"),
    "first: 0": page(["first"], first=0),
    "first: 101": page(["first"], first=101),
    "last: 0": page(["last"], last=0),
    "last: 101": page(["last"], last=101),
    "first and last": page(["last"], first=1, last=1),
    "bad cursor": page(["after"], after="nonsense"),
    "cursor of another kind": page(["before"], last=1, before="$cursor"),
    "blank search": page(["filter", "search"], filter={"search": " "}),
    "no id": invalid(CANCEL, ["id"], id="nonsense"),
    "no id among ids": invalid(DELETE, ["ids", "1"], ids=["$generation_id", "nonsense"]),
    "too many ids": invalid(DELETE, ["ids"], ids=["$generation_id"] * 101),
    "Notion token rejected": Wrong(
        document=CONNECT,
        code="NOTION_FAILED",
        reason="AUTHENTICATION",
        path=["input", "token"],
        variables={"input": {"token": "ntn_00000000000000000000000000000000000000000000"}},
    ),
    "no Notion token": invalid(CONNECT, ["token"], token=" "),
    "key for nobody": invalid(ADD_KEY, ["provider"], provider="nobody", key="sk-0123456789"),
    "key for the demo": invalid(ADD_KEY, ["provider"], provider="demo", key="sk-0123456789"),
    "no key": invalid(ADD_KEY, ["key"], provider="openai", key="short"),
    "key with a line break": invalid(ADD_KEY, ["key"], provider="openai", key="sk-0123\n456789"),
    "key that has expired": invalid(
        ADD_KEY, ["expiresAt"], provider="openai", key="sk-0123456789", expiresAt="2020-01-01T00:00:00Z"
    ),
    "unknown default provider": invalid(SAVE, ["defaultProvider"], defaultProvider="nobody"),
    "unknown default model": invalid(SAVE, ["defaultModel"], defaultProvider="openai", defaultModel="gpt-0"),
    "publishing everything to nowhere": invalid(SAVE, ["notion", "autoPublish"], notion={"autoPublish": True}),
    "too many preferences": invalid(SAVE, ["uiPreferences"], uiPreferences={"x": "y" * 70_000}),
}


def filled_in(value: Any, scene: dict[str, str]) -> Any:
    """A value with what only the scene knows."""
    match value:
        case dict():
            return {name: filled_in(each, scene) for name, each in value.items()}
        case list():
            return [filled_in(each, scene) for each in value]
        case str() if value.startswith("$"):
            return scene[value[1:]]
        case _:
            return value


def found_wrong(body: Any) -> tuple[str, list[str] | None, str | None]:
    """Code, field and reason of the only error in an answer, whether it is data or not."""
    if "errors" in body:
        (error,) = body["errors"]
        assert not any((body.get("data") or {}).values()), "nothing was done"
        return error["extensions"]["code"], error["extensions"].get("field"), error["extensions"].get("reason")
    ((field, payload),) = body["data"].items()
    errors = payload.pop("errors")
    assert len(errors) == 1, f"{field} went through: {payload}"
    assert all(value in (None, []) for value in payload.values())
    assert len(errors[0]["message"]) > 10
    return errors[0]["code"], errors[0]["field"], errors[0].get("reason")


async def prepared(ada: Person, world: Outside) -> dict[str, str]:
    """A generation, its cursor, and places in Notion."""
    token = world.notion.add_workspace().token
    await ada.do(CONNECT, input={"token": token})
    generation_id = await start(ada, wait=True)
    return {
        "generation_id": generation_id,
        "cursor": (await over_sse(ada, generation_id))[0]["cursor"],
        "inbox": world.notion.add_page("Inbox").id,
        "private": world.notion.add_page("Private", shared=False).id,
        "database": world.notion.add_database("Answers", {"Name": "title", "Score": "number"}).id,
    }


async def test_every_wrong_input_is_told_with_code_and_field_and_changes_nothing(
    database_url: str, subtests: pytest.Subtests
) -> None:
    async with outside() as world, at_work(database_url, world, SETTINGS) as running:
        ada = await running.person("ada")
        scene = await prepared(ada, world)
        before = await everything_in(database_url)
        asked = len(world.openai.requests)
        for name, wrong in WRONG.items():
            with subtests.test(name):
                response = await ada.request(wrong.document, **filled_in(wrong.variables, scene))
                assert found_wrong(response.json()) == (wrong.code, wrong.path, wrong.reason)
                assert await everything_in(database_url) == before
        assert world.notion.pages_under(world.notion.memory.nodes[scene["inbox"]]) == []
        # A list of models may be looked up; nothing is ever asked to be written.
        assert {request.method for request in world.openai.requests[asked:]} <= {"GET"}


async def test_a_lone_surrogate_is_told_with_its_field(database_url: str) -> None:
    async with outside() as world, at_work(database_url, world, SETTINGS) as running:
        ada = await running.person("ada")
        before = await everything_in(database_url)
        # Most JSON libraries write such a text without complaint.
        body = json.dumps({"query": GENERATE, "variables": {"input": {"prompt": "half a \ud83d rocket"}}})
        headers = {**ada.headers, "content-type": "application/json"}
        response = await ada.http.post("/graphql", content=body, headers=headers)
        assert found_wrong(response.json()) == ("INVALID_INPUT", ["input", "prompt"], None)
        assert await everything_in(database_url) == before


async def test_the_longest_prompt_goes_through_in_any_spelling(database_url: str) -> None:
    prompt = "🚀" * 200_000
    async with outside() as world, at_work(database_url, world, {"openai_api_key": "sk-server-0123456789"}) as running:
        ada = await running.person("ada")
        headers = {**ada.headers, "content-type": "application/json"}
        for in_ascii in (True, False):
            body = json.dumps({"query": GENERATE, "variables": {"input": {"prompt": prompt}}}, ensure_ascii=in_ascii)
            payload = (await ada.http.post("/graphql", content=body, headers=headers)).json()["data"]["generateContent"]
            assert payload["errors"] == []
            await over_sse(ada, payload["generation"]["id"])
            assert (await stored(ada, payload["generation"]["id"]))["prompt"] == prompt
        response = await ada.request(GENERATE, input={"prompt": prompt + "!"})
        assert found_wrong(response.json()) == ("INVALID_INPUT", ["input", "prompt"], None)


async def test_a_subscription_that_is_wrong_ends_with_one_error(database_url: str, subtests: pytest.Subtests) -> None:
    async with outside() as world, at_work(database_url, world, SETTINGS) as running:
        ada = await running.person("ada")
        scene = await prepared(ada, world)
        other = await start(ada, wait=True)
        none = ids.encode(ids.NodeType.GENERATION, uuid4())
        own = ids.encode(ids.NodeType.USER, uuid4())
        cases: dict[str, tuple[dict[str, object], str, list[str]]] = {
            "bad cursor": ({"id": other, "after": "nonsense"}, "INVALID_INPUT", ["after"]),
            "empty cursor": ({"id": other, "after": ""}, "INVALID_INPUT", ["after"]),
            "cursor of another generation": ({"id": other, "after": scene["cursor"]}, "INVALID_INPUT", ["after"]),
            "no id": ({"id": "nonsense"}, "INVALID_INPUT", ["id"]),
            "nothing of this id": ({"id": none}, "NOT_FOUND", ["id"]),
            "the id of something else": ({"id": own}, "NOT_FOUND", ["id"]),
        }
        for name, (variables, code, path) in cases.items():
            with subtests.test(name, over="Server-Sent Events"):
                (result,) = await ada.events(WATCH, **variables)
                assert found_wrong(result) == (code, path, None)
            with subtests.test(name, over="WebSocket"):
                async with ada.socket() as ws:
                    await ws.subscribe("1", WATCH, variables=variables)
                    message = await ws.receive()
                    errors = message["payload"] if message["type"] == "error" else message["payload"]["errors"]
                    assert found_wrong({"errors": errors}) == (code, path, None)
                    # The connection goes on.
                    await ws.subscribe("2", WATCH, variables={"id": other})
                    while (message := await ws.receive())["id"] != "2":
                        assert message == {"id": "1", "type": "complete"}
                    assert event_of(message["payload"])["__typename"] == "GenerationReasoning"


async def test_tokens_that_are_expired_or_forged_open_nothing(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = timedelta(0)
    monkeypatch.setattr("composition.utc_now", lambda: datetime.now(UTC) + late)
    async with outside() as world, at_work(database_url, world, SETTINGS) as running:
        ada = await running.person("ada")
        generation_id = await start(ada, wait=True)
        before = await everything_in(database_url)
        header, payload, signature = ada.credentials["accessToken"].split(".")
        late = timedelta(minutes=11)
        expired = ada.credentials["accessToken"]
        forged = f"{header}.{payload}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}"
        for token, is_expired, close_code in ((expired, True, 4403), (forged, False, 4401)):
            ada.headers = {"authorization": f"Bearer {token}"}
            for accept in ("application/json", "text/event-stream"):
                for document in (GENERATE, STORED, WATCH):
                    variables = {"id": generation_id, "input": {"prompt": "Hello."}}
                    response = await ada.http.post(
                        "/graphql",
                        json={"query": document, "variables": variables},
                        headers={**ada.headers, "accept": accept},
                    )
                    assert response.status_code == 401
                    (error,) = response.json()["errors"]
                    assert error["extensions"] == {"code": "UNAUTHENTICATED", "expired": is_expired}
            async with socket(running.address) as ws:
                await ws.send({"type": "connection_init", "payload": ada.headers})
                assert (await ws.closed())[0] == close_code
        assert await everything_in(database_url) == before
        assert len(world.openai.requests) == 1
