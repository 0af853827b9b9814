"""Document to Notion's JSON: every request is within every limit, and together they hold the whole document."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.document import (
    Block,
    Callout,
    Code,
    Divider,
    Document,
    Equation,
    Image,
    InlineEquation,
    Mark,
    Prose,
    ProseKind,
    Table,
    Text,
    ToDo,
)
from integrations.markdown import parse
from integrations.notion_blocks import NotionBlock, batches, count_blocks, count_requests, to_notion
from integrations.notion_text import cut
from tests.integrations.visible_text import block_texts
from tests.standins.notion_limits import check_children
from tests.standins.notion_schema import NEWEST_VERSION, request_complaint

PARAGRAPH = ProseKind.PARAGRAPH


def requests(blocks: list[NotionBlock] | tuple[NotionBlock, ...]) -> list[list[dict[str, Any]]]:
    """The `children` of all requests that write these blocks and what is inside them."""
    made = []
    for batch in batches(blocks):
        made.append(batch.children)
        for block in batch.blocks:
            made.extend(requests(block.later))
    return made


def check(document: Document) -> list[NotionBlock]:
    """The document's blocks, all of whose requests are in order, counted rightly and no larger than they say."""
    blocks = to_notion(document)
    made = requests(blocks)
    assert [violation for children in made for violation in check_children(children)] == []
    assert len(made) == count_requests(blocks)
    for batch in batches(blocks):
        assert sum(block.request_bytes for block in batch.blocks) >= len(json.dumps(batch.children)) - len("[]")
    return blocks


def text_of(blocks: list[NotionBlock] | tuple[NotionBlock, ...]) -> str:
    return "".join(block_texts(blocks))


# --- the form of each block


def test_every_block_has_notions_form() -> None:
    bold = frozenset({Mark.BOLD, Mark.HIGHLIGHT})
    document = Document(
        (
            Prose(ProseKind.HEADING_4, (Text("title"),)),
            Prose(PARAGRAPH, (Text("a", bold, "https://x.example"), InlineEquation("x^2", frozenset({Mark.ITALIC})))),
            ToDo((Text("task"),), checked=True),
            Callout((Text("note"),), icon="💡", color="green_background", children=(Divider(),)),
            Code("x = 1", "python", (Text("main.py"),)),
            Equation("y"),
            Table((((Text("a"),), ()), ((Text("b"),), (Text("c"),)))),
            Image("https://x.example/i.png", (Text("alt"),)),
        )
    )
    assert [block.request for block in check(document)] == [
        {"type": "heading_4", "heading_4": {"rich_text": [{"type": "text", "text": {"content": "title"}}]}},
        {
            "type": "paragraph",
            "paragraph": {
                "rich_text": [
                    {
                        "type": "text",
                        "text": {"content": "a", "link": {"url": "https://x.example"}},
                        "annotations": {"bold": True, "color": "yellow_background"},
                    },
                    {"type": "equation", "equation": {"expression": "x^2"}, "annotations": {"italic": True}},
                ]
            },
        },
        {"type": "to_do", "to_do": {"rich_text": [{"type": "text", "text": {"content": "task"}}], "checked": True}},
        {
            "type": "callout",
            "callout": {
                "rich_text": [{"type": "text", "text": {"content": "note"}}],
                "icon": {"type": "emoji", "emoji": "💡"},
                "color": "green_background",
                "children": [{"type": "divider", "divider": {}}],
            },
        },
        {
            "type": "code",
            "code": {
                "rich_text": [{"type": "text", "text": {"content": "x = 1"}}],
                "language": "python",
                "caption": [{"type": "text", "text": {"content": "main.py"}}],
            },
        },
        {"type": "equation", "equation": {"expression": "y"}},
        {
            "type": "table",
            "table": {
                "table_width": 2,
                "has_column_header": True,
                "has_row_header": False,
                "children": [
                    {"type": "table_row", "table_row": {"cells": [[{"type": "text", "text": {"content": "a"}}], []]}},
                    {
                        "type": "table_row",
                        "table_row": {
                            "cells": [
                                [{"type": "text", "text": {"content": "b"}}],
                                [{"type": "text", "text": {"content": "c"}}],
                            ]
                        },
                    },
                ],
            },
        },
        {
            "type": "image",
            "image": {
                "type": "external",
                "external": {"url": "https://x.example/i.png"},
                "caption": [{"type": "text", "text": {"content": "alt"}}],
            },
        },
    ]


