"""The address to which Notion sends its events: takes in a small body, and answers at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from domain.errors import AssistantError, ErrorCode

MAX_BODY_BYTES: Final = 262_144
BODY_TIMEOUT_SECONDS: Final = 10.0
SIGNATURE_HEADER: Final = "x-notion-signature"
_STATUS_OF_CODE: Final = {
    ErrorCode.UNAUTHENTICATED: 401,
    ErrorCode.FORBIDDEN: 403,
    ErrorCode.UNAVAILABLE: 503,  # Notion tries again later.
}

Receive = Callable[[bytes, str | None], Awaitable[None]]


def notion_webhook_route(receive: Receive) -> Route:
    """/notion/webhook; `receive` gets the body as it came, and the signature."""

    async def webhook(request: Request) -> Response:
        try:
            body = await _body(request)
            if body is None:
                return Response("The body is too large.", status_code=413, media_type="text/plain")
            await receive(body, request.headers.get(SIGNATURE_HEADER))
        except (TimeoutError, ClientDisconnect):
            return Response("The body came too slowly.", status_code=408, media_type="text/plain")
        except AssistantError as failure:
            return Response(
                failure.message, status_code=_STATUS_OF_CODE.get(failure.code, 400), media_type="text/plain"
            )
        return Response(status_code=200)

    return Route("/notion/webhook", webhook, methods=["POST"], name="notion-webhook")


async def _body(request: Request) -> bytes | None:
    """The body; None when it is too large."""
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > MAX_BODY_BYTES:
        return None
    chunks = bytearray()
    async with asyncio.timeout(BODY_TIMEOUT_SECONDS):
        async for chunk in request.stream():
            chunks += chunk
            if len(chunks) > MAX_BODY_BYTES:
                return None
    return bytes(chunks)
