"""GraphQL over WebSocket: the graphql-transport-ws protocol, as the library graphql-ws writes it down."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import aclosing, suppress
from enum import IntEnum
from typing import Final, NoReturn

from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketDisconnected
from strawberry.http.websocket_origin import is_same_origin, normalize_origin
from strawberry.types.execution import PreExecutionError
from strawberry.types.graphql import OperationType

from domain.account import Viewer
from domain.errors import AssistantError, Forbidden, InvalidInput, RateLimited, Unauthenticated
from schema.caller import Caller, client_of
from schema.errors import ErrorBody, error_bodies, failure_body, response_body
from schema.request import MalformedRequest, OperationRequest, decode_json, read_operation
from schema.transport import Transport, encode, request_id_of

PROTOCOL: Final = "graphql-transport-ws"
SEND_TIMEOUT_SECONDS = 60.0
_MAX_REASON_BYTES = 123  # RFC 6455, 5.5: a control frame holds 125 bytes, two of which are the code


class CloseCode(IntEnum):
    """Why the server ends a connection.

    The client graphql-ws connects again after FORBIDDEN and TRY_AGAIN_LATER, asking for fresh connection params; after
    UNAUTHORIZED it gives up.
    """

    POLICY_VIOLATION = 1008
    TOO_BIG = 1009
    TRY_AGAIN_LATER = 1013
    BAD_REQUEST = 4400
    UNAUTHORIZED = 4401
    FORBIDDEN = 4403
    SUBPROTOCOL_NOT_ACCEPTABLE = 4406
    INIT_TIMEOUT = 4408
    SUBSCRIBER_EXISTS = 4409
    TOO_MANY_INITS = 4429
    INTERNAL_ERROR = 4500


class WebSocketEndpoint:
    """Accepts connections that speak graphql-transport-ws, from pages of this origin or an allowed one."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection (ASGI)."""
        socket = WebSocket(scope, receive, send)
        if not self._is_origin_allowed(socket):
            await socket.close(CloseCode.POLICY_VIOLATION)  # before accept: the handshake is answered with 403
        elif PROTOCOL not in scope["subprotocols"]:
            await socket.accept()
            await socket.close(CloseCode.SUBPROTOCOL_NOT_ACCEPTABLE, f"The subprotocol must be {PROTOCOL}")
        else:
            await socket.accept(subprotocol=PROTOCOL)
            await _Connection(socket, self._transport).serve()

    def _is_origin_allowed(self, socket: WebSocket) -> bool:
        """Browsers apply no CORS to WebSockets, so the check is ours; programs send no Origin."""
        origin = socket.headers.get("origin")
        allowed = self._transport.allowed_origins
        return (
            origin is None
            or "*" in allowed
            or is_same_origin(origin, socket.headers.get("host"))
            or normalize_origin(origin) in allowed
        )


class _ClosedError(Exception):
    """The connection is over, so whatever runs for it is to stop."""


