"""Copies of the logs that other instances write and somebody watches here: from the bus soon, from the store surely."""

from __future__ import annotations

import asyncio
from uuid import UUID

from domain.errors import Unavailable
from domain.generation import Chunk, Cursor, GenerationStatus, Growth
from domain.live_log import LiveLogs
from domain.store import Store
from domain.token_bus import TokenBus
from domain.worker import Round

POLL_SECONDS = 0.2
POLL_SECONDS_WITH_BUS = 1.0
_NOWHERE = Cursor(epoch=-1)


class RemoteTail:
    """One per instance, whatever the number of watchers: one query for all that is watched, five times a second."""

    def __init__(self, *, store: Store, logs: LiveLogs, bus: TokenBus | None) -> None:
        self._store = store
        self._logs = logs
        self._bus = bus
        self._is_bus_up = bus is not None
        # Watched ones whose end was told here: nothing more grows, and whoever waits for a page looks into the store.
        self._ended: set[UUID] = set()

    async def run(self) -> None:
        """Works until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._poll())
            if self._bus is not None:
                group.create_task(self._receive(self._bus))

    async def _poll(self) -> None:
        while True:
            try:
                async with asyncio.timeout(POLL_SECONDS_WITH_BUS if self._is_bus_up else POLL_SECONDS):
                    await self._logs.watched.wait()
            except TimeoutError:
                pass
            self._logs.watched.clear()
            with Round("tail"):
                self._logs.drop_unwatched_copies()
                watched = self._logs.watched_elsewhere()
                self._ended &= watched
                if self._bus is not None:
                    self._bus.watch(watched)
                await self._refresh(watched)

    async def _receive(self, bus: TokenBus) -> None:
        while True:
            with Round("tail") as this:
                await self._take(bus)
            if this.error is not None:
                await asyncio.sleep(POLL_SECONDS)

    async def _take(self, bus: TokenBus) -> None:
        try:
            chunks = await bus.receive()
        except Unavailable:
            # Until it is back, the store is asked more often.
            self._is_bus_up = False
            return
        self._is_bus_up = True
        unsure = {chunk.generation_id for chunk in chunks if not self._append(chunk)}
        await self._refresh(unsure & self._logs.watched_elsewhere())

    def _append(self, chunk: Chunk) -> bool:
        """Adds a chunk to its copy; False when only the store can tell what comes next."""
        log = self._logs.find(chunk.generation_id)
        if log is None or chunk.epoch > log.epoch or not chunk.text:
            return False
        if not log.is_copy or chunk.epoch < log.epoch:
            return True
        text = log.of(chunk.kind)
        known = len(text) - chunk.offset
        if known < 0:
            return False
        if known < len(chunk.text):
            text.append(chunk.text[known:])
            self._logs.notify(chunk.generation_id)
        return True

    async def _refresh(self, generation_ids: frozenset[UUID] | set[UUID]) -> None:
        generation_ids = generation_ids - self._ended
        if not generation_ids:
            return
        positions: dict[UUID, Cursor] = {}
        for each in generation_ids:
            log = self._logs.find(each)
            positions[each] = _NOWHERE if log is None else log.end
        async with self._store.begin() as tx:
            growths = await tx.generations.list_growth(positions)
        for growth in growths:
            self._apply(growth)
        for missing in generation_ids - {growth.generation_id for growth in growths}:
            self._logs.close(missing)

    def _apply(self, growth: Growth) -> None:
        if growth.generation_id in self._ended:
            return  # The late answer of an earlier query: its end was told.
        log = self._logs.find(growth.generation_id)
        if log is not None and not log.is_copy:
            return  # It has come to run here meanwhile.
        if log is not None and growth.epoch < log.epoch:
            return  # The late answer of an earlier query.
        if growth.status is not GenerationStatus.RUNNING:
            if growth.status.is_final:
                self._ended.add(growth.generation_id)
            if log is not None or growth.status.is_final:
                self._logs.close(growth.generation_id)
            return
        if log is None or log.epoch != growth.epoch:
            log = self._logs.open(growth.generation_id, epoch=growth.epoch, is_copy=True)
        if log.failed_calls < growth.failed_calls:
            log.failed_calls = growth.failed_calls
            self._logs.notify(growth.generation_id)
        for chunk in growth.chunks:
            self._append(chunk)
