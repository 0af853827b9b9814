"""Requests with too much before their body are refused before they are kept in memory."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from ops import http_protocol
from ops.http_protocol import MAX_HEAD_BYTES, BoundedHttpProtocol


async def _app(scope: Scope, receive: Receive, send: Send) -> None:
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
async def port() -> AsyncIterator[int]:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(_app, http=BoundedHttpProtocol, lifespan="off", log_config=None)
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup(sockets=[listener])
    yield listener.getsockname()[1]
    for each in server.servers:
        each.close()
    for connection in list(server.server_state.connections):
        connection.transport.abort()


async def _answer(port: int, *pieces: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.01)
        async with asyncio.timeout(90):
            return await reader.readline()
    except ConnectionError:
        return b"reset"
    finally:
        writer.close()


_START = b"GET / HTTP/1.1\r\nhost: x\r\n"
_END = b"connection: close\r\n\r\n"


@pytest.mark.parametrize(
    "pieces",
    [
        (_START, b"a: " + b"b" * MAX_HEAD_BYTES, b"b" * 1_000),
        (_START + b"a: " + b"b" * MAX_HEAD_BYTES + b"\r\n" + _END,),
        (_START, *(b"a%d: b\r\n" % number * 500 for number in range(40))),
        (b"GET /" + b"a" * MAX_HEAD_BYTES, b"a" * 1_000),
        # the second request of a connection
        (_START + b"\r\n", _START, b"a: " + b"b" * MAX_HEAD_BYTES, b"b" * 1_000),
        (_START + b"\r\n", _START + b"a: " + b"b" * (MAX_HEAD_BYTES + 1_000)),
    ],
)
async def test_too_much_is_a_431(port: int, pieces: tuple[bytes, ...]) -> None:
    if len(pieces) > 1 and pieces[0].endswith(b"\r\n\r\n"):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(pieces[0])
        async with asyncio.timeout(90):
            assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200 ")
        try:
            for piece in pieces[1:]:
                writer.write(piece)
                await writer.drain()
            async with asyncio.timeout(90):
                assert (await reader.read()).startswith(b"HTTP/1.1 431 ")
        except ConnectionError:
            pass  # The answer was overtaken by the end of the connection, in which more had been sent.
        writer.close()
    else:
        assert (await _answer(port, *pieces)).startswith((b"HTTP/1.1 431 ", b"reset"))
    assert (await _answer(port, _START + _END)).startswith(b"HTTP/1.1 200 ")


async def test_what_fits_is_served_with_whatever_body(port: int) -> None:
    head = b"POST / HTTP/1.1\r\ncontent-length: 500000\r\na: " + b"b" * 60_000 + b"\r\n" + _END
    assert (await _answer(port, head + b"x" * 500_000)).startswith(b"HTTP/1.1 200 ")


async def test_a_head_does_not_count_what_came_before_it(port: int) -> None:
    body = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 200000\r\n\r\n" + b"x" * 200_000
    head = _START + b"a: " + b"b" * 50_000 + b"\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(body + head)
        await writer.drain()
        async with asyncio.timeout(90):
            assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200 ")
            writer.write(_END)
            assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200 ")
    finally:
        writer.close()


@pytest.mark.parametrize("beginning", [b"", b"GET / HT", _START])
async def test_who_does_not_go_on_is_let_go_of(port: int, beginning: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "_HEAD_TIMEOUT_SECONDS", 0.05)
    # Reset, if it was let go of before it had said even that much.
    assert await _answer(port, beginning) in (b"", b"reset")
