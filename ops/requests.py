"""Every request gets an id, is counted and is logged: method, route, status and time, never what it says."""

from __future__ import annotations

import re
import secrets
import time
from typing import Final

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ops.logging import bind_request_id
from ops.metrics import Metrics

REQUEST_ID_HEADER: Final = "x-request-id"
_REQUEST_ID_PATTERN: Final = re.compile(r"[A-Za-z0-9._-]{8,64}")
_QUIET_ROUTES: Final = frozenset({"/health/live", "/health/ready", "/metrics"})

_log = structlog.get_logger(__name__)


class RequestObserver:
    """ASGI middleware, to be the outermost one. `request.state.request_id` has the id, and so has the response."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the call on, watching it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(REQUEST_ID_HEADER, "")
        request_id = given if _REQUEST_ID_PATTERN.fullmatch(given) else secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = request_id
        with bind_request_id(request_id):
            if scope["type"] == "http":
                await self._observe_http(scope, receive, send, request_id)
            else:
                await self._observe_websocket(scope, receive, send)

    async def _observe_http(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        started_at = time.perf_counter()
        status = 0

        def count() -> None:
            seconds = time.perf_counter() - started_at
            self._metrics.http_response_started(scope["method"], route=_route(scope), status=status, seconds=seconds)

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID_HEADER] = request_id
                count()
            await send(message)

        try:
            await self._app(scope, receive, watch)
        finally:
            if status == 0:
                # The server answers for an application that raised before it began to.
                status = 500
                count()
            route = _route(scope)
            log = _log.debug if route in _QUIET_ROUTES else _log.info
            milliseconds = round((time.perf_counter() - started_at) * 1000, 1)
            log("http_request", method=scope["method"], route=route, status=status, duration_ms=milliseconds)

    async def _observe_websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        started_at = time.perf_counter()
        is_open = False

        async def watch(message: Message) -> None:
            nonlocal is_open
            await send(message)
            if message["type"] == "websocket.accept":
                is_open = True
                self._metrics.websocket_opened()

        try:
            await self._app(scope, receive, watch)
        finally:
            if is_open:
                self._metrics.websocket_closed()
            seconds = round(time.perf_counter() - started_at, 1)
            _log.info("websocket_closed", route=_route(scope), was_accepted=is_open, duration_seconds=seconds)


def _route(scope: Scope) -> str:
    """The pattern that matched: of a closed set, unlike the path."""
    return str(getattr(scope.get("route"), "path", "") or "none")
