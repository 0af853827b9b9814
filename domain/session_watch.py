"""Tells open connections that their session or personal access token has ended, whichever instance ended it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from uuid import UUID

from domain.store import Store
from domain.worker import Round

POLL_SECONDS = 10.0  # the promise is 30 s, also when a round or two fail


class SessionWatch:
    """One per instance: it asks at once about everything by which connections have been opened here."""

    def __init__(self, *, store: Store, clock: Callable[[], datetime], poll_seconds: float = POLL_SECONDS) -> None:
        self._store = store
        self._clock = clock
        self._poll_seconds = poll_seconds
        self._connections: dict[UUID, set[asyncio.Event]] = {}

    @contextmanager
    def watch(self, credential_id: UUID) -> Iterator[asyncio.Event]:
        """An event that is set when the session or personal access token with this id does not count any more.

        It was revoked, or has run out, or its user may not sign in any more.
        """
        ended = asyncio.Event()
        connections = self._connections.setdefault(credential_id, set())
        connections.add(ended)
        try:
            yield ended
        finally:
            connections.discard(ended)
            if not connections and self._connections.get(credential_id) is connections:
                del self._connections[credential_id]

    async def run(self) -> None:
        """Works until cancelled."""
        while True:
            await asyncio.sleep(self._poll_seconds)
            with Round("session_watch"):
                await self._look()

    async def _look(self) -> None:
        watched = tuple(self._connections)
        if not watched:
            return
        live = await self._live(watched)
        for credential_id in watched:
            if credential_id not in live:
                for ended in self._connections.get(credential_id, ()):
                    ended.set()

    async def _live(self, watched: Sequence[UUID]) -> frozenset[UUID]:
        now = self._clock()
        async with self._store.begin() as tx:
            sessions = await tx.sessions.list_live(watched, now=now)
            if len(sessions) == len(watched):
                return sessions
            return sessions | await tx.access_tokens.list_live(watched, now=now)
