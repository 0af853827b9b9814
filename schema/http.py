"""GraphQL over HTTP: one request, answered by one JSON document or by a stream of events."""

from __future__ import annotations

import asyncio
from functools import partial
from http import HTTPMethod, HTTPStatus
from typing import Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from strawberry.exceptions import MissingQueryError
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError
from strawberry.types.graphql import OperationType

from domain.errors import AssistantError, ErrorCode
from resolvers.context import Context
from schema.caller import SESSION_HEADER
from schema.errors import failure_body, find_rate_limited, is_request_error, refusal_body, response_body
from schema.negotiation import EVENT_STREAM, GRAPHQL_JSON, JSON, Accepted, negotiate
from schema.request import MalformedRequest, OperationRequest, decode_json, read_operation
from schema.sse import EventStream
from schema.transport import Transport, encode, request_id_of

BODY_TIMEOUT_SECONDS = 30.0
_GET_OPERATIONS: Final = frozenset({OperationType.QUERY, OperationType.SUBSCRIPTION})
# Browsers ask leave before they send these to another origin, so a page elsewhere cannot make them unseen.
_PREFLIGHT_HEADERS: Final = ("apollo-require-preflight", "x-apollo-operation-name", SESSION_HEADER)
_STATUS_OF_CODE: Final = {
    ErrorCode.UNAUTHENTICATED.value: HTTPStatus.UNAUTHORIZED,
    ErrorCode.FORBIDDEN.value: HTTPStatus.FORBIDDEN,
    ErrorCode.RATE_LIMITED.value: HTTPStatus.TOO_MANY_REQUESTS,
    ErrorCode.UNAVAILABLE.value: HTTPStatus.SERVICE_UNAVAILABLE,
    ErrorCode.INTERNAL.value: HTTPStatus.INTERNAL_SERVER_ERROR,
}


