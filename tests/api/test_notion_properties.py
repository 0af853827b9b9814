"""What a page's properties say, and the preview that tells beforehand, through the API of the whole product."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.api.assistant import CONNECT, GENERATE, PUBLISH, at_work, everything_in, outside
from tests.api.product import Person, Product
from tests.api.test_attempts import KEYS
from tests.standins.notion import NotionStandin
from tests.standins.notion_faults import Fault, FaultKind
from tests.standins.notion_state import Node
from tests.standins.scenario import Failure, Scenario
from tests.waiting import PATIENCE_SECONDS

SCHEMA: dict[str, Any] = {
    "Name": "title",
    "Model": {"select": ["another"]},
    "Provider": "rich_text",
    "Prompt": "rich_text",
    "Author": "rich_text",
    "Date": "date",
    "External ID": "rich_text",
    "Topic": "multi_select",
    "State": {"status": ["Open"]},
    "Note": "rich_text",
}
PREVIEW = """
query ($generationId: ID!, $publish: PublishOptionsInput) {
  publicationPreview(generationId: $generationId, publish: $publish) {
    parent { id kind } title properties blockCount requestCount degraded
    errors { message code field reason }
  }
}
"""
UPDATE = """
mutation ($input: UpdateSettingsInput!) {
  updateSettings(input: $input) {
    settings { notion { propertyMap createOptions } } errors { message code field }
  }
}
"""
GENERATION = """
query ($id: ID!) { generation(id: $id) { createdAt model { id } publication { status error { message } degraded } } }
"""


ATTEMPTS = """
query ($id: ID!) {
  generation(id: $id) {
    model { id } publication { status page { version { madeBy } } } attempts { provider { id } model { id } }
  }
}
"""


@asynccontextmanager
async def world(database_url: str, **settings: object) -> AsyncIterator[tuple[Product, NotionStandin, Node]]:
    async with outside() as around, at_work(database_url, around, settings) as running:
        around.notion.add_workspace("Acme")
        database = around.notion.add_database("Answers", SCHEMA)
        yield running, around.notion, around.notion.data_source(database)


async def connected(running: Product, notion: NotionStandin) -> Person:
    person = await running.person()
    await person.do(CONNECT, input={"token": notion.memory.workspaces[0].token})
    return person


async def _everything_but_paces(database_url: str) -> dict[str, list[str]]:
    return {table: rows for table, rows in (await everything_in(database_url)).items() if table != "notion_paces"}


async def generated(person: Person, **input_: object) -> str:
    wanted = {"prompt": "Why is the sky blue?\n{model} {{x}}", "wait": True, **input_}
    return str((await person.do(GENERATE, input=wanted))["generation"]["id"])


def values_of(page: Node) -> dict[str, object]:
    """A row's values in plain words."""
    shown: dict[str, object] = {}
    for name, definition in page.schema.items():
        value = page.properties[definition["id"]]
        match definition["type"]:
            case "rich_text":
                shown[name] = "".join(item["plain_text"] for item in value)
            case "select" | "status":
                shown[name] = value and value["name"]
            case "multi_select":
                shown[name] = [option["name"] for option in value]
            case "date":
                shown[name] = value and value["start"]
    return shown


@pytest.mark.parametrize("is_published_later", [False, True])
async def test_a_page_names_the_fallback_that_has_answered(database_url: str, *, is_published_later: bool) -> None:
    settings = {**KEYS, "provider_retries": 0}
    async with outside() as around, at_work(database_url, around, settings) as running:
        around.notion.add_workspace("Acme")
        source = around.notion.data_source(around.notion.add_database("Answers", SCHEMA))
        ada = await connected(running, around.notion)
        around.openai.enqueue(Scenario(failure=Failure.OVERLOADED))
        publish = {"parent": source.id, "properties": {"Note": "{provider}: {model}, {{model}}", "Topic": ["{model}"]}}
        wanted: dict[str, object] = {"provider": "openai", "fallback": [{"provider": "deepseek"}]}
        if is_published_later:
            generation_id = await generated(ada, **wanted)
            await ada.do(PUBLISH, input={"generationId": generation_id, "publish": publish})
        else:
            generation_id = await generated(ada, publish=publish, **wanted)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                found = (await ada.ask(ATTEMPTS, id=generation_id))["generation"]
                if found["publication"]["status"] == "PUBLISHED":
                    break
                await asyncio.sleep(0.05)
        model = found["attempts"][-1]["model"]["id"]
        assert found["attempts"][-1]["provider"]["id"] == "deepseek"
        assert found["publication"]["page"]["version"]["madeBy"] == f"deepseek:{model}"
        assert model != found["model"]["id"]
        (page,) = around.notion.pages_under(source)
        values = values_of(page)
        assert (values["Model"], values["Provider"]) == (model, "DeepSeek")
        assert (values["Note"], values["Topic"]) == (f"DeepSeek: {model}, {{model}}", [model])


