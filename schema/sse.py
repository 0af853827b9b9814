"""An operation's results as Server-Sent Events: graphql-sse's distinct connections mode."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import TypeAlias

from starlette.types import Receive, Scope, Send
from strawberry.types import ExecutionResult

from domain.errors import Unauthenticated
from schema.errors import failure_body, response_body
from schema.transport import encode

WaitForEnd: TypeAlias = Callable[[], Awaitable[Unauthenticated]]

KEEP_ALIVE_SECONDS = 12.0
SEND_TIMEOUT_SECONDS = 60.0
_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store, no-transform"),
    (b"vary", b"Accept"),
    (b"x-accel-buffering", b"no"),  # nginx would hold events back
]
_COMMENT = b":\n\n"
_COMPLETE = b"event: complete\ndata:\n\n"  # without a data field a browser's EventSource drops the event


class _EndedError(Exception):
    """The stream is over: completed, or its reader has gone."""


class EventStream:
    """Sends each result as `next`, then `complete`; closing the connection stops the operation."""

    def __init__(
        self,
        results: AsyncGenerator[ExecutionResult, None],
        *,
        session_end: WaitForEnd | None,
    ) -> None:
        self._results = results
        self._session_end = session_end
        self._sent_at = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers the request (ASGI)."""
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._watch_reader(receive))
                group.create_task(self._keep_alive(send))
                if self._session_end is not None:
                    group.create_task(self._end_with_session(send, self._session_end))
                await self._send(send, _COMMENT)  # so that the reader knows at once that it is connected
                async with aclosing(self._events()) as events:
                    async for event in events:
                        await self._send(send, event)
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                raise _EndedError
        except* (_EndedError, OSError):  # OSError: the reader has gone, or has not read for too long
            pass

    async def _events(self) -> AsyncGenerator[bytes, None]:
        try:
            async with aclosing(self._results) as results:
                async for result in results:
                    yield _next(response_body(result))
        except Exception as error:  # noqa: BLE001  (masked and logged; the stream must end as the protocol says)
            yield _next({"errors": [failure_body(error)]})
        yield _COMPLETE

    async def _keep_alive(self, send: Send) -> None:
        loop = asyncio.get_running_loop()
        while True:
            idle_seconds = loop.time() - self._sent_at
            if idle_seconds >= KEEP_ALIVE_SECONDS:
                await self._send(send, _COMMENT)
                idle_seconds = 0.0
            await asyncio.sleep(KEEP_ALIVE_SECONDS - idle_seconds)

    async def _end_with_session(self, send: Send, session_end: WaitForEnd) -> None:
        failure = await session_end()
        await self._send(send, _next({"errors": [failure_body(failure)]}) + _COMPLETE)
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        raise _EndedError

    async def _watch_reader(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        raise _EndedError

    async def _send(self, send: Send, body: bytes) -> None:
        async with asyncio.timeout(SEND_TIMEOUT_SECONDS):
            await send({"type": "http.response.body", "body": body, "more_body": True})
        self._sent_at = asyncio.get_running_loop().time()


def _next(body: dict[str, object]) -> bytes:
    return b"event: next\ndata: %b\n\n" % encode(body)
