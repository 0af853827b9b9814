"""Updates of a page whose text in Notion was taken for ours: what Markdown cannot say is left alone unless changed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from domain.notion import PageUpdate
from domain.notion_base import PageChanged, Place, SyncedBlock
from integrations.markdown import parse
from integrations.notion_blocks import to_notion
from integrations.notion_hashes import said_hash
from integrations.notion_taken import key_of, taken
from tests.integrations.notion_connected import Connected, connected
from tests.integrations.test_notion_reader import block, rich
from tests.standins.notion_content import plain_text, text
from tests.standins.notion_errors import JSON
from tests.standins.notion_hand import paragraph
from tests.standins.notion_state import Node

OURS = "# Title\n\nFirst paragraph.\n\n- one\n  - inside one\n- two\n\n| a | b |\n| - | - |\n| 1 | 2 |\n| 3 | 4 |\n"


def _columns(*words: str) -> JSON:
    columns = [{"type": "column", "column": {"children": [paragraph(word)]}} for word in words]
    return {"type": "column_list", "column_list": {"children": columns}}


def _of(kind: str, **body: object) -> JSON:
    return {"type": kind, kind: body}


_THEIRS = (
    _of("bookmark", url="https://example.org/paper"),
    _of("table_of_contents"),
    _of("embed", url="https://example.org/video"),
    paragraph(""),
    _of("paragraph", rich_text=[{**text("see red")[0], "annotations": {"color": "red"}}]),
    _of("callout", rich_text=text("mine"), icon={"type": "emoji", "emoji": "🎉"}, color="gray_background"),
    _of("image", type="external", external={"url": "https://example.org/i.png"}),
    _of("heading_2", rich_text=text("fold"), is_toggleable=True, children=[paragraph("under it")]),
    _columns("left", "right"),
    _of("toggle", rich_text=text("open"), children=[paragraph("first"), _columns("l", "r"), paragraph("")]),
    _of("breadcrumb"),
)


@dataclass(kw_only=True)
class _Taken(Connected):
    """A page with what somebody has added, all of it taken for ours."""

    page: Node = field(init=False)
    theirs: dict[str, Node] = field(init=False)
    text: str = ""
    base: tuple[SyncedBlock, ...] = ()

    async def update(self, text: str, *, overwrites: bool = False) -> list[str]:
        """Answers the methods of the requests that wrote."""
        self.standin.requests.clear()
        place = Place(since=datetime.now(UTC) + timedelta(minutes=5))
        update = PageUpdate(document=parse(text), base=self.base, place=place, overwrites=overwrites)
        self.base = await self.notion.update_page(self.token, self.page.id, update)
        return [each.method for each in self.standin.requests if each.method in ("PATCH", "DELETE")]

    async def read(self) -> str:
        return (await self.notion.read_page(self.token, self.page.id)).markdown

    def tree(self) -> list[JSON]:
        return self.standin.children_tree(self.page.id)


@pytest.fixture
async def it() -> AsyncIterator[_Taken]:
    async with connected(_Taken) as it:
        it.page = it.standin.page((await it.create(parse(OURS))).page_id)
        added = it.hand.add(it.page, *_THEIRS)
        added.append(it.standin.add_page("A page of somebody's", parent=it.page))
        it.theirs = {node.type: node for node in added}
        content = await it.notion.read_page(it.token, it.page.id)
        it.text, it.base = content.markdown, content.blocks(parse)
        yield it


async def test_what_markdown_cannot_say_is_not_touched(it: _Taken) -> None:
    before = it.tree()
    said = it.text
    assert await it.update(said) == []
    for more in ("One more sentence.", "And another one."):
        said = f"{said}\n\n{more}\n"
        assert await it.update(said) == ["PATCH"]
        assert it.tree()[: len(before)] == before
    assert await it.update(said) == []
    assert [each.id for each in it.base] == [each["id"] for each in it.tree()]


async def test_what_is_changed_of_it_is_changed_on_the_page(it: _Taken) -> None:
    said = it.text.replace("see red", "see nothing")
    assert await it.update(said) == ["PATCH"]
    assert plain_text(it.theirs["paragraph"].content["rich_text"]) == "see nothing"
    said = said.replace("first", "1st")
    assert await it.update(said) == ["PATCH"]
    said = said.replace("[https\\://example.org/paper](<https://example.org/paper>)\n\n", "")
    assert await it.update(said) == ["DELETE"]
    assert it.theirs["bookmark"].in_trash
    said = said.replace("under it", "below it")
    assert await it.update(said) == ["PATCH", "DELETE"]
    said = said.replace("open", "close")
    assert await it.update(said) == ["PATCH"]
    said = said.replace("left\n\nright", "left\n\nbetween\n\nright")
    assert await it.update(said) == ["PATCH", "DELETE"]
    assert await it.update(said) == []
    assert await it.read() == said


async def test_a_page_below_it_is_never_removed(it: _Taken) -> None:
    said = it.text.replace("A page of somebody's\n", "")
    assert said != it.text
    assert await it.update(said) == []
    assert await it.update("Quite another text.") != []
    assert not it.theirs["child_page"].in_trash
    assert it.theirs["callout"].in_trash


@pytest.mark.parametrize("kind", ["column_list", "bookmark", "toggle", "paragraph"])
async def test_what_somebody_has_done_since_is_not_overwritten_unasked(it: _Taken, kind: str) -> None:
    match kind:
        case "column_list":
            it.hand.retype(it.theirs[kind].live_children[0].live_children[0], "otherwise")
        case "bookmark":
            it.hand.remove(it.theirs[kind])
        case "toggle":
            it.hand.remove(it.theirs[kind].live_children[1])
        case _:
            it.hand.retype(it.theirs[kind], "otherwise")
    before = it.tree()
    with pytest.raises(PageChanged):
        await it.update(f"{it.text}\n\nMore.\n")
    assert it.tree() == before
    assert "PATCH" in await it.update(f"{it.text}\n\nMore.\n", overwrites=True)
    assert "otherwise" not in await it.read()


async def test_what_is_new_there_stays(it: _Taken) -> None:
    (remark,) = it.hand.add(it.page, paragraph("A remark."))
    await it.update(f"{OURS}\n\nMore.\n")
    assert not remark.in_trash
    assert it.theirs["column_list"].in_trash


def test_what_a_block_says_is_recorded_with_what_is_inside_it() -> None:
    cells = {"cells": [rich("a"), rich("b")]}
    blocks = [
        block("table", {"table_width": 2}, block("table_row", cells), block("table_row", cells)),
        block("column_list", {}, block("column", {}, block("paragraph", {"rich_text": rich("x")}))),
        block("paragraph", {"rich_text": []}),
    ]
    for number, each in enumerate(_all(blocks)):
        each["id"] = str(number)
    table, columns, empty = taken(blocks, parse)
    assert [row.said for row in table.children] == [table.children[0].said] * 2
    assert table.said != ""
    (column,) = columns.children
    assert (columns.said[0], column.said, column.children[0].said, empty.said) == ("=", "", "", "")
    (same,) = taken([block("paragraph", {"rich_text": rich("x")}) | {"id": "x"}], parse)
    assert key_of(columns.said, [key_of(column.said, [""])]) == same.said
    assert taken([], parse) == ()
    assert isinstance(same, SyncedBlock)


def test_a_picture_is_recorded_as_the_text_will_be_read() -> None:
    address = "https://pictures.example.org/i.png"
    picture = block("image", {"type": "external", "external": {"url": address}}) | {"id": "x"}
    reader = partial(parse, image_hosts=frozenset({"pictures.example.org"}))
    for parser in (parse, reader):
        (said,) = to_notion(parser(f"![]({address})"))
        assert taken([picture], parser)[0].said == said_hash(said)


def _all(blocks: list[JSON]) -> list[JSON]:
    return [each for block in blocks for each in (block, *_all(block.get("children", [])))]
