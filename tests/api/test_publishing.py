"""Settings, Notion and publishing through the API of the whole product."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from ops.config import Config
from tests.api.product import Person, Product, product
from tests.api.test_drain import nobody_claims
from tests.api.unlimited import UNLIMITED
from tests.standins.notion import NotionStandin
from tests.standins.notion_faults import Fault, FaultKind
from tests.standins.notion_state import Node
from tests.standins.server import running as standin_running
from tests.waiting import PATIENCE_SECONDS, until

SETTINGS = """
{ viewer { settings {
  defaultProvider defaultModel systemPrompt uiPreferences notion { parentId autoPublish propertyMap } updatedAt
} } }
"""
UPDATE = """
mutation ($input: UpdateSettingsInput!) {
  updateSettings(input: $input) {
    settings { defaultProvider defaultModel systemPrompt uiPreferences notion { parentId autoPublish propertyMap } }
    errors { message code field }
  }
}
"""
CONNECT = """
mutation ($input: ConnectNotionInput!) {
  connectNotion(input: $input) { notion { workspaceName connectedAt } errors { message code field reason } }
}
"""
GENERATE = """
mutation ($input: GenerateContentInput!) {
  generateContent(input: $input) {
    generation {
      id status content
      publication { id status attempts degraded error { message code } page { id pageId parentId title url state } }
    }
    errors { message code field }
  }
}
"""
PUBLISH = """
mutation ($input: PublishInput!) {
  publishToNotion(input: $input) {
    publication { id status page { url } error { message } }
    errors { message code field }
  }
}
"""
CANCEL = """
mutation ($input: IdInput!) {
  cancelGeneration(input: $input) { generation { id status } errors { message code field } }
}
"""
WATCH = """
subscription ($id: ID!) {
  generationEvents(id: $id) {
    __typename
    ... on PublicationChanged { cursor publication { id status page { id title url createdAt lastSyncAt state } } }
  }
}
"""
SOME_PAGE = "https://www.notion.so/Notes-0123456789abcdef0123456789abcdef"
UNCHANGED: dict[str, object] = {
    "defaultProvider": None,
    "defaultModel": None,
    "systemPrompt": None,
    "uiPreferences": {},
    "notion": {"parentId": None, "autoPublish": False, "propertyMap": {}},
}


@asynccontextmanager
async def product_with_notion(
    database_url: str, *, tokens_per_second: float = 2_000.0, **settings: object
) -> AsyncIterator[tuple[Product, NotionStandin, Node]]:
    """The product beside a Notion with one page that is shared with its integration."""
    notion = NotionStandin()
    workspace = notion.add_workspace("Acme")
    parent = notion.add_page("Notes", workspace=workspace)
    async with standin_running(notion) as base_url:
        # At Notion's own pace some tests would wait for their turn.
        config = Config.model_validate({**UNLIMITED, "notion_base_url": base_url, **settings})
        async with product(database_url, config=config, tokens_per_second=tokens_per_second) as running:
            yield running, notion, parent


async def connected(running: Product, notion: NotionStandin, name: str = "ada") -> Person:
    """Somebody whose account is connected to the workspace."""
    person = await running.person(name)
    payload = await person.do(CONNECT, input={"token": notion.memory.workspaces[0].token})
    assert payload["notion"]["workspaceName"] == "Acme"
    return person


async def test_settings_change_by_what_is_given(database_url: str) -> None:
    async with product(database_url) as running:
        ada = await running.person()

        async def update(**change: object) -> dict[str, Any]:
            settings = (await ada.do(UPDATE, input=change))["settings"]
            stored = (await ada.ask(SETTINGS))["viewer"]["settings"]
            assert stored.pop("updatedAt")
            assert stored == settings
            return dict(settings)

        assert await update() == UNCHANGED
        settings = await update(
            defaultProvider="demo",
            defaultModel="demo-writer",
            systemPrompt="Be brief.",
            uiPreferences={"theme": "dark", "list": [1, {"deep": None}], "ü": 1.5},
            notion={"parentId": SOME_PAGE, "autoPublish": True, "propertyMap": {"Status": "Draft"}},
        )
        assert settings["notion"] == {"parentId": SOME_PAGE, "autoPublish": True, "propertyMap": {"Status": "Draft"}}
        assert settings["uiPreferences"] == {"theme": "dark", "list": [1, {"deep": None}], "ü": 1.5}
        assert await update(notion={}) == settings
        assert (await update(notion={"propertyMap": None}))["notion"] == settings["notion"] | {"propertyMap": {}}
        assert (await update(systemPrompt=None))["systemPrompt"] is None
        nothing = dict.fromkeys(UNCHANGED)
        assert await update(**nothing) == UNCHANGED


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"defaultProvider": "nobody"}, ["defaultProvider"]),
        ({"defaultProvider": "demo", "defaultModel": "nothing"}, ["defaultModel"]),
        ({"defaultModel": "demo-writer"}, ["defaultModel"]),
        ({"systemPrompt": " "}, ["systemPrompt"]),
        ({"systemPrompt": "x" * 50_001}, ["systemPrompt"]),
        ({"uiPreferences": {"a": "x" * 65_536}}, ["uiPreferences"]),
        ({"notion": {"autoPublish": True}}, ["notion", "autoPublish"]),
        ({"notion": {"parentId": ""}}, ["notion", "parentId"]),
        ({"notion": {"parentId": "garbage", "autoPublish": True}}, ["notion", "parentId"]),
        (
            {"notion": {"parentId": "https://example.com/Notes-0123456789abcdef0123456789abcdef"}},
            ["notion", "parentId"],
        ),
        ({"notion": {"propertyMap": {"a": "x" * 65_536}}}, ["notion", "propertyMap"]),
    ],
)
async def test_settings_that_are_wrong_change_nothing(
    database_url: str, change: dict[str, Any], field: list[str]
) -> None:
    async with product(database_url) as running:
        ada = await running.person()
        wanted = {"systemPrompt": "Be brief."} | change
        assert await ada.fail(UPDATE, input=wanted) == ("INVALID_INPUT", ["input", *field])
        stored = (await ada.ask(SETTINGS))["viewer"]["settings"]
        assert stored.pop("updatedAt")
        assert stored == UNCHANGED


async def test_that_the_settings_publish_every_answer_is_told_when_they_are_wrong(database_url: str) -> None:
    async with product_with_notion(database_url) as (running, notion, parent):
        ada = await running.person()
        await ada.do(UPDATE, input={"notion": {"parentId": parent.id, "autoPublish": True}})

        async def told() -> tuple[str, str, object]:
            (error,) = (await ada.ask(GENERATE, input={"prompt": "Hello."}))["generateContent"]["errors"]
            return error["code"], error["message"], error["field"]

        settings = "Your settings publish every answer (notion.autoPublish): "
        assert await told() == ("INVALID_INPUT", f"{settings}Connect Notion first, with connectNotion.", None)
        await ada.do(CONNECT, input={"token": notion.memory.workspaces[0].token})
        parent.shared = False
        code, message, field = await told()
        assert (code, field) == ("NOTION_FAILED", None)
        assert message.startswith(settings)


async def test_json_that_is_no_object_or_too_deep_is_refused(database_url: str) -> None:
    async with product(database_url) as running:
        ada = await running.person()
        deep: object = {}
        for _ in range(40):
            deep = {"a": deep}
        for wrong in ([], "{}", 1, deep):
            response = await ada.request(UPDATE, input={"uiPreferences": wrong})
            assert response.json()["errors"][0]["extensions"]["code"] == "INVALID_INPUT"


async def test_defaults_are_used(database_url: str) -> None:
    async with product(database_url) as running:
        ada = await running.person()
        await ada.do(UPDATE, input={"systemPrompt": "Be brief.", "defaultProvider": "demo"})
        query = """mutation ($input: GenerateContentInput!) {
          generateContent(input: $input) { generation { systemPrompt provider { id } } errors { message } }
        }"""
        payload = await ada.do(query, input={"prompt": "Hi"})
        assert payload["generation"] == {"systemPrompt": "Be brief.", "provider": {"id": "demo"}}
        payload = await ada.do(query, input={"prompt": "Hi", "systemPrompt": "Be long."})
        assert payload["generation"]["systemPrompt"] == "Be long."


async def test_connecting_and_disconnecting(database_url: str) -> None:
    query = "{ viewer { notion { workspaceName } } }"
    disconnect = "mutation { disconnectNotion { notion { workspaceName } errors { message code field } } }"
    async with product_with_notion(database_url) as (running, notion, _):
        ada = await running.person()
        assert (await ada.ask(query)) == {"viewer": {"notion": None}}
        assert await ada.fail(disconnect) == ("NOT_FOUND", None)
        assert await ada.fail(CONNECT, input={"token": "two words"}) == ("INVALID_INPUT", ["input", "token"])
        payload = (await ada.ask(CONNECT, input={"token": "ntn_wrong1234567890"}))["connectNotion"]
        assert payload["notion"] is None
        (error,) = payload["errors"]
        assert (error["code"], error["reason"]) == ("NOTION_FAILED", "AUTHENTICATION")
        assert (await ada.ask(query)) == {"viewer": {"notion": None}}
        await ada.do(CONNECT, input={"token": notion.memory.workspaces[0].token})
        assert (await ada.ask(query)) == {"viewer": {"notion": {"workspaceName": "Acme"}}}
        assert (await ada.do(disconnect))["notion"] is None
        assert (await ada.ask(query)) == {"viewer": {"notion": None}}


async def test_generate_watch_and_publish(database_url: str) -> None:
    async with product_with_notion(database_url) as (running, notion, parent):
        ada = await connected(running, notion)
        publish = {"parent": notion.address(parent), "title": "The sky"}
        wanted = {"prompt": "Why is the sky blue?", "publish": publish, "wait": True}
        generation = (await ada.do(GENERATE, input=wanted))["generation"]
        assert generation["status"] == "SUCCEEDED"
        publication = generation["publication"]
        assert (publication["status"], publication["attempts"], publication["error"]) == ("PUBLISHED", 1, None)
        page = publication["page"]
        assert (page["title"], page["state"]) == ("The sky", "IN_SYNC")

        (written,) = notion.pages_under(parent)
        assert page["pageId"].replace("-", "") == written.id.replace("-", "")
        blocks = notion.children_tree(written.id)
        kinds = {block["type"] for block in blocks}
        assert {"heading_1", "heading_2", "paragraph", "quote", "code", "table", "numbered_list_item"} <= kinds

        for node_id in (publication["id"], page["id"]):
            found = await ada.ask("query ($id: ID!) { node(id: $id) { __typename id } }", id=node_id)
            assert found["node"]["id"] == node_id
        stranger = await running.person("bob")
        for node_id in (publication["id"], page["id"]):
            assert (await stranger.ask("query ($id: ID!) { node(id: $id) { id } }", id=node_id)) == {"node": None}

        results = await ada.events(WATCH, id=generation["id"])
        events = [each["data"]["generationEvents"] for each in results]
        assert [each["__typename"] for each in events][-2:] == ["GenerationFinished", "PublicationChanged"]
        assert events[-1]["publication"]["page"]["url"] == page["url"]
        assert await ada.fail(PUBLISH, input={"generationId": generation["id"]}) == (
            "CONFLICT",
            ["input", "generationId"],
        )
        history = "query ($filter: HistoryFilter) { viewer { history(filter: $filter) { totalCount } } }"
        for is_published, count in ((True, 1), (False, 0)):
            data = await ada.ask(history, filter={"published": is_published})
            assert data["viewer"]["history"]["totalCount"] == count


async def test_publish_an_existing_answer_into_a_database(database_url: str) -> None:
    async with product_with_notion(database_url) as (running, notion, parent):
        database = notion.add_database("Answers", {"Name": "title", "Topic": "rich_text"}, parent=parent)
        ada = await connected(running, notion)
        generation = (await ada.do(GENERATE, input={"prompt": "Why is the sky blue?", "wait": True}))["generation"]
        assert generation["publication"] is None
        source = notion.data_source(database)
        options: dict[str, Any] = {"parent": source.id, "properties": {"Topic": "Physics"}}

        wrong = {"generationId": generation["id"], "publish": options | {"properties": {"Nonsense": "x"}}}
        assert await ada.fail(PUBLISH, input=wrong) == (
            "INVALID_INPUT",
            ["input", "publish", "properties", "Nonsense"],
        )
        missing = {"generationId": generation["id"]}
        assert await ada.fail(PUBLISH, input=missing) == ("INVALID_INPUT", ["input", "publish", "parent"])
        assert notion.pages_under(source) == []

        payload = await ada.do(PUBLISH, input={"generationId": generation["id"], "publish": options})
        assert payload["publication"]["status"] in ("PENDING", "PUBLISHING")
        results = await ada.events(WATCH, id=generation["id"])
        publication = results[-1]["data"]["generationEvents"]["publication"]
        assert publication["status"] == "PUBLISHED"
        assert publication["id"] == payload["publication"]["id"]
        (written,) = notion.pages_under(source)
        assert written.parent is source


async def test_publishing_where_it_cannot_be(database_url: str) -> None:
    async with product_with_notion(database_url) as (running, notion, _):
        hidden = notion.add_page("Secret", shared=False)
        ada, bob = await connected(running, notion), await running.person("bob")
        generation = (await ada.do(GENERATE, input={"prompt": "Hi", "wait": True}))["generation"]
        wanted = {"generationId": generation["id"], "publish": {"parent": notion.address(hidden)}}
        code, _ = await ada.fail(PUBLISH, input=wanted)
        assert code == "NOTION_FAILED"
        assert await bob.fail(PUBLISH, input=wanted) == ("NOT_FOUND", ["input", "generationId"])
        code, _ = await ada.fail(GENERATE, input={"prompt": "Hi", "publish": wanted["publish"]})
        assert code == "NOTION_FAILED"
        data = await ada.ask("{ viewer { history { totalCount } } }")
        assert data["viewer"]["history"]["totalCount"] == 1


async def test_keys_are_added_listed_found_and_removed(database_url: str) -> None:
    add = """mutation ($input: AddApiKeyInput!) {
      addApiKey(input: $input) {
        apiKey { id hint isActive expiresAt lastUsedAt provider { id } } errors { message code field }
      }
    }"""
    remove = (
        "mutation ($input: IdInput!) { removeApiKey(input: $input) { apiKeys { id } errors { message code field } } }"
    )
    async with product(database_url) as running:
        ada, bob = await running.person("ada"), await running.person("bob")
        key = {"provider": "openai", "key": "sk-test-1234567890", "expiresAt": "2100-01-01T01:00:00+01:00"}
        response = await ada.request(add, input=key)
        assert "sk-test" not in response.text
        added = response.json()["data"]["addApiKey"]["apiKey"]
        assert (added["hint"], added["expiresAt"], added["lastUsedAt"]) == ("7890", "2100-01-01T00:00:00Z", None)
        data = await ada.ask("query ($id: ID!) { viewer { apiKeys { id } } node(id: $id) { id } }", id=added["id"])
        assert data == {"viewer": {"apiKeys": [{"id": added["id"]}]}, "node": {"id": added["id"]}}
        assert (await bob.ask("query ($id: ID!) { node(id: $id) { id } }", id=added["id"])) == {"node": None}
        assert await bob.fail(remove, input={"id": added["id"]}) == ("NOT_FOUND", ["input", "id"])
        for change, field in (
            ({"provider": "nobody"}, "provider"),
            ({"provider": "demo"}, "provider"),
            ({"key": "short"}, "key"),
            ({"key": "two words 1234567890"}, "key"),
            ({"expiresAt": "2000-01-01T00:00:00Z"}, "expiresAt"),
        ):
            assert await ada.fail(add, input=key | change) == ("INVALID_INPUT", ["input", field])
        assert (await ada.do(remove, input={"id": added["id"]}))["apiKeys"] == []
        assert await ada.fail(remove, input={"id": added["id"]}) == ("NOT_FOUND", ["input", "id"])


async def test_cancelling_a_complete_answer_leaves_its_publication_alone(database_url: str) -> None:
    async with product_with_notion(database_url) as (running, notion, parent):
        ada = await connected(running, notion)
        notion.enqueue(Fault(kind=FaultKind.RATE_LIMITED, method="POST", path="/v1/pages", retry_after_seconds=600))
        generation = {"prompt": "Bees", "publish": {"parent": notion.address(parent)}}
        started = (await ada.do(GENERATE, input=generation))["generation"]
        await waiting_for_notion(ada, started["id"])
        statuses: list[str] = []
        async with ada.socket() as ws:
            await ws.subscribe("1", WATCH, variables={"id": started["id"]})
            while (message := await ws.receive())["type"] == "next":
                event = message["payload"]["data"]["generationEvents"]
                if event["__typename"] == "PublicationChanged":
                    statuses.append(event["publication"]["status"])
                    cancelled = (await ada.do(CANCEL, input={"id": started["id"]}))["generation"]
                    assert cancelled["status"] == "SUCCEEDED"
                    if len(statuses) == 1:
                        await let_wait_end(database_url)
        assert len(statuses) > 1
        assert statuses[-1] == "PUBLISHED"


async def let_wait_end(database_url: str) -> None:
    """As if the time had passed for which Notion has asked to be left alone."""
    connection = await asyncpg.connect(database_url.replace("postgresql+asyncpg", "postgresql"))
    await connection.execute("DELETE FROM notion_paces")
    await connection.execute("UPDATE publications SET next_attempt_at = now()")
    await connection.close()


async def test_a_cancelled_answer_cannot_be_published(database_url: str) -> None:
    async with product_with_notion(database_url, tokens_per_second=1) as (running, notion, parent):
        ada = await connected(running, notion)
        place = {"parent": notion.address(parent)}
        started = (await ada.do(GENERATE, input={"prompt": "Bees", "publish": place}))["generation"]
        await ada.do(CANCEL, input={"id": started["id"]})
        await ada.events(WATCH, id=started["id"])  # to the end
        wanted = {"generationId": started["id"], "publish": place}
        assert await ada.fail(PUBLISH, input=wanted) == ("CONFLICT", ["input", "generationId"])
        data = await ada.ask("{ viewer { history { nodes { status publication { status } } } } }")
        (node,) = data["viewer"]["history"]["nodes"]
        assert (node["status"], node["publication"]["status"]) == ("CANCELLED", "FAILED")


async def test_an_answer_cancelled_while_notion_is_asked_is_not_published(database_url: str) -> None:
    async with product_with_notion(database_url, tokens_per_second=1) as (running, notion, parent):
        ada = await connected(running, notion)
        released = threading.Event()
        notion.enqueue(Fault(kind=FaultKind.DELAYED, released=released))
        started = (await ada.do(GENERATE, input={"prompt": "Bees"}))["generation"]
        wanted = {"generationId": started["id"], "publish": {"parent": notion.address(parent)}}
        async with asyncio.TaskGroup() as group:
            publishing = group.create_task(ada.fail(PUBLISH, input=wanted))
            await until(lambda: not notion.waiting_faults)
            await ada.do(CANCEL, input={"id": started["id"]})
            await ada.events(WATCH, id=started["id"])  # to the end
            released.set()
        assert publishing.result() == ("CONFLICT", ["input", "generationId"])
        (node,) = (await ada.ask("{ viewer { history { nodes { publication { id } } } } }"))["viewer"]["history"][
            "nodes"
        ]
        assert node["publication"] is None


WAITING = """
query ($id: ID!) {
  generation(id: $id) { publication { status attempts waitingUntil error { message reason retryAfterSeconds } } }
}
"""


async def waiting_for_notion(person: Person, generation_id: str) -> dict[str, Any]:
    """The publication, once Notion has asked to be left alone for a while."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            publication = (await person.ask(WAITING, id=generation_id))["generation"]["publication"]
            if publication["waitingUntil"] is not None:
                return dict(publication)
            await asyncio.sleep(0.05)


