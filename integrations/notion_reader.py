"""Turns the blocks of a Notion page, as its API lists them, into a document.

Whatever a person has put on the page is there: a block that a document has no form for becomes the nearest visible
one, and `Document.degraded` says so. Notion's answers are looked at with care, since it adds types as it likes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

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
    RichText,
    Run,
    Table,
    Text,
    ToDo,
)
from integrations.markdown_inline import joined
from integrations.markdown_languages import PLAIN, notion_language
from integrations.markdown_links import is_web_address

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from integrations.notion_blocks import Json

_APP: Final = "https://app.notion.com"
"""Where the links within Notion lead, which it writes without a host."""

_MARKS: Final[tuple[Mark, ...]] = tuple(mark for mark in Mark if mark is not Mark.HIGHLIGHT)
_TRANSPARENT: Final = frozenset({"column_list", "column", "synced_block", "template"})
_LINKED: Final = frozenset({"bookmark", "embed", "link_preview", "video", "audio", "file", "pdf"})
_UNREADABLE: Final = "Blocks of sorts that only Notion has are shown as text or left as links."
_LAYOUT: Final = "Columns and synced blocks are shown one after the other."


def read_document(blocks: Iterable[Json]) -> Document:
    """The document that a page's blocks show; the children of each stand under its key `children`."""
    degraded: dict[str, None] = {}
    return Document(_blocks(blocks, degraded), tuple(degraded))


def _blocks(blocks: Iterable[Json], degraded: dict[str, None]) -> tuple[Block, ...]:
    return tuple(read for block in blocks for read in _block(block, degraded))


def _block(block: Json, degraded: dict[str, None]) -> Sequence[Block]:
    """What one block shows; several, if it only holds others."""
    kind = str(block.get("type", ""))
    body: Json = block.get(kind) or {}
    inside: list[Json] = block.get("children") or body.get("children") or []
    text = _rich_text(body.get("rich_text"))
    if kind == "table":
        return _table(inside)
    children = _blocks(inside, degraded)
    match kind:
        case "to_do":
            return [ToDo(text, checked=bool(body.get("checked")), children=children)]
        case "callout":
            return [_callout(body, text, children)]
        case "code":
            return [_code(body, text)]
        case "equation":
            return [Equation(str(body.get("expression", "")))]
        case "divider":
            return [Divider()]
        case "image" if address := _address(body):
            return [Image(address, _rich_text(body.get("caption")))]
        case _ if kind in _KINDS:
            return [Prose(ProseKind(kind), text, children)]
        case _ if kind in _TRANSPARENT:
            degraded[_LAYOUT] = None
            return children
        case _:
            degraded[_UNREADABLE] = None
            return [Prose(ProseKind.PARAGRAPH, _description(kind, body)), *children]


_KINDS: Final = frozenset(ProseKind)


def _callout(body: Json, text: RichText, children: tuple[Block, ...]) -> Callout:
    icon: Json = body.get("icon") or {}
    return Callout(
        text, icon=str(icon.get("emoji") or "💡"), color=str(body.get("color") or "default"), children=children
    )


def _code(body: Json, text: RichText) -> Code:
    content = "".join(run.content if isinstance(run, Text) else run.expression for run in text)
    name = str(body.get("language", PLAIN))
    caption = _rich_text(body.get("caption"))
    if (language := notion_language(name)) is None:
        return Code(content, PLAIN, caption or (Text(name),))
    return Code(content, language, caption)


def _table(rows: Sequence[Json]) -> Sequence[Block]:
    cells = [tuple(map(_rich_text, (row.get("table_row") or {}).get("cells") or [])) for row in rows]
    width = max(map(len, cells), default=0)
    return [Table(tuple(row + ((),) * (width - len(row)) for row in cells))] if width else []


def _description(kind: str, body: Json) -> RichText:
    """What stands for a block that has no form of its own: its name, its title and where it leads."""
    address = _address(body)
    title = _rich_text(body.get("caption") or body.get("rich_text"))
    name = str(body.get("title") or body.get("name") or address or f"({kind.replace('_', ' ') or 'block'})")
    return title if title and not address else (*title, *([Text(" ")] if title else []), Text(name, link=address))


def _address(body: Json) -> str | None:
    if kept := body.get("file"):
        # The rest is a signature that is another each time and ends within the hour.
        return _web_address(str(kept.get("url")).partition("?")[0])
    source: Json = body.get("external") or body
    return _web_address(source.get("url"))


def _web_address(address: object) -> str | None:
    if not isinstance(address, str):
        return None
    if address.startswith("/"):
        address = _APP + address
    return address if is_web_address(address) else None


def _rich_text(items: object) -> RichText:
    runs = [_run(item) for item in items] if isinstance(items, list) else []
    return tuple(joined([run for run in runs if not isinstance(run, Text) or run.content]))


def _run(item: Json) -> Run:
    annotations: Json = item.get("annotations") or {}
    marks = frozenset(mark for mark in _MARKS if annotations.get(mark.value))
    if (
        str(annotations.get("color", "default")).endswith("_background")
        and annotations["color"] != "default_background"
    ):
        marks |= {Mark.HIGHLIGHT}
    if expression := (item.get("equation") or {}).get("expression"):
        return InlineEquation(str(expression), marks)
    text: Json = item.get("text") or {}
    link: Json = text.get("link") or {}
    content = str(text.get("content", item.get("plain_text", "")))
    return Text(content, marks, _web_address(link.get("url")) or _web_address(item.get("href")))
