"""The one door through which errors reach clients: expected ones by their code, others masked and logged."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Sequence
from typing import Any, Final

from graphql import GraphQLError, GraphQLSyntaxError
from strawberry.exceptions import MissingQueryError
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError
from strawberry.types import ExecutionResult

from domain.errors import (
    AssistantError,
    ErrorCode,
    NotionFailed,
    ProviderFailed,
    QuotaExceeded,
    RateLimited,
    Unauthenticated,
)
from schema.input_errors import field_at_fault, without_values

BAD_REQUEST: Final = "BAD_REQUEST"
PARSE_FAILED: Final = "GRAPHQL_PARSE_FAILED"
OPERATION_NOT_FOUND: Final = "OPERATION_RESOLUTION_FAILURE"
_MASKED_MESSAGE = "Something went wrong on the server; its log tells more under this reference."

_log = logging.getLogger("schema")

ErrorBody = dict[str, Any]  # JSON as the GraphQL specification prescribes it, 7.1.6


def response_body(result: ExecutionResult) -> dict[str, object]:
    """A result as JSON. `data` is left out when the request failed before anything was executed."""
    if not result.errors:
        body: dict[str, object] = {"data": result.data}
    elif is_request_error(result):
        body = {"errors": error_bodies(result.errors)}
    else:
        body = {"errors": error_bodies(result.errors), "data": result.data}
    if result.extensions:
        body["extensions"] = result.extensions
    return body


def is_request_error(result: ExecutionResult) -> bool:
    """Whether nothing was executed: the document, the variables or the caller were refused."""
    return result.data is None and bool(result.errors) and all(error.path is None for error in result.errors or ())


def find_rate_limited(result: ExecutionResult) -> RateLimited | None:
    """The refusal of an operation that would have been too much, which HTTP has a status for."""
    if not is_request_error(result):
        return None
    causes = [error.original_error for error in result.errors or ()]
    return next((each for each in causes if isinstance(each, RateLimited)), None)


def error_bodies(errors: Sequence[GraphQLError]) -> list[ErrorBody]:
    """Errors as clients see them; what is not expected is logged, so this is called once per error."""
    return [_error_body(error) for error in errors]


def failure_body(failure: Exception) -> ErrorBody:
    """An error that belongs to no field of a document."""
    return _error_body(GraphQLError(str(failure), original_error=failure))


def refusal_body(message: str, *, code: str = BAD_REQUEST) -> ErrorBody:
    """A request that was not understood."""
    return {"message": message, "extensions": {"code": code}}


def _error_body(error: GraphQLError) -> ErrorBody:
    body: ErrorBody = {**error.formatted}
    cause = cause_of(error)
    match cause:
        case None if isinstance(error, GraphQLSyntaxError):
            body["extensions"] = {"code": PARSE_FAILED}
        case None:
            body["message"] = without_values(error.message)
            field = field_at_fault(error.message)
            place = {} if field is None else {"field": field}
            body["extensions"] = {"code": ErrorCode.INVALID_INPUT.value, **place, **(error.extensions or {})}
        case AssistantError():
            body["message"] = cause.message
            body["extensions"] = _extensions_of(cause)
        case CannotGetOperationTypeError():
            body["message"] = cause.as_http_error_reason()
            body["extensions"] = {"code": OPERATION_NOT_FOUND}
        case InvalidOperationTypeError() | MissingQueryError():
            body["extensions"] = {"code": BAD_REQUEST}
        case _:
            reference = secrets.token_hex(8)
            # The path names fields only; variables and arguments stay out of the log.
            _log.error("unexpected_error", exc_info=cause, extra={"reference": reference, "path": error.path})
            body["message"] = _MASKED_MESSAGE
            body["extensions"] = {"code": ErrorCode.INTERNAL.value, "reference": reference}
    return body


def _extensions_of(failure: AssistantError) -> dict[str, object]:
    """What a program can know of an expected failure."""
    extensions: dict[str, object] = {"code": failure.code.value}
    if failure.field is not None:
        extensions["field"] = list(failure.field)
    if failure.retry_after_seconds is not None:
        extensions["retryAfterSeconds"] = failure.retry_after_seconds
    if (reason := reason_of(failure)) is not None:
        extensions["reason"] = reason
    if isinstance(failure, QuotaExceeded) and failure.resets_at is not None:
        extensions["resetsAt"] = failure.resets_at.isoformat()
    if isinstance(failure, Unauthenticated):
        extensions["expired"] = failure.expired
    return extensions


def reason_of(failure: AssistantError) -> str | None:
    """How a foreign system failed."""
    return failure.reason.value if isinstance(failure, ProviderFailed | NotionFailed) else None


def cause_of(error: GraphQLError) -> Exception | None:
    """What was really raised; None when GraphQL itself, or a scalar, found fault with the request.

    graphql-core wraps errors that pass through several of its stages, and raises TypeError for a resolver that breaks
    the schema's promise.
    """
    cause: Exception | None = error
    while isinstance(cause, GraphQLError):
        cause = cause.original_error
    return cause