async def test_properties_are_filled_in_with_what_is_known_of_the_generation(database_url: str) -> None:
    async with world(database_url) as (running, notion, source):
        ada = await connected(running, notion)
        mapping = {"Note": "By {createdBy}: {title}, not {{title}}", "Topic": ["Physics", "{provider}"], "Author": None}
        settings = {"parentId": source.id, "propertyMap": mapping}
        updated = await ada.do(UPDATE, input={"notion": settings})
        assert updated["settings"]["notion"] == {"propertyMap": mapping, "createOptions": True}
        options = {"title": "The sky", "properties": {"State": "Open"}}
        generation_id = await generated(ada, publish=options)
        generation = (await ada.ask(GENERATION, id=generation_id))["generation"]
        assert generation["publication"]["status"] == "PUBLISHED"
        (page,) = notion.pages_under(source)
        values = values_of(page)
        date = values.pop("Date")
        assert isinstance(date, str)
        assert date[:19] == generation["createdAt"][:19]
        assert values == {
            "Model": generation["model"]["id"],
            "Provider": "Demo (offline, no AI)",
            "Prompt": "Why is the sky blue?\n{model} {{x}}",
            "Author": "",
            "External ID": generation_id,
            # The name of an option has no comma.
            "Topic": ["Physics", "Demo (offline no AI)"],
            "State": "Open",
            "Note": "By ada: The sky, not {title}",
        }
        # Of the settings another parent gets what it has by the same names; a page has no properties.
        inbox = notion.add_page("Inbox")
        other = notion.data_source(notion.add_database("Other", {"Name": "title", "Note": "rich_text"}))
        await generated(ada, publish={"parent": inbox.id})
        await generated(ada, publish={"parent": other.id, "title": "Sky"})
        assert len(notion.pages_under(inbox)) == 1
        assert values_of(notion.pages_under(other)[0]) == {"Note": "By ada: Sky, not {title}"}


async def test_what_does_not_fit_is_refused_by_its_name(database_url: str) -> None:
    async with world(database_url) as (running, notion, source):
        ada = await connected(running, notion)
        path = ["input", "notion", "propertyMap", "Note"]
        wrong = {"notion": {"propertyMap": {"Model": "{model}", "Note": "{modle}"}}}
        assert await ada.fail(UPDATE, input=wrong) == ("INVALID_INPUT", path)
        before = await _everything_but_paces(database_url)
        for properties, name in (
            ({"Nothing": "x"}, "Nothing"),
            ({"Note": 1}, "Note"),
            ({"Note": "{nothing}"}, "Note"),
            ({"Date": "{model}"}, "Date"),
            ({"Model": "{prompt}, {prompt}"}, "Model"),
            ({"State": "Closed"}, "State"),
        ):
            publish: dict[str, object] = {"parent": source.id, "properties": properties}
            refused = await ada.fail(GENERATE, input={"prompt": "Hi", "publish": publish})
            assert refused == ("INVALID_INPUT", ["input", "publish", "properties", name])
        publish = {"parent": source.id, "createOptions": False, "properties": {"Topic": ["new"]}}
        refused = await ada.fail(GENERATE, input={"prompt": "Hi", "publish": publish})
        assert refused == ("INVALID_INPUT", ["input", "publish", "properties", "Topic"])
        assert await _everything_but_paces(database_url) == before
        # What is filled in unasked adds no option then either.
        await ada.do(UPDATE, input={"notion": {"createOptions": False}})
        await generated(ada, publish={"parent": source.id})
        assert values_of(notion.pages_under(source)[0])["Model"] is None
        assert [option["name"] for option in source.properties["Model"]["select"]["options"]] == ["another"]


