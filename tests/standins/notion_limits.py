"""Notion's documented limits on blocks, checked without the help of anything that makes blocks.

`check_children` takes what a request appends, or creates a page with, and says in Notion's words what is wrong with it.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

TEXT_LENGTH: Final = 2000
URL_LENGTH: Final = 2000
EXPRESSION_LENGTH: Final = 1000
ARRAY_LENGTH: Final = 100
REQUEST_BLOCKS: Final = 1000
REQUEST_BYTES: Final = 500_000
NESTED_LEVELS: Final = 3

COLORS: Final = frozenset(
    color + suffix
    for color in ("default", "gray", "brown", "orange", "yellow", "green", "blue", "purple", "pink", "red")
    for suffix in ("", "_background")
)
LANGUAGES: Final = frozenset(json.loads((Path(__file__).parents[1] / "data" / "notion_languages.json").read_text()))
_TEXT: Final = {"rich_text": True, "color": False, "children": False}
_HEADING: Final = {**_TEXT, "is_toggleable": False}
_FILE: Final = {"type": False, "external": True, "caption": False}
# The keys of each type of block: required or not.
KEYS: Final[dict[str, dict[str, bool]]] = {
    "paragraph": _TEXT,
    "heading_1": _HEADING,
    "heading_2": _HEADING,
    "heading_3": _HEADING,
    "heading_4": _HEADING,
    "bulleted_list_item": _TEXT,
    "numbered_list_item": _TEXT,
    "quote": _TEXT,
    "toggle": _TEXT,
    "to_do": {**_TEXT, "checked": False},
    "callout": {**_TEXT, "icon": False},
    "code": {"rich_text": True, "language": True, "caption": False},
    "equation": {"expression": True},
    "divider": {},
    "image": _FILE,
    "bookmark": {"url": True, "caption": False},
    "embed": {"url": True, "caption": False},
    "table": {"table_width": True, "children": True, "has_column_header": False, "has_row_header": False},
    "table_row": {"cells": True},
}
_ANNOTATIONS: Final = frozenset({"bold", "italic", "strikethrough", "underline", "code"})
_LINK: Final = re.compile(r"https?://[^\s/?#@\\]+(?:[/?#]\S*)?", re.IGNORECASE)

# What a request holds comes from anywhere: every value is looked at before it is believed.
Json = Any


def check_children(children: Json) -> list[str]:
    """What Notion would say against these `children` of one request; nothing, if they are in order.

    A `table_row` is in order on the first level, since rows are appended to their table.
    """
    checker = _Checker()
    checker.blocks(children, "body.children", level=1)
    if checker.block_count > REQUEST_BLOCKS:
        checker.say("body.children", f"should contain ≤ `{REQUEST_BLOCKS}` blocks, instead had `{checker.block_count}`")
    size_bytes = len(
        json.dumps({"children": children}, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    )
    if size_bytes > REQUEST_BYTES:
        checker.say("body", f"should be ≤ `{REQUEST_BYTES}` bytes, instead was `{size_bytes}`")
    return checker.violations


def check_rich_text(rich_text: Json, path: str = "body.rich_text") -> list[str]:
    """What Notion would say against one rich text array."""
    checker = _Checker()
    checker.rich_text(rich_text, path)
    return checker.violations


class _Checker:
    def __init__(self) -> None:
        self.violations: list[str] = []
        self.block_count = 0

    def say(self, path: str, complaint: str) -> None:
        self.violations.append(f"body failed validation: {path} {complaint}.")

    # --- blocks

    def blocks(self, blocks: Json, path: str, *, level: int, within: str = "") -> None:
        if not self._is_array(blocks, path):
            return
        for index, block in enumerate(blocks):
            self.block_count += 1
            self._block(block, f"{path}[{index}]", level=level, within=within)

    def _block(self, block: Json, path: str, *, level: int, within: str) -> None:
        if not isinstance(block, dict):
            self.say(path, "should be an object")
            return
        kinds = block.keys() - {"object", "type"}
        kind = block.get("type", next(iter(kinds), ""))
        if kinds != {kind} or block.get("object", "block") != "block" or kind not in KEYS:
            self.say(path, f"should have one known type, instead had `{sorted(block)}`")
            return
        if (kind == "table_row") != (within == "table") and not (kind == "table_row" and level == 1):
            self.say(path, f"should not be a {kind} within a {within or 'page'}")
        body = block[kind]
        if not isinstance(body, dict):
            self.say(f"{path}.{kind}", "should be an object")
            return
        self._keys(body, KEYS[kind], f"{path}.{kind}")
        self._body(kind, body, f"{path}.{kind}")
        if "children" in body:
            if level == NESTED_LEVELS:
                self.say(f"{path}.{kind}.children", "should be not present")
            self.blocks(body["children"], f"{path}.{kind}.children", level=level + 1, within=kind)

    def _keys(self, body: dict[str, Json], keys: dict[str, bool], path: str) -> None:
        for key in body.keys() - keys.keys():
            self.say(f"{path}.{key}", "should be not present")
        for key, is_required in keys.items():
            if is_required and key not in body:
                self.say(f"{path}.{key}", "should be defined, instead was `undefined`")

    def _body(self, kind: str, body: dict[str, Json], path: str) -> None:
        for key in ("rich_text", "caption"):
            if key in body:
                self.rich_text(body[key], f"{path}.{key}")
        for key in ("checked", "is_toggleable", "has_column_header", "has_row_header"):
            if not isinstance(body.get(key, False), bool):
                self.say(f"{path}.{key}", "should be a boolean")
        if body.get("color", "default") not in COLORS:
            self.say(f"{path}.color", f"should be a color, instead was `{body['color']}`")
        match kind:
            case "code" if body.get("language") not in LANGUAGES:
                self.say(f"{path}.language", f"should be a language, instead was `{body.get('language')}`")
            case "equation":
                self._expression(body.get("expression"), f"{path}.expression")
            case "callout" if "icon" in body:
                self._icon(body["icon"], f"{path}.icon")
            case "image":
                self._address(body.get("external", {}).get("url"), f"{path}.external.url")
            case "bookmark" | "embed":
                self._address(body.get("url"), f"{path}.url")
            case "table":
                self._table(body, path)
            case "table_row" if self._is_array(body.get("cells"), f"{path}.cells"):
                for index, cell in enumerate(body["cells"]):
                    self.rich_text(cell, f"{path}.cells[{index}]")

    def _icon(self, icon: Json, path: str) -> None:
        if not isinstance(icon, dict) or icon.get("type") != "emoji" or not icon.get("emoji"):
            self.say(path, "should be an emoji")

    def _table(self, body: dict[str, Json], path: str) -> None:
        rows, width = body.get("children"), body.get("table_width")
        if not isinstance(width, int) or width < 1:
            self.say(f"{path}.table_width", "should be ≥ `1`")
        if not rows:
            self.say(f"{path}.children.length", "should be ≥ `1`, instead was `0`")
        for row in rows if isinstance(rows, list) else ():
            if isinstance(row, dict) and len(row.get("table_row", {}).get("cells", ())) != width:
                self.say(path, "Number of cells in table row must match the table width of the parent table")

    # --- rich text

    def rich_text(self, items: Json, path: str) -> None:
        if not self._is_array(items, path):
            return
        for index, item in enumerate(items):
            self._item(item, f"{path}[{index}]")

    def _item(self, item: Json, path: str) -> None:
        if not isinstance(item, dict) or item.keys() - {"type", "text", "equation", "annotations"}:
            self.say(path, "should be a rich text item with no other keys")
            return
        if ("text" in item) == ("equation" in item) or item.get(
            "type", "text" if "text" in item else "equation"
        ) not in item:
            self.say(path, "should be either a text or an equation")
            return
        if "text" in item:
            self._text(item["text"], f"{path}.text")
        else:
            self._expression(item["equation"].get("expression"), f"{path}.equation.expression")
        annotations = item.get("annotations", {})
        for key, value in annotations.items():
            if key == "color" and value not in COLORS:
                self.say(f"{path}.annotations.color", f"should be a color, instead was `{value}`")
            elif key != "color" and (key not in _ANNOTATIONS or not isinstance(value, bool)):
                self.say(f"{path}.annotations.{key}", "should be a known annotation and a boolean")

    def _text(self, text: Json, path: str) -> None:
        if not isinstance(text, dict) or text.keys() - {"content", "link"} or not isinstance(text.get("content"), str):
            self.say(path, "should be an object with `content` and `link` only")
            return
        if _units(text["content"]) > TEXT_LENGTH:
            self._too_long(f"{path}.content", TEXT_LENGTH, _units(text["content"]))
        self._is_unicode(text["content"], f"{path}.content")
        link = text.get("link")
        if link is not None:
            self._address(
                link.get("url") if isinstance(link, dict) and link.keys() == {"url"} else None, f"{path}.link.url"
            )

    def _expression(self, expression: Json, path: str) -> None:
        if not isinstance(expression, str) or not expression:
            self.say(path, "should be a string that is not empty")
            return
        self._is_unicode(expression, path)
        if _units(expression) > EXPRESSION_LENGTH:
            self._too_long(path, EXPRESSION_LENGTH, _units(expression))

    # --- values

    def _address(self, address: Json, path: str) -> None:
        if not isinstance(address, str) or _LINK.fullmatch(address) is None:
            self.say(path, "Invalid URL for link")
        elif _units(address) > URL_LENGTH:
            self._too_long(path, URL_LENGTH, _units(address))

    def _is_array(self, value: Json, path: str) -> bool:
        if not isinstance(value, list):
            self.say(path, "should be an array")
            return False
        if len(value) > ARRAY_LENGTH:
            self._too_long(path, ARRAY_LENGTH, len(value))
        return True

    def _is_unicode(self, text: str, path: str) -> None:
        try:
            text.encode()
        except UnicodeEncodeError:
            self.say(path, "should be valid Unicode, instead had half of a surrogate pair")

    def _too_long(self, path: str, limit: int, length: int) -> None:
        self.say(f"{path}.length", f"should be ≤ `{limit}`, instead was `{length}`")


def _units(text: str) -> int:
    return sum(2 if character > "\uffff" else 1 for character in text)
