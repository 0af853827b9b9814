"""The GraphQL endpoint: HTTP, Server-Sent Events and WebSocket at one path."""

from __future__ import annotations

from starlette.types import Receive, Scope, Send

from schema.http import HttpEndpoint
from schema.transport import Transport
from schema.websocket import WebSocketEndpoint


class GraphQLEndpoint:
    """An ASGI application, to be mounted by a `Route` for HTTP and a `WebSocketRoute`."""

    def __init__(self, transport: Transport) -> None:
        self._http = HttpEndpoint(transport)
        self._websocket = WebSocketEndpoint(transport)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request or one connection."""
        endpoint = self._websocket if scope["type"] == "websocket" else self._http
        await endpoint(scope, receive, send)
