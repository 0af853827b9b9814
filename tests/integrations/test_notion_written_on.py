"""Going on with a page that was cut short, while people work on it: nothing is said twice, nothing of theirs undone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime

import pytest

from domain.document import Document, Prose, ProseKind, Table, Text
from domain.errors import NotionFailed
from domain.errors import NotionFailureReason as Reason
from domain.notion import PageUpdate
from domain.notion_base import PageChanged, Place, SyncedBlock
from tests.integrations.notion_connected import Connected, connected
from tests.standins.notion_errors import JSON
from tests.standins.notion_faults import Fault, FaultKind
from tests.standins.notion_hand import paragraph
from tests.standins.notion_state import Node

_APPEND = "/v1/blocks/*/children"


@pytest.fixture
async def world() -> AsyncIterator[Connected]:
    async with connected(Connected) as world:
        yield world


def _words(items: list[JSON]) -> str:
    return "".join(item["plain_text"] for item in items)


def _paragraph(words: str) -> Prose:
    return Prose(ProseKind.PARAGRAPH, (Text(words),))


_LINES = Document(tuple(_paragraph(f"line {number}") for number in range(250)))


async def _cut_short(world: Connected) -> Node:
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
async def test_what_was_deleted_meanwhile_stays_deleted(world: Connected, gone: list[int]) -> None:
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


async def _update(world: Connected, page: Node, base: Sequence[SyncedBlock]) -> None:
    document = Document((*_LINES.blocks, _paragraph("more")))
    update = PageUpdate(document=document, base=base, place=Place(since=datetime.now(UTC)), overwrites=False)
    await world.notion.update_page(world.token, page.id, update)


async def test_what_was_edited_meanwhile_stays_edited(world: Connected) -> None:
    page = await _cut_short(world)
    for place in (0, 99, 100, 199):
        world.hand.retype(page.live_children[place], "Edited in Notion")
    blocks = await world.notion.complete_page(world.token, page.id, _LINES)
    assert _lines(page).count("Edited in Notion") == 4
    assert _lines(page)[200:] == [f"line {number}" for number in range(200, 250)]
    assert [block.id for block in blocks] == [block.id for block in page.live_children]
    with pytest.raises(PageChanged):
        await _update(world, page, blocks)


async def test_what_else_our_integration_writes_is_not_taken_for_lines_of_the_page(world: Connected) -> None:
    page = await _cut_short(world)
    other = [paragraph("something else")] * 3
    world.standin.memory.add_blocks(page, other, by=page.workspace.bot_id)
    await world.notion.complete_page(world.token, page.id, _LINES)
    assert _lines(page) == [*(f"line {number}" for number in range(250)), *["something else"] * 3]


@pytest.mark.parametrize(("said", "others"), [(1, 1), (2, 2), (3, 2), (2, 3), (100, 100), (150, 100)])
async def test_what_else_our_integration_writes_is_not_taken_for_an_answer_that_never_arrived(
    world: Connected, said: int, others: int
) -> None:
    end = await world.notion.find_end(world.token, world.inbox.id)
    place = Place(is_our_page=False, anchor=end.last_block_id)
    other = [paragraph(f"something else {number}") for number in range(others)]
    foreign = world.standin.memory.add_blocks(world.inbox, other, by=world.inbox.workspace.bot_id)
    answer = Document(_LINES.blocks[:said])
    blocks = await world.notion.complete_page(world.token, world.inbox.id, answer, place=place)
    written = [block for block in world.inbox.live_children if block not in foreign]
    assert [_words(block.content["rich_text"]) for block in written] == [f"line {number}" for number in range(said)]
    assert [block.id for block in blocks] == [block.id for block in written]


async def test_what_else_our_integration_writes_does_not_stand_for_what_was_deleted_meanwhile(world: Connected) -> None:
    page = await _cut_short(world)
    for block in page.live_children[5:9]:
        world.hand.remove(block)
    bot_id = page.workspace.bot_id
    world.standin.memory.add_blocks(page, [paragraph("something else")] * 3, by=bot_id, at=5)
    blocks = await world.notion.complete_page(world.token, page.id, _LINES)
    assert [number for number, block in enumerate(blocks) if not block.id] == [5, 6, 7, 8]
    assert _lines(page).count("something else") == 3
    assert [line for line in _lines(page) if line != "something else"] == [
        f"line {number}" for number in range(250) if number not in range(5, 9)
    ]


async def test_stops_when_the_lines_were_rearranged_meanwhile(world: Connected) -> None:
    page = await _cut_short(world)
    world.hand.move(page.live_children[5], at=150)
    before = _lines(page)
    with pytest.raises(NotionFailed) as caught:
        await world.notion.complete_page(world.token, page.id, _LINES)
    assert (caught.value.reason, caught.value.retryable) == (Reason.CONFLICT, False)
    assert _lines(page) == before


async def test_rows_that_were_deleted_meanwhile_stay_deleted(world: Connected) -> None:
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
