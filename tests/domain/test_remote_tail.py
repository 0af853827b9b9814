"""Copies of other instances' logs: never older than what was known, and told of an end once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import cast
from uuid import UUID

from domain.generation import Chunk, ChunkKind, Cursor, GenerationStatus, Growth
from domain.live_log import LiveLogs
from domain.remote_tail import RemoteTail
from domain.store import Transaction
from tests.waiting import until

GENERATION = UUID("01890000-0000-7000-8000-000000000001")
OTHER = UUID("01890000-0000-7000-8000-000000000002")

Answer = Callable[[frozenset[UUID]], Awaitable[tuple[Growth, ...]]]


class Store:
    """Answers the tail's query as the test says, and keeps what was asked for."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.asked: list[frozenset[UUID]] = []

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[Transaction]:
        """A unit of work that has nothing but this query."""
        yield cast("Transaction", SimpleNamespace(generations=self))

    async def list_growth(self, positions: Mapping[UUID, Cursor]) -> tuple[Growth, ...]:
        """The query."""
        self.asked.append(frozenset(positions))
        return await self._answer(frozenset(positions))


def growth(
    generation_id: UUID = GENERATION,
    *,
    status: GenerationStatus = GenerationStatus.RUNNING,
    epoch: int = 0,
    text: str = "",
) -> Growth:
    """What is stored of a generation, from its beginning."""
    chunk = Chunk(generation_id=generation_id, fence=epoch + 1, epoch=epoch, kind=ChunkKind.TEXT, offset=0, text=text)
    return Growth(generation_id=generation_id, status=status, epoch=epoch, failed_calls=0, chunks=(chunk,))


async def test_the_late_answer_of_an_earlier_query_brings_no_void_text_back() -> None:
    late = asyncio.Event()
    answers = [growth(epoch=0, text="void"), growth(epoch=1, text="anew")]

    async def answer(_: frozenset[UUID]) -> tuple[Growth, ...]:
        found = answers.pop(0)
        if found.epoch == 0:
            await late.wait()
        return (found,)

    logs = LiveLogs()
    tail = RemoteTail(store=Store(answer), logs=logs, bus=None)
    with logs.listen(GENERATION):
        earlier = asyncio.create_task(tail._refresh({GENERATION}))
        await until(lambda: len(answers) == 1)
        await tail._refresh({GENERATION})
        late.set()
        await earlier
        log = logs.find(GENERATION)
    assert log is not None
    assert (log.epoch, log.text.since(0)) == (1, "anew")


async def test_the_late_answer_of_an_earlier_query_takes_no_end_back() -> None:
    late = asyncio.Event()
    answers = [growth(text="un"), growth(status=GenerationStatus.SUCCEEDED)]

    async def answer(_: frozenset[UUID]) -> tuple[Growth, ...]:
        found = answers.pop(0)
        if not found.status.is_final:
            await late.wait()
        return (found,)

    logs = LiveLogs()
    tail = RemoteTail(store=Store(answer), logs=logs, bus=None)
    with logs.listen(GENERATION):
        earlier = asyncio.create_task(tail._refresh({GENERATION}))
        await until(lambda: len(answers) == 1)
        await tail._refresh({GENERATION})
        late.set()
        await earlier
        assert logs.find(GENERATION) is None


async def test_the_end_of_a_generation_is_told_once_and_not_asked_for_again() -> None:
    statuses = {GENERATION: GenerationStatus.RUNNING, OTHER: GenerationStatus.RUNNING}

    async def answer(asked: frozenset[UUID]) -> tuple[Growth, ...]:
        return tuple(growth(each, status=statuses[each]) for each in asked)

    logs, store = LiveLogs(), Store(answer)
    tail = RemoteTail(store=store, logs=logs, bus=None)
    working = asyncio.create_task(tail.run())
    with logs.listen(OTHER), logs.listen(GENERATION) as news:
        await until(lambda: logs.find(GENERATION) is not None)
        news.clear()
        statuses[GENERATION] = GenerationStatus.SUCCEEDED
        await until(news.is_set)
        assert logs.find(GENERATION) is None
        news.clear()
        rounds = len(store.asked)
        await until(lambda: len(store.asked) >= rounds + 3)
        assert not news.is_set()
        assert set(store.asked[-2:]) == {frozenset({OTHER})}
    working.cancel()
