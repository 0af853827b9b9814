"""What a page says, and the hash by which it is compared: blind to Notion's own way of writing, and to nothing else."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from domain.errors import NotionFailed
from domain.notion_base import SyncedBlock
from integrations import notion_page
from integrations.markdown import parse
from integrations.markdown_writer import write
from integrations.notion_blocks import to_notion
from integrations.notion_page import content_of, expected_fingerprint, read_blocks
from integrations.notion_reader import read_document
from tests.integrations.test_notion_reader import block, listed, rich

BOT = {"object": "user", "id": "bot"}
EXAMPLES = Path(__file__).parents[1] / "data" / "commonmark_cases.json"


def answered(blocks: list[dict[str, Any]], by: str = "bot") -> list[dict[str, Any]]:
    """Blocks with who edited them last."""
    return [
        {**each, "id": "x", "last_edited_by": {**BOT, "id": by}, "children": answered(each.get("children", []), by)}
        for each in blocks
    ]


def fingerprint(*blocks: dict[str, Any]) -> bytes:
    return content_of(answered(list(blocks)), bot_id="bot").fingerprint


def linked(address: str) -> dict[str, Any]:
    return block("paragraph", {"rich_text": rich("word", text={"content": "word", "link": {"url": address}})})


def test_a_page_that_was_made_of_a_text_has_its_fingerprint() -> None:
    markdown = "# h\n\n- a\n  - b\n\n| x |\n| --- |\n| [y](HTTPS://Example.org) |\n\n" + "long " * 1000
    content = content_of(answered(listed(to_notion(parse(markdown)))), bot_id="bot")
    assert content.fingerprint == expected_fingerprint(markdown)
    assert content.is_only_ours
    assert expected_fingerprint(content.markdown) == content.fingerprint
    assert expected_fingerprint(markdown + "x") != content.fingerprint


def test_what_was_written_is_written_again_alike_for_every_example_of_commonmark() -> None:
    for example in json.loads(EXAMPLES.read_text(encoding="utf-8")):
        blocks = to_notion(parse(example["markdown"]))
        text = write(read_document(listed(blocks)))
        assert to_notion(parse(text)) == blocks
        assert write(read_document(listed(to_notion(parse(text))))) == text


@pytest.mark.parametrize(
    ("one", "other", "are_alike"),
    [
        ("https://example.org", "https://example.org/", True),
        ("HTTPS://Example.ORG/a", "https://example.org/a", True),
        ("https://example.org/%C3%A4", "https://example.org/%c3%a4", True),
        ("https://example.org/a", "https://example.org/A", False),
        ("https://example.org/a", "https://example.org/a?b", False),
        ("https://example.org/a%2Fb", "https://example.org/a/b", False),
        ("http://example.org/", "https://example.org/", False),
    ],
)
def test_addresses_are_alike_however_they_are_spelt(one: str, other: str, are_alike: bool) -> None:
    assert (fingerprint(linked(one)) == fingerprint(linked(other))) is are_alike


def test_runs_side_by_side_and_signatures_of_files_are_no_difference() -> None:
    together = block("paragraph", {"rich_text": rich("one two")})
    apart = block("paragraph", {"rich_text": [*rich("one "), *rich("two")]})
    assert fingerprint(together) == fingerprint(apart)

    def picture(address: str) -> dict[str, Any]:
        return block("image", {"type": "file", "file": {"url": address}, "caption": []})

    assert fingerprint(picture("https://f.example/i.png?X=1")) == fingerprint(picture("https://f.example/i.png?X=2"))
    assert fingerprint(picture("https://f.example/i.png")) != fingerprint(picture("https://f.example/j.png"))


def test_it_is_known_whether_somebody_else_had_a_hand_in_it() -> None:
    inside = answered([block("paragraph", {"rich_text": rich("theirs")})], by="somebody")
    page = answered([block("toggle", {"rich_text": rich("ours")})])
    assert content_of(page, bot_id="bot").is_only_ours
    page[0]["children"] = inside
    assert not content_of(page, bot_id="bot").is_only_ours


def test_what_still_shows_as_in_the_base_is_ours_whoever_wrote_it() -> None:
    page = answered([block("paragraph", {"rich_text": rich("taken")})], by="somebody")
    base = content_of(page, bot_id="bot").blocks(parse)
    content = content_of(page, bot_id="bot", base=base)
    assert content.is_only_ours
    assert content.own_fingerprint == content.fingerprint
    page[0]["paragraph"] = {"rich_text": rich("changed")}
    content = content_of(page, bot_id="bot", base=base)
    assert not content.is_only_ours
    assert content.own_fingerprint == content_of([], bot_id="bot").fingerprint


@pytest.mark.parametrize(
    "do",
    [
        lambda page: page.pop(0),
        lambda page: page.pop(2),
        lambda page: page.reverse(),
        lambda page: page[1]["children"].pop(0),
        lambda page: page[1]["children"][0]["children"].pop(),
    ],
)
def test_what_is_missing_or_elsewhere_is_not_our_doing(do: Callable[[list[dict[str, Any]]], object]) -> None:
    def paragraph(words: str, *children: dict[str, Any]) -> dict[str, Any]:
        return block("bulleted_list_item", {"rich_text": rich(words)}, *children)

    inside = paragraph("two", paragraph("three", paragraph("four")), paragraph("five"))
    page = answered([paragraph("one"), inside, paragraph("six")])
    _give_ids(page)
    named = content_of(page, bot_id="bot").blocks(parse)
    # As after the first writing: what came along with its parent has no known id.
    base = [replace(each, children=tuple(map(_nameless, each.children))) for each in named]
    assert content_of(page, bot_id="bot", base=base).is_only_ours
    do(page)
    assert content_of(page, bot_id="bot").is_only_ours
    assert not content_of(page, bot_id="bot", base=base).is_only_ours


def _give_ids(blocks: list[dict[str, Any]], before: str = "block") -> None:
    for number, each in enumerate(blocks):
        each["id"] = f"{before}-{number}"
        _give_ids(each["children"], each["id"])


def _nameless(block: SyncedBlock) -> SyncedBlock:
    return replace(block, id="", children=tuple(map(_nameless, block.children)))


async def test_blocks_are_read_on_every_level_but_not_in_other_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    tree = {
        "page": [("a", "toggle", True), ("sub", "child_page", True)],
        "a": [("b", "paragraph", True)],
        "b": [("c", "paragraph", False)],
    }

    async def children(block_id: str) -> AsyncIterator[dict[str, Any]]:
        for each, kind, has_children in tree[block_id]:
            yield {"id": each, "type": kind, "has_children": has_children}

    first, second = await read_blocks(children, "page")
    assert first["children"][0]["children"][0]["id"] == "c"
    assert "children" not in second
    assert [each["id"] for each in await read_blocks(children, "page", others={"a", "c"})] == ["sub"]
    monkeypatch.setattr(notion_page, "MAX_BLOCKS", 3)
    with pytest.raises(NotionFailed) as raised:
        await read_blocks(children, "page")
    assert not raised.value.retryable
