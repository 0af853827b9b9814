"""Hashes of what a block says, the same for a request as for Notion's answer, whatever defaults the answer adds."""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from integrations.notion_blocks import Json, NotionBlock

_DIGEST_BYTES: Final = 12
_RICH: Final = ("rich_text", "caption")
# What an answer says of a block when nothing was said.
_DEFAULTS: Final[tuple[object, ...]] = (None, False, "default", "", [], {})


def said_hash(block: NotionBlock) -> str:
    """Of a block as it is asked for, without its children."""
    return _hash(block.kind, block.payload[block.kind])


def shown_hash(block: Json) -> str:
    """Of a block as Notion answers it, without its children."""
    kind = str(block["type"])
    body = block.get(kind)
    return _hash(kind, body if isinstance(body, dict) else {})


def said_words(block: NotionBlock) -> tuple[str, str]:
    """Kind and words of a block as it is asked for: what nobody writes in a way of his own."""
    return block.kind, _words(block.payload[block.kind])


def shown_words(block: Json) -> tuple[str, str]:
    """The same of a block as Notion answers it."""
    kind = str(block["type"])
    body = block.get(kind)
    return kind, _words(body if isinstance(body, dict) else {})


def _hash(kind: str, body: Json) -> str:
    said = {key: _canonical(key, value) for key, value in body.items() if key != "children"}
    meant = {key: value for key, value in said.items() if value not in _DEFAULTS and (key, value) != ("type", "emoji")}
    text = json.dumps([kind, meant], sort_keys=True, separators=(",", ":"))
    return blake2b(text.encode(), digest_size=_DIGEST_BYTES).hexdigest()


def _canonical(key: str, value: Any) -> Any:  # Any: JSON
    if key in _RICH:
        return _rich_text(value)
    if key == "cells":
        return [_rich_text(cell) for cell in value]
    return value


def _rich_text(items: Iterable[Json]) -> list[list[Any]]:  # Any: JSON
    """Pieces of text with their look, those of one look put together."""
    pieces: list[list[Any]] = []
    for item in items:
        kind = str(item["type"])
        value = item[kind]
        marks = {key: mark for key, mark in (item.get("annotations") or {}).items() if mark not in _DEFAULTS}
        if kind == "text":
            look = [kind, sorted(marks.items()), (value.get("link") or {}).get("url")]
            said = value["content"]
        else:
            look = [kind, sorted(marks.items()), None]
            said = value
        if kind == "text" and pieces and pieces[-1][0] == look:
            pieces[-1][1] += said
        elif said:
            pieces.append([look, said])
    return pieces


def _words(body: Json) -> str:
    texts = [body.get(key) or [] for key in _RICH] + list(body.get("cells") or [])
    return "\n".join("".join(_plain(item) for item in items) for items in texts)


def _plain(item: Json) -> str:
    value = item[item["type"]]
    return str(value.get("content") or value.get("expression") or "")
