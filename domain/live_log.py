"""The growing texts of running generations, as far as this process knows them, and the signals that tell of news."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from domain.generation import ChunkKind, Cursor
from domain.text import storable

_HIGH_SURROGATES = ("\ud800", "\udbff")


class GrowingText:
    """A text that only grows; any suffix of it costs as much as the suffix is long."""

    __slots__ = ("_carry", "_ends", "_pieces")

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._ends: list[int] = []
        self._carry = ""

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def append(self, piece: str) -> None:
        """Adds a piece; half of a surrogate pair at its end waits for the other half."""
        piece = self._carry + piece
        self._carry = ""
        if piece and _HIGH_SURROGATES[0] <= piece[-1] <= _HIGH_SURROGATES[1]:
            piece, self._carry = piece[:-1], piece[-1]
        if piece:
            piece = storable(piece)
            self._pieces.append(piece)
            self._ends.append(len(self) + len(piece))

    def since(self, offset: int) -> str:
        """All from the character at `offset` on."""
        index = bisect_right(self._ends, offset)
        if index == len(self._pieces):
            return ""
        start = self._ends[index] - len(self._pieces[index])
        return "".join((self._pieces[index][offset - start :], *self._pieces[index + 1 :]))


class LiveLog:
    """What one running generation has written in its present epoch.

    A copy of another instance's log may lag behind it, so a cursor beyond a copy's end is only early. `failed_calls` is
    how many calls have failed by now and are followed by another, in all epochs; the store tells which.
    """

    __slots__ = ("epoch", "failed_calls", "is_copy", "reasoning", "text")

    def __init__(self, epoch: int, *, is_copy: bool = False) -> None:
        self.epoch = epoch
        self.is_copy = is_copy
        self.failed_calls = 0
        self.text = GrowingText()
        self.reasoning = GrowingText()

    def beyond(self, cursor: Cursor) -> tuple[bool, str, str]:
        """Whether the cursor's text is void, and the text and reasoning that follow it (or all of both, if it is)."""
        is_beyond = cursor.text > len(self.text) or cursor.reasoning > len(self.reasoning)
        is_restarted = cursor.epoch != self.epoch or (is_beyond and not self.is_copy)
        if is_restarted:
            cursor = Cursor(epoch=self.epoch)
        return is_restarted, self.text.since(cursor.text), self.reasoning.since(cursor.reasoning)

    @property
    def end(self) -> Cursor:
        """The position after everything written."""
        return Cursor(epoch=self.epoch, text=len(self.text), reasoning=len(self.reasoning))

    def of(self, kind: ChunkKind) -> GrowingText:
        """One of the two texts."""
        return self.text if kind is ChunkKind.TEXT else self.reasoning


class LiveLogs:
    """The logs of this process's own runs, copies of others that are watched here, and a signal per generation.

    A watcher listens first and reads afterwards, so nothing that happens in between is missed.
    """

    def __init__(self) -> None:
        self._logs: dict[UUID, LiveLog] = {}
        self._listeners: dict[UUID, set[asyncio.Event]] = {}
        # Set whenever a generation gets its first watcher.
        self.watched = asyncio.Event()
        # Set unless somebody who watched a run that has ended here has still to read its end.
        self.all_told = asyncio.Event()
        self.all_told.set()
        self._untold: set[UUID] = set()

    def open(self, generation_id: UUID, *, epoch: int, is_copy: bool = False) -> LiveLog:
        """Starts the log of a run; one's own takes the place of a copy."""
        log = self._logs[generation_id] = LiveLog(epoch, is_copy=is_copy)
        self.notify(generation_id)
        return log

    def find(self, generation_id: UUID) -> LiveLog | None:
        """The log, while the generation runs here, or runs elsewhere and is watched here."""
        return self._logs.get(generation_id)

    def close(self, generation_id: UUID) -> None:
        """The run has ended, one way or another: from now on the store tells."""
        log = self._logs.pop(generation_id, None)
        if log is not None and not log.is_copy and generation_id in self._listeners:
            self._untold.add(generation_id)
            self.all_told.clear()
        self.notify(generation_id)

    def watched_elsewhere(self) -> frozenset[UUID]:
        """The generations that are watched here and do not run here."""
        return frozenset(each for each in self._listeners if not self._is_own(each))

    def drop_unwatched_copies(self) -> None:
        """Forgets the copies that nobody watches any more."""
        for each in [key for key, log in self._logs.items() if log.is_copy and key not in self._listeners]:
            del self._logs[each]

    def _is_own(self, generation_id: UUID) -> bool:
        log = self._logs.get(generation_id)
        return log is not None and not log.is_copy

    def notify(self, generation_id: UUID) -> None:
        """Wakes everybody who listens for news of this generation."""
        for event in self._listeners.get(generation_id, ()):
            event.set()

    @contextmanager
    def listen(self, generation_id: UUID) -> Iterator[asyncio.Event]:
        """An event that is set at every piece of news."""
        event = asyncio.Event()
        if generation_id not in self._listeners:
            self.watched.set()
        listeners = self._listeners.setdefault(generation_id, set())
        listeners.add(event)
        try:
            yield event
        finally:
            listeners.discard(event)
            if not listeners and self._listeners.get(generation_id) is listeners:
                del self._listeners[generation_id]
                self._untold.discard(generation_id)
                if not self._untold:
                    self.all_told.set()
