"""A WebSocket whose every byte is the test's own, and which reads only when it is told to."""

from __future__ import annotations

import asyncio
import socket
from types import TracebackType
from typing import Any, Self

import orjson

from tests.faults.people import PROTOCOL
from tests.faults.rig import Instance

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
ABNORMAL_CLOSURE = 1006
NO_STATUS = 1005
_TIMEOUT_SECONDS = 60
_KEY = "dGhlIHNhbXBsZSBub25jZQ=="


def frame(opcode: int, payload: bytes, *, is_final: bool = True, reserved: int = 0, is_masked: bool = True) -> bytes:
    """One frame, right or wrong. The mask is of zeros, which is as good as any and costs nothing."""
    first = (0x80 if is_final else 0) | reserved << 4 | opcode
    mask_bit = 0x80 if is_masked else 0
    length = len(payload)
    if length < 126:
        header = bytes((first, mask_bit | length))
    elif length < 1 << 16:
        header = bytes((first, mask_bit | 126)) + length.to_bytes(2, "big")
    else:
        header = bytes((first, mask_bit | 127)) + length.to_bytes(8, "big")
    return header + (bytes(4) if is_masked else b"") + payload


def message(value: object) -> bytes:
    """A frame with a message of the protocol."""
    return frame(TEXT, orjson.dumps(value))


class RawSocket:
    """One connection; a context manager that ends it without a goodbye."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._received = bytearray()

    @classmethod
    async def open(cls, instance: Instance, *, receive_buffer_bytes: int | None = None) -> Self:
        """Connects and shakes hands."""
        connection = socket.socket()
        try:
            if receive_buffer_bytes is not None:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
            connection.setblocking(False)
            host, _, port = instance.address.partition(":")
            await asyncio.get_running_loop().sock_connect(connection, (host, int(port)))
            made = cls(connection)
            await made._shake_hands(instance.address)
        except BaseException:
            connection.close()
            raise
        return made

    async def _shake_hands(self, host: str) -> None:
        lines = [
            "GET /graphql HTTP/1.1",
            f"Host: {host}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {_KEY}",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Protocol: {PROTOCOL}",
        ]
        await self.send("\r\n".join([*lines, "", ""]).encode())
        while b"\r\n\r\n" not in self._received:
            assert await self._read_some(), "no handshake"
        head, _, rest = bytes(self._received).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 "), head
        self._received = bytearray(rest)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    async def send(self, data: bytes) -> None:
        """Bytes."""
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            await asyncio.get_running_loop().sock_sendall(self._connection, data)

    async def sign_in(self, token: str) -> None:
        """The protocol's greeting."""
        await self.send(message({"type": "connection_init", "payload": {"authorization": f"Bearer {token}"}}))
        assert await self.receive() == {"type": "connection_ack"}

    async def receive(self) -> Any:
        """The next message of the protocol, or the code with which the server has closed the connection."""
        while True:
            opcode, payload = await self._read_frame()
            match opcode:
                case 0x1:
                    return orjson.loads(payload)
                case 0x8:
                    return int.from_bytes(payload[:2], "big") if payload else NO_STATUS
                case 0x9:
                    await self.send(frame(PONG, payload))
                case 0xA:
                    pass
                case other:
                    raise AssertionError(f"a frame of kind {other}")

    async def _read_frame(self) -> tuple[int, bytes]:
        if not await self._has(2):
            return CLOSE, ABNORMAL_CLOSURE.to_bytes(2, "big")
        first, length = self._received[0], self._received[1]
        size = {126: 2, 127: 8}.get(length, 0)
        if size:
            assert await self._has(2 + size)
            length = int.from_bytes(self._received[2 : 2 + size], "big")
        if not await self._has(2 + size + length):
            return CLOSE, ABNORMAL_CLOSURE.to_bytes(2, "big")
        payload = bytes(self._received[2 + size : 2 + size + length])
        del self._received[: 2 + size + length]
        return first & 0xF, payload

    async def _has(self, count: int) -> bool:
        while len(self._received) < count:
            if not await self._read_some():
                return False
        return True

    async def _read_some(self) -> bool:
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                data = await asyncio.get_running_loop().sock_recv(self._connection, 1 << 16)
        except ConnectionError:
            return False
        self._received += data
        return bool(data)
