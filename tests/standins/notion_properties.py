"""A data source's properties: their definitions, the values a page may set, and what Notion answers for them."""

from __future__ import annotations

import copy
from datetime import datetime
from typing import TYPE_CHECKING
from zoneinfo import available_timezones

from tests.standins import notion_errors as errors
from tests.standins import notion_rules as rules
from tests.standins.notion_content import plain_text, stored_date, stored_rich_text
from tests.standins.notion_errors import JSON

if TYPE_CHECKING:
    from collections.abc import Mapping

# What every page under a page has, and all it has.
PAGE_SCHEMA: JSON = {"title": {"id": "title", "name": "title", "description": None, "type": "title", "title": {}}}

_COMPUTED = frozenset(
    {"created_time", "created_by", "last_edited_time", "last_edited_by", "formula", "rollup", "unique_id", "button"}
)
_EMPTY: JSON = {
    "title": [],
    "rich_text": [],
    "number": None,
    "select": None,
    "status": None,
    "multi_select": [],
    "date": None,
    "people": [],
    "files": [],
    "checkbox": False,
    "url": None,
    "email": None,
    "phone_number": None,
    "relation": [],
    "place": None,
    "formula": {"type": "string", "string": None},
    "rollup": {"type": "number", "number": None, "function": "count"},
    "unique_id": {"prefix": None, "number": 1},
    "button": {},
}
# By their lengths, without fraction and offset.
_FORMS = {10: "%Y-%m-%d", 16: "%Y-%m-%dT%H:%M", 19: "%Y-%m-%dT%H:%M:%S"}
_COLORS = ("gray", "brown", "orange", "yellow", "green", "blue", "purple", "pink", "red")


def definitions(said: Mapping[str, str | JSON]) -> JSON:
    """Property definitions from short ones: `{"Name": "title", "Tags": {"multi_select": ["a", "b"]}}`."""
    schema: JSON = {}
    for number, (name, short) in enumerate(said.items()):
        kind, options = (short, []) if isinstance(short, str) else next(iter(short.items()))
        config: JSON = {}
        if kind in ("select", "multi_select"):
            config = {"options": [_option(option, place) for place, option in enumerate(options)]}
        elif kind == "status":
            config = {"options": [_option(option, place) for place, option in enumerate(options)], "groups": []}
        elif kind == "number":
            config = {"format": "number"}
        elif kind == "unique_id":
            config = {"prefix": None}
        identity = "title" if kind == "title" else f"p{number:03d}"
        schema[name] = {"id": identity, "name": name, "description": None, "type": kind, kind: config}
    if [definition["type"] for definition in schema.values()].count("title") != 1:
        raise ValueError("a data source has exactly one property of type title")
    return schema


def empty_values(schema: JSON) -> JSON:
    """The stored values of a page that sets none."""
    return {
        definition["id"]: copy.deepcopy(_EMPTY[definition["type"]])
        for definition in schema.values()
        if definition["type"] in _EMPTY
    }


def stored_values(said: JSON, schema: JSON) -> JSON:
    """The values a request sets, by property id, complete as Notion stores them; 400 for what the schema forbids."""
    complaints: list[str] = []
    values: JSON = {}
    for name, value in said.items():
        definition = schema.get(name) or next((known for known in schema.values() if known["id"] == name), None)
        if definition is None:
            complaints.append(f"{name} is not a property that exists.")
            continue
        kind = definition["type"]
        if isinstance(value, list):
            value = {kind: value}
        if kind in _COMPUTED or kind not in value:
            complaints.append(f"{name} is expected to be {kind}.")
            continue
        values[definition["id"]] = _stored_value(kind, value[kind], definition)
    if complaints:
        raise errors.invalid(" ".join(complaints))
    return values


def _stored_value(kind: str, value: object, definition: JSON) -> object:
    match kind, value:
        case (("title" | "rich_text"), list()):
            rules.check_rich_text(value)
            return stored_rich_text(value)
        case (("select" | "status"), dict()):
            return _chosen(kind, value, definition)
        case "multi_select", list():
            return [_chosen(kind, option, definition) for option in value]
        case "date", dict():
            _check_date(value, f"body.properties.{definition['name']}.date")
            return stored_date(value)
        case "people", list():
            return [{"object": "user", "id": person["id"]} for person in value]
        case _:
            return copy.deepcopy(value)


def _chosen(kind: str, said: JSON, definition: JSON) -> JSON:
    options: list[JSON] = definition[kind]["options"]
    for option in options:
        if said.get("id") == option["id"] or said.get("name") == option["name"]:
            return {key: option[key] for key in ("id", "name", "color")}
    name = said.get("name")
    if name is None or kind == "status":
        raise errors.invalid(f'Invalid status option. Status option "{name or said.get("id")}" does not exist".')
    if "," in name:
        raise errors.invalid(f"Invalid select option, commas not allowed: {name}")
    options.append(_option(name, len(options)))
    return {key: options[-1][key] for key in ("id", "name", "color")}


