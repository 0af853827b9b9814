"""An operation's results as Server-Sent Events: graphql-sse's distinct connections mode."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import NoReturn, TypeAlias

from starlette.types import Receive, Scope, Send
from strawberry.types import ExecutionResult

from domain.errors import Unauthenticated
from schema.errors import failure_body, response_body
from schema.transport import encode

WaitForEnd: TypeAlias = Callable[[], Awaitable[Unauthenticated]]
WaitForDeparture: TypeAlias = Callable[[], Awaitable[object]]

KEEP_ALIVE_SECONDS = 12.0
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
    """Sends each result as `next`, then `complete`; closing the connection stops the operation.

    A stream that the server leaves ends without `complete`, so that its reader connects again. How long a reader may
    leave unread what was sent is the connection's business (ops/unread.py).
    """

    def __init__(
        self,
        results: AsyncGenerator[ExecutionResult, None],
        *,
        session_end: WaitForEnd | None,
        departure: WaitForDeparture,
    ) -> None:
        self._results = results
        self._session_end = session_end
        self._departure = departure
        self._sent_at = 0.0
        # A slow reader keeps several waiting who have something to send, and one of them may have the last word.
        self._sending = asyncio.Lock()
        self._is_over = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers the request (ASGI)."""
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._watch_reader(receive))
                group.create_task(self._keep_alive(send))
                if self._session_end is not None:
                    group.create_task(self._end_with_session(send, self._session_end))
                group.create_task(self._end_with_server(send))
                await self._send(send, _COMMENT)  # so that the reader knows at once that it is connected
                async with aclosing(self._events()) as events:
                    async for event in events:
                        await self._send(send, event)
                await self._end(send, b"")
        except* (_EndedError, OSError):  # OSError: the reader has gone
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
        await self._end(send, _next({"errors": [failure_body(failure)]}) + _COMPLETE)

    async def _end_with_server(self, send: Send) -> None:
        await self._departure()
        await self._end(send, b"")

    async def _watch_reader(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        raise _EndedError

    async def _send(self, send: Send, body: bytes) -> None:
        async with self._sending:
            if self._is_over:
                raise _EndedError
            await send({"type": "http.response.body", "body": body, "more_body": True})
        self._sent_at = asyncio.get_running_loop().time()

    async def _end(self, send: Send, body: bytes) -> NoReturn:
        async with self._sending:
            if not self._is_over:
                self._is_over = True
                await send({"type": "http.response.body", "body": body, "more_body": False})
        raise _EndedError


def _next(body: dict[str, object]) -> bytes:
    return b"event: next\ndata: %b\n\n" % encode(body)
