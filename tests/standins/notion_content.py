"""Turns what a request says (rich text, blocks) into what Notion stores and answers: complete, with its defaults."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from tests.standins.notion_errors import JSON

if TYPE_CHECKING:
    from collections.abc import Iterable

_PLAIN = {
    "bold": False,
    "italic": False,
    "strikethrough": False,
    "underline": False,
    "code": False,
    "color": "default",
}
_HEADINGS = ("heading_1", "heading_2", "heading_3", "heading_4")


def text(content: str) -> list[JSON]:
    """A rich text array of one plain item, as a request would say it; empty for an empty text."""
    return [{"type": "text", "text": {"content": content}}] if content else []


def stored_rich_text(items: Iterable[JSON]) -> list[JSON]:
    """Rich text as Notion answers it."""
    return [_stored_item(item) for item in items]


def plain_text(items: Iterable[JSON]) -> str:
    """The words of stored rich text."""
    return "".join(item["plain_text"] for item in items)


def _stored_item(item: JSON) -> JSON:
    kind = item.get("type") or next(key for key in ("text", "mention", "equation") if key in item)
    href = None
    if kind == "text":
        link = item["text"].get("link")
        value: JSON = {"content": item["text"]["content"], "link": {"url": link["url"]} if link else None}
        plain, href = value["content"], link["url"] if link else None
    elif kind == "equation":
        value = {"expression": item["equation"]["expression"]}
        plain = value["expression"]
    else:
        value, plain = _stored_mention(item["mention"])
    return {
        "type": kind,
        kind: value,
        "annotations": {**_PLAIN, **item.get("annotations", {})},
        "plain_text": plain,
        "href": href,
    }


def _stored_mention(mention: JSON) -> tuple[JSON, str]:
    kind = mention.get("type") or next(key for key in mention if key != "type")
    value = mention[kind]
    if kind == "date":
        value = stored_date(value)
        return {"type": kind, kind: value}, value["start"] + (f" → {value['end']}" if value["end"] else "")
    return {"type": kind, kind: copy.deepcopy(value)}, "Untitled" if kind in ("page", "database") else "@Anonymous"


def stored_date(value: JSON) -> JSON:
    """A date with all its keys."""
    return {"start": value["start"], "end": value.get("end"), "time_zone": value.get("time_zone")}


def stored_content(block_type: str, said: JSON) -> JSON:
    """A block's own content with Notion's defaults; `children` are left out, they are blocks of their own."""
    content = copy.deepcopy({key: value for key, value in said.items() if key != "children"})
    for key in ("rich_text", "caption"):
        if key in content:
            content[key] = stored_rich_text(content[key])
    if "cells" in content:
        content["cells"] = [stored_rich_text(cell) for cell in content["cells"]]
    match block_type:
        case "paragraph":
            return {"rich_text": [], "icon": None, "color": "default"} | content
        case "bulleted_list_item" | "numbered_list_item" | "quote" | "toggle":
            return {"rich_text": [], "color": "default"} | content
        case "to_do":
            return {"rich_text": [], "checked": False, "color": "default"} | content
        case "callout":
            return {"rich_text": [], "icon": None, "color": "default"} | content
        case "code":
            return {"caption": [], "rich_text": [], "language": "plain text"} | content
        case "image" | "video" | "pdf" | "audio" | "file":
            kind = content.get("type") or next(key for key in ("external", "file_upload") if key in content)
            return {"caption": [], "type": kind} | content
        case "bookmark" | "embed":
            return {"caption": [], "url": ""} | content
        case "table":
            return {"table_width": 1, "has_column_header": False, "has_row_header": False} | content
        case "table_of_contents":
            return {"color": "default"} | content
        case _ if block_type in _HEADINGS:
            return {"rich_text": [], "is_toggleable": False, "color": "default"} | content
        case _:
            return content


def stored_icon(icon: JSON | None) -> JSON | None:
    """An icon or a cover with its type."""
    if icon is None:
        return None
    kind = icon.get("type") or next(key for key in icon if key != "type")
    return {"type": kind, kind: copy.deepcopy(icon[kind])}
