"""What a client asks for, read from JSON that may hold anything."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import orjson

from domain.errors import InvalidInput
from domain.text import is_storable
from schema.limits import MAX_DOCUMENT_CHARS

_MAX_JSON_DEPTH: Final = 64
_ESCAPED_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")


class MalformedRequest(Exception):
    """This is no GraphQL request; `message` says why."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationRequest:
    """An operation to run; its document is not parsed yet."""

    query: str
    variables: dict[str, object] | None = None
    operation_name: str | None = None
    extensions: dict[str, object] | None = None


def decode_json(text: bytes | str) -> object:
    """The value. Raises MalformedRequest for malformed JSON, invalid UTF-8, and lone surrogates outside variables.

    Within variables these come through, for `read_operation` to say where they are.
    """
    try:
        value: object = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        value = _decode_with_lone_surrogates(text)
        if value is None or _path_to_unstorable(_without_variables(value)) is not None:
            raise MalformedRequest(f"This is not valid JSON: {error}.") from error
    return value


def _decode_with_lone_surrogates(text: bytes | str) -> object:
    """The value of JSON in which a half of a surrogate pair may be escaped, as many libraries write it; else None."""
    try:
        decoded = text if isinstance(text, str) else text.decode()
        if _ESCAPED_SURROGATE.search(decoded) is None:
            return None
        value: object = json.loads(decoded, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return None
    return value


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _without_variables(value: object) -> object:
    """A request, or a message that carries one, apart from the variables."""
    if not isinstance(value, dict):
        return value
    return {
        key: _without_variables(item) if key == "payload" else item for key, item in value.items() if key != "variables"
    }


def read_operation(value: object) -> OperationRequest:
    """The request in a decoded body or message. Raises MalformedRequest.

    PostgreSQL can neither store nor search for U+0000 or half of a surrogate pair, so variables that hold one are
    refused here, once for every argument there is: InvalidInput, with the value's path.
    """
    if isinstance(value, list):
        raise MalformedRequest("Batching is not supported: send one operation per request.")
    if not isinstance(value, dict):
        raise MalformedRequest("A GraphQL request is a JSON object.")
    query = value.get("query")
    if query is None:
        raise MalformedRequest("The request has no `query`.")
    if not isinstance(query, str):
        raise MalformedRequest("`query` must be a string.")
    if len(query) > MAX_DOCUMENT_CHARS:
        raise InvalidInput(f"`query` exceeds {MAX_DOCUMENT_CHARS:,} characters; long texts belong into variables.")
    operation_name = value.get("operationName")
    if operation_name is not None and not isinstance(operation_name, str):
        raise MalformedRequest("`operationName` must be a string or null.")
    variables = _optional_object(value, "variables")
    if (path := _path_to_unstorable(variables)) is not None:
        raise InvalidInput("This holds a NUL character (U+0000) or half of a surrogate pair.", field=path)
    return OperationRequest(
        query=query,
        variables=variables,
        operation_name=operation_name,
        extensions=_optional_object(value, "extensions"),
    )


def _optional_object(value: Mapping[str, object], name: str) -> dict[str, object] | None:
    found = value.get(name)
    if found is not None and not isinstance(found, dict):
        raise MalformedRequest(f"`{name}` must be an object or null.")
    return found


def _path_to_unstorable(value: object) -> tuple[str, ...] | None:
    """Where a text is that cannot be stored.

    Neither recursive nor copying paths, since JSON may be 1,024 levels deep, and wide there.
    """
    todo: list[_Place] = [_Place(value=value, name="", parent=None)]
    while todo:
        place = todo.pop()
        if place.depth > _MAX_JSON_DEPTH:
            raise InvalidInput(f"The variables are more than {_MAX_JSON_DEPTH} levels deep.")
        items: Iterable[tuple[object, object]] = ()
        match place.value:
            case str() if not is_storable(place.value):
                return place.path()
            case dict():
                if not all(is_storable(key) for key in place.value):
                    return place.path()
                items = place.value.items()
            case list():
                items = enumerate(place.value)
            case _:
                continue
        todo.extend(
            _Place(value=item, name=name, parent=place, depth=place.depth + 1)
            for name, item in items
            if isinstance(item, str | dict | list)
        )
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """A value and the way to it."""

    value: object
    name: object
    parent: _Place | None
    depth: int = 0

    def path(self) -> tuple[str, ...]:
        """The names from the outermost value to this one."""
        names: list[str] = []
        place = self
        while place.parent is not None:
            names.append(str(place.name))
            place = place.parent
        return tuple(reversed(names))