async def test_an_answer_that_got_lost_is_found_again_by_the_external_id(database_url: str) -> None:
    async with world(database_url, lease_seconds=2) as (running, notion, source):
        ada = await connected(running, notion)
        notion.enqueue(Fault(kind=FaultKind.LOST, method="POST", path="/v1/pages", applied=True))
        generation_id = await generated(ada, publish={"parent": source.id})
        assert (await ada.ask(GENERATION, id=generation_id))["generation"]["publication"]["status"] == "PUBLISHED"
        (page,) = notion.pages_under(source)
        assert values_of(page)["External ID"] == generation_id
        queries = [request.body for request in notion.requests if request.path.endswith("/query")]
        asked = {"property": "External ID", "rich_text": {"equals": generation_id}}
        assert [query["filter"] for query in queries if query is not None] == [asked, asked]


async def test_a_preview_tells_what_publishing_then_does(database_url: str) -> None:
    async with world(database_url) as (running, notion, source):
        ada = await connected(running, notion)
        generation_id = await generated(ada)
        publish = {"parent": notion.address(source.parent or source), "title": "Sky", "properties": {"Topic": ["new"]}}
        before, asked = await _everything_but_paces(database_url), len(notion.requests)
        preview = (await ada.ask(PREVIEW, generationId=generation_id, publish=publish))["publicationPreview"]
        assert await _everything_but_paces(database_url) == before
        assert {request.method for request in notion.requests[asked:]} == {"GET"}
        assert notion.pages_under(source) == []
        assert (preview["parent"], preview["title"]) == ({"id": source.id, "kind": "DATA_SOURCE"}, "Sky")
        assert preview["errors"] == []
        assert preview["properties"]["Topic"] == {"multi_select": [{"name": "new"}]}
        external_id = preview["properties"]["External ID"]["rich_text"]
        assert external_id == [{"type": "text", "text": {"content": generation_id}}]

        asked = len(notion.requests)
        await ada.do(PUBLISH, input={"generationId": generation_id, "publish": publish})
        await ada.events("subscription ($id: ID!) { generationEvents(id: $id) { __typename } }", id=generation_id)
        (page,) = notion.pages_under(source)
        writes = [request for request in notion.requests[asked:] if request.method in ("POST", "PATCH")]
        assert len([request for request in writes if not request.path.endswith("/query")]) == preview["requestCount"]
        assert _count(notion.children_tree(page.id)) == preview["blockCount"]
        publication = (await ada.ask(GENERATION, id=generation_id))["generation"]["publication"]
        assert publication["degraded"] == preview["degraded"]
        assert (await ada.refused(PREVIEW, generationId=generation_id))["code"] == "CONFLICT"


def _count(blocks: list[dict[str, Any]]) -> int:
    return sum(1 + _count(block[block["type"]].get("children", [])) for block in blocks)


async def test_a_preview_tells_all_that_is_wrong(database_url: str) -> None:
    async with world(database_url) as (running, notion, source):
        ada, bob = await connected(running, notion), await running.person("bob")
        generation_id = await generated(ada)

        async def errors(**publish: object) -> list[tuple[str, list[str]]]:
            preview = (await ada.ask(PREVIEW, generationId=generation_id, publish=publish))["publicationPreview"]
            assert preview["blockCount"] > 5
            return [(each["code"], each["field"]) for each in preview["errors"]]

        wrong = {"Note": 1, "State": "Closed", "Nothing": "{x}", "Topic": ["fine"]}
        assert await errors(parent=source.id, title="x" * 201, properties=wrong) == [
            ("INVALID_INPUT", ["publish", "title"]),
            ("INVALID_INPUT", ["publish", "properties", "Note"]),
            ("INVALID_INPUT", ["publish", "properties", "State"]),
            ("INVALID_INPUT", ["publish", "properties", "Nothing"]),
        ]
        assert await errors() == [("INVALID_INPUT", ["publish", "parent"])]
        hidden = notion.add_page("Hidden", shared=False)
        assert await errors(parent=hidden.id) == [("NOTION_FAILED", ["publish", "parent"])]
        for whose in (bob, await running.visitor()):
            extensions = await whose.refused(PREVIEW, generationId=generation_id, publish={"parent": source.id})
            assert extensions["code"] == ("NOT_FOUND" if whose is bob else "UNAUTHENTICATED")
