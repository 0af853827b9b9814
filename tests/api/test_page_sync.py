"""Pages that are kept in step: every state, both directions and every version, through the whole product's API."""

import asyncio
import json
import random
import re
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import asyncpg

from tests.api.product import Person, Product
from tests.api.test_publishing import CONNECT, PUBLISH, connected, product_with_notion
from tests.standins.notion import NotionStandin
from tests.standins.notion_content import plain_text
from tests.standins.notion_faults import Fault, FaultKind
from tests.standins.notion_hand import Hand, paragraph
from tests.standins.notion_state import Node
from tests.waiting import PATIENCE_SECONDS, until

PAGE = """
fragment Page on NotionPage {
  id title parentId url state lastSyncAt
  version { number origin content contentHash madeBy }
  notionVersion { number origin content madeBy }
}
"""
GENERATE = """
mutation ($input: GenerateContentInput!) {
  generateContent(input: $input) {
    generation { id content publication { id status page { ...Page } } } errors { message code field }
  }
}
"""
SYNC = "mutation ($input: SyncInput!) { syncNotionPage(input: $input) { page { ...Page } errors { code field } } }"
EDIT = (
    "mutation ($input: EditNotionPageInput!) "
    "{ editNotionPage(input: $input) { page { ...Page } errors { message code field } } }"
)
FIND = "query ($id: ID!) { node(id: $id) { ...Page } }"
VERSIONS = """
query ($id: ID!, $first: Int, $after: String) {
  node(id: $id) { ... on NotionPage { versions(first: $first, after: $after) {
    nodes { number origin content createdAt } pageInfo { hasPreviousPage hasNextPage endCursor }
  } } }
}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Somebody's page, as they see it and as it is in Notion."""

    running: Product
    notion: NotionStandin
    parent: Node
    ada: Person
    hand: Hand
    id: str
    generation_id: str
    answer: str
    node: Node

    async def page(self) -> dict[str, Any]:
        """The page as it is kept."""
        return dict((await self.ada.ask(FIND + PAGE, id=self.id))["node"])

    async def sync(self, **input_: object) -> dict[str, Any]:
        """A sync that must succeed."""
        return dict(
            (await self.ada.do(SYNC.replace("code", "message code") + PAGE, input={"id": self.id, **input_}))["page"]
        )

    async def sync_fails(self, **input_: object) -> tuple[str, list[str] | None]:
        """A sync that must not."""
        return await self.ada.fail(SYNC.replace("code", "message code") + PAGE, input={"id": self.id, **input_})

    async def edit(self, content: str, base_version: int) -> dict[str, Any]:
        """A change that must succeed."""
        input_ = {"id": self.id, "content": content, "baseVersion": base_version}
        return dict((await self.ada.do(EDIT + PAGE, input=input_))["page"])

    async def versions(self) -> list[dict[str, Any]]:
        """All versions, the newest first."""
        found = await self.ada.ask(VERSIONS, id=self.id, first=100)
        return list(found["node"]["versions"]["nodes"])

    @property
    def text_block(self) -> Node:
        """Some paragraph on the page."""
        return next(child for child in self.node.live_children if child.type == "paragraph")


@asynccontextmanager
async def scene(database_url: str, **settings: int) -> AsyncIterator[Scene]:
    """A page that has just been published."""
    async with product_with_notion(database_url, **settings) as (running, notion, parent):
        ada = await connected(running, notion)
        wanted = {"prompt": "Bees", "publish": {"parent": notion.address(parent), "title": "Bees"}, "wait": True}
        generation = (await ada.do(GENERATE + PAGE, input=wanted))["generation"]
        assert generation["publication"]["status"] == "PUBLISHED"
        (node,) = notion.pages_under(parent)
        yield Scene(
            running=running,
            notion=notion,
            parent=parent,
            ada=ada,
            hand=notion.hand(),
            id=generation["publication"]["page"]["id"],
            generation_id=generation["id"],
            answer=generation["content"],
            node=node,
        )


async def test_a_page_that_nobody_has_touched_is_in_sync(database_url: str) -> None:
    async with scene(database_url) as it:
        for page in (await it.page(), await it.sync(), await it.sync(direction="TAKE")):
            assert page["state"] == "IN_SYNC"
            assert page["version"]["content"] == it.answer
            assert (page["version"]["number"], page["version"]["origin"]) == (1, "ANSWER")
            assert page["version"]["madeBy"] == "demo:demo-writer"
            assert page["notionVersion"]["number"] == 1
        assert [version["number"] for version in await it.versions()] == [1]


