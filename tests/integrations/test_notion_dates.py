"""Dates as Notion's documentation has them are taken, and others refused, by our check and by the stand-in's alike."""

from __future__ import annotations

import pytest

from domain.errors import InvalidInput
from domain.notion import NotionParent, NotionParentKind
from integrations.notion_properties import property_values
from tests.standins.notion_errors import NotionError
from tests.standins.notion_properties import definitions, stored_values

_NO_DATES: list[object] = [
    "",
    "2026",
    "2026-07",
    "20260704",
    "2026-7-4",
    "2026-W27-1",
    "2026-185",
    "2026-02-30",
    "2026-07-04 09:00",
    "2026-07-04T",
    "2026-07-04T09",
    "2026-07-04T0900",
    "2026-07-04T25:00",
    "2026-07-04T09:00:00,5",
    "2026-07-04T09:00:00.",
    "2026-07-04T09:00Z2",
    "2026-07-04T09:00+02",
    "2026-07-04T09:00+0200",
    "2026-07-04Z",
    "２026-07-04",
    {"start": "2026-07-04", "end": "2026-07-01"},
    {"start": "2026-07-04", "end": "2026-07-05T09:00Z"},
    {"start": "2026-07-04T09:00", "end": "2026-07-05"},
    {"start": "2026-07-04T09:00:00+02:00", "end": "2026-07-04T06:59:59Z"},
    {"start": "2026-07-04T09:00", "end": "2026-07-04T08:59Z"},
    {"start": "2026-07-04T09:00", "time_zone": "Nowhere/X"},
    {"start": "2026-07-04T09:00", "time_zone": "Europe"},
    {"start": "2026-07-04T09:00", "time_zone": "europe/london"},
    {"start": "2026-07-04T09:00", "time_zone": "../Europe/London"},
    {"start": "2026-07-04T09:00", "time_zone": ""},
    {"start": "2026-07-04T09:00+01:00", "time_zone": "Europe/London"},
    {"start": "2026-07-04T09:00", "end": "2026-07-04T10:00Z", "time_zone": "Europe/London"},
    {"start": "2026-07-04", "time_zone": "Europe/London"},
]
_DATES: list[object] = [
    "2026-07-04",
    "2024-02-29",
    "2026-07-04T09:00",
    "2026-07-04T09:00Z",
    "2026-07-04T09:00:00.5-09:30",
    "2026-07-04T09:00:00.123456789Z",
    {"start": "2026-07-04", "end": "2026-07-04"},
    {"start": "2026-07-04", "end": None, "time_zone": None},
    {"start": "2026-07-04T09:00:00+02:00", "end": "2026-07-04T07:00:00Z"},
    {"start": "0001-01-01T00:00+14:00", "end": "9999-12-31T23:59-12:00"},
    {"start": "2026-07-04T09:00", "end": "2026-07-04T10:00:30", "time_zone": "Europe/London"},
    {"start": "2026-07-04T09:00", "time_zone": "America/Argentina/Buenos_Aires"},
    {"start": "2026-07-04T09:00", "time_zone": "Etc/GMT+5"},
]
_PARENT = NotionParent(
    kind=NotionParentKind.DATA_SOURCE,
    id="393abc1e-edcd-80f3-813b-e205934558c6",
    title="Answers",
    title_property="Name",
    properties={"Name": "title", "When": "date"},
)
_SCHEMA = definitions(_PARENT.properties)


@pytest.mark.parametrize("value", _DATES, ids=str)
def test_a_date_is_taken(value: object) -> None:
    values = property_values(_PARENT, {"When": value})
    assert values["When"]["date"] == (value if isinstance(value, dict) else {"start": value})
    assert stored_values(values, _SCHEMA)


@pytest.mark.parametrize("value", _NO_DATES, ids=str)
def test_what_notion_may_refuse_is_refused_before(value: object) -> None:
    with pytest.raises(InvalidInput) as caught:
        property_values(_PARENT, {"When": value})
    assert caught.value.field == ("When",)
    with pytest.raises(NotionError):
        stored_values({"When": {"date": value if isinstance(value, dict) else {"start": value}}}, _SCHEMA)
