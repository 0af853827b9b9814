"""Validates request bodies, and the stand-in's own answers, against Notion's OpenAPI, complaining in Notion's words."""

from __future__ import annotations

import copy
import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonschema import Draft202012Validator, ValidationError, validators

from tests.standins.notion_errors import JSON, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

NEWEST_VERSION = "2026-03-11"
VERSIONS = ("2022-06-28", "2025-09-03", NEWEST_VERSION)

_OPENAPI = Path(__file__).parent / "data" / "notion_openapi.json"
_BLOCK_SCHEMAS = (
    "blockObjectRequest",
    "blockObjectWithSingleLevelOfChildrenRequest",
    "blockObjectRequestWithoutChildren",
)
_TYPE_NAMES = {
    "string": "a string",
    "number": "a number",
    "integer": "an integer",
    "boolean": "a boolean",
    "array": "an array",
    "object": "an object",
    "null": "`null`",
}


def utf16_length(text: str) -> int:
    """The length as JavaScript counts it, and so Notion."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def request_complaint(method: str, path: str, body: object, *, version: str) -> str | None:
    """What is wrong with a body by the OpenAPI (`body.children.length should be ≤ ...`), or None.

    `path` is the template, such as `/v1/pages/{page_id}`.
    """
    validator = _request_validator(method.lower(), path, newest=version == NEWEST_VERSION)
    if validator is None:
        return None
    errors = sorted(validator.iter_errors(body), key=lambda error: [str(part) for part in error.absolute_path])
    return _worded(_leaf(errors[0])) if errors else None


def response_complaints(method: str, path: str, status: int, body: object) -> list[str]:
    """Where an answer departs from the OpenAPI's schema for it; an empty list when nowhere."""
    validator = _response_validator(method.lower(), path, str(status))
    return [_worded(_leaf(error)) for error in validator.iter_errors(body)]


def _utf16_max_length(_validator: Any, limit: int, instance: object, _schema: JSON) -> Iterator[ValidationError]:
    # `_validator: Any`: jsonschema's own protocol for keyword functions is not exported.
    if isinstance(instance, str) and utf16_length(instance) > limit:
        yield ValidationError(f"longer than {limit} UTF-16 units")


_Validator: type[Draft202012Validator] = validators.extend(  # type: ignore[no-untyped-call]  # untyped in its stubs
    Draft202012Validator, {"maxLength": _utf16_max_length}
)


@cache
def _openapi() -> JSON:
    document: JSON = json.loads(_OPENAPI.read_text(encoding="utf-8"))
    _amend(document)
    return document


def _amend(document: JSON) -> None:
    """What the API accepts or answers although the captured OpenAPI, which is older, does not list it."""
    schemas = document["components"]["schemas"]
    # heading_4 came after the capture.
    for name in (*_BLOCK_SCHEMAS, "blockObjectResponse"):
        alternatives = schemas[name].get("anyOf") or schemas[name]["oneOf"]
        if name == "blockObjectResponse":
            schemas["heading4BlockObjectResponse"] = _heading_4(schemas["heading3BlockObjectResponse"])
            alternatives.append({"$ref": "#/components/schemas/heading4BlockObjectResponse"})
        else:
            alternatives.append(_heading_4(_alternative(alternatives, "heading_3")))
    update = _body_schema(document, "patch", "/v1/blocks/{block_id}")["anyOf"][0]["anyOf"]
    update.append(_heading_4(_alternative(update, "heading_3")))
    # Recorded traffic sends the title as a bare array.
    for method, path in (("post", "/v1/pages"), ("patch", "/v1/pages/{page_id}")):
        values = _body_schema(document, method, path)["properties"]["properties"]["additionalProperties"]["anyOf"]
        values.append({"type": "array", "items": {"$ref": "#/components/schemas/richTextItemRequest"}, "maxItems": 100})


def _alternative(alternatives: list[JSON], block_type: str) -> JSON:
    return next(schema for schema in alternatives if schema.get("required") == [block_type])


def _heading_4(heading_3: JSON) -> JSON:
    text = json.dumps(heading_3).replace("heading_3", "heading_4").replace("Heading 3", "Heading 4")
    schema: JSON = json.loads(text)
    return schema


def _body_schema(document: JSON, method: str, path: str) -> JSON:
    schema: JSON = document["paths"][path][method]["requestBody"]["content"]["application/json"]["schema"]
    return schema


