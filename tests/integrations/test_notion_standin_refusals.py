"""The stand-in for Notion refuses what Notion refuses, in its words, and fails as it is told to."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.standins.notion import NotionStandin
from tests.standins.notion_errors import JSON
from tests.standins.notion_faults import Fault, FaultKind
from tests.standins.notion_probe import DATA, EVERY_BLOCK, TEXT, NotionProbe, paragraph
from tests.standins.notion_schema import NEWEST_VERSION
from tests.standins.notion_state import Workspace
from tests.standins.server import running
from tests.waiting import until

_REFUSALS: JSON = json.loads((DATA / "notion_refusals.json").read_text(encoding="utf-8"))
_MESSAGES: dict[str, str] = _REFUSALS["messages"]


@pytest.fixture
async def api() -> AsyncIterator[NotionProbe]:
    standin = NotionStandin()
    async with running(standin) as base_url, httpx.AsyncClient() as http:
        yield NotionProbe(standin, base_url, http)


def _deep(levels: int) -> JSON:
    block: JSON = {"object": "block", "type": "bulleted_list_item", "bulleted_list_item": {"rich_text": TEXT}}
    if levels > 1:
        block["bulleted_list_item"]["children"] = [_deep(levels - 1)]
    return block


_LINKED: JSON = {"paragraph": {"rich_text": [{"text": {"content": "x", "link": {"url": "mailto:a@example.com"}}}]}}
_RAGGED: JSON = {
    "table": {"table_width": 2, "children": [{"table_row": {"cells": [[], []]}}, {"table_row": {"cells": [[]]}}]}
}


@pytest.mark.parametrize(
    ("known", "children", "put_right"),
    [
        ("text_too_long", [*[paragraph("x")] * 4, paragraph("x" * 3924)], {}),
        ("too_many_children", [paragraph("x")] * 131, {}),
        ("too_deep", [*[paragraph("x")] * 93, _deep(4)], {}),
        ("bad_link", [_LINKED], {}),
        ("bad_image", [{"image": {"external": {"url": "data:image/png;base64,AAAA"}}}], {}),
        ("ragged_table", [_RAGGED], {}),
        ("bad_language", [{"code": {"rich_text": [], "language": "kql"}}], {"[N]": "[0]"}),
    ],
)
async def test_refuses_content_in_notions_words(
    api: NotionProbe, known: str, children: list[JSON], put_right: dict[str, str]
) -> None:
    page = api.standin.add_page()
    expected = _MESSAGES[known]
    for said, meant in put_right.items():
        expected = "body failed validation: " + expected.replace(said, meant)

    assert await api.refusal("PATCH", f"/v1/blocks/{page.id}/children", {"children": children}) == expected
    body = {"parent": {"page_id": page.id}, "properties": {"title": TEXT}, "children": children}
    assert await api.refusal("POST", "/v1/pages", body) == expected


@pytest.mark.parametrize(
    "children",
    [
        pytest.param([paragraph("😀" * 1001)], id="2000 characters are UTF-16 units"),
        pytest.param([{"equation": {"expression": "x" * 1001}}], id="equation"),
        pytest.param([{"paragraph": {"rich_text": [{"equation": {"expression": "x" * 1001}}]}}], id="inline equation"),
        pytest.param([{"paragraph": {"rich_text": TEXT * 101}}], id="rich text items"),
        pytest.param([paragraph("x", children=[paragraph("y")] * 101)], id="children"),
        pytest.param([paragraph("x", children=[paragraph("y")] * 99)] * 11, id="1000 blocks a request"),
        pytest.param([paragraph("x" * 1990)] * 100 * 3, id="500 KB a request"),
        pytest.param([{"bookmark": {"url": "https://example.com/" + "x" * 2000}}], id="url"),
        *(
            pytest.param([{"bookmark": {"url": f"https://{host}/"}}], id=host)
            for host in ("a.example:65536", "256.1.1.1", "1.2.3.4.5", "a.0xg.0x", "[1:2]", "xn--a-.example")
        ),
        pytest.param([{"table": {"table_width": 1, "children": []}}], id="a table without rows"),
        pytest.param([{"column_list": {"children": [{"column": {"children": []}}]}}], id="one column"),
        pytest.param([paragraph("x", children=[EVERY_BLOCK[-1]])], id="columns below the top"),
        pytest.param([{"table_row": {"cells": [[]]}}], id="a row outside a table"),
        pytest.param([paragraph("x", children=[paragraph("y", children=[EVERY_BLOCK[-2]])])], id="a table too deep"),
        pytest.param([{"paragraph": {"rich_text": TEXT, "colour": "red"}}], id="unknown key"),
        pytest.param([{"heading_5": {"rich_text": TEXT}}], id="unknown block"),
        pytest.param([{"code": {"rich_text": TEXT}}], id="code without language"),
        pytest.param(
            [{"paragraph": {"rich_text": [{**TEXT[0], "annotations": {"blink": True}}]}}], id="unknown annotation"
        ),
    ],
)
async def test_refuses_content_beyond_the_limits(api: NotionProbe, children: list[JSON]) -> None:
    page = api.standin.add_page()
    await api.refusal("PATCH", f"/v1/blocks/{page.id}/children", {"children": children})
    assert api.standin.children_tree(page.id) == []


@pytest.mark.parametrize(
    "children",
    [
        pytest.param([paragraph("😀" * 1000), *[paragraph("x" * 2000)] * 99], id="full texts, full array"),
        pytest.param([_deep(3)], id="three levels"),
        pytest.param([paragraph("x", children=[EVERY_BLOCK[-2]])], id="a table one level down"),
        pytest.param([paragraph("x", children=[paragraph("y")] * 99)] * 10, id="1000 blocks"),
        pytest.param(EVERY_BLOCK, id="every block"),
    ],
)
async def test_takes_content_at_the_limits(api: NotionProbe, children: list[JSON]) -> None:
    page = api.standin.add_page()
    response = await api.send("PATCH", f"/v1/blocks/{page.id}/children", {"children": children})
    assert response.status_code == 200, response.text
    assert len(response.json()["results"]) == len(api.standin.children_tree(page.id)) == len(children)


async def test_refuses_requests_in_notions_words(api: NotionProbe) -> None:
    page = api.standin.add_page()
    source = api.standin.data_source(api.standin.add_database(properties={"Name": "title", "Kind": "select"}))
    children, block = f"/v1/blocks/{page.id}/children", api.standin.memory
    (heading,) = block.add_blocks(page, [{"heading_1": {"rich_text": TEXT}}], by=api.workspace.bot_id)
    row: JSON = {"parent": {"data_source_id": source.id}}
    patch = f"/v1/blocks/{heading.id}"

    said = {
        "missing": await api.refusal("PATCH", children, {}),
        "unknown_key": await api.refusal("PATCH", children, {"children": [], "colour": "red"}),
        "bad_uuid": await api.refusal("GET", "/v1/pages/not-an-id"),
        "unknown_property": await api.refusal("POST", "/v1/pages", {**row, "properties": {"Colour": {"number": 1}}}),
        "filter_unknown": await api.refusal(
            "POST",
            f"/v1/data_sources/{source.id}/query",
            {"filter": {"property": "Colour", "rich_text": {"equals": "x"}}},
        ),
        "type_change": await api.refusal("PATCH", patch, {"paragraph": {"rich_text": TEXT}}),
        "select_comma": await api.refusal(
            "POST", "/v1/pages", {**row, "properties": {"Kind": {"select": {"name": "High, really"}}}}
        ),
        "cursor_children": await api.refusal("GET", f"{children}?start_cursor=bogus"),
        "cursor_other": await api.refusal("POST", "/v1/search", {"start_cursor": "bogus"}),
        "page_size": await api.refusal("GET", f"{children}?page_size=101"),
        "missing_version": await api.refusal("GET", children, version=None),
        "invalid_url": await api.refusal("GET", "/v1/nothing"),
    }
    heading.in_trash = True
    said["trashed"] = await api.refusal("PATCH", patch, {"heading_1": {"rich_text": TEXT}})
    assert said == {known: _MESSAGES[known] for known in said}


async def test_refuses_what_is_not_json_and_what_the_connection_may_not(api: NotionProbe) -> None:
    page = api.standin.add_page()
    headers = {"Authorization": f"Bearer {api.workspace.token}", "Notion-Version": NEWEST_VERSION}
    async with httpx.AsyncClient() as http:
        broken = await http.post(f"{api.base_url}/v1/search", content=b"{", headers=headers)
    api.workspace.can_insert = False
    forbidden = await api.send("PATCH", f"/v1/blocks/{page.id}/children", {"children": []})
    assert (broken.status_code, broken.json()["code"]) == (400, "invalid_json")
    assert broken.json()["message"] == _MESSAGES["invalid_json"]
    assert (forbidden.status_code, forbidden.json()["code"]) == (403, "restricted_resource")
    assert forbidden.json()["message"] == _MESSAGES["no_capability"]


async def test_says_nothing_of_what_is_not_shared(api: NotionProbe) -> None:
    hidden = api.standin.add_page("Hidden", shared=False)
    below = api.standin.add_page("Below", parent=hidden, shared=False)
    other = api.standin.add_page(workspace=api.standin.add_workspace("Other"))
    shared = api.standin.add_page("Shared", parent=hidden)
    for node in (hidden, below, other):
        response = await api.send("GET", f"/v1/pages/{node.id}")
        assert response.status_code == 404
        assert response.json()["message"].startswith(f"Could not find page with ID: {node.id}. Make sure the relevant")
    assert (await api.send("GET", f"/v1/pages/{shared.id}")).status_code == 200
    assert [page["id"] for page in (await api.send("POST", "/v1/search", {})).json()["results"]] == [shared.id]


async def test_tells_pages_and_databases_apart(api: NotionProbe) -> None:
    page, database = api.standin.add_page(), api.standin.add_database()
    as_page = await api.refusal("GET", f"/v1/pages/{database.id}")
    as_database = await api.refusal("GET", f"/v1/databases/{page.id}")
    assert as_page == f"Provided ID {database.id} is a database, not a page. Use the retrieve database API instead."
    assert as_database == (
        f"Provided database_id {page.id} is a page, not a database. Use the pages API instead, or pass the ID of the "
        "database itself."
    )
    api.standin.add_data_source(database, "Second")
    body = {"parent": {"database_id": database.id}, "properties": {"Name": {"title": TEXT}}}
    answer = (await api.send("POST", "/v1/pages", body)).json()
    assert answer["message"] == _REFUSALS["multi_source_database_400"]["message"]
    assert answer["additional_data"].keys() == _REFUSALS["multi_source_database_400"]["additional_data"].keys()


# Failures.

_STATUSES = {
    FaultKind.RATE_LIMITED: 429,
    FaultKind.BLOCKED: 429,
    FaultKind.CONFLICT: 409,
    FaultKind.INTERNAL: 500,
    FaultKind.BAD_GATEWAY: 502,
    FaultKind.UNAVAILABLE: 503,
    FaultKind.GATEWAY_TIMEOUT: 504,
    FaultKind.OVERLOADED: 529,
    FaultKind.GARBLED: 200,
}


@pytest.mark.parametrize("applied", [False, True])
@pytest.mark.parametrize("kind", FaultKind)
async def test_fails_as_ordered(api: NotionProbe, kind: FaultKind, applied: bool) -> None:
    page = api.standin.add_page()
    uri = f"/v1/blocks/{page.id}/children"
    api.standin.enqueue(Fault(kind=kind, method="PATCH", path="/v1/blocks/*/children", applied=applied))
    assert (await api.send("GET", uri)).status_code == 200
    request = api.send("PATCH", uri, {"children": [paragraph("x")]})
    if kind in (FaultKind.LOST, FaultKind.TRUNCATED):
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
            await request
    else:
        assert (await request).status_code == _STATUSES.get(kind, 200)
    assert len(api.standin.children_tree(page.id)) == (1 if applied or kind is FaultKind.DELAYED else 0)
    assert api.standin.waiting_faults == ()
    assert (await api.send("GET", uri)).status_code == 200


@pytest.mark.parametrize("kind", [FaultKind.LOST, FaultKind.DELAYED])
async def test_goes_on_when_its_client_has_gone_if_that_is_ordered(api: NotionProbe, kind: FaultKind) -> None:
    page = api.standin.add_page()
    released = threading.Event()
    api.standin.enqueue(Fault(kind=kind, method="PATCH", released=released, outlives_client=True))
    sent = asyncio.create_task(api.send("PATCH", f"/v1/blocks/{page.id}/children", {"children": [paragraph("x")]}))
    await until(lambda: api.standin.waiting_faults == ())
    sent.cancel()
    await asyncio.gather(sent, return_exceptions=True)
    assert api.standin.children_tree(page.id) == []
    released.set()
    await until(lambda: len(api.standin.children_tree(page.id)) == 1)


async def test_says_what_a_503_has_saved(api: NotionProbe) -> None:
    page = api.standin.add_page()
    api.standin.enqueue(*[Fault(kind=FaultKind.UNAVAILABLE, applied=True)] * 2)
    body = {"parent": {"page_id": page.id}, "properties": {"title": TEXT}}
    created = (await api.send("POST", "/v1/pages", body)).json()
    (made,) = api.standin.pages_under(page)
    appended = (await api.send("PATCH", f"/v1/blocks/{made.id}/children", {"children": [paragraph("x")] * 2})).json()
    expected = _REFUSALS["write_saved_503"]
    assert {key: created[key] for key in ("status", "code", "message")} == {
        key: expected[key] for key in ("status", "code", "message")
    }
    assert created["additional_data"] == expected["additional_data"] | {"committed_resource_id": made.id}
    assert appended["additional_data"]["committed_resource_id"] == made.id
    assert appended["additional_data"]["committed_child_ids"] == [block.id for block in made.children]


async def test_keeps_the_rate_limit() -> None:
    standin = NotionStandin(requests_per_minute=3)
    workspace: Workspace = standin.add_workspace()
    headers = {"Authorization": f"Bearer {workspace.token}", "Notion-Version": NEWEST_VERSION}
    async with running(standin) as base_url, httpx.AsyncClient(base_url=base_url, headers=headers) as http:
        statuses = [(await http.get("/v1/users/me")).status_code for _ in range(3)]
        refused = await http.get("/v1/users/me")
    assert statuses == [200, 200, 200]
    shape = _REFUSALS["rate_limited_429"]
    assert (refused.status_code, refused.json()["code"]) == (shape["status"], shape["code"])
    assert refused.json()["additional_data"].keys() == shape["additional_data"].keys()
    assert 1 <= int(refused.headers["Retry-After"]) <= 60


async def test_draws_the_same_failures_from_the_same_seed() -> None:
    async def statuses(seed: int) -> list[int]:
        standin = NotionStandin()
        headers = {"Authorization": f"Bearer {standin.add_workspace().token}", "Notion-Version": NEWEST_VERSION}
        standin.draw_faults((0.3, Fault(kind=FaultKind.CONFLICT)), (0.3, Fault(kind=FaultKind.INTERNAL)), seed=seed)
        async with running(standin) as base_url, httpx.AsyncClient(base_url=base_url, headers=headers) as http:
            return [(await http.get("/v1/users/me")).status_code for _ in range(15)]

    first = await statuses(1)
    assert first == await statuses(1) != await statuses(2)
    assert set(first) == {200, 409, 500}