async def test_what_somebody_writes_in_notion_is_shown_and_taken(database_url: str) -> None:
    async with scene(database_url) as it:
        await it.sync()
        it.hand.retype(it.text_block, "Said otherwise.")
        page = await it.sync()
        assert page["state"] == "CHANGED_IN_NOTION"
        assert page["version"]["content"] == it.answer
        assert (page["notionVersion"]["number"], page["notionVersion"]["origin"]) == (2, "NOTION")
        assert "Said otherwise." in page["notionVersion"]["content"]
        assert page["notionVersion"]["madeBy"] == it.hand.user_id

        page = await it.sync(direction="TAKE", seenVersion=2)
        assert (page["state"], page["version"]["number"]) == ("IN_SYNC", 2)
        assert page == await it.page()
        assert (await it.sync())["state"] == "IN_SYNC"
        assert [version["content"] for version in await it.versions()][1] == it.answer
        stored = await it.ada.ask("query ($id: ID!) { generation(id: $id) { content } }", id=it.generation_id)
        assert stored["generation"]["content"] == it.answer


async def test_an_edit_before_the_first_look_is_noticed_all_the_same(database_url: str) -> None:
    async with scene(database_url) as it:
        it.hand.add(it.node, paragraph("P. S."))
        assert (await it.sync())["state"] == "CHANGED_IN_NOTION"
        it.hand.remove(it.node.children[-1])
        page = await it.sync()
        assert (page["state"], page["notionVersion"]["number"]) == ("IN_SYNC", 1)
        assert [version["number"] for version in await it.versions()] == [2, 1]


async def test_what_is_removed_before_the_first_look_is_noticed_and_brought_back(database_url: str) -> None:
    async with scene(database_url) as it:
        it.hand.remove(it.text_block)
        page = await it.sync()
        assert (page["state"], page["notionVersion"]["origin"]) == ("CHANGED_IN_NOTION", "NOTION")
        await it.sync(direction="PUSH", seenVersion=2)
        assert (await until_written(it))["status"] == "PUBLISHED"
        page = await it.sync()
        assert (page["state"], page["notionVersion"]["number"]) == ("IN_SYNC", 1)


async def test_every_kind_of_edit_counts(database_url: str) -> None:
    async with scene(database_url) as it:
        before = (await it.sync())["notionVersion"]["number"]
        block = it.text_block
        edits: tuple[Callable[[], object], ...] = (
            partial(it.hand.turn_into, block, "quote"),
            partial(it.hand.move, block, at=0),
            partial(it.hand.add, block, paragraph("inside")),
            partial(it.hand.remove, block),
            partial(it.hand.add, it.node, {"type": "divider", "divider": {}}, at=0),
        )
        for number, edit in enumerate(edits, start=before + 1):
            edit()
            page = await it.sync()
            assert (page["state"], page["notionVersion"]["number"]) == ("CHANGED_IN_NOTION", number)


async def test_what_is_changed_here_waits_until_it_is_taken_back_or_meets_a_change_there(database_url: str) -> None:
    async with scene(database_url) as it:
        page = await it.edit("Ours.", base_version=1)
        assert (page["state"], page["version"]["number"], page["version"]["origin"]) == ("CHANGED_HERE", 2, "EDIT")
        assert (page["version"]["content"], page["version"]["madeBy"]) == ("Ours.", "ada")
        assert (await it.sync())["state"] == "CHANGED_HERE"

        it.hand.add(it.node, paragraph("Theirs."))
        page = await it.sync()
        assert (page["state"], page["version"]["number"], page["notionVersion"]["number"]) == ("CONFLICT", 2, 3)
        assert (await it.edit("Ours again.", base_version=2))["state"] == "CONFLICT"

        # Nothing is put aside without having been seen.
        for seen in ({}, {"seenVersion": 3}, {"seenVersion": 5}):
            assert await it.sync_fails(direction="TAKE", **seen) == ("CONFLICT", ["input", "seenVersion"])
        assert (await it.page())["state"] == "CONFLICT"
        page = await it.sync(direction="TAKE", seenVersion=4)
        assert (page["state"], page["version"]["number"]) == ("IN_SYNC", 3)
        said = {version["content"] for version in await it.versions()}
        assert {it.answer, "Ours.", "Ours again."} < said


async def test_a_change_here_is_taken_back(database_url: str) -> None:
    async with scene(database_url) as it:
        await it.edit("Ours.", base_version=1)
        assert await it.sync_fails(direction="TAKE") == ("CONFLICT", ["input", "seenVersion"])
        page = await it.sync(direction="TAKE", seenVersion=2)
        assert (page["state"], page["version"]["number"]) == ("IN_SYNC", 1)


