"""What a page's properties say: values with placeholders for what is known of a generation, and what needs no asking.

A value is any JSON. In its texts `{model}` and its like stand for what they name; `{{model}}` is the word itself in
braces. Nothing else in a text means anything, and what a placeholder puts in is never looked at again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from domain.errors import InvalidInput
from domain.notion import NotionParent

_PLACEHOLDER: Final = re.compile(r"\{\{(\w+)\}\}|\{([A-Za-z_]+)\}")


class Placeholder(StrEnum):
    """What can be put into a property's value."""

    TITLE = "title"
    PROMPT = "prompt"
    PROVIDER = "provider"
    MODEL = "model"
    CREATED_AT = "createdAt"
    CREATED_BY = "createdBy"
    GENERATION_ID = "generationId"


MAX_OPTION_CHARS: Final = 100

UNTIL_ANSWERED: Final = {each: f"\ufdd0{each}\ufdd1" for each in (Placeholder.PROVIDER, Placeholder.MODEL)}
"""What stands for whoever answers as long as that is open. Unicode's noncharacters are in no text that people write."""
_OPTION_TYPES: Final = frozenset({"select", "multi_select", "status"})
_PLACEHOLDERS: Final = {each.value: each for each in Placeholder}


def check_placeholders(properties: Mapping[str, object]) -> None:
    """Raises InvalidInput with field (name,) for a placeholder that does not exist."""
    nothing = dict.fromkeys(Placeholder, "")
    for name, value in properties.items():
        _filled(value, nothing, name)


def filled(
    properties: Mapping[str, object], texts: Mapping[Placeholder, str], types: Mapping[str, str]
) -> dict[str, object]:
    """The values with every placeholder replaced, as the type of each property allows.

    Raises InvalidInput like `check_placeholders`.
    """
    names = {placeholder: _as_option(text) for placeholder, text in texts.items()}
    return {
        name: _filled(value, names if types.get(name) in _OPTION_TYPES else texts, name)
        for name, value in properties.items()
    }


def is_open(properties: Mapping[str, object]) -> bool:
    """Whether values wait for it to be known who has answered."""
    return _settled(properties, dict.fromkeys(UNTIL_ANSWERED.values(), "")) != properties


def settled(
    properties: Mapping[str, object], *, provider: str, model: str, types: Mapping[str, str]
) -> dict[str, object]:
    """The values with the names of who has answered."""
    texts = {UNTIL_ANSWERED[Placeholder.PROVIDER]: provider, UNTIL_ANSWERED[Placeholder.MODEL]: model}
    names = {mark: _as_option(text) for mark, text in texts.items()}
    return {
        name: _settled(value, names if types.get(name) in _OPTION_TYPES else texts)
        for name, value in properties.items()
    }


def _settled(value: object, texts: Mapping[str, str]) -> object:
    if isinstance(value, str):
        for mark, text in texts.items():
            value = value.replace(mark, text)
        return value
    if isinstance(value, list):
        return [_settled(item, texts) for item in value]
    if isinstance(value, Mapping):
        return {key: _settled(item, texts) for key, item in value.items()}
    return value


def find_external_id(properties: Mapping[str, object], types: Mapping[str, str]) -> str | None:
    """The text property that holds nothing but the generation's id, by which its page can be found again."""
    wanted = f"{{{Placeholder.GENERATION_ID}}}"
    return next(
        (name for name, value in properties.items() if value == wanted and types.get(name) == "rich_text"), None
    )


# Filled in unasked, where a data source has a property of this name, in any case, and of one of these types.
_TEXTS: Final = ("rich_text",)
_WORDS: Final = ("select", "rich_text", "multi_select")
_DEFAULTS: Final[tuple[tuple[Placeholder, tuple[str, ...], tuple[str, ...]], ...]] = (
    (Placeholder.PROMPT, ("prompt",), _TEXTS),
    (Placeholder.PROVIDER, ("provider",), _WORDS),
    (Placeholder.MODEL, ("model",), _WORDS),
    (Placeholder.CREATED_BY, ("created by", "author"), _WORDS),
    (Placeholder.CREATED_AT, ("date", "created", "created at"), ("date",)),
    (Placeholder.GENERATION_ID, ("external id", "generation id"), _TEXTS),
)


def defaults(parent: NotionParent, *, may_add_options: bool, beside: Mapping[str, object]) -> dict[str, object]:
    """What is filled in unasked: values by name, of properties that nobody has said anything of."""
    found: dict[str, object] = {}
    for placeholder, names, kinds in _DEFAULTS:
        for name, kind in parent.properties.items():
            if name.strip().casefold() not in names or kind not in kinds or name in beside:
                continue
            if kind not in _TEXTS and kind != "date" and not may_add_options:
                continue
            text = f"{{{placeholder}}}"
            found[name] = [text] if kind == "multi_select" else text
            break
    return found


def _as_option(text: str) -> str:
    """A text as the name of an option, which Notion wants short and without commas."""
    return " ".join(text.replace(",", " ").split())[:MAX_OPTION_CHARS]


def _filled(value: object, texts: Mapping[Placeholder, str], name: str) -> object:
    if isinstance(value, str):
        return _PLACEHOLDER.sub(lambda found: _text(found, texts, name), value)
    if isinstance(value, list):
        return [_filled(item, texts, name) for item in value]
    if isinstance(value, dict):
        return {key: _filled(item, texts, name) for key, item in value.items()}
    return value


def _text(found: re.Match[str], texts: Mapping[Placeholder, str], name: str) -> str:
    if found[1] is not None:
        return f"{{{found[1]}}}"
    placeholder = _PLACEHOLDERS.get(found[2])
    if placeholder is None:
        known = ", ".join(f"{{{each}}}" for each in Placeholder)
        raise InvalidInput(
            f"There is no placeholder {found[0]}; there are {known}. For the word itself write {{{found[0]}}}.",
            field=(name,),
        )
    return texts[placeholder]
