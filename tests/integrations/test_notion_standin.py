"""The stand-in for Notion is faithful: it answers recorded traffic as Notion did, and serves the real SDK."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from notion_client import AsyncClient

from tests.standins.notion import NotionStandin
from tests.standins.notion_content import stored_icon
from tests.standins.notion_errors import JSON
from tests.standins.notion_probe import DATA, EVERY_BLOCK, TEXT, NotionProbe, paragraph
from tests.standins.notion_schema import NEWEST_VERSION, response_complaints
from tests.standins.notion_state import Node
from tests.standins.server import running

_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_ROOT = "393abc1e-edcd-80f3-813b-e205934558c6"


def _cassettes() -> dict[str, list[JSON]]:
    exchanges: list[JSON] = json.loads((DATA / "notion_samples.json").read_text(encoding="utf-8"))["exchanges"]
    cassettes: dict[str, list[JSON]] = {}
    for exchange in sorted(exchanges, key=lambda known: int(known["name"].partition("#")[2])):
        cassettes.setdefault(exchange["name"].partition("#")[0], []).append(exchange)
    return cassettes


_CASSETTES = _cassettes()


@pytest.fixture
async def api() -> AsyncIterator[NotionProbe]:
    standin = NotionStandin()
    async with running(standin) as base_url, httpx.AsyncClient() as http:
        yield NotionProbe(standin, base_url, http)


# Recorded traffic.


def _normal(value: Any) -> Any:
    """A JSON value with everything that differs from call to call replaced by its form."""
    if isinstance(value, dict):
        return {key: _normal(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_normal(inner) for inner in value]
    if not isinstance(value, str):
        return value
    value = re.sub(_UUID, "<uuid>", value)
    value = re.sub(r"-?[0-9a-f]{32}\b", "<hex>", value)
    value = re.sub(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:00\.000Z$", "<minute>", value)
    return re.sub(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00$", "<moment>", value)


def _learn(recorded: Any, answered: Any, ids: dict[str, str]) -> None:
    """Which id of ours stands for which recorded one."""
    if isinstance(recorded, dict) and isinstance(answered, dict):
        for key in recorded:
            _learn(recorded[key], answered.get(key), ids)
    elif isinstance(recorded, list) and isinstance(answered, list):
        for one, other in zip(recorded, answered, strict=False):
            _learn(one, other, ids)
    elif isinstance(recorded, str) and isinstance(answered, str) and re.fullmatch(_UUID, recorded):
        ids.setdefault(recorded, answered)


def _translated(text: str, ids: dict[str, str]) -> str:
    for recorded, ours in ids.items():
        text = text.replace(recorded, ours).replace(recorded.replace("-", ""), ours.replace("-", ""))
    return text


def _title(said: list[JSON]) -> str:
    return "".join(item["plain_text"] for item in said)


def _page(api: NotionProbe, page_id: str, title: str = "Test", *, parent: Node | None = None) -> Node:
    known = api.standin.memory.nodes.get(page_id)
    return known or api.standin.add_page(title, parent=parent, page_id=page_id)


def _arrange(api: NotionProbe, exchange: JSON, ids: dict[str, str]) -> None:
    """Makes what the recorded request was about, where the recording does not hold the requests that made it."""
    method, uri, body = exchange["request"]["method"], exchange["request"]["uri"], exchange["response"]["body"]
    root = _page(api, _ROOT, "")
    if method == "POST" and uri == "/v1/pages":
        return
    wanted = re.search(_UUID, uri)
    if wanted is not None and body.get("results") == [] and wanted[0] in ids:
        for child in api.standin.memory.nodes[ids[wanted[0]]].children:
            child.in_trash = True
    if wanted is None or wanted[0] in ids:
        return
    if body["object"] == "list" and "query" in uri:
        api.standin.add_database(parent=root, data_source_id=wanted[0])
    elif body["object"] == "list":
        _page(api, wanted[0], parent=root)
    elif body["object"] == "page":
        made = _page(api, body["id"], _title(body["properties"]["title"]["title"]), parent=root)
        made.icon = stored_icon(body["icon"]) if method == "GET" else None
    elif body.get("type") == "child_database":
        api.standin.add_database(body["child_database"]["title"], parent=root, database_id=body["id"])
    elif body.get("type") == "child_page":
        _page(api, body["id"], body["child_page"]["title"], parent=root)
    elif body["object"] == "block":
        parent = _page(api, body["parent"]["page_id"], parent=root)
        kind = body["type"]
        api.standin.memory.add(
            "block",
            workspace=api.workspace,
            parent=parent,
            node_type=kind,
            by=api.workspace.bot_id,
            node_id=body["id"],
            content=body[kind],
        )
    elif body["object"] == "database":
        parent = _page(api, body["parent"]["page_id"], parent=root)
        api.standin.add_database(_title(body["title"]), parent=parent, database_id=body["id"])
    elif body["object"] == "data_source":
        parent = _page(api, body["database_parent"]["page_id"], parent=root)
        database_id = body["parent"]["database_id"]
        database = api.standin.add_database(
            _title(body["title"]), parent=parent, database_id=database_id, data_source_id=body["id"]
        )
        api.standin.data_source(database).icon = body["icon"]


@pytest.mark.parametrize("name", _CASSETTES)
async def test_answers_recorded_requests_as_notion_did(api: NotionProbe, name: str) -> None:
    ids: dict[str, str] = {}
    for exchange in _CASSETTES[name]:
        request, recorded = exchange["request"], exchange["response"]
        _arrange(api, exchange, ids)
        uri = _translated(request["uri"], ids)
        token = None
        if recorded["status"] == 401:
            # Recorded on the list of users, which the stand-in does not have.
            uri, token = "/v1/users/me", "Invalid"
        body = request.get("body")
        said = None if body is None else json.loads(_translated(json.dumps(body), ids))

        response = await api.send(request["method"], uri, said, version=request["version"], token=token)

        answered = response.json()
        expected = recorded["body"]
        if name == "test_async_tasks_retrieve" and request["method"] == "DELETE":
            # Its content came through an endpoint the stand-in does not have.
            expected = expected | {"has_children": False}
        assert response.status_code == recorded["status"]
        assert _normal(answered) == _normal(expected)
        _learn(recorded["body"], answered, ids)


async def test_every_answer_meets_the_openapi(api: NotionProbe) -> None:
    database = api.standin.add_database("Answers", {"Name": "title", "Tags": "multi_select", "When": "date"})
    source = api.standin.data_source(database)
    properties = {
        "Name": {"title": [{"text": {"content": "A row"}}]},
        "Tags": {"multi_select": [{"name": "one"}, {"name": "two"}]},
        "When": {"date": {"start": "2026-07-04"}},
    }
    created = await api.send(
        "POST",
        "/v1/pages",
        {"parent": {"data_source_id": source.id}, "properties": properties, "children": EVERY_BLOCK},
    )
    assert created.status_code == 200, created.text
    page_id = created.json()["id"]
    asked: list[tuple[str, str, str, object]] = [
        ("get", "/v1/users/me", "/v1/users/me", None),
        ("get", "/v1/pages/{page_id}", f"/v1/pages/{page_id}", None),
        ("get", "/v1/blocks/{block_id}", f"/v1/blocks/{page_id}", None),
        ("get", "/v1/blocks/{block_id}/children", f"/v1/blocks/{page_id}/children", None),
        ("patch", "/v1/blocks/{block_id}/children", f"/v1/blocks/{page_id}/children", {"children": EVERY_BLOCK}),
        ("get", "/v1/databases/{database_id}", f"/v1/databases/{database.id}", None),
        ("get", "/v1/data_sources/{data_source_id}", f"/v1/data_sources/{source.id}", None),
        ("post", "/v1/data_sources/{data_source_id}/query", f"/v1/data_sources/{source.id}/query", {}),
        ("get", "/v1/pages/{page_id}/properties/{property_id}", f"/v1/pages/{page_id}/properties/title", None),
        ("post", "/v1/search", "/v1/search", {"query": "row"}),
    ]
    assert response_complaints("post", "/v1/pages", 200, created.json()) == []
    for method, path, uri, body in asked:
        response = await api.send(method.upper(), uri, body)
        assert response.status_code == 200, response.text
        assert response_complaints(method, path, 200, response.json()) == [], uri


# Behaviour.


async def test_pages_through_children_and_rows(api: NotionProbe) -> None:
    page, source = api.standin.add_page(), api.standin.data_source(api.standin.add_database())
    for number in range(5):
        api.standin.add_page(f"Row {number}", parent=source)
    await api.send("PATCH", f"/v1/blocks/{page.id}/children", {"children": [paragraph(str(n)) for n in range(5)]})
    words, cursor = [], ""
    while True:
        listing = (await api.send("GET", f"/v1/blocks/{page.id}/children?page_size=2{cursor}")).json()
        words += [block["paragraph"]["rich_text"][0]["plain_text"] for block in listing["results"]]
        if not listing["has_more"]:
            break
        cursor = f"&start_cursor={listing['next_cursor']}"
    assert words == list("01234")
    first = (await api.send("POST", f"/v1/data_sources/{source.id}/query", {"page_size": 3})).json()
    rest = (
        await api.send("POST", f"/v1/data_sources/{source.id}/query", {"start_cursor": first["next_cursor"]})
    ).json()
    assert (len(first["results"]), len(rest["results"]), rest["next_cursor"]) == (3, 2, None)


async def test_appends_at_a_position(api: NotionProbe) -> None:
    page = api.standin.add_page()
    uri = f"/v1/blocks/{page.id}/children"
    first = (await api.send("PATCH", uri, {"children": [paragraph("b"), paragraph("e")]})).json()["results"][0]["id"]
    await api.send("PATCH", uri, {"children": [paragraph("a")], "position": {"type": "start"}})
    after = {"type": "after_block", "after_block": {"id": first}}
    await api.send("PATCH", uri, {"children": [paragraph("c"), paragraph("d")], "position": after})
    await api.send("PATCH", uri, {"children": [paragraph("x")], "after": first}, version="2025-09-03")
    await api.send("PATCH", uri, {"children": [paragraph("f")]})
    tree = api.standin.children_tree(page.id)
    assert "".join(block["paragraph"]["rich_text"][0]["plain_text"] for block in tree) == "abxcdef"


async def test_checks_properties_against_the_schema(api: NotionProbe) -> None:
    source = api.standin.data_source(
        api.standin.add_database(
            properties={
                "Name": "title",
                "Note": "rich_text",
                "Kind": {"select": ["a"]},
                "State": {"status": ["Done"]},
                "Link": "url",
                "Score": "number",
                "Read": "checkbox",
                "When": "date",
                "By": "created_by",
            }
        )
    )
    parent = {"data_source_id": source.id}
    good = {
        "Name": {"title": TEXT},
        "Note": {"rich_text": TEXT},
        "Kind": {"select": {"name": "new"}},
        "State": {"status": {"name": "Done"}},
        "Link": {"url": "https://example.com/"},
        "Score": {"number": 1.5},
        "Read": {"checkbox": True},
        "When": {"date": {"start": "2026-07-04T10:00:00Z"}},
    }
    answer = (await api.send("POST", "/v1/pages", {"parent": parent, "properties": good})).json()
    assert {name: value["type"] for name, value in answer["properties"].items()} == {
        name: definition["type"] for name, definition in source.properties.items()
    }
    assert answer["properties"]["By"]["created_by"]["id"] == api.workspace.bot_id
    assert answer["parent"]["data_source_id"] == source.id
    bad: list[tuple[str, JSON]] = [
        ("Note is expected to be rich_text.", {"Note": {"number": 1}}),
        ("By is expected to be created_by.", {"By": {"rich_text": TEXT}}),
        ("body.properties.Link.url.length should be ≥ `1`", {"Link": {"url": ""}}),
        ("body.properties.When.date.start should be a valid ISO 8601", {"When": {"date": {"start": "tomorrow"}}}),
        ("Invalid status option.", {"State": {"status": {"name": "Nowhere"}}}),
        ("body.properties.Score.number should be a number", {"Score": {"number": "1"}}),
    ]
    for expected, properties in bad:
        assert expected in await api.refusal("POST", "/v1/pages", {"parent": parent, "properties": properties})
    page = api.standin.add_page()
    body = {"parent": {"page_id": page.id}, "properties": {"title": {"title": TEXT}, "Note": {"rich_text": TEXT}}}
    assert await api.refusal("POST", "/v1/pages", body) == "Note is not a property that exists."


async def test_finds_rows_by_title_in_and_out_of_the_trash(api: NotionProbe) -> None:
    source = api.standin.data_source(api.standin.add_database())
    one, two, gone = (api.standin.add_page(title, parent=source) for title in ("Same", "Other", "Same"))
    gone.in_trash = True
    query: JSON = {"filter": {"property": "title", "title": {"equals": "Same"}}}
    uri = f"/v1/data_sources/{source.id}/query"
    live = (await api.send("POST", uri, query)).json()["results"]
    trashed = (await api.send("POST", uri, {**query, "in_trash": True})).json()["results"]
    assert [row["id"] for row in live] == [one.id]
    assert [(row["id"], row["in_trash"]) for row in trashed] == [(gone.id, True)]
    assert two.id not in {row["id"] for row in live + trashed}


# The real SDK.


async def test_serves_the_real_sdk(api: NotionProbe) -> None:
    page = api.standin.add_page("Inbox")
    client = AsyncClient(
        auth=api.workspace.token, base_url=api.base_url, notion_version=NEWEST_VERSION, retry=False, client=None
    )
    try:
        me = await client.users.me()
        created = await client.pages.create(
            parent={"page_id": page.id}, properties={"title": {"title": TEXT}}, children=[paragraph("one")]
        )
        await client.blocks.children.append(created["id"], children=[paragraph("two", children=[paragraph("in two")])])
        listed = await client.blocks.children.list(created["id"], page_size=100)
    finally:
        await client.aclose()
    assert me["bot"]["workspace_name"] == "notion-sdk-py"
    assert re.fullmatch(r"https://app\.notion\.com/p/words-[0-9a-f]{32}", created["url"])
    assert created["created_by"]["id"] == me["id"]
    assert [block["paragraph"]["rich_text"][0]["plain_text"] for block in listed["results"]] == ["one", "two"]
    assert [block["has_children"] for block in listed["results"]] == [False, True]
    assert [(request.method, request.path) for request in api.standin.requests][-1] == (
        "GET",
        f"/v1/blocks/{created['id']}/children",
    )