# --- text


_CHARACTERS = {
    "ASCII": "a",
    "outside the basic plane": "\U0001f600",
    "accent": "e\u0301",
    "family": "\U0001f469\u200d\U0001f469\u200d\U0001f467",
    "skin tone": "\U0001f44d\U0001f3fd",
    "variation selector": "\u2764\ufe0f",
    "flag": "\U0001f1e9\U0001f1ea",
    "flag of a region": "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    "Hangul letters": "\u1100\u1161\u11a8",
    "Hangul syllable and letter": "\uac00\u11a8",
    "Devanagari conjunct": "\u0915\u094d\u0937\u093f",
    "Thai vowel": "\u0e01\u0e31",
    "line end": "\r\n",
}


@pytest.mark.parametrize("name", _CHARACTERS)
@pytest.mark.parametrize("offset", range(3))
def test_text_is_cut_between_characters(name: str, offset: int) -> None:
    unit = _CHARACTERS[name]
    text = "x" * offset + unit * 1500
    pieces = list(cut(text, 2000))
    assert "".join(pieces) == text
    for piece in pieces:
        assert len(piece.encode("utf-16-le")) // 2 <= 2000
    for piece in pieces[1:]:
        assert piece.startswith(unit)


def test_a_character_longer_than_the_limit_is_cut_between_code_points() -> None:
    text = "e" + "́" * 5000 + "👍" + "\U0001f3fd" * 2000
    pieces = list(cut(text, 2000))
    assert "".join(pieces) == text
    assert all(len(piece.encode("utf-16-le")) // 2 <= 2000 for piece in pieces)


@settings(max_examples=200, deadline=None)
@given(st.text("a é́‍👩\U0001f1e9각ᄀ\U0001f3fdक्\r\n", max_size=60), st.integers(2, 9))
def test_any_text_is_cut_without_loss(text: str, units: int) -> None:
    pieces = list(cut(text, units))
    assert "".join(pieces) == text
    assert all(0 < len(piece.encode("utf-16-le")) // 2 <= units for piece in pieces)


def test_a_long_text_is_one_block_of_many_items() -> None:
    (block,) = check(parse("word " * 39_000))
    assert block.payload["paragraph"]["rich_text"][0]["text"]["content"] == "word " * 400
    assert text_of([block]).split() == ["word"] * 39_000


def test_a_paragraph_with_many_looks_goes_on_in_the_next_between_words() -> None:
    document = parse(" ".join(f"**w{number}**x y" for number in range(300)))
    blocks = check(document)
    assert [block.kind for block in blocks] == ["paragraph"] * len(blocks)
    assert len(blocks) > 5
    assert text_of(blocks).split() == " ".join(f"w{number}x y" for number in range(300)).split()


@pytest.mark.parametrize(
    ("markdown", "kind"), [("- ", "bulleted_list_item"), ("1. ", "numbered_list_item"), ("> ", "quote")]
)
def test_an_item_with_many_looks_goes_on_inside_itself(markdown: str, kind: str) -> None:
    blocks = check(parse(markdown + "*a* b " * 300 + "\n" + markdown + "next"))
    assert blocks[0].kind == kind
    assert [child.kind for child in blocks[0].children][:3] == ["paragraph"] * 3
    assert text_of(blocks).split() == ["a", "b"] * 300 + ["next"]


def test_a_heading_with_many_looks_goes_on_as_a_heading() -> None:
    assert {block.kind for block in check(parse("## " + "*a* b " * 300))} == {"heading_2"}


# --- code, tables, deep and large documents


def test_long_code_is_cut_between_lines() -> None:
    lines = [f'line {number} of some "quoted" code' for number in range(20_000)]
    blocks = check(Document((Code("\n".join(lines), "python", (Text("caption"),)),)))
    assert len(blocks) > 1
    shown = ["".join(item["text"]["content"] for item in block.payload["code"]["rich_text"]) for block in blocks]
    assert "\n".join(shown).split("\n") == lines
    assert ["caption" in block.payload["code"] for block in blocks] == [False] * (len(blocks) - 1) + [True]


def test_code_of_one_endless_line_is_kept() -> None:
    blocks = check(Document((Code("é" * 450_000, "python"),)))
    assert text_of(blocks).replace("\n", "") == "é" * 450_000


def test_a_table_of_five_thousand_rows_is_one_table() -> None:
    markdown = "| n | text |\n|---|---|\n" + "".join(f"| {number} | row **{number}** |\n" for number in range(5000))
    (table,) = check(parse(markdown))
    assert len(table.children) == 5001
    assert table.carried == 100
    assert len(requests([table])) == 51
    assert text_of([table]).split() == ["n", "text"] + [w for n in range(5000) for w in (str(n), "row", str(n))]


def test_a_long_table_inside_a_list_is_written_under_its_item() -> None:
    rows = "".join(f"  | {number} |\n" for number in range(250))
    (item,) = check(parse("- item\n\n  | n |\n  |---|\n" + rows))
    assert not item.is_whole
    assert item.later[0].kind == "table"


def test_cells_too_long_for_a_row_go_on_below() -> None:
    long, short = "word " * 60_000, "x"
    (table,) = check(Document((Table((((Text(long),), (Text(short),)), ((Text("a"),), ()))),)))
    assert len(table.children) > 2
    assert sorted(text_of([table]).split()) == ["a", *["word"] * 60_000, "x"]


def test_a_row_of_a_hundred_long_cells_is_within_the_limits() -> None:
    equation = InlineEquation("é" * 1000)
    cell = (Text("é" * 5000, frozenset(Mark), "https://x.example/" + "a" * 1900), equation)
    (table,) = check(Document((Table((((cell,) * 100), ((Text("b"),),) * 100)),)))
    assert text_of([table]).count("é") == 100 * 6000


def test_a_list_of_twelve_levels_is_written_level_by_level() -> None:
    markdown = "".join("  " * level + f"- level {level}\n" for level in range(12))
    (block,) = check(parse(markdown))
    assert count_blocks([block]) == 12
    assert count_requests([block]) == 10  # nine levels by themselves, the last three in one
    assert text_of([block]).split() == [word for level in range(12) for word in ("level", str(level))]


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_three_levels_go_into_one_request(depth: int) -> None:
    block: Block = Divider()
    for _ in range(depth - 1):
        block = Prose(ProseKind.TOGGLE, (Text("t"),), (block,))
    (made,) = check(Document((block,)))
    assert made.is_whole is (depth <= 3)


@pytest.mark.parametrize(("children", "is_whole"), [(100, True), (101, False)])
def test_a_hundred_children_go_into_one_request(children: int, *, is_whole: bool) -> None:
    (block,) = check(Document((Prose(ProseKind.TOGGLE, (), (Divider(),) * children),)))
    assert block.is_whole is is_whole


def test_a_thousand_blocks_go_into_one_request() -> None:
    ten = Prose(ProseKind.TOGGLE, (), (Divider(),) * 99)
    blocks = check(Document((ten,) * 11))
    assert [len(batch.blocks) for batch in batches(blocks)] == [10, 1]


def test_a_megabyte_is_written_whole() -> None:
    paragraph = "Some *prose* with `code`, [a link](https://x.example/y) and 中文 😀.\n\n"
    markdown = paragraph * (1_000_000 // len(paragraph))
    blocks = check(parse(markdown))
    assert count_blocks(blocks) == 1_000_000 // len(paragraph)
    assert text_of(blocks).count("😀") == 1_000_000 // len(paragraph)


def test_nothing_makes_no_request() -> None:
    assert to_notion(Document(())) == []
    assert list(batches([])) == []


# --- any document

_MARKS = st.frozensets(st.sampled_from(Mark))
_TEXTS = st.one_of(
    st.text('ab 中😀\n"\\\x01', max_size=8),
    st.integers(1, 2500).map(lambda length: "é" * length),
    st.integers(1, 900).map("word \U0001f469\u200d\U0001f467 ".__mul__),
)
_RUNS = st.one_of(
    st.builds(
        Text, _TEXTS, _MARKS, st.one_of(st.none(), st.integers(0, 1980).map("https://x.example/{:0>1980}".format))
    ),
    st.builds(InlineEquation, st.integers(1, 1000).map("é".__mul__), _MARKS),
)
_RICH_TEXTS = st.one_of(
    st.lists(_RUNS, max_size=4).map(tuple),
    st.tuples(_RUNS, st.integers(90, 250)).map(lambda pair: (pair[0],) * pair[1]),
)


_SHORT = st.sampled_from([(), (Text("x"),), (Text("é" * 1999),), (InlineEquation("y"), Text("z", frozenset(Mark)))])
_MANY = st.sampled_from([2, 50, 99, 100, 101, 230])
_TABLES = st.one_of(
    st.builds(lambda cell, width: Table((((cell,) * width),)), _RICH_TEXTS, st.integers(1, 3)),
    st.builds(lambda cell, width: Table((((cell,) * width),) * 2), _SHORT, st.integers(1, 100)),
    st.builds(lambda cell, rows: Table(((cell, ()),) * rows), _SHORT, _MANY),
)
_LEAVES: st.SearchStrategy[Block] = st.one_of(
    st.builds(Prose, st.sampled_from(ProseKind), _RICH_TEXTS),
    st.builds(Code, st.one_of(_TEXTS, st.integers(1, 60_000).map('"line"\n'.__mul__)), st.just("python"), _RICH_TEXTS),
    st.builds(Equation, st.integers(1, 1000).map("é".__mul__)),
    _TABLES,
    st.builds(Image, st.just("https://x.example/i.png"), _RICH_TEXTS),
    st.just(Divider()),
)


def _parents(inside: st.SearchStrategy[Block]) -> st.SearchStrategy[Block]:
    children = st.one_of(
        st.lists(inside, max_size=3).map(tuple),
        st.builds(lambda text, many: (Prose(PARAGRAPH, text),) * many, _SHORT, _MANY),
    )
    kinds = st.sampled_from([kind for kind in ProseKind if not kind.startswith("heading")])
    return st.one_of(
        st.builds(Prose, kinds, _RICH_TEXTS, children),
        st.builds(lambda text, inner: ToDo(text, checked=False, children=inner), _SHORT, children),
        st.builds(lambda text, inner: Callout(text, icon="💡", color="default", children=inner), _SHORT, children),
    )


def any_blocks() -> st.SearchStrategy[Block]:
    """Blocks of every sort and size, some of them inside others."""
    return st.recursive(_LEAVES, _parents, max_leaves=6)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.lists(any_blocks(), max_size=4))
def test_any_document_makes_requests_within_the_limits_and_is_written_whole(blocks: list[Block]) -> None:
    made = check(Document(tuple(blocks)))
    page = Page(appends_left=10_000)
    write_on(page, page.blocks, tuple(made))
    assert page.blocks == _complete(tuple(made))
    assert not Counter(_texts(blocks)) - Counter(text_of(made)) - Counter("\n")


def _texts(value: object) -> str:
    """All the text in a value of the domain, however deep."""
    match value:
        case Text(content) | Code(content, _, ()):
            return content
        case InlineEquation(expression) | Equation(expression):
            return expression
        case Code(content, _, caption):
            return content + _texts(caption)
        case list() | tuple():
            return "".join(map(_texts, value))
        case Prose() | ToDo() | Callout():
            return _texts(value.text) + _texts(value.children)
        case Table(rows):
            return _texts(rows)
        case Image(_, caption):
            return _texts(caption)
        case _:
            return ""


def test_the_openapi_takes_what_the_limits_take() -> None:
    markdown = """# h

##### h5

> [!NOTE]
> *a*

- [x] `t`
  - b

1. n

| a |
|---|
| $x$ |

```py
x
```

$$
y
$$

***

![i](https://x.example/i.png)

<details>

[l](https://x.example)

</details>

> q
"""
    for children in requests(to_notion(parse(markdown, image_hosts=frozenset({"x.example"})))):
        complaint = request_complaint(
            "PATCH", "/v1/blocks/{block_id}/children", {"children": children}, version=NEWEST_VERSION
        )
        assert complaint is None


# --- writing, and writing on after a crash


class Crash(Exception):
    """The writer's process dies."""


class Page:
    """A page that can be appended to, a given number of times."""

    def __init__(self, *, appends_left: int = 0) -> None:
        self.blocks: list[Any] = []  # pairs of a block's JSON and its children, as deep as they go
        self.appends_left = appends_left

    def append(self, parent: list[Any], children: list[dict[str, Any]]) -> list[list[Any]]:
        """Appends below a block; the places for the children of the first-level blocks that were made."""
        if self.appends_left == 0:
            raise Crash
        self.appends_left -= 1
        assert check_children(children) == []
        made = [self._made(child) for child in children]
        parent.extend(made)
        return [children for _, children in made]

    def _made(self, block: dict[str, Any]) -> tuple[Any, list[Any]]:
        body = dict(block[block["type"]])
        children = body.pop("children", [])
        return json.dumps({block["type"]: body}, sort_keys=True), [self._made(child) for child in children]


def write_on(page: Page, parent: list[Any], blocks: tuple[NotionBlock, ...]) -> None:
    """Writes what is missing of some siblings, knowing only what is there."""
    existing = len(parent)
    for block, (_, children) in zip(blocks[:existing], parent, strict=True):
        if not block.is_whole:
            write_on(page, children, block.children)
    for batch in batches(blocks[existing:]):
        for block, children in zip(batch.blocks, page.append(parent, batch.children), strict=True):
            if block.later:
                write_on(page, children, block.children)


def _complete(blocks: tuple[NotionBlock, ...]) -> list[Any]:
    return [(json.dumps({b.kind: b.payload[b.kind]}, sort_keys=True), _complete(b.children)) for b in blocks]


@pytest.mark.parametrize("appends", [1, 2, 3, 7])
def test_a_page_is_written_exactly_once_however_often_the_writer_dies(appends: int) -> None:
    markdown = (
        "".join("  " * level + f"- level {level}\n" for level in range(12)) * 2
        + "\n| n |\n|---|\n" + "".join(f"| {number} |\n" for number in range(320))
        + "\n" + "para\n\n" * 230
        + "- item\n\n  | n |\n  |---|\n" + "".join(f"  | {number} |\n" for number in range(130))
        + "\n> " + "*a* b " * 250 + "\n\n> " + "\n> ".join(f"- {number}" for number in range(150))
    )  # fmt: skip
    blocks = tuple(to_notion(parse(markdown)))
    page = Page()
    for _ in range(200):
        page.appends_left = appends
        try:
            write_on(page, page.blocks, blocks)
            break
        except Crash:
            continue
    assert page.blocks == _complete(blocks)
