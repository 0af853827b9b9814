"""Usage adds up, for its user and for everybody, deleted generations' calls too."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.account import User
from domain.books import Balance
from domain.budget import BudgetPeriod, Spending
from domain.generation import Generation
from domain.provider import Usage
from domain.provider_attempt import AttemptStatus
from domain.usage import UsageGroup
from persistence.store import PostgresStore
from tests.persistence.samples import LATER, NOW, add, add_running, claim, finish, get, new_attempt, new_generation

USAGE = Usage(input_tokens=3_000_000_000, cached_input_tokens=4, output_tokens=20, reasoning_tokens=3)
TOMORROW = NOW + timedelta(days=1)


async def call(
    store: PostgresStore, run: Generation, cost: str | None, *, model: str = "demo-writer", is_estimated: bool = False
) -> None:
    """A call that has ended."""
    attempt = replace(new_attempt(run), model=model)
    async with store.begin() as tx:
        assert await tx.provider_attempts.open(attempt, fence=run.fence)
    ended = replace(
        attempt,
        status=AttemptStatus.SUCCEEDED,
        finished_at=LATER,
        usage=replace(USAGE, is_estimated=is_estimated),
        cost=None if cost is None else Decimal(cost),
        price_version=None if cost is None else f"list of {cost}",
    )
    async with store.begin() as tx:
        await tx.provider_attempts.close(ended)


async def books(store: PostgresStore) -> dict[str, Balance]:
    """How they stand."""
    async with store.begin() as tx:
        return {each.name: each for each in await tx.books.compare()}


async def test_a_generations_bill_is_the_sum_of_its_calls(store: PostgresStore, ada: User) -> None:
    run = await add_running(store, ada)
    await call(store, run, "0.25")
    await call(store, run, "0.5", is_estimated=True)
    found = await get(store, ada, run.id)
    assert (found.cost, found.price_version) == (Decimal("0.75"), "list of 0.25; list of 0.5")
    assert found.usage == Usage(
        input_tokens=6_000_000_000,
        cached_input_tokens=8,
        output_tokens=40,
        reasoning_tokens=6,
        is_estimated=True,
    )

    await call(store, run, None)
    await finish(store, run)

    found = await get(store, ada, run.id)
    assert (found.cost, found.price_version) == (None, None), "what is not known of a part is not known of the whole"
    async with store.begin() as tx:
        spending = await tx.budgets.find_spending(ada.id, at=NOW)
    assert spending == dict.fromkeys(BudgetPeriod, Spending(spent=Decimal("0.75"), unpriced_count=1))


async def test_usage_by_day_provider_model_and_user(store: PostgresStore, ada: User, bob: User) -> None:
    hers, his = await add_running(store, ada), await add_running(store, bob)
    await call(store, hers, "1")
    await call(store, hers, "2", model="other")
    await call(store, hers, None, is_estimated=True)
    await call(store, his, "4")
    open_call = new_attempt(his)
    async with store.begin() as tx:
        assert await tx.provider_attempts.open(open_call, fence=his.fence)
        total = await tx.usage_reports.total(ada.id, begins_at=NOW, ends_at=TOMORROW)
        nothing = await tx.usage_reports.total(ada.id, begins_at=TOMORROW, ends_at=TOMORROW)
        grouped = {
            group_by: await tx.usage_reports.list_buckets(
                begins_at=NOW, ends_at=TOMORROW, group_by=frozenset(group_by), size=10
            )
            for group_by in ((), tuple(UsageGroup), (UsageGroup.MODEL,), (UsageGroup.USER,))
        }

    assert (total.call_count, total.unpriced_count, total.estimated_count, total.cost) == (3, 1, 1, Decimal(3))
    assert (total.input_tokens, total.reasoning_tokens) == (9_000_000_000, 9)
    assert (nothing.call_count, nothing.cost) == (0, Decimal(0))
    (everything,) = grouped[()]
    assert (everything.totals.call_count, everything.totals.cost) == (4, Decimal(7))
    assert [(each.model, each.totals.cost) for each in grouped[(UsageGroup.MODEL,)]] == [
        ("demo-writer", Decimal(5)),
        ("other", Decimal(2)),
    ]
    assert [(each.username, each.totals.cost) for each in grouped[(UsageGroup.USER,)]] == [
        ("bob", Decimal(4)),
        ("ada", Decimal(3)),
    ]
    finest = grouped[tuple(UsageGroup)]
    assert [(each.day, each.provider_id, each.model, each.user_id, each.totals.cost) for each in finest] == [
        (date(2026, 11, 1), "demo", "demo-writer", bob.id, Decimal(4)),
        (date(2026, 11, 1), "demo", "other", ada.id, Decimal(2)),
        (date(2026, 11, 1), "demo", "demo-writer", ada.id, Decimal(1)),
    ]


async def test_deleting_a_generation_takes_nothing_off_the_bill(store: PostgresStore, ada: User) -> None:
    run = await add_running(store, ada)
    await call(store, run, "1.5")
    await finish(store, run)

    async with store.begin() as tx:
        await tx.generations.delete(ada.id, [run.id])
        total = await tx.usage_reports.total(ada.id, begins_at=NOW, ends_at=TOMORROW)
        spending = await tx.budgets.find_spending(ada.id, at=NOW)

    assert total.cost == spending[BudgetPeriod.DAY].spent == Decimal("1.5")
    assert all(each.agrees for each in (await books(store)).values())


async def test_books_that_were_changed_by_hand_are_found_out_and_made_anew(
    store: PostgresStore, engine: AsyncEngine, ada: User, bob: User
) -> None:
    for user in (ada, bob):
        run = await add_running(store, user)
        await call(store, run, "1.5")
        await finish(store, run)
    for amount in ("0.25", "0.5"):
        queued = replace(new_generation(ada), reserved=Decimal(amount))
        async with store.begin() as tx:
            for period in BudgetPeriod:
                await tx.budgets.reserve(ada.id, Decimal(amount), period=period, at=NOW, limit=None, needs_rest=False)
        await add(store, queued)
    await claim(store, size=1)
    right = await books(store)
    assert {name: (each.counted, each.kept) for name, each in right.items()} == {
        "bills of generations": (Decimal(3), Decimal(3)),
        "spent by day": (Decimal(3), Decimal(3)),
        "spent by month": (Decimal(3), Decimal(3)),
        "reserved by day": (Decimal("0.75"), Decimal("0.75")),
        "reserved by month": (Decimal("0.75"), Decimal("0.75")),
    }
    assert all(each.agrees for each in right.values())

    async with engine.begin() as connection:
        for change in (
            "UPDATE content_history SET cost_usd = 2 WHERE cost_usd IS NOT NULL",
            "UPDATE budget_periods SET spent_usd = spent_usd + 1 WHERE period = 'DAY'",
            "UPDATE budget_periods SET reserved_usd = -1 WHERE period = 'MONTH' AND reserved_usd > 0",
            f"INSERT INTO budget_periods (user_id, period, first_day, spent_usd)"
            f" VALUES ('{ada.id}', 'MONTH', '2020-01-01', 5)",
        ):
            await connection.execute(text(change))
    wrong = await books(store)
    assert {name: each.differing_count for name, each in wrong.items()} == {
        "bills of generations": 2,
        "spent by day": 2,
        "spent by month": 1,
        "reserved by day": 0,
        "reserved by month": 1,
    }
    assert wrong["bills of generations"].kept == Decimal(4)

    async with store.begin() as tx:
        await tx.books.repair()

    assert await books(store) == right
