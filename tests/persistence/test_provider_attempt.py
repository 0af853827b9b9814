"""Calls to providers: written by a run's owner alone, closed once whatever happens, and never forgotten."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import Decimal

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.account import User
from domain.generation import RecoveryPolicy
from domain.provider import Usage
from domain.provider_attempt import AttemptStatus, ProviderAttempt
from persistence.store import PostgresStore
from persistence.tables import provider_attempts
from tests.persistence.samples import (
    FAILURE,
    LATER,
    LEASE,
    MUCH_LATER,
    NO_TIME,
    add_running,
    attempts_of,
    finish,
    new_attempt,
    open_attempt,
)


def ended(attempt: ProviderAttempt) -> ProviderAttempt:
    return replace(
        attempt,
        status=AttemptStatus.FAILED,
        parameters={"max_tokens": 7},
        finished_at=LATER,
        first_token_ms=250,
        usage=Usage(input_tokens=10, cached_input_tokens=4, cache_write_tokens=1, output_tokens=20, reasoning_tokens=3),
        cost=Decimal("0.000123"),
        price_version="2026-11-01",
        failure=FAILURE,
    )


async def close(store: PostgresStore, attempt: ProviderAttempt) -> None:
    async with store.begin() as tx:
        await tx.provider_attempts.close(attempt)


async def test_a_call_is_kept_with_all_that_is_known_of_it(store: PostgresStore, ada: User) -> None:
    run = await add_running(store, ada)
    first = await open_attempt(store, run)
    assert await attempts_of(store, run) == (first,)

    await close(store, ended(first))
    second = await open_attempt(store, run)

    assert await attempts_of(store, run) == (ended(first), second)


async def test_the_first_end_counts(store: PostgresStore, ada: User) -> None:
    run = await add_running(store, ada)
    attempt = await open_attempt(store, run)
    await close(store, ended(attempt))

    await close(store, replace(attempt, status=AttemptStatus.INTERRUPTED, finished_at=MUCH_LATER))

    assert await attempts_of(store, run) == (ended(attempt),)


async def test_who_does_not_own_the_run_calls_nobody(store: PostgresStore, ada: User) -> None:
    run, over = await add_running(store, ada), await add_running(store, ada)
    await finish(store, over)

    async with store.begin() as tx:
        assert not await tx.provider_attempts.open(new_attempt(run), fence=run.fence - 1)
        assert not await tx.provider_attempts.open(new_attempt(over), fence=over.fence)

    assert await attempts_of(store, run) == await attempts_of(store, over) == ()


@pytest.mark.parametrize("policy", [RecoveryPolicy(), RecoveryPolicy(max_starts=1)], ids=["restarted", "given up"])
async def test_recovery_closes_what_a_dead_owner_has_left_open(
    store: PostgresStore, ada: User, policy: RecoveryPolicy
) -> None:
    run, alive = await add_running(store, ada), await add_running(store, ada)
    left, others = await open_attempt(store, run), await open_attempt(store, alive)
    async with store.begin() as tx:
        await tx.generations.renew_leases({alive.id: alive.fence}, lease=LEASE)

    async with store.begin() as tx:
        await tx.generations.recover_abandoned(now=MUCH_LATER, policy=policy, up_for=NO_TIME)

    assert await attempts_of(store, run) == (replace(left, status=AttemptStatus.INTERRUPTED, finished_at=MUCH_LATER),)
    assert await attempts_of(store, alive) == (others,)


async def test_a_call_that_begins_while_its_run_is_recovered_is_not_overlooked(store: PostgresStore, ada: User) -> None:
    run = await add_running(store, ada)

    async def begin() -> bool:
        async with store.begin() as tx:
            return await tx.provider_attempts.open(new_attempt(run), fence=run.fence)

    async with store.begin() as tx:
        await tx.generations.recover_abandoned(now=MUCH_LATER, policy=RecoveryPolicy(), up_for=NO_TIME)
        beginning = asyncio.create_task(begin())
        done, _ = await asyncio.wait([beginning], timeout=0.2)
        assert not done

    assert not await beginning
    assert await attempts_of(store, run) == ()


async def test_what_was_spent_outlives_its_generation_without_the_providers_words(
    store: PostgresStore, engine: AsyncEngine, ada: User, bob: User
) -> None:
    run = await add_running(store, ada)
    attempt = await open_attempt(store, run)
    await close(store, ended(attempt))
    await finish(store, run)

    async with store.begin() as tx:
        assert await tx.generations.delete(bob.id, [run.id]) == ()
    assert await attempts_of(store, run) == (ended(attempt),)
    async with store.begin() as tx:
        assert await tx.generations.delete(ada.id, [run.id]) == (run.id,)

    assert await attempts_of(store, run) == ()
    async with engine.connect() as connection:
        (row,) = (await connection.execute(select(provider_attempts))).mappings()
    assert (row["user_id"], row["generation_id"], row["cost_usd"]) == (ada.id, None, Decimal("0.000123"))
    assert (row["failure_reason"], row["failure_message"]) == (FAILURE.reason, "")


async def test_calls_are_shown_to_their_user_alone(store: PostgresStore, ada: User, bob: User) -> None:
    run = await add_running(store, ada)
    await open_attempt(store, run)

    async with store.begin() as tx:
        assert await tx.provider_attempts.list_by_generation(bob.id, [run.id]) == {}