def _option(name: str, place: int) -> JSON:
    return {"id": f"o{place:03d}", "name": name, "color": _COLORS[place % len(_COLORS)], "description": None}


def _check_date(said: JSON, where: str) -> None:
    """As documented: ISO 8601 with hyphens and colons, in order, and a time zone of IANA's instead of offsets."""
    texts = [said[key] for key in ("start", "end") if said.get(key) is not None]
    moments = [_moment(str(text), where) for text in texts]
    if moments != sorted(moments) or len({"T" in text for text in texts}) > 1:
        raise errors.invalid_body(f"{where}.end should be after {where}.start and like it.")
    zone = said.get("time_zone")
    if zone is None:
        return
    if zone not in available_timezones():
        raise errors.invalid_body(f"{where}.time_zone should be a valid time zone, instead was {errors.shown(zone)}.")
    if not all("T" in text and text[-1] != "Z" and text[-6] not in "+-" for text in texts):
        raise errors.invalid_body(f"{where} should have times without UTC offsets when it has a time zone.")


def _moment(text: str, where: str) -> datetime:
    """Without an offset it is one of UTC."""
    bare, offset = text, "+00:00"
    if "T" in text and text.endswith("Z"):
        bare = text[:-1]
    elif "T" in text and text[-6:-5] in ("+", "-") and text[-3] == ":":
        bare, offset = text[:-6], text[-6:]
    whole, dot, fraction = bare.partition(".")
    form = _FORMS.get(len(whole))
    try:
        if form is None or not text.isascii() or (dot and (len(whole) < max(_FORMS) or not fraction.isdecimal())):
            raise ValueError
        return datetime.strptime(whole + offset, f"{form}%z")
    except ValueError:
        raise errors.invalid_body(
            f"{where}.start should be a valid ISO 8601 date string, instead was {errors.shown(text)}."
        ) from None


def answered_values(values: JSON, schema: JSON, computed: JSON) -> JSON:
    """Values as a page answers them, by name; `computed` holds created_by and its like."""
    answer: JSON = {}
    for name, definition in schema.items():
        kind = definition["type"]
        value = computed[kind] if kind in computed else copy.deepcopy(values[definition["id"]])
        answer[name] = {"id": definition["id"], "type": kind, kind: value}
        if kind == "relation":
            answer[name]["has_more"] = False
    return answer


def matches(condition: JSON, values: JSON, schema: JSON) -> bool:
    """Whether stored values meet a query's filter (text, number, checkbox, url, select; and, or)."""
    if "and" in condition:
        return all(matches(inner, values, schema) for inner in condition["and"])
    if "or" in condition:
        return any(matches(inner, values, schema) for inner in condition["or"])
    name = condition.get("property", "")
    definition = schema.get(name) or next((known for known in schema.values() if known["id"] == name), None)
    if definition is None:
        raise errors.invalid(f"Could not find property with name or id: {name}")
    asked = next(key for key in condition if key not in ("property", "type"))
    kind = definition["type"]
    # Notion lets a url be asked for as rich text.
    if asked != kind and not (asked == "rich_text" and kind in ("url", "email", "phone_number")):
        raise errors.invalid(f"database property {kind} does not match filter {asked}")
    value = values[definition["id"]]
    match kind:
        case "title" | "rich_text":
            value = plain_text(value)
        case "select" | "status":
            value = value["name"] if value else None
        case "number" | "checkbox" | "url" | "email" | "phone_number":
            pass
        case _:
            raise NotImplementedError(f"the stand-in does not filter by {kind}")
    (operator, operand), *rest = condition[asked].items()
    if rest:
        raise NotImplementedError("the stand-in compares with one operator at a time")
    return _compared(operator, value, operand)


def _compared(operator: str, value: object, operand: object) -> bool:
    said = "" if value is None else str(value)
    match operator:
        case "equals":
            return value == operand
        case "does_not_equal":
            return value != operand
        case "contains":
            return str(operand).casefold() in said.casefold()
        case "does_not_contain":
            return str(operand).casefold() not in said.casefold()
        case "starts_with":
            return said.casefold().startswith(str(operand).casefold())
        case "ends_with":
            return said.casefold().endswith(str(operand).casefold())
        case "is_empty":
            return value in (None, "", [])
        case "is_not_empty":
            return value not in (None, "", [])
        case _:
            raise NotImplementedError(f"the stand-in does not compare with {operator}")