async def test_what_waits_for_notion_says_until_when_and_asks_nothing_meanwhile(database_url: str) -> None:
    async with product_with_notion(database_url) as (running, notion, parent):
        ada = await connected(running, notion)
        other = notion.add_page("Other place")

        async def asked(place: Node) -> dict[str, Any]:
            input_ = {"prompt": "Say it.", "publish": {"parent": place.id}}
            return dict((await ada.do(GENERATE, input=input_))["generation"])

        async with nobody_claims(database_url):
            first, second = await asked(parent), await asked(other)
            notion.enqueue(
                *(Fault(kind=FaultKind.RATE_LIMITED, retry_after_seconds=600, method="POST", path="/v1/pages"),) * 2
            )
        publications = [await waiting_for_notion(ada, each["id"]) for each in (first, second)]
        asked_for = len(notion.requests)
        for publication in publications:
            assert publication["status"] == "PENDING"
            assert publication["error"]["reason"] == "RATE_LIMITED"
            assert 500 < publication["error"]["retryAfterSeconds"] <= 600
        # A person is told as well, and at once.
        payload = await ada.do(PUBLISH, input={"generationId": first["id"], "publish": {"parent": parent.id}})
        assert payload["publication"]["status"] == "PENDING"
        refused = await ada.ask(GENERATE, input={"prompt": "More", "publish": {"parent": parent.id}})
        assert [error["code"] for error in refused["generateContent"]["errors"]] == ["NOTION_FAILED"]
        assert len(notion.requests) == asked_for


