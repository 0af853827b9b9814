"""How long a client may leave unread what was sent to it."""

from __future__ import annotations

import asyncio
from typing import Final

PATIENCE_SECONDS: Final = 40.0
LAST_PATIENCE_SECONDS: Final = 3.0  # less than what the server leaves to its connections when it ends


class UnreadWatch:
    """Aborts a connection on which something waits and nothing of it is read: a close would wait with it for ever.

    It looks twice in the time of its patience, so whoever has read something between two looks is let read on.
    """

    def __init__(self, transport: asyncio.Transport, *, patience_seconds: float | None = None) -> None:
        self._transport = transport
        self._patience_seconds = PATIENCE_SECONDS if patience_seconds is None else patience_seconds
        self._loop = asyncio.get_running_loop()
        self._is_paused = False
        self._unread_bytes = 0
        self._timer = self._look_again()

    def pause(self) -> None:
        """More waits than is good, and until `resume` nothing is added to it."""
        self._is_paused = True

    def resume(self) -> None:
        """It was read."""
        self._is_paused = False
        self._unread_bytes = 0

    def hurry(self) -> None:
        """The server ends: who has not read everything soon has lost it."""
        self._timer.cancel()
        self._timer = self._loop.call_later(LAST_PATIENCE_SECONDS, self._give_up)

    def stop(self) -> None:
        """The connection is over, or somebody else's."""
        self._timer.cancel()

    def _look_again(self) -> asyncio.TimerHandle:
        return self._loop.call_later(self._patience_seconds / 2, self._look)

    def _look(self) -> None:
        unread_bytes = self._unread_for_good()
        if 0 < self._unread_bytes <= unread_bytes:
            self._transport.abort()
            return
        self._unread_bytes = unread_bytes
        self._timer = self._look_again()

    def _give_up(self) -> None:
        if self._unread_for_good():
            self._transport.abort()

    def _unread_for_good(self) -> int:
        """What only a reader can change; as long as more is written, the size of what waits tells nothing."""
        is_settled = self._is_paused or self._transport.is_closing()
        return self._transport.get_write_buffer_size() if is_settled else 0
