"""Clients that leave unread what they have asked for are let go of, however they go about it; slow ones are not."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect
from strawberry.types import ExecutionResult

from ops import unread
from ops.http_protocol import BoundedHttpProtocol
from ops.listening import listen, port_of
from ops.websocket_protocol import MAX_FRAGMENTS, BoundedWebSocketProtocol
from schema.sse import EventStream
from tests.waiting import until

_BODY_BYTES = 4_000_000
_PIECE = "x" * 60_000
_GET = b"GET %b HTTP/1.1\r\nhost: x\r\n\r\n"
_UPGRADE = (
    b"GET %b HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: websocket\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
# Masked with zeros, as all that a client sends must be.
_CLOSE = b"\x88\x80" + bytes(4)
_OF_NO_KIND = b"\x83\x80" + bytes(4)
_PING = b"\x89\xfd" + bytes(4) + b"p" * 125
_NOT_UTF_8 = b"\x81\x81" + bytes(4) + b"\xff"
_BEGINNING = b"\x01\x80" + bytes(4)
_CONTINUATION = b"\x00\x80" + bytes(4)


async def _app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await _converse(WebSocket(scope, receive, send))
    elif scope["path"] == "/events":
        await EventStream(_endless(), session_end=None, departure=asyncio.Event().wait)(scope, receive, send)
    else:
        headers = [(b"content-length", str(_BODY_BYTES).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": bytes(_BODY_BYTES)})


async def _endless() -> AsyncGenerator[ExecutionResult, None]:
    while True:
        await asyncio.sleep(0)
        yield ExecutionResult(data={"piece": _PIECE}, errors=None)


async def _converse(websocket: WebSocket) -> None:
    await websocket.accept()
    try:
        while websocket.url.path == "/flood":
            await websocket.send_text(_PIECE)
        await websocket.receive_text()
    except WebSocketDisconnect:
        pass


@dataclass(slots=True)
class _Served:
    server: uvicorn.Server
    port: int
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    @property
    def unread_bytes(self) -> int:
        """What waits with the server, on all connections."""
        return sum(each.transport.get_write_buffer_size() for each in self.server.server_state.connections)

    async def client(self, request: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """One that has asked, and takes next to nothing before it is read from."""
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", self.port))
        reader, writer = await asyncio.open_connection(sock=connection, limit=1_024)
        self.writers.append(writer)
        writer.write(request)
        return reader, writer

    async def until_gone(self) -> None:
        """No connection is left, and nothing that serves one."""
        await until(lambda: not self.server.server_state.connections and not self.server.server_state.tasks)


@pytest.fixture
async def served() -> AsyncIterator[_Served]:
    async with _serving(ping_seconds=None) as served:
        yield served


@asynccontextmanager
async def _serving(*, ping_seconds: float | None) -> AsyncIterator[_Served]:
    (listener,) = listen("127.0.0.1", 0)
    config = uvicorn.Config(
        _app,
        http=BoundedHttpProtocol,
        ws=BoundedWebSocketProtocol,
        ws_ping_interval=ping_seconds,
        ws_ping_timeout=ping_seconds,
        ws_max_size=65_536,
        lifespan="off",
        log_config=None,
    )
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup(sockets=[listener])
    served = _Served(server, port_of([listener]))
    yield served
    for writer in served.writers:
        writer.transport.abort()
    for each in server.servers:
        each.close()
    for connection in list(server.server_state.connections):
        connection.transport.abort()
    await served.until_gone()


def _errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("path", [b"/whole", b"/events"])
async def test_who_reads_nothing_of_an_answer(
    served: _Served, path: bytes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(unread, "PATIENCE_SECONDS", 0.4)
    await served.client(_GET % path)
    await until(lambda: served.unread_bytes > 0)
    await served.until_gone()
    assert _errors(caplog) == []


@pytest.mark.parametrize("goodbye", [_CLOSE, _OF_NO_KIND])
async def test_who_reads_nothing_and_closes(
    served: _Served, goodbye: bytes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(unread, "PATIENCE_SECONDS", 0.4)
    _, writer = await served.client(_UPGRADE % b"/flood")
    await until(lambda: served.unread_bytes > 0)
    writer.write(goodbye)
    await served.until_gone()
    assert _errors(caplog) == []


@pytest.mark.parametrize("path", [b"/whole", b"/events"])
async def test_who_reads_slowly_is_let_read(served: _Served, path: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unread, "PATIENCE_SECONDS", 0.8)
    reader, _ = await served.client(_GET % path)
    loop = asyncio.get_running_loop()
    began_at, read_bytes = loop.time(), 0
    while loop.time() < began_at + 3 or read_bytes < 600_000:
        read_bytes += len(await reader.readexactly(10_000))
        await asyncio.sleep(0.05)
    assert served.server.server_state.connections


async def test_a_ping_behind_what_is_read_slowly_may_wait() -> None:
    async with _serving(ping_seconds=0.4) as served:
        reader, _ = await served.client(_UPGRADE % b"/flood")
        loop = asyncio.get_running_loop()
        began_at = loop.time()
        while loop.time() < began_at + 3:
            await reader.readexactly(10_000)
            await asyncio.sleep(0.05)
        assert served.server.server_state.connections


async def test_who_is_pinged_and_reads_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async with _serving(ping_seconds=0.2) as served:
        await served.client(_UPGRADE % b"/flood")
        await until(lambda: served.unread_bytes > 0)
        await served.until_gone()
    assert _errors(caplog) == []


async def test_wrong_text_together_with_a_goodbye(served: _Served, caplog: pytest.LogCaptureFixture) -> None:
    reader, writer = await served.client(_UPGRADE % b"/quiet")
    async with asyncio.timeout(60):
        await reader.readuntil(b"\r\n\r\n")
    writer.write(_NOT_UTF_8 + _CLOSE)
    await served.until_gone()
    assert _errors(caplog) == []


async def test_who_breaks_the_protocol_and_reads_on(served: _Served, caplog: pytest.LogCaptureFixture) -> None:
    reader, writer = await served.client(_UPGRADE % b"/flood")
    await until(lambda: served.unread_bytes > 0)
    writer.write(_NOT_UTF_8)
    async with asyncio.timeout(60):
        while await reader.read(100_000):
            pass
    await served.until_gone()
    assert _errors(caplog) == []


async def test_the_end_of_the_server_waits_for_no_reader(
    served: _Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(unread, "LAST_PATIENCE_SECONDS", 0.1)
    _, closed = await served.client(_UPGRADE % b"/flood")
    for request in (_UPGRADE % b"/flood", _GET % b"/whole", _GET % b"/events"):
        await served.client(request)
    await until(lambda: _are_full(served, 4))
    closed.write(_CLOSE)
    await until(lambda: any(each.transport.is_closing() for each in served.server.server_state.connections))
    for connection in list(served.server.server_state.connections):
        connection.shutdown()
    await served.until_gone()
    assert _errors(caplog) == []


def _are_full(served: _Served, count: int) -> bool:
    waiting = [each.transport.get_write_buffer_size() for each in served.server.server_state.connections]
    return len(waiting) == count and all(waiting)


async def test_pings_of_who_reads_nothing_pile_up_nowhere(served: _Served) -> None:
    _, writer = await served.client(_UPGRADE % b"/flood")
    await until(lambda: served.unread_bytes > 0)
    before_bytes = served.unread_bytes
    for _ in range(40):
        writer.write(_PING * 1_000)
        await writer.drain()
    assert served.unread_bytes == before_bytes


async def test_pings_that_could_not_be_answered_at_once_are_answered_later(served: _Served) -> None:
    reader, writer = await served.client(_UPGRADE % b"/flood")
    await until(lambda: served.unread_bytes > 0)
    writer.write(_PING * 2)
    answer = b"\x8a\x7d" + b"p" * 125
    received = b""
    async with asyncio.timeout(60):
        while answer not in received:
            received = received[-len(answer) :] + await reader.read(10_000)


async def test_a_message_of_endless_fragments_closes_the_websocket(served: _Served) -> None:
    reader, writer = await served.client(_UPGRADE % b"/quiet")
    async with asyncio.timeout(60):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(_BEGINNING + _CONTINUATION * 2 * MAX_FRAGMENTS)
        assert (await reader.read()).endswith(b"\x88\x02\x03\xf1")  # 1009
    await served.until_gone()
