"""The documented limits that no schema can say: sizes of a whole request, links, equations, tables, nesting places."""

from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tests.standins import notion_errors as errors
from tests.standins import notion_limits as limits
from tests.standins.notion_errors import JSON
from tests.standins.notion_schema import utf16_length

if TYPE_CHECKING:
    from collections.abc import Iterator

BODY_BYTES = 500_000
REQUEST_BLOCKS = 1000
URL_LENGTH = 2000
EXPRESSION_LENGTH = 1000

_MEDIA = ("image", "video", "pdf", "file", "audio")
_WITH_URL = ("bookmark", "embed")
# What may hold children at all; everything else is a leaf.
PARENT_TYPES = frozenset(
    {
        "child_page",
        "paragraph",
        "bulleted_list_item",
        "numbered_list_item",
        "quote",
        "to_do",
        "toggle",
        "template",
        "callout",
        "synced_block",
        "heading_1",
        "heading_2",
        "heading_3",
        "heading_4",
        "table",
        "column_list",
        "column",
    }
)
# These live in one kind of parent only.
_ONLY_IN = {"table_row": "table", "column": "column_list"}


def type_of(block: JSON) -> str:
    """The type of a block in a request, which may leave the key `type` out."""
    return str(block.get("type") or next(key for key in block if key not in ("object", "type")))


def check_body_size(raw: bytes) -> None:
    """A request is at most 500 KB."""
    if len(raw) > BODY_BYTES:
        raise errors.invalid_body(f"body.length should be ≤ `{BODY_BYTES}`, instead was `{len(raw)}`.")


def check_children(children: list[JSON], *, parent_type: str) -> None:
    """Blocks that have passed the schema, about to be put under a block of `parent_type`."""
    blocks = list(_walk(children, parent_type))
    if len(blocks) > REQUEST_BLOCKS:
        raise errors.invalid_body(
            f"body.children should hold ≤ `{REQUEST_BLOCKS}` blocks, instead held `{len(blocks)}`."
        )
    for block, block_type, under in blocks:
        if under not in PARENT_TYPES:
            raise errors.content_failed(f"Block type {under} does not support children")
        if _ONLY_IN.get(block_type, under) != under or (under in _ONLY_IN.values() and block_type not in _ONLY_IN):
            raise errors.content_failed(f"Block type {block_type} is not supported as a child of {under}")
        _check_block(block, block_type)
    if all(_is_counted(block, block_type) for block, block_type, _ in blocks):
        # A second opinion, made from the documentation alone: what the schema and the rules above overlook.
        for complaint in limits.check_children(children):
            raise errors.invalid(complaint)


def _is_counted(block: JSON, block_type: str) -> bool:
    """Whether notion_limits knows the block: it knows text without mentions, and no media but images."""
    texts = [block[block_type].get("rich_text") or [], *(block[block_type].get("cells") or [])]
    mentions = any("mention" in item for items in texts for item in items)
    return block_type in limits.KEYS and not mentions and "file_upload" not in block[block_type]


def check_rich_text(items: list[JSON]) -> None:
    """Links and equations in one rich text array."""
    for item in items:
        link = (item.get("text") or {}).get("link")
        if link is not None and not is_web_address(link["url"]):
            raise errors.content_failed("Invalid URL for link.")
        expression = (item.get("equation") or {}).get("expression", "")
        if utf16_length(expression) > EXPRESSION_LENGTH:
            raise errors.invalid_body(
                f"body.equation.expression.length should be ≤ `{EXPRESSION_LENGTH}`, "
                f"instead was `{utf16_length(expression)}`."
            )


def is_web_address(url: str) -> bool:
    """Whether Notion takes the link: http or https with a host that there can be, at most 2000 long, no blanks."""
    if utf16_length(url) > URL_LENGTH or any(character.isspace() for character in url):
        return False
    try:
        parts = urlsplit(url)
        labels = (parts.hostname or "").removesuffix(".").split(".")
        if re.fullmatch("[0-9]+|0x[0-9a-f]*", labels[-1]):
            socket.inet_aton(".".join(labels))
        for label in labels:
            if label.startswith("xn--"):
                label.encode().decode("idna")
        # Asking for the port is what checks it.
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port >= 0)
    except (ValueError, OSError):
        return False


def _walk(children: list[JSON], under: str) -> Iterator[tuple[JSON, str, str]]:
    for block in children:
        block_type = type_of(block)
        yield block, block_type, under
        yield from _walk(block[block_type].get("children") or [], block_type)


def _check_block(block: JSON, block_type: str) -> None:
    content = block[block_type]
    for key in ("rich_text", "caption"):
        check_rich_text(content.get(key) or [])
    for cell in content.get("cells") or []:
        check_rich_text(cell)
    if block_type in _MEDIA and "external" in content and not is_web_address(content["external"]["url"]):
        raise errors.content_failed(f"Invalid {block_type} url.")
    if block_type in _WITH_URL and not is_web_address(content["url"]):
        raise errors.content_failed("Invalid URL.")
    if block_type == "equation":
        check_rich_text([{"equation": content}])
    if block_type == "table":
        check_rows(content["children"], table_width=content["table_width"])


def check_rows(rows: list[JSON], *, table_width: int) -> None:
    """Every row is exactly as wide as its table."""
    for row in rows:
        if len(row["table_row"]["cells"]) != table_width:
            raise errors.invalid(
                "Content creation Failed. Fix the following:\n"
                "Number of cells in table row must match the table width of the parent table"
            )