class _RefusedError(Exception):
    """The request is not one that can be answered."""

    def __init__(self, status: HTTPStatus, message: str, *, allow: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.allow = allow


class HttpEndpoint:
    """Answers GET and POST as the GraphQL-over-HTTP specification says, subscriptions as graphql-sse does.

    Status codes follow the specification: with application/json a request that reached GraphQL is a 200 whatever came
    of it; with application/graphql-response+json a refused document is a 400.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request (ASGI)."""
        request = Request(scope, receive)
        accepted = negotiate(request.headers.get("accept"))
        media_type = accepted.json or JSON
        response: ASGIApp
        try:
            response = await self._answer(request, accepted)
        except ClientDisconnect:
            return
        except _RefusedError as refused:
            response = _refused(refused, media_type)
        except MalformedRequest as malformed:
            response = _json({"errors": [refusal_body(malformed.message)]}, HTTPStatus.BAD_REQUEST, media_type)
        except AssistantError as failure:
            response = failure_response(failure, media_type)
        except Exception as error:  # noqa: BLE001  (masked and logged; a client of GraphQL expects JSON even now)
            response = _json({"errors": [failure_body(error)]}, HTTPStatus.INTERNAL_SERVER_ERROR, media_type)
        await response(scope, receive, send)

    async def _answer(self, request: Request, accepted: Accepted) -> ASGIApp:
        if request.method not in (HTTPMethod.GET, HTTPMethod.POST):
            raise _RefusedError(HTTPStatus.METHOD_NOT_ALLOWED, "GraphQL takes GET and POST.", allow="GET, POST")
        if accepted.json is None and not accepted.event_stream:
            raise _RefusedError(
                HTTPStatus.NOT_ACCEPTABLE, f"The answer can be {GRAPHQL_JSON}, {JSON} or {EVENT_STREAM}."
            )
        operation = await self._read(request)
        caller = await self._transport.callers.of_request(request)
        viewer = caller.viewer
        context = self._transport.context_of(caller, viewer, request_id_of(request.scope))
        allowed = _GET_OPERATIONS if request.method == HTTPMethod.GET else frozenset(OperationType)
        if accepted.json is not None:
            try:
                return await self._execute(operation, context, allowed - {OperationType.SUBSCRIPTION}, accepted.json)
            except InvalidOperationTypeError as error:
                if error.operation_type is OperationType.MUTATION:
                    message = "A mutation must be POSTed."
                    raise _RefusedError(HTTPStatus.METHOD_NOT_ALLOWED, message, allow="POST") from error
                if not accepted.event_stream:
                    message = f"A subscription needs `Accept: {EVENT_STREAM}`, or a WebSocket."
                    raise _RefusedError(HTTPStatus.NOT_ACCEPTABLE, message) from error
        results = await self._transport.stream(operation, context, allowed=allowed)
        session_end = None if viewer is None else partial(self._transport.session_end, viewer)
        return EventStream(results, session_end=session_end, departure=partial(self._transport.departure, context))

    async def _execute(
        self, operation: OperationRequest, context: Context, allowed: frozenset[OperationType], media_type: str
    ) -> Response:
        try:
            context.cookies = []
            result = await self._transport.execute(operation, context, allowed=allowed)
        except MissingQueryError as error:
            raise MalformedRequest("`query` is empty.") from error
        except CannotGetOperationTypeError as error:
            return _json({"errors": [failure_body(error)]}, _status_of_request_error(media_type), media_type)
        if (limited := find_rate_limited(result)) is not None:
            raise limited
        status = _status_of_request_error(media_type) if is_request_error(result) else HTTPStatus.OK
        response = _json(response_body(result), status, media_type)
        for cookie in context.cookies:
            response.headers.append("set-cookie", cookie)
        if context.retry_after_seconds is not None:
            response.headers["retry-after"] = str(context.retry_after_seconds)
        return response

    async def _read(self, request: Request) -> OperationRequest:
        if request.method == HTTPMethod.GET:
            content_type = request.headers.get("content-type", "")
            if not (_is_json(content_type) or any(request.headers.get(name) for name in _PREFLIGHT_HEADERS)):
                message = "A GET request needs the header `Apollo-Require-Preflight: true`, against forged requests."
                raise _RefusedError(HTTPStatus.BAD_REQUEST, message)
            parameters: dict[str, object] = dict(request.query_params)
            for name in ("variables", "extensions"):
                if text := request.query_params.get(name):
                    parameters[name] = decode_json(text)
                else:
                    parameters.pop(name, None)
            return read_operation(parameters)
        if not _is_json(request.headers.get("content-type", "")):
            raise _RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"The body must be {JSON} in UTF-8.")
        if request.headers.get("content-encoding", "identity").lower() != "identity":
            raise _RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The body must not be compressed.")
        return read_operation(decode_json(await self._body(request)))

    async def _body(self, request: Request) -> bytes:
        limit = self._transport.limits.max_request_bytes
        too_large = _RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body exceeds {limit:,} bytes.")
        announced = request.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > limit:
            raise too_large
        chunks: list[bytes] = []
        size_bytes = 0
        try:
            async with asyncio.timeout(BODY_TIMEOUT_SECONDS):
                async for chunk in request.stream():
                    size_bytes += len(chunk)
                    if size_bytes > limit:
                        raise too_large
                    chunks.append(chunk)
        except TimeoutError as error:
            message = f"The body took longer than {BODY_TIMEOUT_SECONDS:g} seconds."
            raise _RefusedError(HTTPStatus.REQUEST_TIMEOUT, message) from error
        return b"".join(chunks)


def _is_json(content_type: str) -> bool:
    media_type, *parameters = (piece.strip().lower() for piece in content_type.split(";"))
    charsets = {
        value.strip('" ') for name, _, value in (each.partition("=") for each in parameters) if name == "charset"
    }
    return media_type == JSON and charsets <= {"utf-8", "utf8"}


def _status_of_request_error(media_type: str) -> HTTPStatus:
    return HTTPStatus.BAD_REQUEST if media_type == GRAPHQL_JSON else HTTPStatus.OK


def _refused(refused: _RefusedError, media_type: str) -> Response:
    response = _json({"errors": [refusal_body(refused.message)]}, refused.status, media_type)
    if refused.allow is not None:
        response.headers["allow"] = refused.allow
    return response


def failure_response(failure: AssistantError, media_type: str = JSON) -> Response:
    """What a request is answered that failed as a whole."""
    status = _STATUS_OF_CODE.get(failure.code.value, HTTPStatus.BAD_REQUEST)
    response = _json({"errors": [failure_body(failure)]}, status, media_type)
    if status is HTTPStatus.UNAUTHORIZED:
        response.headers["www-authenticate"] = 'Bearer error="invalid_token"'  # RFC 6750, 3
    if failure.retry_after_seconds is not None:
        response.headers["retry-after"] = str(failure.retry_after_seconds)
    return response


def _json(body: dict[str, object], status: HTTPStatus, media_type: str) -> Response:
    return Response(
        encode(body),
        status_code=int(status),
        # What is answered depends on who asks, and may hold tokens.
        headers={"vary": "Accept", "cache-control": "no-store", "content-type": f"{media_type}; charset=utf-8"},
    )
