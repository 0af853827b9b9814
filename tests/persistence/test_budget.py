"""What is reserved is exact under any race, and given back on every way in which a generation can end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from domain.account import Role, User
from domain.budget import BudgetLimit, BudgetPeriod, Spending
from domain.generation import Generation, GenerationStatus, RecoveryPolicy
from persistence.store import PostgresStore
from tests.persistence.samples import (
    FAILED,
    MUCH_LATER,
    NO_TIME,
    NOW,
    SUCCESS,
    add,
    append,
    chunk,
    claim,
    finish,
    new_generation,
)

DAY, MONTH = BudgetPeriod.DAY, BudgetPeriod.MONTH


async def reserve(
    store: PostgresStore, user: User, amount: str, *, limit: str | None = None, needs_rest: bool = False
) -> bool:
    """Reserves in the day's budget and the month's, the latter without a limit; in one transaction or not at all."""
    given = Decimal(amount)
    async with store.begin() as tx:
        day = await tx.budgets.reserve(
            user.id,
            given,
            period=DAY,
            at=NOW,
            limit=None if limit is None else Decimal(limit),
            needs_rest=needs_rest,
        )
        if day:
            await tx.budgets.reserve(user.id, given, period=MONTH, at=NOW, limit=None, needs_rest=False)
    return day


async def spending(store: PostgresStore, user: User) -> dict[BudgetPeriod, Spending]:
    """What is spent and reserved now."""
    async with store.begin() as tx:
        return await tx.budgets.find_spending(user.id, at=NOW)


async def add_reserved(store: PostgresStore, user: User, amount: str = "0.25") -> Generation:
    """A generation that runs, with a reservation."""
    queued = replace(new_generation(user), reserved=Decimal(amount))
    assert await reserve(store, user, amount)
    await add(store, queued)
    (running,) = [each for each in await claim(store) if each.id == queued.id]
    return running


async def test_a_limit_is_reached_and_not_passed(store: PostgresStore, ada: User, bob: User) -> None:
    assert not await reserve(store, ada, "1.01", limit="1")
    assert await spending(store, ada) == {}
    assert await reserve(store, ada, "0.6", limit="1")
    assert not await reserve(store, ada, "0.400001", limit="1")
    assert await reserve(store, ada, "0.4", limit="1")
    assert not await reserve(store, ada, "0", limit="1", needs_rest=True)
    assert await reserve(store, bob, "1", limit="1"), "everybody has a budget of their own"
    assert (await spending(store, ada))[DAY] == Spending(reserved=Decimal("1.0"))


async def test_two_hundred_at_once_against_a_budget_of_ten(store: PostgresStore, ada: User) -> None:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(reserve(store, ada, "1", limit="10")) for _ in range(200)]

    assert [task.result() for task in tasks].count(True) == 10
    assert {period: found.reserved for period, found in (await spending(store, ada)).items()} == {DAY: 10, MONTH: 10}


async def test_a_period_begins_with_nothing(store: PostgresStore, ada: User) -> None:
    await reserve(store, ada, "1")
    async with store.begin() as tx:
        tomorrow = await tx.budgets.find_spending(ada.id, at=NOW + timedelta(days=1))
        next_month = await tx.budgets.find_spending(ada.id, at=NOW + timedelta(days=30))

    assert (tomorrow, next_month) == ({MONTH: Spending(reserved=Decimal(1))}, {})


async def _succeed(store: PostgresStore, run: Generation) -> None:
    await finish(store, run, SUCCESS)


async def _fail(store: PostgresStore, run: Generation) -> None:
    await finish(store, run, FAILED)


async def _cancel_running(store: PostgresStore, run: Generation) -> None:
    async with store.begin() as tx:
        await tx.generations.request_cancel(run.user_id, run.id, now=NOW)
    await finish(store, run, replace(SUCCESS, status=GenerationStatus.CANCELLED, finish_reason=None))


async def _cancel_queued(store: PostgresStore, run: Generation) -> None:
    async with store.begin() as tx:
        await tx.generations.release(run.id, fence=run.fence)
    async with store.begin() as tx:
        await tx.generations.request_cancel(run.user_id, run.id, now=NOW)


async def _die_with_text(store: PostgresStore, run: Generation) -> None:
    await append(store, chunk(run, 0, "shown"))
    async with store.begin() as tx:
        await tx.generations.recover_abandoned(now=MUCH_LATER, policy=RecoveryPolicy(), up_for=NO_TIME)


async def _die_cancelled(store: PostgresStore, run: Generation) -> None:
    async with store.begin() as tx:
        await tx.generations.request_cancel(run.user_id, run.id, now=NOW)
        await tx.generations.recover_abandoned(now=MUCH_LATER, policy=RecoveryPolicy(), up_for=NO_TIME)


async def _die_again_and_again(store: PostgresStore, run: Generation) -> None:
    for _ in range(3):
        async with store.begin() as tx:
            await tx.generations.recover_abandoned(now=MUCH_LATER, policy=RecoveryPolicy(max_starts=3), up_for=NO_TIME)
        await claim(store)


@pytest.mark.parametrize(
    "end",
    [_succeed, _fail, _cancel_running, _cancel_queued, _die_with_text, _die_cancelled, _die_again_and_again],
)
async def test_whatever_ends_a_generation_gives_its_reservation_back(
    store: PostgresStore, ada: User, end: Callable[[PostgresStore, Generation], Awaitable[None]]
) -> None:
    other, run = await add_reserved(store, ada, "0.75"), await add_reserved(store, ada)

    await end(store, run)
    await end(store, run)  # again, as after a commit whose answer was lost

    reserved = {period: found.reserved for period, found in (await spending(store, ada)).items()}
    async with store.begin() as tx:
        ended = await tx.generations.find(ada.id, run.id)
        still = await tx.generations.find(ada.id, other.id)
    assert ended is not None
    assert ended.status.is_final
    assert still is not None
    # one that dies again and again takes whatever runs beside it along
    expected = Decimal(0) if still.status.is_final else Decimal("0.75")
    assert reserved == {DAY: expected, MONTH: expected}


async def test_one_that_starts_again_keeps_its_reservation(store: PostgresStore, ada: User) -> None:
    await add_reserved(store, ada)
    async with store.begin() as tx:
        await tx.generations.recover_abandoned(now=MUCH_LATER, policy=RecoveryPolicy(), up_for=NO_TIME)
    (run,) = await claim(store)
    assert (await spending(store, ada))[DAY].reserved == Decimal("0.25")

    await finish(store, run)

    assert (await spending(store, ada))[DAY].reserved == 0


async def test_limits_are_set_replaced_and_taken_back(store: PostgresStore, ada: User, bob: User) -> None:
    def limit(amount: int | None, *, user: User | None = None, role: Role | None = None) -> BudgetLimit:
        return BudgetLimit(
            user_id=None if user is None else user.id,
            role=role,
            period=DAY,
            limit=None if amount is None else Decimal(amount),
        )

    async with store.begin() as tx:
        for each in (
            limit(1, user=ada),
            limit(2, user=ada),
            limit(3, role=Role.USER),
            limit(None, role=Role.USER),
            limit(4, role=Role.ADMIN),
        ):
            await tx.budgets.put_limit(each)
        hers = await tx.budgets.list_limits_for(ada.id, Role.USER)
        his = await tx.budgets.list_limits_for(bob.id, Role.USER)
        roles = await tx.budgets.list_role_limits()
        await tx.budgets.remove_limit(user_id=ada.id, role=None, period=DAY)
        await tx.budgets.remove_limit(user_id=None, role=Role.USER, period=MONTH)
        left = await tx.budgets.list_limits_for(ada.id, Role.USER)

    assert set(hers) == {limit(2, user=ada), limit(None, role=Role.USER)}
    assert his == left == (limit(None, role=Role.USER),)
    assert set(roles) == {limit(None, role=Role.USER), limit(4, role=Role.ADMIN)}
