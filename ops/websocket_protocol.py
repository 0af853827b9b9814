"""uvicorn's WebSocket protocol with bounds on what a client may leave unread, or unfinished, and none of it a fault."""

from __future__ import annotations

from asyncio.transports import BaseTransport
from typing import Final

from uvicorn._types import ASGISendEvent
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode, Frame
from websockets.protocol import State

from ops.unread import UnreadWatch

MAX_FRAGMENTS: Final = 1_000  # of a message; the bound on its size does not count empty ones


class BoundedWebSocketProtocol(WebSocketsSansIOProtocol):
    """A client that has stopped reading is let go of, and what it sends that is wrong is no fault of the server."""

    _unread: UnreadWatch
    _pongs = b""

    def connection_made(self, transport: BaseTransport) -> None:
        """The connection has been handed over by HTTP."""
        super().connection_made(transport)
        patience_seconds = (self.ping_interval or 0) + (self.ping_timeout or 0)
        self._unread = UnreadWatch(self.transport, patience_seconds=patience_seconds or None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        self._unread.stop()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The client is slow, or does not read."""
        super().pause_writing()
        self._unread.pause()

    def resume_writing(self) -> None:
        """It has read, and gets the answer to its last pings."""
        super().resume_writing()
        self._unread.resume()
        if self._pongs and not self.transport.is_closing():
            self.transport.write(self._pongs)
        self._pongs = b""

    def shutdown(self) -> None:
        """The server ends."""
        if self.handshake_complete and not self.close_sent and self.conn.state is not State.OPEN:
            # The client has closed, and left unread what was sent before.
            self.stop_keepalive()
            self.transport.abort()
        else:
            super().shutdown()
            self._unread.hurry()

    async def send(self, message: ASGISendEvent) -> None:
        """For the application."""
        await self.writable.wait()
        if self.handshake_complete and self.close_sent:
            # The protocol itself has closed, because of what the client sent: for the application it is gone.
            raise ClientDisconnected
        await super().send(message)

    def send_receive_event_to_app(self) -> None:
        """A message is complete."""
        if self.curr_msg_data_type == "text" and not self.close_sent:
            try:
                b"".join(self.frames).decode()
            except UnicodeDecodeError:
                # As uvicorn does it, but without a traceback in the log for what only the client has done wrong.
                self._refuse(CloseCode.INVALID_DATA)
                return
        super().send_receive_event_to_app()

    def handle_cont(self, event: Frame) -> None:
        """A message goes on."""
        if self.close_sent:
            return
        if len(self.frames) >= MAX_FRAGMENTS:
            self._refuse(CloseCode.MESSAGE_TOO_BIG)
            return
        super().handle_cont(event)

    def handle_ping(self) -> None:
        """Is answered at once, or when there is room: only the last ones need an answer (RFC 6455, 5.5.3)."""
        # Once the client has closed, what is to be sent holds the answer to that as well.
        if self.writable.is_set() or self.conn.state is not State.OPEN:
            super().handle_ping()
        else:
            self._pongs = b"".join(self.conn.data_to_send()) or self._pongs  # all of one read are sent with the first

    def keepalive_timeout(self) -> None:
        """A ping was not answered, unless it stands behind what is still to be read: that has a watch of its own."""
        if not self.writable.is_set() and not self.close_sent:
            self.pong_timer = self.pending_ping_payload = None
            self.schedule_ping()
            return
        super().keepalive_timeout()
        # close() alone waits until the client has read what is buffered, which it never will.
        self.transport.abort()

    def _refuse(self, code: CloseCode) -> None:
        self.frames = []
        if self.conn.state is State.OPEN:  # else the client's own close has come along
            self.conn.send_close(code)
        self.handle_parser_exception()
