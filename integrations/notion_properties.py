"""Turns plain JSON values into Notion's property values, by the types that a data source's schema gives."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from domain.document import ADDRESS_UNITS, utf16_units
from domain.errors import InvalidInput
from domain.notion import NotionParent, NotionParentKind
from domain.notion_references import notion_id
from integrations.notion_blocks import ARRAY_ITEMS, TEXT_UNITS, Json
from integrations.notion_text import cut

_SHORT_CHARS: Final = 100
_WEB_ADDRESS: Final = re.compile(r"https?://\S+", re.IGNORECASE)
# Of all that ISO 8601 allows (weeks, days of the year, no hyphens) what Notion's documentation shows.
_TIME: Final = r"T[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?"
_DATE: Final = re.compile(rf"[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}(?:{_TIME}(?:Z|[+-][0-9]{{2}}:[0-9]{{2}})?)?")
_IN_ZONE: Final = re.compile(rf"[0-9-]{{10}}{_TIME}")
# Not what only the files of some machines have, such as posix/Europe/London and localtime.
_ZONE: Final = re.compile(r"[A-Z][A-Za-z0-9_+-]*(?:/[A-Z][A-Za-z0-9_+-]*){0,2}")


def property_values(parent: NotionParent, properties: Mapping[str, object], *, may_add_options: bool = True) -> Json:
    """Notion's values for a new page under the parent; null leaves a property empty.

    Raises InvalidInput with field (name,) for a property that the parent lacks or a value its type rejects, and for an
    option that is not there and may not, or cannot, be added.
    """
    values: Json = {}
    for name, value in properties.items():
        kind = parent.properties.get(name)
        if parent.kind is NotionParentKind.PAGE:
            raise InvalidInput(
                "A page under a page has no properties; put it into a database to set some.", field=(name,)
            )
        if kind is None:
            known = ", ".join(f"“{known}”" for known in list(parent.properties)[:ARRAY_ITEMS])
            raise InvalidInput(f"The database has no property “{name}”; it has {known}.", field=(name,))
        if kind == "title":
            raise InvalidInput(f"“{name}” is the page's title; set it as `title`.", field=(name,))
        write = _WRITERS.get(kind)
        if write is None:
            raise InvalidInput(f"“{name}” is filled in by Notion ({kind}) and cannot be set.", field=(name,))
        if value is None:
            continue
        try:
            values[name] = {kind: write(value)}
        except _Unfit as unfit:
            raise InvalidInput(f"“{name}” ({kind}) takes {unfit}.", field=(name,)) from None
        # Notion itself adds options to a select or multi-select, and never to a status.
        if kind in ("select", "multi_select", "status") and (kind == "status" or not may_add_options):
            _check_options(parent, name, value)
    return values


def _check_options(parent: NotionParent, name: str, value: object) -> None:
    known = parent.options.get(name)
    if known is None:
        return
    for option in value if isinstance(value, list) else [value]:
        if option not in known:
            listed = ", ".join(f"“{each}”" for each in known[:ARRAY_ITEMS])
            raise InvalidInput(f"“{name}” has no option “{option}”; it has {listed or 'none'}.", field=(name,))


def rich_text(content: str) -> list[Json]:
    """Plain text in as many items as the limit on one needs."""
    return [{"type": "text", "text": {"content": piece}} for piece in cut(content, TEXT_UNITS)]


class _Unfit(Exception):
    """The value is not what the type takes; the text says what it does take."""


def _text(value: object) -> list[Json]:
    if not isinstance(value, str) or len(items := rich_text(value)) > ARRAY_ITEMS:
        raise _Unfit(f"a text of at most {TEXT_UNITS * ARRAY_ITEMS} characters")
    return items


def _number(value: object) -> int | float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise _Unfit("a number")
    return value


def _checkbox(value: object) -> bool:
    if not isinstance(value, bool):
        raise _Unfit("true or false")
    return value


def _option(value: object) -> Json:
    if not isinstance(value, str) or not 0 < utf16_units(value) <= _SHORT_CHARS or "," in value:
        raise _Unfit(f"the name of an option: at most {_SHORT_CHARS} characters, no comma")
    return {"name": value}


def _options(value: object) -> list[Json]:
    if not isinstance(value, list) or len(value) > ARRAY_ITEMS:
        raise _Unfit(f"a list of at most {ARRAY_ITEMS} names of options")
    return [_option(item) for item in value]


def _date(value: object) -> Json:
    said = {"start": value} if isinstance(value, str) else value
    if not isinstance(said, dict) or "start" not in said or said.keys() - {"start", "end", "time_zone"}:
        raise _Unfit("a date such as 2026-07-04 or 2026-07-04T09:00:00Z, or an object with start and end")
    start, end, zone = _moment(said["start"]), said.get("end"), said.get("time_zone")
    if end is not None:
        last = _moment(end)
        if ("T" in end) is not ("T" in said["start"]):
            raise _Unfit("a start and an end that both have a time, or neither")
        if last < start:
            raise _Unfit("an end that is not before its start")
    if zone is not None:
        _check_zone(zone)
        if not all(_IN_ZONE.fullmatch(each) for each in (said["start"], end) if each is not None):
            raise _Unfit("times without an offset, such as 2026-07-04T09:00:00, if there is a time_zone")
    return said


def _moment(value: object) -> datetime:
    """What a date says, for comparing; Notion, too, takes a time without an offset for one of UTC."""
    try:
        if not isinstance(value, str) or not _DATE.fullmatch(value):
            raise ValueError
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise _Unfit("a date such as 2026-07-04 or 2026-07-04T09:00:00Z") from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _check_zone(name: object) -> None:
    try:
        if not isinstance(name, str) or not _ZONE.fullmatch(name):
            raise ValueError
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise _Unfit("the name of a time zone, such as Europe/London, in time_zone") from None


def _short(what: str, *, units: int = _SHORT_CHARS) -> Callable[[object], str]:
    def write(value: object) -> str:
        if not isinstance(value, str) or not 0 < utf16_units(value) <= units:
            raise _Unfit(f"{what} of at most {units} characters")
        return value

    return write


def _people(value: object) -> list[Json]:
    return [{"id": each} for each in _ids(value, "ids of users", lambda item: str(UUID(item)))]


def _relation(value: object) -> list[Json]:
    return [{"id": each} for each in _ids(value, "ids or links of pages", notion_id)]


def _ids(value: object, what: str, read: Callable[[str], str]) -> list[str]:
    if not isinstance(value, list) or len(value) > ARRAY_ITEMS or not all(isinstance(item, str) for item in value):
        raise _Unfit(f"a list of at most {ARRAY_ITEMS} {what}")
    try:
        return [read(item) for item in value]
    except (InvalidInput, ValueError):
        raise _Unfit(f"a list of {what}") from None


def _files(value: object) -> list[Json]:
    links = value if isinstance(value, list) else [value]
    if len(links) > ARRAY_ITEMS:
        raise _Unfit(f"a list of at most {ARRAY_ITEMS} links")
    files: list[Json] = []
    for link in links:
        if not isinstance(link, str) or not _WEB_ADDRESS.fullmatch(link) or utf16_units(link) > ADDRESS_UNITS:
            raise _Unfit(f"links that start with http:// or https://, of at most {ADDRESS_UNITS} characters")
        files.append({"type": "external", "name": link[: _SHORT_CHARS // 2], "external": {"url": link}})
    return files


def _place(value: object) -> Json:
    if not isinstance(value, dict) or not {"lat", "lon"} <= value.keys() <= {"lat", "lon", "name", "address"}:
        raise _Unfit("an object with lat and lon, and name and address if wanted")
    place = {"lat": _number(value["lat"]), "lon": _number(value["lon"])}
    texts = {key: value[key] for key in ("name", "address") if value.get(key) is not None}
    if not all(isinstance(text, str) for text in texts.values()):
        raise _Unfit("texts as name and address")
    return {**place, **texts}


_WRITERS: Final[Mapping[str, Callable[[object], object]]] = {
    "rich_text": _text,
    "number": _number,
    "checkbox": _checkbox,
    "select": _option,
    "status": _option,
    "multi_select": _options,
    "date": _date,
    "url": _short("a link", units=ADDRESS_UNITS),
    "email": _short("an e-mail address"),
    "phone_number": _short("a telephone number"),
    "people": _people,
    "relation": _relation,
    "files": _files,
    "place": _place,
}
