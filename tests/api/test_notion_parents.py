"""Where pages can go: listing, searching and looking up what a connection to Notion can see."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from tests.api.assistant import CONNECT, at_work, outside
from tests.api.product import Person, Product
from tests.standins.notion import NotionStandin
from tests.standins.notion_faults import Fault, FaultKind

PARENTS = """
query ($search: String, $kind: NotionParentKind, $first: Int, $after: String, $refresh: Boolean! = false) {
  viewer { notion { parents(search: $search, kind: $kind, first: $first, after: $after, refresh: $refresh) {
    edges { cursor }
    nodes { id kind title url icon properties { name type isWritable options } }
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
    listedAt
  } } }
}
"""
PARENT = """
query ($reference: String!) {
  viewer { notion { parent(reference: $reference) { id kind title url properties { name } } } }
}
"""
SEARCH = "/v1/search"


@asynccontextmanager
async def world(database_url: str) -> AsyncIterator[tuple[Product, NotionStandin]]:
    async with outside() as around, at_work(database_url, around) as running:
        around.notion.add_workspace("Acme")
        yield running, around.notion


async def connected(running: Product, notion: NotionStandin, name: str = "ada", *, workspace: int = 0) -> Person:
    person = await running.person(name)
    await person.do(CONNECT, input={"token": notion.memory.workspaces[workspace].token})
    return person


async def listed(person: Person, **arguments: object) -> dict[str, Any]:
    return dict((await person.ask(PARENTS, **arguments))["viewer"]["notion"]["parents"])


def titles(listing: dict[str, Any]) -> list[str]:
    return [node["title"] for node in listing["nodes"]]


def asked(notion: NotionStandin, path: str = SEARCH) -> int:
    return sum(request.path == path for request in notion.requests)


async def test_pages_and_data_sources_are_listed_with_their_properties(database_url: str) -> None:
    async with world(database_url) as (running, notion):
        page = notion.add_page("Inbox")
        page.icon = {"type": "emoji", "emoji": "📥"}
        database = notion.add_database(
            "Answers",
            {"Name": "title", "Tags": {"multi_select": ["a", "b"]}, "State": {"status": ["Open"]}, "Sum": "formula"},
        )
        notion.add_page("Hidden", shared=False)
        notion.add_page("Gone").in_trash = True
        ada = await connected(running, notion)
        listing = await listed(ada)
        assert listing["nodes"] == [
            {
                "id": notion.data_source(database).id,
                "kind": "DATA_SOURCE",
                "title": "Answers",
                "url": notion.address(database),
                "icon": None,
                "properties": [
                    {"name": "Name", "type": "title", "isWritable": True, "options": []},
                    {"name": "Tags", "type": "multi_select", "isWritable": True, "options": ["a", "b"]},
                    {"name": "State", "type": "status", "isWritable": True, "options": ["Open"]},
                    {"name": "Sum", "type": "formula", "isWritable": False, "options": []},
                ],
            },
            {
                "id": page.id,
                "kind": "PAGE",
                "title": "Inbox",
                "url": notion.address(page),
                "icon": "📥",
                "properties": [],
            },
        ]
        assert listing["pageInfo"]["hasNextPage"] is False
        assert titles(await listed(ada, kind="PAGE")) == ["Inbox"]
        assert titles(await listed(ada, kind="DATA_SOURCE")) == ["Answers"]
        assert titles(await listed(ada, search=" ans ")) == ["Answers"]
        assert titles(await listed(ada, search="nothing")) == []


async def test_a_long_list_comes_page_by_page_and_notion_is_asked_no_more_than_needed(database_url: str) -> None:
    async with world(database_url) as (running, notion):
        for number in range(230):
            notion.add_page(f"Page {number}")
        ada = await connected(running, notion)
        seen: list[str] = []
        after = None
        requests = []
        while True:
            listing = await listed(ada, first=50, after=after)
            requests.append(asked(notion))
            seen += titles(listing)
            assert listing["pageInfo"]["hasPreviousPage"] is (after is not None)
            assert listing["pageInfo"]["endCursor"] == listing["edges"][-1]["cursor"]
            if not listing["pageInfo"]["hasNextPage"]:
                break
            after = listing["pageInfo"]["endCursor"]
        assert sorted(seen) == sorted(f"Page {number}" for number in range(230))
        assert requests == [1, 2, 2, 3, 3]
        # Many at once wait for one another.
        await asyncio.gather(*(listed(ada, search="Page 1") for _ in range(5)))
        assert asked(notion) == 4


async def test_what_was_told_is_remembered_until_it_is_refreshed(database_url: str) -> None:
    async with world(database_url) as (running, notion):
        notion.add_page("First")
        ada = await connected(running, notion)
        assert titles(await listed(ada)) == ["First"]
        notion.add_page("Second")
        assert titles(await listed(ada)) == ["First"]
        # Search at Notion lags behind; what it has not come across can be named all the same.
        notion.memory.search_lag = timedelta(minutes=5)
        third = notion.add_page("Third")
        found = await ada.ask(PARENT, reference=notion.address(third))
        assert found["viewer"]["notion"]["parent"]["title"] == "Third"
        notion.memory.search_lag = timedelta(0)
        assert titles(await listed(ada, refresh=True)) == ["Third", "Second", "First"]
        # A second connection, to another workspace, sees its own alone, and another person none.
        other = notion.add_workspace("Other")
        notion.add_page("Elsewhere", workspace=other)
        bob = await connected(running, notion, "bob", workspace=1)
        assert titles(await listed(bob)) == ["Elsewhere"]
        await ada.do(CONNECT, input={"token": other.token})
        assert titles(await listed(ada)) == ["Elsewhere"]
        carol = await running.person("carol")
        assert await carol.ask(PARENTS) == {"viewer": {"notion": None}}


async def test_whatever_names_a_place_is_understood(database_url: str) -> None:
    async with world(database_url) as (running, notion):
        page = notion.add_page("Inbox")
        one = notion.add_database("One")
        several = notion.add_database("Several")
        archive = notion.add_data_source(several, "Archive")
        hidden = notion.add_page("Hidden", shared=False)
        ada = await connected(running, notion)
        page_id, view = page.id.replace("-", ""), "393abc1eedcd80f3813be205934558c7"
        for reference in (
            page.id,
            page_id,
            f"https://app.notion.com/p/Inbox-{page_id}",
            f"https://www.notion.so/acme/Inbox-{page_id}?pvs=4#{view}",
            f"https://notion.so/{page_id}",
            f"https://acme.notion.site/Inbox-{page_id}",
            f"https://www.notion.so/{one.id.replace('-', '')}?v={view}&p={page_id}&pm=s",
        ):
            found = (await ada.ask(PARENT, reference=reference))["viewer"]["notion"]["parent"]
            assert (found["id"], found["kind"], found["properties"]) == (page.id, "PAGE", [])
        source = notion.data_source(one)
        for reference in (one.id, source.id, notion.address(one), f"{notion.address(one)}?v={view}"):
            found = (await ada.ask(PARENT, reference=reference))["viewer"]["notion"]["parent"]
            assert (found["id"], found["kind"]) == (source.id, "DATA_SOURCE")
        refused = await ada.request(PARENT, reference=several.id)
        (error,) = refused.json()["errors"]
        assert error["extensions"]["code"] == "INVALID_INPUT"
        for each in (notion.data_source(several), archive):
            assert each.id in error["message"]
        for reference in ("", "inbox", "https://example.com/" + page_id, "https://www.notion.so/", "x" * 3_000):
            assert (await ada.refused(PARENT, reference=reference))["code"] == "INVALID_INPUT"
        for reference in (hidden.id, "393abc1eedcd80f3813be205934558c8"):
            extensions = await ada.refused(PARENT, reference=reference)
            assert (extensions["code"], extensions["reason"]) == ("NOTION_FAILED", "NOT_SHARED")


async def test_wrong_arguments_and_failures_are_told(database_url: str) -> None:
    async with world(database_url) as (running, notion):
        page = notion.add_page("Inbox")
        ada = await connected(running, notion)
        for wrong in ({"first": 0}, {"first": 101}, {"after": "x"}, {"search": " "}, {"search": "x" * 201}):
            extensions = await ada.refused(PARENTS, **wrong)
            assert (extensions["code"], extensions["field"]) == ("INVALID_INPUT", list(wrong))
        assert asked(notion) == 0
        cursor = (await listed(ada))["pageInfo"]["endCursor"]
        page.in_trash = True
        await listed(ada, refresh=True)
        assert (await ada.refused(PARENTS, after=cursor))["field"] == ["after"]
        notion.enqueue(Fault(kind=FaultKind.INTERNAL, path=SEARCH))
        assert (await ada.refused(PARENTS, search="x"))["reason"] == "OVERLOADED"
        assert titles(await listed(ada, search="x")) == []
