"""The schema's own scalars, and how they read and write."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Final

import strawberry
from graphql import GraphQLError
from strawberry.types.scalar import ScalarDefinition

from resolvers.scalars import JSONObject

MAX_JSON_DEPTH: Final = 32
MAX_DECIMAL_CHARS: Final = 40


def _write_datetime(value: datetime) -> str:
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _read_datetime(value: object) -> datetime:
    try:
        if not isinstance(value, str):
            raise TypeError
        read = datetime.fromisoformat(value)
        if read.tzinfo is None:
            raise ValueError
        return read.astimezone(UTC)  # the first and the last day of the calendar overflow
    except (TypeError, ValueError, OverflowError) as error:
        raise GraphQLError("A DateTime is a text such as 2026-11-30T12:00:00Z, with its offset from UTC.") from error


def _write_decimal(value: Decimal) -> str:
    return format(value, "f")


def _read_decimal(value: object) -> Decimal:
    # As a number of JSON or GraphQL it is written in decimals too, and its shortest form is what was meant.
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        try:
            read = Decimal(str(value))
        except InvalidOperation:
            read = Decimal("NaN")
        if read.is_finite() and len(str(value)) <= MAX_DECIMAL_CHARS and abs(read.adjusted()) <= MAX_DECIMAL_CHARS:
            return read
    raise GraphQLError('A Decimal is a number, best as a text such as "2.50".')


def _write_json(value: Mapping[str, object]) -> Mapping[str, object]:
    return value


def _read_json(value: object) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise GraphQLError("This must be a JSON object.")
    level: list[object] = [value]
    for _ in range(MAX_JSON_DEPTH):
        items = [
            item
            for container in level
            for item in (container.values() if isinstance(container, dict) else container)  # type: ignore[attr-defined]  # dicts and lists only
        ]
        if not all(_is_storable_number(item) for item in items if isinstance(item, int | float)):
            raise GraphQLError("A number in a JSON object is finite and, without decimals, has at most 64 bits.")
        level = [item for item in items if isinstance(item, dict | list)]
        if not level:
            return value
    raise GraphQLError(f"A JSON object may be at most {MAX_JSON_DEPTH} levels deep.")


def _is_storable_number(value: float) -> bool:
    """JSON knows no infinity, and a literal of GraphQL may be of any length."""
    return math.isfinite(value) if isinstance(value, float) else -(2**63) <= value < 2**63


SCALARS: Final[Mapping[object, ScalarDefinition]] = {
    datetime: strawberry.scalar(
        name="DateTime",
        description="A moment as ISO 8601 writes it; read with any offset, written in UTC: `2026-11-30T12:00:00Z`.",
        specified_by_url="https://www.rfc-editor.org/rfc/rfc3339",
        serialize=_write_datetime,
        parse_value=_read_datetime,
    ),
    Decimal: strawberry.scalar(
        name="Decimal",
        description='An exact decimal number, as a text such as `"0.00125"`.',
        serialize=_write_decimal,
        parse_value=_read_decimal,
    ),
    JSONObject: strawberry.scalar(
        name="JSONObject",
        description=f"A JSON object, at most {MAX_JSON_DEPTH} levels deep.",
        serialize=_write_json,
        parse_value=_read_json,
    ),
}
