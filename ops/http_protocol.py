"""uvicorn's HTTP protocol with bounds on the wait for a reader, and on a request's line and headers: size and time."""

from __future__ import annotations

import asyncio
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ops.unread import UnreadWatch

MAX_HEAD_BYTES: Final = 65_536
_HEAD_TIMEOUT_SECONDS: Final = 30.0
# As much is looked at at a time: of a head that begins in the middle of it, what came before is counted as well.
_SLICE_BYTES: Final = 8_192
_TOO_LARGE: Final = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class BoundedHttpProtocol(HttpToolsProtocol):
    """The parser has no such bounds of its own, and the application sees nothing before the headers are complete."""

    _heads = 0
    _head_bytes = 0
    _is_in_head = True
    _head_timer: asyncio.TimerHandle | None = None
    _unread: UnreadWatch

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """A connection on which nothing is asked is not kept."""
        super().connection_made(transport)
        self._unread = UnreadWatch(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        self._stop_waiting()
        self._unread.stop()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The client is slow, or does not read."""
        super().pause_writing()
        self._unread.pause()

    def resume_writing(self) -> None:
        """It has read."""
        super().resume_writing()
        self._unread.resume()

    def shutdown(self) -> None:
        """The server ends."""
        super().shutdown()
        self._unread.hurry()

    def handle_websocket_upgrade(self) -> None:
        """Another protocol takes over, and has a watch of its own."""
        self._unread.stop()
        super().handle_websocket_upgrade()

    def data_received(self, data: bytes) -> None:
        """A header that is not complete yet is seen only here."""
        for start in range(0, len(data), _SLICE_BYTES):
            # Another protocol has taken over after an upgrade.
            if self.transport.is_closing() or self.transport.get_protocol() is not self:
                return
            self._receive(data[start : start + _SLICE_BYTES])

    def _receive(self, data: bytes) -> None:
        heads = self._heads
        if self._is_in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._heads > heads:
            # Only now it is known that a head has begun in it.
            self._head_bytes = len(data)
        if not self._is_in_head or self.transport.is_closing():
            return
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse()
        elif self._head_timer is None:
            self._await_head()

    def on_message_begin(self) -> None:
        """The next request on this connection."""
        self._is_in_head = True
        self._heads += 1
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Headers that have come in one piece with what follows are weighed by themselves."""
        self._stop_waiting()
        self._is_in_head = False
        self._head_bytes = 0
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > MAX_HEAD_BYTES:
            self._refuse()
            raise ValueError("The headers are too large.")  # ends the parsing, too
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Called by uvicorn for whatever the parser does not take; once is enough."""
        if not self.transport.is_closing():
            super().send_400_response(msg)

    def _await_head(self) -> None:
        self._head_timer = asyncio.get_running_loop().call_later(_HEAD_TIMEOUT_SECONDS, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse(self) -> None:
        self._stop_waiting()
        self.transport.write(_TOO_LARGE)
        self.transport.close()
