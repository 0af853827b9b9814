"""Publishing where Notion's answer got lost: one page, however late the request takes effect and whoever asked."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import asyncpg

from tests.api.product import Person
from tests.api.test_publishing import CONNECT, PUBLISH, connected, let_wait_end, product_with_notion
from tests.standins.notion import NotionStandin
from tests.standins.notion_faults import Fault, FaultKind
from tests.standins.notion_state import Node
from tests.waiting import until

GENERATE = """
mutation ($input: GenerateContentInput!) {
  generateContent(input: $input) { generation { id } errors { message code field } }
}
"""
STORED = """
query ($id: ID!) { generation(id: $id) { publication {
  status attempts waitingUntil error { code message reason } page { pageId title }
} } }
"""
_LONG = {"notion_settling_seconds": 3_600}


async def _publication(person: Person, generation_id: str, is_so: Callable[[Any], bool]) -> dict[str, Any]:
    """The publication, once it is so."""
    found: dict[str, Any] = {}

    async def asked() -> bool:
        found.update((await person.ask(STORED, id=generation_id))["generation"]["publication"])
        return is_so(found)

    await until(asked)
    return found


def _is_settled(publication: dict[str, Any]) -> bool:
    return publication["status"] not in ("PENDING", "PUBLISHING")


def _is_unsettled(publication: dict[str, Any]) -> bool:
    """Somebody has looked already, and what was sent may still take effect."""
    return publication["waitingUntil"] is not None and "still be at work" in publication["error"]["message"]


async def _asked(person: Person, notion: NotionStandin, parent: Node, prompt: str = "Bees") -> str:
    wanted = {"prompt": prompt, "publish": {"parent": notion.address(parent), "title": "Bees"}}
    return str((await person.do(GENERATE, input=wanted))["generation"]["id"])


async def _change(database_url: str, statement: str) -> None:
    connection = await asyncpg.connect(database_url.replace("postgresql+asyncpg", "postgresql"))
    await connection.execute(statement)
    await connection.close()


def _times_asked_for(notion: NotionStandin) -> int:
    return sum((each.method, each.path) == ("POST", "/v1/pages") for each in notion.requests)


async def test_a_request_that_takes_effect_late_makes_no_second_page(database_url: str) -> None:
    async with product_with_notion(database_url, **_LONG) as (running, notion, parent):
        ada = await connected(running, notion)
        released = threading.Event()
        notion.enqueue(
            Fault(kind=FaultKind.LOST, method="POST", path="/v1/pages", outlives_client=True, released=released)
        )
        generation_id = await _asked(ada, notion, parent)
        waiting = await _publication(ada, generation_id, _is_unsettled)
        assert (waiting["status"], waiting["error"]["reason"]) == ("PENDING", "TIMEOUT")
        assert notion.pages_under(parent) == []

        released.set()
        await until(lambda: bool(notion.pages_under(parent)))
        await let_wait_end(database_url)
        published = await _publication(ada, generation_id, _is_settled)
        assert (published["status"], published["error"]) == ("PUBLISHED", None)
        assert len(notion.pages_under(parent)) == _times_asked_for(notion) == 1


async def test_a_request_that_never_takes_effect_is_repeated_when_it_can_no_more(database_url: str) -> None:
    async with product_with_notion(database_url, **_LONG) as (running, notion, parent):
        ada = await connected(running, notion)
        notion.enqueue(Fault(kind=FaultKind.LOST, method="POST", path="/v1/pages"))
        generation_id = await _asked(ada, notion, parent)
        await _publication(ada, generation_id, _is_unsettled)
        await let_wait_end(database_url)
        await _publication(ada, generation_id, _is_unsettled)
        assert _times_asked_for(notion) == 1

        await _change(database_url, "UPDATE publications SET unsettled_since = now() - interval '2 hours'")
        await let_wait_end(database_url)
        published = await _publication(ada, generation_id, _is_settled)
        assert (published["status"], published["attempts"]) == ("PUBLISHED", 2)
        assert (len(notion.pages_under(parent)), _times_asked_for(notion)) == (1, 2)


async def test_blocks_that_take_effect_late_are_not_written_twice(database_url: str) -> None:
    async with product_with_notion(database_url, **_LONG) as (running, notion, parent):
        ada = await connected(running, notion)
        released = threading.Event()
        append = "/v1/blocks/*/children"
        notion.enqueue(Fault(kind=FaultKind.LOST, method="PATCH", path=append, outlives_client=True, released=released))
        wanted = {"prompt": "Bees", "publish": {"parent": parent.id, "mode": "APPEND"}}
        generation_id = (await ada.do(GENERATE, input=wanted))["generation"]["id"]
        await _publication(ada, generation_id, _is_unsettled)
        assert notion.children_tree(parent.id) == []

        released.set()
        await until(lambda: bool(notion.children_tree(parent.id)))
        written = len(notion.children_tree(parent.id))
        await let_wait_end(database_url)
        assert (await _publication(ada, generation_id, _is_settled))["status"] == "PUBLISHED"
        assert len(notion.children_tree(parent.id)) == written


async def test_what_a_dead_instance_has_just_sent_is_waited_for(database_url: str) -> None:
    released = threading.Event()
    async with product_with_notion(database_url, **_LONG) as (running, notion, parent):
        ada = await connected(running, notion)
        notion.enqueue(
            Fault(kind=FaultKind.DELAYED, method="POST", path="/v1/pages", outlives_client=True, released=released)
        )
        generation_id = await _asked(ada, notion, parent)
        await until(lambda: not notion.waiting_faults)
        # Another process with the fence of this one: as if this one stood still, or were dead.
        await _change(database_url, "UPDATE publications SET lease_until = now() - interval '1 second'")
        await _publication(ada, generation_id, _is_unsettled)

        released.set()
        await until(lambda: bool(notion.pages_under(parent)))
        await let_wait_end(database_url)
        assert (await _publication(ada, generation_id, _is_settled))["status"] == "PUBLISHED"
        assert len(notion.pages_under(parent)) == _times_asked_for(notion) == 1


async def _made_unnoticed(person: Person, notion: NotionStandin, parent: Node) -> tuple[str, threading.Event]:
    """A generation whose page exists, though nobody has been told; nobody looks for it before the event is set."""
    released = threading.Event()
    look = "query" if parent.kind == "data_source" else "children"
    notion.enqueue(
        Fault(kind=FaultKind.BAD_GATEWAY, method="POST", path="/v1/pages", applied=True),
        Fault(kind=FaultKind.DELAYED, path=f"/v1/*/{parent.id}/{look}", released=released),
    )
    generation_id = await _asked(person, notion, parent)
    await until(lambda: not notion.waiting_faults)
    return generation_id, released


async def test_of_two_pages_of_one_title_the_one_that_is_not_in_the_trash_is_taken(database_url: str) -> None:
    async with product_with_notion(database_url) as (running, notion, _):
        ada = await connected(running, notion)
        source = notion.data_source(notion.add_database("Answers"))
        generation_id, released = await _made_unnoticed(ada, notion, source)
        (mine,) = notion.pages_under(source)
        other = notion.add_page("Bees", parent=source)
        other.created_by = mine.created_by
        released.set()
        unclear = await _publication(ada, generation_id, _is_settled)
        assert (unclear["status"], unclear["error"]["code"]) == ("NEEDS_ATTENTION", "CONFLICT")

        notion.hand().trash(other)
        await ada.do(PUBLISH, input={"generationId": generation_id})
        published = await _publication(ada, generation_id, _is_settled)
        assert (published["status"], published["page"]["pageId"]) == ("PUBLISHED", mine.id)
        assert notion.pages_under(source) == [mine]


async def test_what_is_unclear_stays_so_when_the_look_is_refused(database_url: str) -> None:
    async with product_with_notion(database_url) as (running, notion, parent):
        ada = await connected(running, notion)
        generation_id, released = await _made_unnoticed(ada, notion, parent)
        notion.memory.workspaces[0].can_read = False
        released.set()
        unclear = await _publication(ada, generation_id, _is_settled)
        assert (unclear["status"], unclear["error"]["reason"]) == ("NEEDS_ATTENTION", "RESTRICTED")

        notion.memory.workspaces[0].can_read = True
        await ada.do(PUBLISH, input={"generationId": generation_id})
        assert (await _publication(ada, generation_id, _is_settled))["status"] == "PUBLISHED"
        assert len(notion.pages_under(parent)) == 1


async def test_what_notion_refuses_once_nothing_can_come_any_more_has_failed(database_url: str) -> None:
    async with product_with_notion(database_url, **_LONG) as (running, notion, parent):
        ada = await connected(running, notion)
        notion.enqueue(Fault(kind=FaultKind.LOST, method="POST", path="/v1/pages"))
        generation_id = await _asked(ada, notion, parent)
        await _publication(ada, generation_id, _is_unsettled)
        notion.memory.workspaces[0].can_insert = False
        await _change(database_url, "UPDATE publications SET unsettled_since = now() - interval '2 hours'")
        await let_wait_end(database_url)
        failed = await _publication(ada, generation_id, _is_settled)
        assert (failed["status"], failed["error"]["reason"]) == ("FAILED", "RESTRICTED")


async def test_what_another_integration_has_made_is_found_after_connecting_again(database_url: str) -> None:
    async with product_with_notion(database_url) as (running, notion, parent):
        ada = await connected(running, notion)
        generation_id, released = await _made_unnoticed(ada, notion, parent)
        workspace = notion.memory.workspaces[0]
        workspace.bot_id, workspace.token = notion.memory.new_id(version=4), "ntn_of_another_integration"
        await ada.do(CONNECT, input={"token": workspace.token})
        released.set()
        # Whoever was looking did so with the token of before.
        unclear = await _publication(ada, generation_id, _is_settled)
        assert (unclear["status"], unclear["error"]["reason"]) == ("NEEDS_ATTENTION", "AUTHENTICATION")

        await ada.do(PUBLISH, input={"generationId": generation_id})
        assert (await _publication(ada, generation_id, _is_settled))["status"] == "PUBLISHED"
        assert len(notion.pages_under(parent)) == _times_asked_for(notion) == 1


async def test_what_may_have_a_page_is_not_asked_for_elsewhere(database_url: str) -> None:
    async with product_with_notion(database_url) as (running, notion, parent):
        ada = await connected(running, notion)
        other = notion.add_page("Other place")
        generation_id, released = await _made_unnoticed(ada, notion, parent)
        notion.memory.workspaces[0].can_read = False
        released.set()
        await _publication(ada, generation_id, _is_settled)
        notion.memory.workspaces[0].can_read = True

        again = {"generationId": generation_id, "publish": {"parent": notion.address(other)}}
        assert await ada.fail(PUBLISH, input=again) == ("CONFLICT", ["input", "publish", "parent"])
        again["publish"] = {"parent": notion.address(parent)}
        await ada.do(PUBLISH, input=again)
        assert (await _publication(ada, generation_id, _is_settled))["status"] == "PUBLISHED"
        assert (len(notion.pages_under(parent)), notion.pages_under(other)) == (1, [])


async def _two_of_one_title(person: Person, notion: NotionStandin, source: Node) -> tuple[str, Node, Node]:
    """A generation that needs attention, its page, and another that looks like it."""
    there = notion.pages_under(source)
    generation_id, released = await _made_unnoticed(person, notion, source)
    (mine,) = [page for page in notion.pages_under(source) if page not in there]
    other = notion.add_page("Bees", parent=source)
    other.created_by = mine.created_by
    released.set()
    assert (await _publication(person, generation_id, _is_settled))["status"] == "NEEDS_ATTENTION"
    return generation_id, mine, other


async def test_a_person_says_which_page_it_is(database_url: str) -> None:
    async with product_with_notion(database_url) as (running, notion, parent):
        ada = await connected(running, notion)
        source = notion.data_source(notion.add_database("Answers"))
        generation_id, mine, other = await _two_of_one_title(ada, notion, source)
        bob = await running.person("bob")
        hidden = notion.add_page("Hidden", shared=False)
        elsewhere = notion.add_page("Bees", parent=parent)

        async def refused(person: Person = ada, **input_: object) -> tuple[str, list[str] | None]:
            return await person.fail(PUBLISH, input={"generationId": generation_id, **input_})

        page = ["input", "resolve", "page"]
        assert await refused(bob, resolve={"page": mine.id}) == ("NOT_FOUND", ["input", "generationId"])
        assert await refused(resolve={}) == ("INVALID_INPUT", ["input", "resolve"])
        assert await refused(resolve={"page": mine.id, "createAnew": True}) == ("INVALID_INPUT", ["input", "resolve"])
        assert await refused(resolve={"createAnew": True}, publish={}) == ("INVALID_INPUT", ["input", "publish"])
        assert await refused(resolve={"page": "nothing"}) == ("INVALID_INPUT", page)
        assert await refused(resolve={"page": notion.address(elsewhere)}) == ("INVALID_INPUT", page)
        assert await refused(resolve={"page": notion.address(hidden)}) == ("NOTION_FAILED", page)
        notion.hand().trash(other)
        assert await refused(resolve={"page": notion.address(other)}) == ("INVALID_INPUT", page)
        assert (await _publication(ada, generation_id, _is_settled))["status"] == "NEEDS_ATTENTION"

        await ada.do(PUBLISH, input={"generationId": generation_id, "resolve": {"page": notion.address(mine)}})
        published = await _publication(ada, generation_id, _is_settled)
        assert (published["status"], published["page"]["pageId"]) == ("PUBLISHED", mine.id)
        assert notion.pages_under(source) == [mine]
        assert await refused(resolve={"createAnew": True}) == ("CONFLICT", ["input", "resolve"])


async def test_only_what_was_made_as_it_was_asked_for_can_be_the_page(database_url: str) -> None:
    async with product_with_notion(database_url) as (running, notion, _):
        ada = await connected(running, notion)
        source = notion.data_source(notion.add_database("Answers"))
        somebodys, older = (notion.add_page("Bees", parent=source) for _ in range(2))
        older.created_by = source.workspace.bot_id
        older.created_at -= timedelta(minutes=5)
        generation_id, mine, _ = await _two_of_one_title(ada, notion, source)
        for page in (somebodys, older):
            wanted = {"generationId": generation_id, "resolve": {"page": notion.address(page)}}
            assert await ada.fail(PUBLISH, input=wanted) == ("INVALID_INPUT", ["input", "resolve", "page"])
        assert (await _publication(ada, generation_id, _is_settled))["status"] == "NEEDS_ATTENTION"

        # Made by the integration that asked for it, and found after another was connected.
        workspace = notion.memory.workspaces[0]
        workspace.bot_id, workspace.token = notion.memory.new_id(version=4), "ntn_of_another_integration"
        await ada.do(CONNECT, input={"token": workspace.token})
        await ada.do(PUBLISH, input={"generationId": generation_id, "resolve": {"page": notion.address(mine)}})
        published = await _publication(ada, generation_id, _is_settled)
        assert (published["status"], published["page"]["pageId"]) == ("PUBLISHED", mine.id)


async def test_a_person_says_that_there_is_no_page(database_url: str) -> None:
    async with product_with_notion(database_url) as (running, notion, _):
        ada = await connected(running, notion)
        source = notion.data_source(notion.add_database("Answers"))
        generation_id, *others = await _two_of_one_title(ada, notion, source)
        await _change(database_url, "UPDATE publications SET unsettled_since = now() - interval '2 hours'")
        await ada.do(PUBLISH, input={"generationId": generation_id, "resolve": {"createAnew": True}})
        published = await _publication(ada, generation_id, _is_settled)
        assert published["status"] == "PUBLISHED"
        (made,) = [page for page in notion.pages_under(source) if page not in others]
        assert published["page"]["pageId"] == made.id


async def test_nobody_says_that_there_is_no_page_as_long_as_it_may_still_come(database_url: str) -> None:
    async with product_with_notion(database_url, **_LONG) as (running, notion, parent):
        ada = await connected(running, notion)
        look, late = threading.Event(), threading.Event()
        notion.enqueue(
            Fault(kind=FaultKind.LOST, method="POST", path="/v1/pages", outlives_client=True, released=late),
            Fault(kind=FaultKind.DELAYED, path=f"/v1/*/{parent.id}/children", released=look),
        )
        generation_id = await _asked(ada, notion, parent)
        await until(lambda: not notion.waiting_faults)
        notion.memory.workspaces[0].can_read = False
        look.set()
        assert (await _publication(ada, generation_id, _is_settled))["status"] == "NEEDS_ATTENTION"
        notion.memory.workspaces[0].can_read = True
        anew = {"generationId": generation_id, "resolve": {"createAnew": True}}
        (refusal,) = (await ada.ask(PUBLISH, input=anew))["publishToNotion"]["errors"]
        assert (refusal["code"], refusal["field"]) == ("CONFLICT", ["input", "resolve", "createAnew"])

        late.set()
        await until(lambda: bool(notion.pages_under(parent)))
        await ada.do(PUBLISH, input={"generationId": generation_id})
        assert (await _publication(ada, generation_id, _is_settled))["status"] == "PUBLISHED"
        assert len(notion.pages_under(parent)) == _times_asked_for(notion) == 1


async def test_the_page_of_another_answer_is_not_taken(database_url: str) -> None:
    async with product_with_notion(database_url) as (running, notion, _):
        ada = await connected(running, notion)
        source = notion.data_source(notion.add_database("Answers"))
        first = await _asked(ada, notion, source)
        page_id = (await _publication(ada, first, _is_settled))["page"]["pageId"]
        wanted = {"generationId": first, "resolve": {"page": page_id}}
        assert await ada.fail(PUBLISH, input=wanted) == ("CONFLICT", ["input", "resolve"])
        released = threading.Event()
        query = f"/v1/*/{source.id}/query"
        notion.enqueue(
            Fault(kind=FaultKind.BAD_GATEWAY, method="POST", path="/v1/pages"),
            Fault(kind=FaultKind.DELAYED, path=query, released=released),
        )
        second = await _asked(ada, notion, source, "Wasps")
        await until(lambda: not notion.waiting_faults)
        notion.memory.workspaces[0].can_read = False
        released.set()
        assert (await _publication(ada, second, _is_settled))["status"] == "NEEDS_ATTENTION"
        notion.memory.workspaces[0].can_read = True
        wanted = {"generationId": second, "resolve": {"page": page_id}}
        assert await ada.fail(PUBLISH, input=wanted) == ("CONFLICT", ["input", "resolve", "page"])
