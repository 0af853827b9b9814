"""What a reader sees, of a page in HTML and of a page in Notion, so that the two can be compared."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

from integrations.notion_blocks import NotionBlock

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def lost_words(html: str, blocks: Iterable[NotionBlock]) -> list[str]:
    """The words that the HTML shows more often than the blocks do."""
    shown = Counter(_words("".join(block_texts(blocks))))
    return list((Counter(_words(html_text(html))) - shown).elements())


def lost_characters(html: str, blocks: Iterable[NotionBlock]) -> str:
    """What of the HTML's text, blanks aside, does not come up in the blocks in the same order; at most the first 40."""
    shown = iter(block_characters(blocks))
    wanted = html_characters(html)
    for position, character in enumerate(wanted):
        if character not in shown:  # takes from the iterator up to the character
            return wanted[position : position + 40]
    return ""


def html_characters(html: str) -> str:
    """The text of a page in HTML without blanks."""
    return _characters(html_text(html))


def block_characters(blocks: Iterable[NotionBlock]) -> str:
    """The text of the blocks without blanks."""
    return _characters("".join(block_texts(blocks)))


def block_texts(blocks: Iterable[NotionBlock]) -> Iterator[str]:
    """All texts of the blocks and of those inside them, in order of reading."""
    for block in blocks:
        yield "".join(_texts(block.payload)) + "\n"
        yield from block_texts(block.children)


def _texts(value: Any) -> Iterator[str]:  # any JSON
    match value:
        case {"content": str(content)}:
            yield content
        case {"expression": str(expression)}:
            yield expression
        case {"cells": list(cells)}:
            for cell in cells:
                yield from _texts(cell)
                yield "\n"
        case dict():
            for inner in value.values():
                yield from _texts(inner)
                yield "\n" if isinstance(inner, list) else ""
        case list():
            for inner in value:
                yield from _texts(inner)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", _normalised(text))


def _characters(text: str) -> str:
    return re.sub(r"\s", "", _normalised(text))


def _normalised(text: str) -> str:
    """Superscript and subscript characters as the ordinary ones that they stand for."""
    return unicodedata.normalize("NFKC", text)


def html_text(html: str) -> str:
    """The text of a page in HTML, or of a piece of one."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    return "".join(reader.texts)


_INLINE = frozenset(("a", "b", "code", "del", "em", "i", "img", "input", "kbd", "s", "strong", "sub", "sup", "u"))


class _Reader(HTMLParser):
    """Collects the text between tags, and the descriptions of images."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            self.texts.append(dict(attrs).get("alt") or "")
        elif tag not in _INLINE:
            self.texts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag not in _INLINE:
            self.texts.append("\n")
