"""The checker that the other tests lean on does find what is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from tests.standins.notion_limits import check_children, check_rich_text


def text(content: str = "x", **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": {"content": content}, **more}


def paragraph(*items: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "paragraph", "paragraph": {"rich_text": list(items), **more}}


def table(*rows: int, width: int = 1) -> dict[str, Any]:
    made = [{"type": "table_row", "table_row": {"cells": [[text()]] * cells}} for cells in rows]
    return {"type": "table", "table": {"table_width": width, "children": made}}


def nested(block: dict[str, Any], levels: int) -> dict[str, Any]:
    for _ in range(levels):
        block = paragraph(children=[block])
    return block


def link(url: str) -> dict[str, Any]:
    return paragraph({"type": "text", "text": {"content": "x", "link": {"url": url}}})


@pytest.mark.parametrize(
    "block",
    [
        paragraph(text("x" * 2000), *[text()] * 99),
        paragraph(text("\U0001f600" * 1000, annotations={"bold": True, "color": "red_background"})),
        {"paragraph": {"rich_text": [{"text": {"content": ""}}]}},
        {"object": "block", "type": "heading_4", "heading_4": {"rich_text": [], "is_toggleable": True}},
        nested(paragraph(), 2),
        nested(table(1), 1),
        table(2, 2, width=2),
        {"type": "table_row", "table_row": {"cells": [[]]}},
        link("https://x.example/" + "a" * 1900),
        {"type": "equation", "equation": {"expression": "x" * 1000}},
        {"type": "code", "code": {"rich_text": [], "language": "plain text", "caption": [text()]}},
        {"type": "callout", "callout": {"rich_text": [], "icon": {"type": "emoji", "emoji": "💡"}, "color": "gray"}},
        {"type": "image", "image": {"type": "external", "external": {"url": "https://x.example/i.png"}}},
        {"type": "to_do", "to_do": {"rich_text": [], "checked": False}},
        {"type": "divider", "divider": {}},
    ],
)
def test_what_is_in_order_passes(block: dict[str, Any]) -> None:
    assert check_children([block] * 10) == []


@pytest.mark.parametrize(
    ("block", "complaint"),
    [
        (paragraph(text("x" * 2001)), "content.length should be ≤ `2000`, instead was `2001`"),
        (paragraph(text("\U0001f600" * 1001)), "content.length should be ≤ `2000`, instead was `2002`"),
        (paragraph(*[text()] * 101), "rich_text.length should be ≤ `100`, instead was `101`"),
        (paragraph(text("\ud83d")), "half of a surrogate pair"),
        (paragraph(text(plain_text="x")), "no other keys"),
        (paragraph({"type": "text", "text": {"content": "x", "url": "y"}}), "`content` and `link` only"),
        (paragraph({"type": "text", "equation": {"expression": "x"}}), "either a text or an equation"),
        (paragraph(text(annotations={"loud": True})), "known annotation"),
        (paragraph(text(annotations={"bold": 1})), "known annotation"),
        (paragraph(text(annotations={"color": "beige"})), "should be a color"),
        (paragraph(color="beige"), "should be a color"),
        (paragraph(checked=True), "checked should be not present"),
        (paragraph(children=[paragraph()] * 101), "children.length should be ≤ `100`, instead was `101`"),
        (nested(paragraph(), 3), "children should be not present"),
        (nested(table(1), 2), "children should be not present"),
        (table(), "children.length should be ≥ `1`"),
        (table(*[1] * 101), "children.length should be ≤ `100`"),
        (table(1, 2), "must match the table width"),
        (table(0, width=0), "table_width should be ≥ `1`"),
        (paragraph(children=[{"type": "table_row", "table_row": {"cells": []}}]), "should not be a table_row"),
        (table(1) | {"paragraph": {}}, "should have one known type"),
        ({"type": "heading_5", "heading_5": {"rich_text": []}}, "should have one known type"),
        ({"type": "paragraph", "paragraph": {}}, "should be defined"),
        (link("https://x.example/" + "a" * 2000), "length should be ≤ `2000`"),
        (link("mailto:a@b.example"), "Invalid URL for link"),
        (link("/relative"), "Invalid URL for link"),
        (link("https://x y"), "Invalid URL for link"),
        (link(""), "Invalid URL for link"),
        ({"type": "equation", "equation": {"expression": "x" * 1001}}, "expression.length should be ≤ `1000`"),
        ({"type": "equation", "equation": {"expression": ""}}, "not empty"),
        ({"type": "code", "code": {"rich_text": [], "language": "py"}}, "should be a language"),
        ({"type": "code", "code": {"rich_text": []}}, "language should be defined"),
        ({"type": "callout", "callout": {"rich_text": [], "icon": "💡"}}, "should be an emoji"),
        ({"type": "image", "image": {"external": {"url": "x.png"}}}, "Invalid URL for link"),
        ({"type": "to_do", "to_do": {"rich_text": [], "checked": "yes"}}, "should be a boolean"),
        ("paragraph", "should be an object"),
    ],
)
def test_what_is_not_in_order_is_said(block: Any, complaint: str) -> None:
    assert any(complaint in violation for violation in check_children([block]))


def test_the_request_as_a_whole_has_limits() -> None:
    assert any("≤ `100`" in violation for violation in check_children([paragraph()] * 101))
    assert any(
        "≤ `1000` blocks" in violation for violation in check_children([paragraph(children=[paragraph()] * 10)] * 91)
    )
    assert any(
        "≤ `500000` bytes" in violation for violation in check_children([paragraph(*[text("é" * 2000)] * 100)] * 2)
    )


def test_rich_text_alone_is_checked_alike() -> None:
    assert check_rich_text([text()]) == []
    assert check_rich_text([text("x" * 2001)]) != []