class _Connection:
    """One accepted socket and the operations that run on it."""

    def __init__(self, socket: WebSocket, transport: Transport) -> None:
        self._socket = socket
        self._transport = transport
        self._request_id = request_id_of(socket.scope)
        self._caller = Caller(viewer=None, client=client_of(socket))
        self._is_init_received = False
        self._is_acknowledged = False
        self._operations: dict[str, asyncio.Task[None]] = {}

    async def serve(self) -> None:
        """Runs until either side closes; every task of the connection ends with it."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._close_without_init())
                while True:
                    await self._handle(await self._receive(), group)
        except* _ClosedError:
            pass
        except* Exception as errors:  # noqa: BLE001  (masked and logged; the protocol has a code for it)
            failure_body(errors)
            with suppress(_ClosedError):
                await self._close(CloseCode.INTERNAL_ERROR, "Internal server error")

    async def _receive(self) -> dict[str, object]:
        event = await self._socket.receive()
        if event["type"] == "websocket.disconnect":
            raise _ClosedError
        text: str | None = event.get("text")
        if text is None:
            await self._close(CloseCode.BAD_REQUEST, "A message must be text")
        if len(text) > self._transport.limits.max_request_bytes:
            await self._close(CloseCode.TOO_BIG, "The message is too big")
        try:
            message = decode_json(text)
        except MalformedRequest as malformed:
            await self._close(CloseCode.BAD_REQUEST, malformed.message)
        if not isinstance(message, dict):
            await self._close(CloseCode.BAD_REQUEST, "A message must be a JSON object")
        return message

    async def _handle(self, message: Mapping[str, object], group: asyncio.TaskGroup) -> None:
        match message.get("type"):
            case "connection_init":
                await self._init(await self._payload_of(message), group)
            case "ping":
                payload = await self._payload_of(message)
                await self._send({"type": "pong"} if payload is None else {"type": "pong", "payload": payload})
            case "pong":
                await self._payload_of(message)
            case "subscribe":
                await self._subscribe(await self._id_of(message), message.get("payload"), group)
            case "complete":
                if (task := self._operations.pop(await self._id_of(message), None)) is not None:
                    task.cancel()
            case _:
                await self._close(CloseCode.BAD_REQUEST, "The message has no type that a client may send")

    async def _init(self, payload: Mapping[str, object] | None, group: asyncio.TaskGroup) -> None:
        if self._is_init_received:
            await self._close(CloseCode.TOO_MANY_INITS, "Too many initialisation requests")
        self._is_init_received = True
        try:
            self._caller = await self._transport.callers.of_socket(self._socket, payload or {})
            if self._caller.refusal is not None:
                raise self._caller.refusal
        except Unauthenticated as failure:
            code = CloseCode.FORBIDDEN if failure.expired else CloseCode.UNAUTHORIZED
            await self._close(code, failure.message)
        except Forbidden as failure:
            await self._close(CloseCode.UNAUTHORIZED, failure.message)  # for good: a client tries again after FORBIDDEN
        except InvalidInput as failure:
            await self._close(CloseCode.BAD_REQUEST, failure.message)
        except AssistantError as failure:
            await self._close(CloseCode.TRY_AGAIN_LATER, failure.message)
        if self._caller.viewer is not None:
            group.create_task(self._close_when_unauthenticated(self._caller.viewer))
        self._is_acknowledged = True
        await self._send({"type": "connection_ack"})

    async def _subscribe(self, operation_id: str, payload: object, group: asyncio.TaskGroup) -> None:
        fault: InvalidInput | None = None
        operation = OperationRequest(query="")
        try:
            operation = read_operation(payload)
        except MalformedRequest as malformed:
            await self._close(CloseCode.BAD_REQUEST, malformed.message)
        except InvalidInput as invalid:
            fault = invalid
        if not self._is_acknowledged:
            await self._close(CloseCode.UNAUTHORIZED, "Unauthorized")
        if operation_id in self._operations:
            await self._close(CloseCode.SUBSCRIBER_EXISTS, f"Subscriber for {operation_id} already exists")
        limit = self._transport.limits.max_operations_per_socket
        if fault is not None:
            await self._send_errors(operation_id, [failure_body(fault)])
        elif len(self._operations) >= limit:
            failure = RateLimited(f"At most {limit} operations run at a time on one connection.")
            await self._send_errors(operation_id, [failure_body(failure)])
        else:
            self._operations[operation_id] = group.create_task(self._run(operation_id, operation))

    async def _run(self, operation_id: str, operation: OperationRequest) -> None:
        try:
            # An operation has a context of its own, as if it had come by HTTP: its loaders must not outlive it, and
            # whoever has lost a right since the connection was made is without it.
            signed_in = self._caller.viewer
            viewer = None if signed_in is None else await self._transport.renew(signed_in)
            context = self._transport.context_of(self._caller, viewer, self._request_id)
            results = await self._transport.stream(operation, context, allowed=frozenset(OperationType))
            async with aclosing(results):
                async for result in results:
                    if isinstance(result, PreExecutionError):
                        await self._finish(operation_id, error_bodies(result.errors or ()))
                        return
                    await self._send({"id": operation_id, "type": "next", "payload": response_body(result)})
        except _ClosedError:
            raise
        except Exception as error:  # noqa: BLE001  (masked and logged; it concerns this operation only)
            await self._finish(operation_id, [failure_body(error)])
        else:
            await self._finish(operation_id, None)

    async def _finish(self, operation_id: str, errors: list[ErrorBody] | None) -> None:
        """Sends the operation's last message; its id is free before that, since the client may use it at once."""
        del self._operations[operation_id]
        if errors is None:
            await self._send({"id": operation_id, "type": "complete"})
        else:
            await self._send_errors(operation_id, errors)

    async def _send_errors(self, operation_id: str, errors: list[ErrorBody]) -> None:
        await self._send({"id": operation_id, "type": "error", "payload": errors})

    async def _close_without_init(self) -> None:
        await asyncio.sleep(self._transport.limits.connection_init_timeout.total_seconds())
        if not self._is_acknowledged:
            await self._close(CloseCode.INIT_TIMEOUT, "Connection initialisation timeout")

    async def _close_when_unauthenticated(self, viewer: Viewer) -> None:
        """Ends the connection with its access token, or with the session; a client that stays presents a fresh one."""
        end = await self._transport.session_end(viewer)
        await self._close(CloseCode.FORBIDDEN if end.expired else CloseCode.UNAUTHORIZED, end.message)

    async def _id_of(self, message: Mapping[str, object]) -> str:
        operation_id = message.get("id")
        if not isinstance(operation_id, str) or not operation_id:
            await self._close(CloseCode.BAD_REQUEST, "`id` must be a string that is not empty")
        return operation_id

    async def _payload_of(self, message: Mapping[str, object]) -> dict[str, object] | None:
        payload = message.get("payload")
        if payload is not None and not isinstance(payload, dict):
            await self._close(CloseCode.BAD_REQUEST, "`payload` must be an object")
        return payload

    async def _send(self, message: Mapping[str, object]) -> None:
        try:
            async with asyncio.timeout(SEND_TIMEOUT_SECONDS):
                await self._socket.send_text(encode(message).decode())
        except (WebSocketDisconnect, WebSocketDisconnected, TimeoutError) as error:
            raise _ClosedError from error

    async def _close(self, code: CloseCode, reason: str) -> NoReturn:
        try:
            async with asyncio.timeout(SEND_TIMEOUT_SECONDS):
                await self._socket.close(code, reason.encode()[:_MAX_REASON_BYTES].decode(errors="ignore"))
        except (WebSocketDisconnect, WebSocketDisconnected, TimeoutError) as error:
            raise _ClosedError from error
        raise _ClosedError
