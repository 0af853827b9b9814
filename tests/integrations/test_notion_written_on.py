"""Going on with a page that was cut short, while people work on it: nothing is said twice, nothing of theirs undone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from domain.document import Document, Prose, ProseKind, Table, Text
from domain.errors import NotionFailed
from domain.errors import NotionFailureReason as Reason
from domain.notion import CreatedPage, NewPage, NotionParent, PageUpdate
from domain.notion_base import PageChanged, Place, SyncedBlock
from domain.secret import Secret
from integrations.notion import NotionAdapter
from tests.standins.notion import NotionStandin
from tests.standins.notion_errors import JSON
from tests.standins.notion_faults import Fault, FaultKind
from tests.standins.notion_hand import Hand, paragraph
from tests.standins.notion_state import Node
from tests.standins.server import running

_APPEND = "/v1/blocks/*/children"


@dataclass(kw_only=True)
class _World:
    standin: NotionStandin
    notion: NotionAdapter
    token: Secret
    inbox: Node
    parent: NotionParent

    @property
    def hand(self) -> Hand:
        """Whose pages these are."""
        return Hand(self.standin.memory, self.inbox.workspace.owner_id)

    async def create(self, document: Document) -> CreatedPage:
        page = NewPage(parent=self.parent, title="An answer", properties={}, document=document)
        return await self.notion.create_page(self.token, page)


@pytest.fixture
async def world() -> AsyncIterator[_World]:
    standin = NotionStandin()
    token = Secret(standin.add_workspace().token)
    inbox = standin.add_page("Inbox")
    async with running(standin) as base_url:
        adapter = NotionAdapter(base_url=base_url, timeout_seconds=90)
        try:
            parent = await adapter.resolve_parent(token, inbox.id)
            yield _World(standin=standin, notion=adapter, token=token, inbox=inbox, parent=parent)
        finally:
            await adapter.aclose()


def _words(items: list[JSON]) -> str:
    return "".join(item["plain_text"] for item in items)


def _paragraph(words: str) -> Prose:
    return Prose(ProseKind.PARAGRAPH, (Text(words),))


_LINES = Document(tuple(_paragraph(f"line {number}") for number in range(250)))


async def _cut_short(world: _World) -> Node:
    """A page with the first 200 of its 250 lines."""
    created = await world.create(_LINES)
    world.standin.enqueue(Fault(kind=FaultKind.LOST, method="PATCH", path=_APPEND, skip=1))
    with pytest.raises(NotionFailed):
        await world.notion.complete_page(world.token, created.page_id, _LINES)
    page = world.standin.page(created.page_id)
    assert len(page.live_children) == 200
    return page


def _lines(page: Node) -> list[str]:
    return [_words(block.content["rich_text"]) for block in page.live_children]


@pytest.mark.parametrize("gone", [[5], [0], [99], [199], [5, 120, 121], list(range(50, 170))])
async def test_what_was_deleted_meanwhile_stays_deleted(world: _World, gone: list[int]) -> None:
    page = await _cut_short(world)
    for block in [page.live_children[place] for place in gone]:
        world.hand.remove(block)
    blocks = await world.notion.complete_page(world.token, page.id, _LINES)
    assert _lines(page) == [f"line {number}" for number in range(250) if number not in gone]
    assert [block.id for block in blocks if block.id] == [block.id for block in page.live_children]
    # That something is missing is known: no later update writes it unasked.
    assert [number for number, block in enumerate(blocks) if not block.id] == gone
    with pytest.raises(PageChanged):
        await _update(world, page, blocks)
    assert await world.notion.complete_page(world.token, page.id, _LINES) == blocks


async def _update(world: _World, page: Node, base: Sequence[SyncedBlock]) -> None:
    document = Document((*_LINES.blocks, _paragraph("more")))
    update = PageUpdate(document=document, base=base, place=Place(since=datetime.now(UTC)), overwrites=False)
    await world.notion.update_page(world.token, page.id, update)


async def test_what_was_edited_meanwhile_stays_edited(world: _World) -> None:
    page = await _cut_short(world)
    for place in (0, 99, 100, 199):
        world.hand.retype(page.live_children[place], "Edited in Notion")
    blocks = await world.notion.complete_page(world.token, page.id, _LINES)
    assert _lines(page).count("Edited in Notion") == 4
    assert _lines(page)[200:] == [f"line {number}" for number in range(200, 250)]
    assert [block.id for block in blocks] == [block.id for block in page.live_children]
    with pytest.raises(PageChanged):
        await _update(world, page, blocks)


async def test_what_else_our_integration_writes_is_not_taken_for_lines_of_the_page(world: _World) -> None:
    page = await _cut_short(world)
    other = [paragraph("something else")] * 3
    world.standin.memory.add_blocks(page, other, by=page.workspace.bot_id)
    await world.notion.complete_page(world.token, page.id, _LINES)
    assert _lines(page) == [*(f"line {number}" for number in range(250)), *["something else"] * 3]


async def test_stops_when_the_lines_were_rearranged_meanwhile(world: _World) -> None:
    page = await _cut_short(world)
    world.hand.move(page.live_children[5], at=150)
    before = _lines(page)
    with pytest.raises(NotionFailed) as caught:
        await world.notion.complete_page(world.token, page.id, _LINES)
    assert (caught.value.reason, caught.value.retryable) == (Reason.CONFLICT, False)
    assert _lines(page) == before


async def test_rows_that_were_deleted_meanwhile_stay_deleted(world: _World) -> None:
    document = Document((Table(tuple(((Text(f"row {number}"),),) for number in range(250))),))
    created = await world.create(document)
    world.standin.enqueue(Fault(kind=FaultKind.LOST, method="PATCH", path=_APPEND, skip=1))
    with pytest.raises(NotionFailed):
        await world.notion.complete_page(world.token, created.page_id, document)
    (shown,) = world.standin.page(created.page_id).live_children
    world.hand.remove(shown.live_children[42])
    await world.notion.complete_page(world.token, created.page_id, document)
    rows = [_words(row.content["cells"][0]) for row in shown.live_children]
    assert rows == [f"row {number}" for number in range(250) if number != 42]
