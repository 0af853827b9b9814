"""The allowance of a connection to Notion: one for all instances, lower after a refusal, and never exceeded."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.errors import NotionFailed, NotionFailureReason
from domain.notion_pace import (
    BURST_SECONDS,
    LOWERED_TO,
    SECONDS_PER_LIMIT,
    NotionBusy,
    NotionPriority,
    Turn,
)
from domain.notion_pacer import NotionPacer
from persistence.store import PostgresStore

# One request a minute: an interval longer than any test.
_SLOW = 1.0
_LOWEST = 20.0
_INTERVAL_SECONDS = SECONDS_PER_LIMIT / _SLOW


async def _take(store: PostgresStore, *, key: str = "key", intervals: float = 1, limit: float = _SLOW) -> Turn:
    """Asks for one request, when it may run so many intervals ahead."""
    async with store.begin() as tx:
        return await tx.notion_paces.take(
            key, limit_per_minute=limit, ahead_seconds=intervals * SECONDS_PER_LIMIT / limit
        )


async def _hold(store: PostgresStore, *, seconds: float, is_blocked: bool = False) -> None:
    async with store.begin() as tx:
        await tx.notion_paces.hold("key", seconds=seconds, lowest_per_minute=_LOWEST, is_blocked=is_blocked)


async def _let_pass(engine: AsyncEngine, seconds: float) -> None:
    """As if so much time had gone by."""
    async with engine.begin() as connection:
        await connection.execute(
            text(
                "UPDATE notion_paces SET used_until = used_until - make_interval(secs => :seconds),"
                " seen_at = seen_at - make_interval(secs => :seconds),"
                " held_until = held_until - make_interval(secs => :seconds)"
            ),
            {"seconds": seconds},
        )


async def _per_minute(engine: AsyncEngine) -> float:
    async with engine.connect() as connection:
        return float((await connection.execute(text("SELECT per_minute FROM notion_paces"))).scalar_one())


async def test_all_instances_together_get_what_there_is(store: PostgresStore) -> None:
    turns = await asyncio.gather(*(_take(store, intervals=7) for _ in range(20)))
    assert sum(turn.is_granted for turn in turns) == 7
    refused = [turn for turn in turns if not turn.is_granted]
    assert all(0 < turn.wait_seconds <= _INTERVAL_SECONDS for turn in refused)
    assert (await _take(store, key="another")).is_granted


async def test_in_no_minute_there_are_more_than_the_limit(store: PostgresStore, engine: AsyncEngine) -> None:
    limit, ahead = 60.0, BURST_SECONDS
    granted: list[float] = []
    # The test's own time comes on top of what it lets pass.
    started_at = time.monotonic()
    for second in range(0, 180, 2):
        while True:
            async with store.begin() as tx:
                turn = await tx.notion_paces.take("key", limit_per_minute=limit, ahead_seconds=ahead)
            if not turn.is_granted:
                break
            granted.append(second + time.monotonic() - started_at)
        await _let_pass(engine, 2)
    busiest = max(sum(start <= moment < start + 60 for moment in granted) for start in range(0, 120))
    assert 0.9 * limit < busiest <= limit + 3
    assert len(granted) > 2.2 * limit


async def test_what_is_granted_ahead_of_the_burst_waits_for_its_time(store: PostgresStore) -> None:
    async with store.begin() as tx:
        first = await tx.notion_paces.take("key", limit_per_minute=_SLOW, ahead_seconds=1000)
        second = await tx.notion_paces.take("key", limit_per_minute=_SLOW, ahead_seconds=1000)
    assert first.is_granted
    assert second.is_granted
    assert first.wait_seconds == pytest.approx(_INTERVAL_SECONDS - BURST_SECONDS)
    assert second.wait_seconds == pytest.approx(2 * _INTERVAL_SECONDS - BURST_SECONDS, abs=10)


async def test_after_a_refusal_nobody_asks_and_then_more_slowly(store: PostgresStore, engine: AsyncEngine) -> None:
    assert (await _take(store, limit=100)).is_granted
    await _hold(store, seconds=50)
    await _hold(store, seconds=30)  # of a request that was under way
    turn = await _take(store, intervals=10, limit=100)
    assert not turn.is_granted
    assert not turn.is_blocked
    assert 40 < turn.wait_seconds <= 50
    assert await _per_minute(engine) == pytest.approx(100 * LOWERED_TO, abs=1)
    await _let_pass(engine, 60)
    assert (await _take(store, intervals=10, limit=100)).is_granted
    assert 100 * LOWERED_TO < await _per_minute(engine) < 100
    await _let_pass(engine, 3600)
    await _take(store, limit=100)
    assert await _per_minute(engine) == 100


async def test_the_pace_has_a_bottom(store: PostgresStore, engine: AsyncEngine) -> None:
    await _take(store, limit=100)
    for _ in range(20):
        await _hold(store, seconds=0)
    assert await _per_minute(engine) == _LOWEST


async def test_a_blocked_connection_is_left_alone_until_its_time_is_over(
    store: PostgresStore, engine: AsyncEngine
) -> None:
    await _take(store)
    await _hold(store, seconds=600, is_blocked=True)
    assert (await _take(store, intervals=10)).is_blocked
    await _let_pass(engine, 601)
    turn = await _take(store, intervals=10)
    assert turn.is_granted
    assert not turn.is_blocked


async def test_idle_connections_are_forgotten(store: PostgresStore, engine: AsyncEngine) -> None:
    await _take(store)
    await _let_pass(engine, 100)
    await _take(store, key="another")
    async with store.begin() as tx:
        assert await tx.notion_paces.purge(idle=timedelta(seconds=200)) == 0
        assert await tx.notion_paces.purge(idle=timedelta(seconds=90)) == 1


async def test_bulk_work_leaves_room_for_people(store: PostgresStore) -> None:
    pacer = NotionPacer(store=store, requests_per_minute=60)
    async with store.begin() as tx:
        while (
            await tx.notion_paces.take(
                "key", limit_per_minute=60, ahead_seconds=NotionPriority.BACKGROUND.ahead_seconds
            )
        ).is_granted:
            pass
        turn = await tx.notion_paces.take(
            "key", limit_per_minute=60, ahead_seconds=NotionPriority.INTERACTIVE.ahead_seconds
        )
    assert turn.is_granted
    assert turn.wait_seconds < NotionPriority.BACKGROUND.patience_seconds / 3
    await pacer.turn("key", NotionPriority.INTERACTIVE)


async def test_nobody_waits_for_what_is_far_off(store: PostgresStore) -> None:
    pacer = NotionPacer(store=store, requests_per_minute=60)
    await pacer.turn("key", NotionPriority.BACKGROUND)
    asked_to_wait = NotionFailed("", reason=NotionFailureReason.RATE_LIMITED, retryable=True, retry_after_seconds=120)
    await pacer.refused("key", asked_to_wait)
    for priority in NotionPriority:
        with pytest.raises(NotionBusy) as busy:
            await pacer.turn("key", priority)
        assert 100 < (busy.value.retry_after_seconds or 0) <= 120
    await pacer.refused("key", NotionFailed("", reason=NotionFailureReason.RATE_LIMITED, retryable=False))
    for priority in NotionPriority:
        with pytest.raises(NotionFailed, match="blocked") as blocked:
            await pacer.turn("key", priority)
        assert not blocked.value.retryable