async def test_an_edit_starts_from_what_counts(database_url: str) -> None:
    async with scene(database_url) as it:
        await it.edit("Ours.", base_version=1)
        late = {"id": it.id, "content": "Late.", "baseVersion": 1}
        assert await it.ada.fail(EDIT + PAGE, input=late) == ("CONFLICT", ["input", "baseVersion"])
        for content in (" ", "x" * 1_000_001):
            wrong = {"id": it.id, "content": content, "baseVersion": 2}
            assert await it.ada.fail(EDIT + PAGE, input=wrong) == ("INVALID_INPUT", ["input", "content"])
        assert len(await it.versions()) == 2


async def test_a_page_goes_and_comes_back(database_url: str) -> None:
    async with scene(database_url) as it:
        private = it.notion.add_page("Private", shared=False)
        ways = (
            (partial(it.hand.trash, it.node), partial(it.hand.restore, it.node)),
            (partial(it.hand.move_page, it.node, private), partial(it.hand.move_page, it.node, it.parent)),
        )
        for go, come_back in ways:
            go()
            assert (await it.sync())["state"] == "GONE"
            assert await it.sync_fails(direction="TAKE", seenVersion=1) == ("CONFLICT", None)
            come_back()
            assert (await it.sync())["state"] == "IN_SYNC"
        it.hand.trash(it.node)
        assert (await it.sync())["state"] == "GONE"
        assert (await it.edit("Meanwhile.", base_version=1))["state"] == "GONE"
        it.hand.restore(it.node)
        it.hand.add(it.node, paragraph("Back."))
        assert (await it.sync())["state"] == "CONFLICT"


async def test_title_and_place_follow_notion_and_are_no_change(database_url: str) -> None:
    async with scene(database_url) as it:
        elsewhere = it.notion.add_page("Elsewhere")
        it.hand.rename(it.node, "Bees and wasps")
        it.hand.move_page(it.node, elsewhere)
        page = await it.sync()
        assert (page["state"], page["title"]) == ("IN_SYNC", "Bees and wasps")
        assert (page["parentId"], page["url"]) == (elsewhere.id, it.notion.address(it.node))


async def test_notions_own_way_of_writing_is_no_change(database_url: str) -> None:
    async with scene(database_url) as it:
        # As if Notion had written our text in some way of its own that nobody has foreseen.
        it.text_block.content["rich_text"][0]["text"]["content"] += " (sic)"
        page = await it.sync()
        assert (page["state"], page["version"]["content"]) == ("IN_SYNC", it.answer)
        assert "(sic)" in (await it.versions())[0]["content"]
        it.hand.retype(it.text_block, "Otherwise.")
        assert (await it.sync())["state"] == "CHANGED_IN_NOTION"


async def test_versions_are_listed_page_by_page(database_url: str) -> None:
    async with scene(database_url) as it:
        for number in range(1, 5):
            await it.edit(f"Text {number}", base_version=number)
        seen: list[int] = []
        after = None
        while True:
            found = (await it.ada.ask(VERSIONS, id=it.id, first=2, after=after))["node"]["versions"]
            seen += [version["number"] for version in found["nodes"]]
            assert found["pageInfo"]["hasPreviousPage"] is (after is not None)
            after = found["pageInfo"]["endCursor"]
            if not found["pageInfo"]["hasNextPage"]:
                break
        assert seen == [5, 4, 3, 2, 1]
        assert (await it.ada.refused(VERSIONS, id=it.id, first=0))["code"] == "INVALID_INPUT"
        assert (await it.ada.refused(VERSIONS, id=it.id, after="x"))["code"] == "INVALID_INPUT"


async def test_a_strangers_page_is_like_none(database_url: str) -> None:
    async with scene(database_url) as it:
        bob = await connected(it.running, it.notion, "bob")
        assert await bob.fail(
            SYNC.replace("code", "message code") + PAGE, input={"id": it.id, "direction": "TAKE"}
        ) == (
            "NOT_FOUND",
            ["input", "id"],
        )
        wanted = {"id": it.id, "content": "Mine.", "baseVersion": 1}
        assert await bob.fail(EDIT + PAGE, input=wanted) == ("NOT_FOUND", ["input", "id"])
        assert (await bob.ask(FIND + PAGE, id=it.id)) == {"node": None}
        visitor = await it.running.visitor()
        assert await visitor.fail(EDIT + PAGE, input=wanted) == ("UNAUTHENTICATED", None)
        assert len(await it.versions()) == 1


