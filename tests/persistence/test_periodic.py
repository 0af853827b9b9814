"""Periodic jobs: one of all instances does each, and what is cleared away is what nobody needs."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

from domain.account import User
from domain.housekeeping import ENDED_SESSIONS_KEPT, Housekeeper
from persistence.store import PostgresStore
from tests.persistence.samples import NOW, new_session


async def test_each_slot_is_claimed_once_however_many_try(store: PostgresStore) -> None:
    async def claim() -> bool:
        async with store.begin() as tx:
            return await tx.periodic_slots.claim("sweep", NOW)

    assert sorted(await asyncio.gather(*(claim() for _ in range(8)))) == [False] * 7 + [True]
    async with store.begin() as tx:
        assert not await tx.periodic_slots.claim("sweep", NOW - timedelta(hours=1))
        assert await tx.periodic_slots.claim("sweep", NOW + timedelta(hours=1))
        assert await tx.periodic_slots.claim("another", NOW)


async def test_sessions_that_ended_long_ago_are_purged_once_an_hour(store: PostgresStore, ada: User) -> None:
    old = replace(new_session(ada), expires_at=NOW - timedelta(days=1))
    live = replace(new_session(ada), expires_at=NOW + timedelta(days=400))
    async with store.begin() as tx:
        await tx.sessions.add(old)
        await tx.sessions.add(live)
    now = NOW + ENDED_SESSIONS_KEPT
    one, other = (Housekeeper(store=store, clock=lambda: now) for _ in range(2))

    assert sorted(await asyncio.gather(one.purge_sessions(), other.purge_sessions())) == [0, 1]

    async with store.begin() as tx:
        assert await tx.sessions.find_for_update(old.id) is None
        assert await tx.sessions.find_for_update(live.id) is not None
