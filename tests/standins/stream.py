"""Plays a scenario's event stream over HTTP, with the scenario's pace and faults."""

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Protocol, TypeAlias, assert_never

import anyio
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tests.standins.scenario import Failure, Fault, Scenario

# Parsed JSON: its shape is what the code that reads it is there to check.
JsonObject: TypeAlias = dict[str, Any]

HTML_PAGE = b"<!DOCTYPE html><html><head><title>Just a moment...</title></head><body>Please wait.</body></html>"
BROKEN_JSON = '{"type": "broken", "delta": "half of a'


def sse(data: JsonObject | str, *, event: str | None = None) -> bytes:
    """One server-sent event."""
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    if not isinstance(data, str) and any("\ud800" <= char <= "\udfff" for char in text):
        # Half of a surrogate pair has no bytes of its own: it travels as an escape.
        text = json.dumps(data, separators=(",", ":"))
    name = f"event: {event}\n" if event else ""
    return f"{name}data: {text}\n\n".encode()


class Kind(Enum):
    """What an event is to the machinery."""

    OPENING = auto()
    THOUGHT = auto()
    PIECE = auto()
    CLOSING = auto()


@dataclass(frozen=True, slots=True)
class Event:
    kind: Kind
    data: bytes


class Dialect(ABC):
    """One response as one provider writes it. Made anew for each request, as some providers number their events."""

    headers: Mapping[str, str]

    @abstractmethod
    def events(self) -> Iterator[Event]:
        """The complete stream, lazily: a fault takes the place of what would come next."""

    @abstractmethod
    def heartbeat(self) -> bytes:
        """What the provider sends to keep an idle connection open."""

    @abstractmethod
    def broken(self) -> bytes:
        """A delta whose data is not JSON."""

    @abstractmethod
    def error(self, fault: Fault, failure: Failure) -> bytes:
        """The event of ERROR_EVENT, DOCUMENTED_ERROR_EVENT or RESPONSE_FAILED."""


class StreamCounts(Protocol):
    """Where a stream reports its beginning and its end."""

    def stream_opened(self) -> None: ...

    def stream_closed(self, *, abandoned: bool) -> None: ...


class EventStream(Response):
    """
    The response that plays a scenario.

    It ends as soon as the client goes away, also in the middle of a stall.
    """

    def __init__(self, scenario: Scenario, dialect: Dialect, counts: StreamCounts) -> None:
        super().__init__()
        self._scenario = scenario
        self._dialect = dialect
        self._counts = counts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        played = False
        self._counts.stream_opened()
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(_cancel_when_gone, receive, group.cancel_scope)
                await self._play(scope, send)
                played = True
                group.cancel_scope.cancel()
        finally:
            self._counts.stream_closed(abandoned=not played)

    async def _play(self, scope: Scope, send: Send) -> None:
        fault = self._scenario.fault
        if fault is Fault.HANG:
            await anyio.sleep_forever()
        if fault is Fault.NOT_A_STREAM:
            await Response(HTML_PAGE, media_type="text/html")(scope, _never, send)
            return
        headers = [(name.encode(), value.encode()) for name, value in self._dialect.headers.items()]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        sent = 0
        pending = fault
        for event in self._dialect.events():
            at_fault = sent == self._scenario.fault_after and event.kind in (Kind.PIECE, Kind.CLOSING)
            if pending is not None and at_fault:
                if await self._fail(pending, scope, send):
                    break
                pending = None
            if event.kind in (Kind.THOUGHT, Kind.PIECE):
                await asyncio.sleep(self._scenario.piece_delay_seconds)
            if event.kind is Kind.PIECE and self._scenario.gate is not None:
                await self._scenario.gate.passed()
            await self._write(event.data, send)
            sent += event.kind is Kind.PIECE
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _write(self, data: bytes, send: Send) -> None:
        step = 1 if self._scenario.bytewise else max(len(data), 1)
        for start in range(0, len(data), step):
            await send({"type": "http.response.body", "body": data[start : start + step], "more_body": True})
            if self._scenario.bytewise:
                # Lets a client in the same loop read between two bytes.
                await asyncio.sleep(0)

    async def _fail(self, fault: Fault, scope: Scope, send: Send) -> bool:
        """Lets the fault happen; says whether the stream ends with it."""
        match fault:
            case Fault.STALL:
                await anyio.sleep_forever()
            case Fault.STALL_ALIVE:
                while True:
                    await self._write(self._dialect.heartbeat(), send)
                    await asyncio.sleep(self._scenario.heartbeat_seconds)
            case Fault.DISCONNECT | Fault.RESET:
                scope["standin.drop"](reset=fault is Fault.RESET)
                # Until the server has noticed, and cancels this stream like any other whose client is gone.
                await anyio.sleep_forever()
            case Fault.BAD_JSON:
                await self._write(self._dialect.broken(), send)
                return False
            case Fault.ERROR_EVENT | Fault.DOCUMENTED_ERROR_EVENT | Fault.RESPONSE_FAILED:
                failure = self._scenario.failure or Failure.SERVER_ERROR
                await self._write(self._dialect.error(fault, failure), send)
            case Fault.TRUNCATE | Fault.HANG | Fault.NOT_A_STREAM:
                pass
            case _:
                assert_never(fault)
        return True


async def _cancel_when_gone(receive: Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


async def _never() -> JsonObject:
    raise AssertionError("a plain response reads nothing")
