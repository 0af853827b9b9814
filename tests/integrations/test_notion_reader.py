"""Blocks as Notion lists them, read into a document: what was written comes back, and what people add is there."""

from __future__ import annotations

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
    Image,
    Mark,
    Prose,
    ProseKind,
    Table,
    Text,
)
from integrations.markdown import parse
from integrations.markdown_writer import write
from integrations.notion_blocks import NotionBlock, to_notion
from integrations.notion_reader import read_document
from tests.integrations.outline import outline
from tests.integrations.test_markdown import IMAGE_HOSTS, Case, our_cases, whole_documents
from tests.integrations.test_notion_blocks import any_blocks
from tests.integrations.visible_text import block_characters


def listed(blocks: list[NotionBlock] | tuple[NotionBlock, ...]) -> list[dict[str, Any]]:
    """Blocks as Notion answers with them, each with its children."""
    return [
        {
            "object": "block",
            "id": "393abc1e-edcd-81cd-b327-ff0fec766279",
            "has_children": bool(block.children),
            "type": block.kind,
            block.kind: _answered(block.payload[block.kind]),
            "children": listed(block.children),
        }
        for block in blocks
    ]


def _answered(value: Any) -> Any:
    if isinstance(value, list):
        return [_answered(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    kind = value.get("type")
    if kind not in ("text", "equation") or kind not in value:
        return {key: _answered(inner) for key, inner in value.items()}
    said = {"link": None, **value[kind]} if kind == "text" else value[kind]
    looks = {mark.value: False for mark in Mark if mark is not Mark.HIGHLIGHT}
    return {
        "type": kind,
        kind: said,
        "annotations": {**looks, "color": "default", **value.get("annotations", {})},
        "plain_text": said.get("content") or said.get("expression"),
        "href": said.get("link") and said["link"]["url"],
    }


@pytest.mark.parametrize("case", our_cases(), ids=lambda case: case.name)
def test_what_was_written_comes_back(case: Case) -> None:
    document = parse(case.markdown, image_hosts=IMAGE_HOSTS)
    assert read_document(listed(to_notion(document))) == Document(document.blocks)


@settings(max_examples=30, deadline=None)
@given(whole_documents())
def test_markdown_to_notion_and_back_is_a_fixed_point(markdown: str) -> None:
    blocks = to_notion(parse(markdown))
    back = read_document(listed(blocks))
    assert to_notion(parse(write(back))) == blocks


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.lists(any_blocks(), max_size=3))
def test_any_page_is_written_again_as_it_is(blocks: list[Block]) -> None:
    written = to_notion(Document(tuple(blocks)))
    again = to_notion(read_document(listed(written)))  # like runs side by side have become one, and no more
    assert block_characters(again) == block_characters(written)
    assert to_notion(read_document(listed(again))) == again


def block(kind: str, body: dict[str, Any], *children: dict[str, Any]) -> dict[str, Any]:
    return {"object": "block", "type": kind, kind: body, "children": list(children)}


def rich(content: str, **more: Any) -> list[dict[str, Any]]:
    return [{"type": "text", "text": {"content": content, "link": None}, "plain_text": content, "href": None, **more}]


@pytest.mark.parametrize(
    ("notions", "expected"),
    [
        (
            block("bookmark", {"url": "https://x.example", "caption": []}),
            "paragraph: {link https://x.example https://x.example}",
        ),
        (
            block("embed", {"url": "https://x.example", "caption": rich("Map")}),
            "paragraph: Map {link https://x.example https://x.example}",
        ),
        (
            block("pdf", {"type": "file", "file": {"url": "https://x.example/a.pdf"}, "caption": []}),
            "paragraph: {link https://x.example/a.pdf https://x.example/a.pdf}",
        ),
        (
            block("file", {"type": "external", "external": {"url": "https://x.example/a"}, "name": "a.txt"}),
            "paragraph: {link https://x.example/a a.txt}",
        ),
        (block("child_page", {"title": "Sub"}), "paragraph: Sub"),
        (block("table_of_contents", {"color": "default"}), "paragraph: (table of contents)"),
        (block("unsupported", {"block_type": "button"}), "paragraph: (unsupported)"),
        (block("invented_later", {"rich_text": rich("new")}), "paragraph: new"),
        (block("invented_later", {"x": 1}, block("divider", {})), "paragraph: (invented later)\ndivider"),
    ],
)
def test_a_block_of_a_sort_that_only_notion_has_can_be_seen(notions: dict[str, Any], expected: str) -> None:
    document = read_document([notions])
    assert outline(document.blocks) == expected
    assert document.degraded


def test_columns_are_read_one_after_the_other() -> None:
    left, right = (block("column", {}, block("paragraph", {"rich_text": rich(side)})) for side in ("left", "right"))
    document = read_document([block("column_list", {}, left, right)])
    assert outline(document.blocks) == "paragraph: left\nparagraph: right"
    assert document.degraded


def test_mentions_colours_and_links_within_notion() -> None:
    items = [
        {"type": "mention", "mention": {"type": "page"}, "plain_text": "Page", "href": "https://app.notion.com/p/1"},
        *rich(" "),
        *rich("marked", annotations={"bold": True, "color": "red_background"}),
        {"type": "text", "text": {"content": "inner", "link": {"url": "/2"}}, "plain_text": "inner", "href": "/2"},
        *rich("red", annotations={"color": "red"}),
    ]
    document = read_document([block("paragraph", {"rich_text": items})])
    assert outline(document.blocks) == (
        "paragraph: {link https://app.notion.com/p/1 Page} {bold highlight marked}"
        "{link https://app.notion.com/2 inner}red"
    )


def test_other_forms_of_the_same_blocks() -> None:
    row = {"type": "table_row", "table_row": {"cells": [rich("a")]}}
    wide = {"type": "table_row", "table_row": {"cells": [rich("b"), rich("c")]}}
    document = read_document(
        [
            block("code", {"rich_text": rich("x"), "language": "newlang", "caption": []}),
            block("callout", {"rich_text": rich("x"), "icon": None, "color": "gray"}),
            block("image", {"type": "file", "file": {"url": "https://x.example/i.png"}, "caption": []}),
            block("table", {"table_width": 2}, row, wide),
            block("table", {"table_width": 2}),
            block("heading_1", {"rich_text": rich("h"), "is_toggleable": True}, block("divider", {})),
        ]
    )
    assert document.blocks == (
        Code("x", "plain text", (Text("newlang"),)),
        Callout((Text("x"),), icon="💡", color="gray"),
        Image("https://x.example/i.png"),
        Table((((Text("a"),), ()), ((Text("b"),), (Text("c"),)))),
        Prose(ProseKind.HEADING_1, (Text("h"),), (Divider(),)),
    )


def test_what_notion_leaves_out_is_no_failure() -> None:
    assert read_document([{}, {"type": "paragraph"}, {"type": "to_do", "to_do": None}]).blocks != ()