async def test_what_has_made_nothing_can_be_asked_for_elsewhere(database_url: str) -> None:
    async with product_with_notion(database_url) as (running, notion, parent):
        ada = await connected(running, notion)
        other = notion.add_page("Other place")
        async with nobody_claims(database_url):
            asked = {"prompt": "Bees", "publish": {"parent": parent.id, "title": "Bees"}}
            generation_id = (await ada.do(GENERATE, input=asked))["generation"]["id"]
            parent.shared = False
        failed = (await ada.events(WATCH, id=generation_id))[-1]["data"]["generationEvents"]["publication"]
        assert failed["status"] == "FAILED"

        again = {"generationId": generation_id, "publish": {"title": "Wasps"}}
        assert await ada.fail(PUBLISH, input=again) == ("NOTION_FAILED", ["input", "publish", "parent"])
        again["publish"] = {"parent": notion.address(other), "title": "Wasps"}
        assert (await ada.do(PUBLISH, input=again))["publication"]["id"] == failed["id"]
        published = (await ada.events(WATCH, id=generation_id))[-1]["data"]["generationEvents"]["publication"]
        assert (published["status"], published["page"]["title"]) == ("PUBLISHED", "Wasps")
        assert (notion.pages_under(parent), len(notion.pages_under(other))) == ([], 1)
