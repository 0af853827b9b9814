"""The schema itself: every part described, the committed copy current, its scalars and ids strict."""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from graphql import (
    GraphQLError,
    GraphQLNamedType,
    get_introspection_query,
    is_enum_type,
    is_specified_scalar_type,
    parse,
)

from domain.errors import InvalidInput, NotFound
from resolvers import ids
from resolvers.scalars import JSONObject
from schema.limits import DocumentLimits, count
from schema.root import SCHEMA, export_sdl
from schema.scalars import MAX_JSON_DEPTH, SCALARS
from tests.api.access_table import TABLE

_ID = UUID("01a203cc-8fde-76ef-a57d-3cad91ecc4ca")


def _undescribed(name: str, type_: GraphQLNamedType) -> Iterator[str]:
    if not type_.description:
        yield name
    if is_enum_type(type_):
        yield from (f"{name}.{value}" for value, each in type_.values.items() if not each.description)
    for field_name, field in getattr(type_, "fields", {}).items():
        if not field.description:
            yield f"{name}.{field_name}"
        for argument_name, argument in getattr(field, "args", {}).items():
            if not argument.description:
                yield f"{name}.{field_name}({argument_name}:)"


def test_everything_is_described() -> None:
    own = {
        name: type_
        for name, type_ in SCHEMA._schema.type_map.items()
        if not name.startswith("__") and not is_specified_scalar_type(type_)
    }
    assert len(own) > 40
    assert [each for name, type_ in own.items() for each in _undescribed(name, type_)] == []


def test_the_committed_schema_is_current() -> None:
    committed = Path(__file__).parents[2] / "schema.graphql"
    assert committed.read_text(encoding="utf-8") == export_sdl(), "run: python main.py export-schema > schema.graphql"


def test_the_table_of_who_gets_what_has_every_field() -> None:
    roots = (SCHEMA._schema.query_type, SCHEMA._schema.mutation_type, SCHEMA._schema.subscription_type)
    found = {f"{root.name}.{name}" for root in roots if root for name in root.fields}
    assert TABLE.keys() == found, "tests/api/access_table.py says who gets what of each"


def test_introspection_keeps_to_the_limits() -> None:
    query = get_introspection_query(
        specified_by_url=True, directive_is_repeatable=True, schema_description=True, input_value_deprecation=True
    )
    assert count(parse(query), DocumentLimits()).excess is None


def test_ids_tell_their_type_and_read_back() -> None:
    for type_ in ids.NodeType:
        global_id = ids.encode(type_, _ID)
        assert ids.decode(global_id) == ids.GlobalId(type_, _ID)
        assert global_id.isascii()
        assert SCHEMA._schema.get_type(type_) is not None
    with pytest.raises(NotFound) as caught:
        ids.decode_as(ids.NodeType.GENERATION, ids.encode(ids.NodeType.USER, _ID))
    assert caught.value.field == ("id",)


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "x",
        "=",
        "ä",
        "R2VuZXJhdGlvbg",  # Generation
        "R2VuZXJhdGlvbjo",  # Generation:
        "R2VuZXJhdGlvbjoxMjM",  # Generation:123
        "VGhpbmc6MDFhMjAzY2M4ZmRlNzZlZmE1N2QzY2FkOTFlY2M0Y2E",  # Thing:01a2...
        ids.encode(ids.NodeType.USER, _ID) + "=",
        ids.encode(ids.NodeType.USER, _ID) + "A",
        ids.encode(ids.NodeType.USER, _ID)[:-1] + "R",  # differs in bits that decoding drops
        " " + ids.encode(ids.NodeType.USER, _ID),
        str(_ID),
    ],
)
def test_what_is_not_an_id(wrong: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        ids.decode(wrong, field=("ids", "0"))
    assert caught.value.field == ("ids", "0")


def _read(scalar: object, value: object) -> Any:
    parser = SCALARS[scalar].parse_value
    assert parser is not None
    return parser(value)


def _write(scalar: object, value: object) -> Any:
    serializer = SCALARS[scalar].serialize
    assert serializer is not None
    return serializer(value)


def test_moments_are_utc() -> None:
    noon = datetime(2026, 11, 30, 12, tzinfo=UTC)
    assert _write(datetime, noon) == "2026-11-30T12:00:00Z"
    for text in ("2026-11-30T12:00:00Z", "2026-11-30T13:00:00+01:00", "2026-11-30T12:00:00.000000+00:00"):
        assert _read(datetime, text) == noon
        assert _read(datetime, text).tzinfo is UTC


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "now",
        "2026-11-30",
        "2026-11-30T12:00:00",
        "2026-13-01T00:00:00Z",
        17,
        None,
        True,
        {},
        "0001-01-01T00:00:00+14:00",
    ],
)
def test_what_is_not_a_moment(wrong: object) -> None:
    with pytest.raises(GraphQLError, match="offset from UTC"):
        _read(datetime, wrong)


@pytest.mark.parametrize(
    ("value", "text"), [("0.00000012", "0.00000012"), ("1E+3", "1000"), ("2.50", "2.50"), ("0", "0")]
)
def test_decimals_are_exact_and_plain(value: str, text: str) -> None:
    assert _write(Decimal, Decimal(value)) == text


def test_json_is_an_object_of_bounded_depth() -> None:
    deepest: object = 1
    for level in range(MAX_JSON_DEPTH):
        deepest = {"a": deepest} if level % 2 else [deepest]
    assert _read(JSONObject, deepest) == deepest
    with pytest.raises(GraphQLError, match="levels deep"):
        _read(JSONObject, {"a": [deepest]})
    not_objects: tuple[object, ...] = ([], "{}", 1, None, True)
    for wrong in not_objects:
        with pytest.raises(GraphQLError, match="JSON object"):
            _read(JSONObject, wrong)