async def test_when_notion_cannot_be_asked_nothing_changes(database_url: str) -> None:
    async with scene(database_url) as it:
        before = await it.page()
        for kind in (FaultKind.INTERNAL, FaultKind.LOST, FaultKind.GARBLED):
            it.notion.enqueue(Fault(kind=kind, path=f"/v1/blocks/{it.node.id}/children"))
            code, _ = await it.sync_fails()
            assert code == "NOTION_FAILED"
        it.notion.memory.workspaces[0].revoked = True
        assert await it.sync_fails() == ("NOTION_FAILED", None)
        assert await it.page() == before


async def test_versions_go_with_the_answer(database_url: str) -> None:
    delete = "mutation ($input: IdsInput!) { deleteGenerations(input: $input) { deletedIds errors { message code } } }"
    async with scene(database_url) as it:
        await it.edit("Ours.", base_version=1)
        await it.ada.do(delete, input={"ids": [it.generation_id]})
        page = await it.page()
        assert page["version"] is None
        assert await it.versions() == []
        assert await it.sync_fails() == ("NOT_FOUND", ["input", "id"])


async def until_state(it: Scene, state: str) -> dict[str, Any]:
    """The page once it has come to that state by itself."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (page := await it.page())["state"] != state:  # noqa: ASYNC110  (another process's change, asked for)
            await asyncio.sleep(0.05)
    return page


async def until_noticed(it: Scene, database_url: str, state: str) -> dict[str, Any]:
    """The same, as if the time for the next look had come: again and again, for a look may have begun before."""

    async def is_noticed() -> bool:
        await connection.execute("UPDATE notion_pages SET next_look_at = now()")
        it.running.assistant.watcher.wake()
        return bool((await it.page())["state"] == state)

    connection = await asyncpg.connect(database_url.replace("postgresql+asyncpg", "postgresql"))
    try:
        await until(is_noticed)
    finally:
        await connection.close()
    return await it.page()


async def test_changes_are_noticed_without_anybody_asking(database_url: str) -> None:
    async with scene(database_url) as it:
        it.hand.add(it.node, paragraph("Look here."))
        page = await until_noticed(it, database_url, "CHANGED_IN_NOTION")
        assert "Look here." in page["notionVersion"]["content"]
        it.hand.trash(it.node)
        await until_noticed(it, database_url, "GONE")


async def until_written(it: Scene) -> dict[str, Any]:
    """The page once its publication is settled again, and was read since."""
    query = "query ($id: ID!) { generation(id: $id) { publication { status error { code } } } }"
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            publication = (await it.ada.ask(query, id=it.generation_id))["generation"]["publication"]
            if publication["status"] in ("PUBLISHED", "FAILED"):
                break
            await asyncio.sleep(0.05)
    return dict(publication)


async def test_a_look_that_was_overtaken_by_a_push_tells_nothing(database_url: str) -> None:
    async with scene(database_url) as it:
        await it.edit(f"{it.answer}\n\nOne thing more.", base_version=1)
        gate = threading.Event()
        children = f"/v1/blocks/{it.node.id}/children"
        it.notion.enqueue(Fault(kind=FaultKind.DELAYED, method="GET", path=children, released=gate, applied=True))
        look = asyncio.create_task(it.sync())
        await until(lambda: not it.notion.waiting_faults)
        publish = "mutation ($input: PublishInput!) { publishToNotion(input: $input) { errors { code } } }"
        await it.ada.ask(publish, input={"generationId": it.generation_id, "publish": {"mode": "UPDATE"}})
        assert (await until_written(it))["status"] == "PUBLISHED"
        gate.set()
        for page in (await look, await it.sync()):
            assert (page["state"], page["notionVersion"]["number"]) == ("IN_SYNC", 2)
        assert [version["number"] for version in await it.versions()] == [2, 1]


async def test_an_attempt_that_was_taken_over_tells_of_no_conflict(database_url: str) -> None:
    async with scene(database_url) as it:
        await it.sync()
        it.hand.retype(it.text_block, "Theirs.")
        await it.edit("Ours.", base_version=1)
        gate = threading.Event()
        children = f"/v1/blocks/{it.node.id}/children"
        it.notion.enqueue(Fault(kind=FaultKind.DELAYED, method="GET", path=children, released=gate))
        publish = "mutation ($input: PublishInput!) { publishToNotion(input: $input) { errors { code } } }"
        await it.ada.ask(publish, input={"generationId": it.generation_id, "publish": {"mode": "UPDATE"}})
        await until(lambda: not it.notion.waiting_faults)
        await execute(
            database_url,
            """UPDATE publications SET fence = fence + 1, status = 'PENDING', lease_until = NULL,
            next_attempt_at = now() + interval '1 hour'""",
        )
        gate.set()

        async def has_ended() -> bool:
            return 'assistant_publications_total{status="FAILED"}' in (await it.ada.http.get("/metrics")).text

        await until(has_ended)
        assert (await it.page())["state"] == "CHANGED_HERE"


async def test_what_counts_here_is_pushed(database_url: str) -> None:
    async with scene(database_url) as it:
        assert (await it.sync(direction="PUSH"))["state"] == "IN_SYNC"
        kept = {block.id for block in it.node.live_children}
        await it.edit(f"{it.answer}\n\nOne thing more.", base_version=1)
        await it.sync(direction="PUSH")
        assert (await until_written(it))["status"] == "PUBLISHED"
        page = await it.sync()
        assert (page["state"], page["version"]["number"], page["notionVersion"]["number"]) == ("IN_SYNC", 2, 2)
        assert kept < {block.id for block in it.node.live_children}
        assert "One thing more." in json.dumps(it.notion.children_tree(it.node.id))


async def test_what_another_integration_has_pushed_is_known_after_connecting_the_first_again(
    database_url: str,
) -> None:
    async with scene(database_url) as it:
        workspace = it.notion.memory.workspaces[0]
        first = (workspace.bot_id, workspace.token)

        async def connect(bot_id: str, token: str) -> None:
            workspace.bot_id, workspace.token = bot_id, token
            await it.ada.do(CONNECT, input={"token": token})

        await it.edit(f"{it.answer}\n\nOne thing more.", base_version=1)
        await connect(it.notion.memory.new_id(version=4), "ntn_of_another_integration")
        gate = threading.Event()
        it.notion.enqueue(
            Fault(kind=FaultKind.BAD_GATEWAY, method="PATCH", path="/v1/blocks/*/children", applied=True),
            Fault(kind=FaultKind.DELAYED, method="GET", path=f"/v1/pages/{it.node.id}", skip=1, released=gate),
        )
        update = {"generationId": it.generation_id, "publish": {"mode": "UPDATE"}}
        await it.ada.do(PUBLISH, input=update)
        await until(lambda: not it.notion.waiting_faults)
        await connect(*first)
        gate.set()
        # Whoever was looking did so with the other token.
        assert (await until_written(it))["status"] == "FAILED"

        await it.ada.do(PUBLISH, input=update)
        assert (await until_written(it))["status"] == "PUBLISHED"
        assert json.dumps(it.notion.children_tree(it.node.id)).count('"plain_text": "One thing more."') == 1


async def test_a_push_overwrites_only_what_was_seen(database_url: str) -> None:
    async with scene(database_url) as it:
        await it.sync()
        words = it.text_block.content["rich_text"][0]["text"]["content"]
        it.hand.retype(it.text_block, "Theirs.")
        for seen in ({}, {"seenVersion": 1}):
            assert await it.sync_fails(direction="PUSH", **seen) == ("CONFLICT", ["input", "seenVersion"])
        assert it.text_block.content["rich_text"][0]["text"]["content"] == "Theirs."
        await it.sync(direction="PUSH", seenVersion=2)
        assert (await until_written(it))["status"] == "PUBLISHED"
        assert it.text_block.content["rich_text"][0]["text"]["content"] == words
        assert (await it.sync())["state"] == "IN_SYNC"
        assert any("Theirs." in version["content"] for version in await it.versions())


async def test_a_push_beside_what_others_have_written_is_in_sync_until_they_go_on(database_url: str) -> None:
    async with scene(database_url) as it:
        await it.sync()
        (theirs,) = it.hand.add(it.node, paragraph("Their paragraph."))
        assert (await it.sync())["state"] == "CHANGED_IN_NOTION"
        await it.edit(f"{it.answer}\n\nOne thing more.", base_version=1)
        await it.sync(direction="PUSH", seenVersion=(await it.versions())[0]["number"])
        assert (await until_written(it))["status"] == "PUBLISHED"
        for _ in range(2):
            assert (await it.sync())["state"] == "IN_SYNC"
        shown = json.dumps(it.notion.children_tree(it.node.id))
        assert "One thing more." in shown
        assert "Their paragraph." in shown
        it.hand.retype(theirs, "Their other paragraph.")
        assert (await it.sync())["state"] == "CHANGED_IN_NOTION"


async def test_what_was_taken_is_not_doubled_by_a_push(database_url: str) -> None:
    async with scene(database_url) as it:
        it.hand.add(it.node, paragraph("Their paragraph."))
        await it.sync()
        taken = await it.sync(direction="TAKE", seenVersion=2)
        content = taken["version"]["content"].replace("Their paragraph.", "Our paragraph.")
        page = await it.edit(f"{content}\n\nAnd one.", base_version=2)
        await it.sync(direction="PUSH", seenVersion=page["version"]["number"])
        assert (await until_written(it))["status"] == "PUBLISHED"
        shown = json.dumps(it.notion.children_tree(it.node.id))
        assert (shown.count("Their paragraph."), "Our paragraph." in shown, "And one." in shown) == (0, True, True)
        assert (await it.sync())["state"] == "IN_SYNC"


async def test_what_was_taken_and_not_changed_is_left_alone_by_a_push(database_url: str) -> None:
    async with scene(database_url) as it:
        red = paragraph("In red.")
        red["paragraph"]["rich_text"][0]["annotations"] = {"color": "red"}
        theirs = it.hand.add(it.node, {"bookmark": {"url": "https://example.org"}}, red, {"table_of_contents": {}})
        before = it.notion.children_tree(it.node.id)
        await it.sync()
        taken = await it.sync(direction="TAKE", seenVersion=2)
        page = await it.edit(f"{taken['version']['content']}\n\nAnd one.", base_version=2)
        await it.sync(direction="PUSH", seenVersion=page["version"]["number"])
        assert (await until_written(it))["status"] == "PUBLISHED"
        *kept, added = it.notion.children_tree(it.node.id)
        assert kept == before
        assert "And one." in json.dumps(added)
        assert (await it.sync())["state"] == "IN_SYNC"
        it.hand.retype(theirs[1], "In blue.")
        assert (await it.sync())["state"] == "CHANGED_IN_NOTION"


async def test_a_change_that_is_taken_back_takes_nothing_that_others_have_written_beside(database_url: str) -> None:
    async with scene(database_url) as it:
        (theirs,) = it.hand.add(it.node, paragraph("Theirs."))
        await it.sync()
        await it.edit(f"{it.answer}\n\nOurs.", base_version=1)
        await it.sync(direction="PUSH", seenVersion=3)
        assert (await until_written(it))["status"] == "PUBLISHED"
        assert (await it.sync())["state"] == "IN_SYNC"
        await it.edit("Nothing of that.", base_version=3)
        await it.sync(direction="TAKE", seenVersion=4)
        await it.edit(f"{it.answer}\n\nStill ours.", base_version=3)
        await it.sync(direction="PUSH", seenVersion=5)
        assert (await until_written(it))["status"] == "PUBLISHED"
        assert not theirs.in_trash


@asynccontextmanager
async def waiting(it: Scene, database_url: str, *, since: str = "") -> AsyncIterator[None]:
    """What happens while the publication waits, `since` it has failed so, for its next attempt: at once after that."""
    query = "query ($id: ID!) { generation(id: $id) { publication { waitingUntil error { message } } } }"

    async def is_waiting() -> bool:
        publication = (await it.ada.ask(query, id=it.generation_id))["generation"]["publication"]
        return publication["waitingUntil"] is not None and since in publication["error"]["message"]

    await until(is_waiting)
    yield
    await execute(
        database_url, "UPDATE notion_paces SET held_until = NULL", "UPDATE publications SET next_attempt_at = now()"
    )


async def execute(database_url: str, *statements: str) -> None:
    """Changes what is stored, as time would."""
    connection = await asyncpg.connect(database_url.replace("postgresql+asyncpg", "postgresql"))
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


_REFUSAL = Fault(kind=FaultKind.RATE_LIMITED, retry_after_seconds=600, method="PATCH", path="/v1/blocks/*")


async def test_what_somebody_does_between_two_attempts_is_not_overwritten(database_url: str) -> None:
    async with scene(database_url) as it:
        block = it.text_block
        await it.sync()
        it.hand.retype(block, "Theirs.")
        await it.sync()
        it.notion.enqueue(_REFUSAL)
        await it.sync(direction="PUSH", seenVersion=2)
        async with waiting(it, database_url):
            it.hand.retype(block, "Theirs, and more that nobody has seen.")
        assert await until_written(it) == {"status": "FAILED", "error": {"code": "CONFLICT"}}
        assert plain_text(block.content["rich_text"]) == "Theirs, and more that nobody has seen."
        assert (await it.sync())["notionVersion"]["number"] == 3
        await it.sync(direction="PUSH", seenVersion=3)
        assert (await until_written(it))["status"] == "PUBLISHED"
        assert (await it.sync())["state"] == "IN_SYNC"
        assert any("nobody has seen" in version["content"] for version in await it.versions())


async def test_what_somebody_adds_to_a_taken_page_between_two_attempts_stays(database_url: str) -> None:
    async with scene(database_url) as it:
        it.hand.add(it.node, paragraph("Their paragraph."))
        await it.sync()
        taken = await it.sync(direction="TAKE", seenVersion=2)
        await it.edit(taken["version"]["content"].replace("Their paragraph.", "Our paragraph."), base_version=2)
        it.notion.enqueue(_REFUSAL)
        await it.sync(direction="PUSH", seenVersion=3)
        async with waiting(it, database_url):
            (remark,) = it.hand.add(it.node, paragraph("A remark."))
        assert (await until_written(it))["status"] == "PUBLISHED"
        assert not remark.in_trash
        assert "Our paragraph." in json.dumps(it.notion.children_tree(it.node.id))


async def test_a_push_that_has_to_wait_halfway_goes_on_with_what_it_has_begun(database_url: str) -> None:
    async with scene(database_url) as it:
        await it.sync()
        it.hand.retype(it.text_block, "Theirs.")
        await it.sync()
        await it.edit("New one.\n\n> New two.\n\n- New three\n", base_version=1)
        gate = threading.Event()
        it.notion.requests.clear()
        it.notion.enqueue(Fault(kind=FaultKind.DELAYED, method="PATCH", path="/v1/blocks/*", released=gate))
        await it.sync(direction="PUSH", seenVersion=3)
        await until(lambda: any(request.method == "PATCH" for request in it.notion.requests))
        await execute(database_url, "UPDATE notion_paces SET held_until = clock_timestamp() + interval '600 seconds'")
        gate.set()
        async with waiting(it, database_url):
            assert len([request for request in it.notion.requests if request.method == "PATCH"]) == 1
        assert await until_written(it) == {"status": "PUBLISHED", "error": None}
        assert (await it.sync())["state"] == "IN_SYNC"
        assert [version["origin"] for version in await it.versions()] == ["EDIT", "NOTION", "ANSWER"]


async def test_what_another_answer_has_appended_is_no_part_of_a_page(database_url: str) -> None:
    async with scene(database_url) as it:
        wasps = {"prompt": "Wasps", "publish": {"parent": it.notion.address(it.node), "mode": "APPEND"}, "wait": True}
        await it.ada.do(GENERATE + PAGE, input=wasps)
        before = it.notion.children_tree(it.node.id)
        assert "Wasps" in json.dumps(before)
        assert (await it.sync())["state"] == "IN_SYNC"
        it.hand.add(it.node, paragraph("P. S."))
        assert (await it.sync())["state"] == "CHANGED_IN_NOTION"
        taken = await it.sync(direction="TAKE", seenVersion=2)
        assert "P. S." in taken["version"]["content"]
        assert "Wasps" not in taken["version"]["content"]
        await it.edit(f"{taken['version']['content']}\n\nOne more.", base_version=2)
        await it.sync(direction="PUSH", seenVersion=3)
        assert (await until_written(it))["status"] == "PUBLISHED"
        *kept, postscript, added = it.notion.children_tree(it.node.id)
        assert kept == before
        assert ("P. S." in json.dumps(postscript), "One more." in json.dumps(added)) == (True, True)
        assert (await it.sync())["state"] == "IN_SYNC"


async def test_what_is_overwritten_unseen_is_kept(database_url: str) -> None:
    publish = "mutation ($input: PublishInput!) { publishToNotion(input: $input) { errors { code } } }"
    async with scene(database_url) as it:
        it.hand.retype(it.text_block, "Nobody has seen this.")
        await it.ada.ask(
            publish, input={"generationId": it.generation_id, "publish": {"mode": "UPDATE", "overwrite": True}}
        )
        assert (await until_written(it))["status"] == "PUBLISHED"
        assert "Nobody has seen this." not in json.dumps(it.notion.children_tree(it.node.id))
        assert any("Nobody has seen this." in version["content"] for version in await it.versions())


async def test_a_push_that_failed_can_be_looked_at_and_repeated(database_url: str) -> None:
    async with scene(database_url) as it:
        await it.edit("Ours.", base_version=1)
        it.notion.memory.workspaces[0].can_update = False
        await it.sync(direction="PUSH")
        assert (await until_written(it))["status"] == "FAILED"
        it.notion.memory.workspaces[0].can_update = True
        page = await it.sync()
        await it.sync(direction="PUSH", seenVersion=(await it.versions())[0]["number"])
        assert (await until_written(it))["status"] == "PUBLISHED"
        assert (page["version"]["number"], (await it.sync())["state"]) == (2, "IN_SYNC")


async def test_what_a_push_that_failed_has_written_goes_with_the_next_version(database_url: str) -> None:
    async with scene(database_url) as it:
        bot_id = it.node.workspace.bot_id
        without_the_last, _, _ = it.answer.strip().rpartition("\n\n")
        await it.edit(f"> A stray quote.\n\n> Another one.\n\n{without_the_last}", base_version=1)
        it.notion.memory.workspaces[0].can_update = False
        await it.sync(direction="PUSH")
        assert (await until_written(it))["status"] == "FAILED"
        assert "stray" in json.dumps(it.notion.children_tree(it.node.id))
        it.notion.memory.workspaces[0].can_update = True
        (other,) = it.notion.memory.add_blocks(it.node, [paragraph("something else")], by=bot_id)
        await it.sync()
        await it.edit("Ours.", base_version=2)
        await it.sync(direction="PUSH", seenVersion=(await it.versions())[0]["number"])
        assert (await until_written(it))["status"] == "PUBLISHED"
        assert [block.id for block in it.node.live_children[1:]] == [other.id]
        assert plain_text(it.node.live_children[0].content["rich_text"]) == "Ours."


async def test_what_was_sent_of_a_superseded_version_and_comes_late_goes_as_well(database_url: str) -> None:
    async with scene(database_url, notion_settling_seconds=3_600) as it:
        await it.sync()
        await it.edit(f"> A stray quote.\n\n{it.answer}", base_version=1)
        workspace, released = it.notion.memory.workspaces[0], threading.Event()
        path = "/v1/blocks/*/children"
        it.notion.enqueue(
            Fault(kind=FaultKind.LOST, method="PATCH", path=path, outlives_client=True, released=released)
        )
        await it.sync(direction="PUSH")
        async with waiting(it, database_url, since="still be at work"):
            workspace.can_read = False
        assert (await until_written(it))["status"] == "FAILED"
        workspace.can_read = True
        await it.edit(it.answer, base_version=2)
        await it.sync(direction="PUSH")
        async with waiting(it, database_url):
            assert "stray" not in json.dumps(it.notion.children_tree(it.node.id))
            released.set()
            await until(lambda: "stray" in json.dumps(it.notion.children_tree(it.node.id)))
            await execute(database_url, "UPDATE publications SET unsettled_since = now() - interval '2 hours'")
        assert (await until_written(it))["status"] == "PUBLISHED"
        assert "stray" not in json.dumps(it.notion.children_tree(it.node.id))


async def test_edits_at_random_on_both_sides_lose_nothing(database_url: str) -> None:
    chance = random.Random(20261122)
    seen: set[str] = set()  # must be in a version
    unseen: set[str] = set()  # on the page, and nobody has looked since
    async with scene(database_url) as it:

        def some_block() -> Node:
            return chance.choice([block for block in it.node.live_children if block.type == "paragraph"])

        async def look() -> int:
            await it.sync()
            seen.update(unseen)
            unseen.clear()
            return int((await it.versions())[0]["number"])

        for step in range(26):
            word = f"word{step}."
            match chance.choice(["retype", "add", "add", "remove", "move", "edit", "look", "take", "push"]):
                case "retype":
                    block = some_block()
                    unseen -= set(plain_text(block.content["rich_text"]).split())
                    it.hand.retype(block, word)
                    unseen.add(word)
                case "add":
                    it.hand.add(it.node, paragraph(word), at=chance.randrange(len(it.node.children) + 1))
                    unseen.add(word)
                case "remove":
                    block = some_block()
                    unseen -= set(plain_text(block.content["rich_text"]).split())
                    it.hand.remove(block)
                case "move":
                    it.hand.move(some_block(), at=chance.randrange(len(it.node.children)))
                case "edit":
                    version = (await it.page())["version"]
                    await it.edit(f"{version['content']}\n\n{word}", base_version=version["number"])
                    seen.add(word)
                case "look":
                    await look()
                case "take":
                    assert (await it.sync(direction="TAKE", seenVersion=await look()))["state"] == "IN_SYNC"
                    assert (await it.sync())["state"] == "IN_SYNC"
                case _:
                    await it.sync(direction="PUSH", seenVersion=await look())
                    assert (await until_written(it))["status"] == "PUBLISHED"
                    wanted = (await it.page())["version"]["content"]
                    assert set(re.findall(r"word\d+\.", wanted)) <= set(
                        re.findall(r"word\d+\.", json.dumps(it.notion.children_tree(it.node.id)))
                    )
        await look()
        said = "".join(version["content"] for version in await it.versions())
        assert len(seen) >= 5
        assert {word for word in seen if word not in said} == set()