@cache
def _request_validator(method: str, path: str, *, newest: bool) -> Draft202012Validator | None:
    document = _openapi()
    if "requestBody" not in document["paths"][path][method]:
        return None
    schema = copy.deepcopy(_body_schema(document, method, path))
    if not newest:
        # Before the newest version `archived` stood for in_trash, and `after` for position.
        if (method, path) == ("patch", "/v1/blocks/{block_id}/children"):
            schema["properties"]["after"] = {"$ref": "#/components/schemas/idRequest"}
        elif (method, path) == ("patch", "/v1/blocks/{block_id}"):
            for alternative in (*schema["anyOf"][0]["anyOf"], schema["anyOf"][1]):
                alternative["properties"]["archived"] = {"type": "boolean"}
        elif path in ("/v1/pages/{page_id}", "/v1/data_sources/{data_source_id}/query"):
            schema["properties"]["archived"] = {"type": "boolean"}
    return _Validator({**schema, "components": document["components"]})


@cache
def _response_validator(method: str, path: str, status: str) -> Draft202012Validator:
    document = _openapi()
    schema = document["paths"][path][method]["responses"][status]["content"]["application/json"]["schema"]
    return _Validator(_relaxed({**schema, "components": document["components"]}))


def _relaxed(schema: Any) -> Any:
    """A schema of answers that takes more keys than it names: as captured, they refuse Notion's own answers.

    They close the parts of an `allOf` with `additionalProperties: false`, so that no part admits the other's keys.
    """
    # `Any`: a JSON value of any depth.
    if isinstance(schema, list):
        return [_relaxed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    relaxed = {key: _relaxed(value) for key, value in schema.items() if value is not False}
    if isinstance(relaxed.get("oneOf"), list):
        relaxed["anyOf"] = relaxed.pop("oneOf")
    return relaxed


def _leaf(error: ValidationError) -> ValidationError:
    """The one complaint that matters below `anyOf`/`oneOf`: the alternative that was meant, at its deepest."""
    while error.validator in ("anyOf", "oneOf") and error.context:
        branches: dict[object, list[ValidationError]] = {}
        for inner in error.context:
            branches.setdefault(inner.relative_schema_path[0], []).append(inner)
        error = min(branches.values(), key=_mismatch)[0]
    return error


def _mismatch(errors: list[ValidationError]) -> tuple[int, int]:
    # The alternative that was meant has no complaint about the value itself, only about what lies deeper in it.
    shallow = sum(1 for error in errors if not error.relative_path and not error.context)
    return shallow, -max(len(error.relative_path) for error in errors)


def _worded(error: ValidationError) -> str:
    path = "body" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path)
    instance: Any = error.instance  # any JSON value
    limit: Any = error.validator_value  # whatever the keyword holds
    match error.validator:
        case "maxLength":
            return f"{path}.length should be ≤ `{limit}`, instead was `{utf16_length(instance)}`."
        case "minLength" | "minItems":
            return f"{path}.length should be ≥ `{limit}`, instead was `{len(instance)}`."
        case "maxItems":
            return f"{path}.length should be ≤ `{limit}`, instead was `{len(instance)}`."
        case "required":
            name = next(name for name in limit if name not in instance)
            return f"{path}.{name} should be defined, instead was `undefined`."
        case "additionalProperties":
            known: JSON = error.schema.get("properties", {}) if isinstance(error.schema, dict) else {}
            name = next(name for name in instance if name not in known)
            return f"{path}.{name} should be not present, instead was {shown(instance[name])}."
        case "enum":
            *most, last = (f"`{json.dumps(value)}`" for value in limit)
            listed = ", ".join([*most[:2], "..."] if len(most) > 2 else most)
            return f"{path} should be {listed} or {last}, instead was {shown(instance)}."
        case "const":
            return f"{path} should be `{json.dumps(limit)}`, instead was {shown(instance)}."
        case "type":
            names = [limit] if isinstance(limit, str) else limit
            return (
                f"{path} should be {' or '.join(_TYPE_NAMES[name] for name in names)}, instead was {shown(instance)}."
            )
        case "minimum":
            return f"{path} should be ≥ `{limit}`, instead was `{instance}`."
        case _:
            return f"{path} is invalid, instead was {shown(instance)}."
