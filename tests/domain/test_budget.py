"""When budgets begin anew, and what they admit."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.budget import Budget, BudgetPeriod
from domain.budget_service import tightest

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def budget(period: BudgetPeriod, limit: int | None, *, spent: int = 0, reserved: int = 0) -> Budget:
    """A budget in whole dollars."""
    return Budget(
        period=period,
        limit=None if limit is None else Decimal(limit),
        spent=Decimal(spent),
        reserved=Decimal(reserved),
        unpriced_count=0,
        resets_at=period.resets_at(NOON),
    )


@pytest.mark.parametrize(
    ("at", "month_begins", "month_ends"),
    [
        (NOON, date(2026, 11, 1), datetime(2026, 12, 1, tzinfo=UTC)),
        (datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC), date(2026, 12, 1), datetime(2027, 1, 1, tzinfo=UTC)),
        (datetime(2028, 2, 29, tzinfo=UTC), date(2028, 2, 1), datetime(2028, 3, 1, tzinfo=UTC)),
        (datetime(2027, 1, 31, tzinfo=UTC), date(2027, 1, 1), datetime(2027, 2, 1, tzinfo=UTC)),
    ],
)
def test_a_month_is_that_of_the_calendar(at: datetime, month_begins: date, month_ends: datetime) -> None:
    assert (BudgetPeriod.MONTH.first_day(at), BudgetPeriod.MONTH.resets_at(at)) == (month_begins, month_ends)


def test_days_are_those_of_utc() -> None:
    in_tokyo = datetime(2026, 11, 20, 8, tzinfo=timezone(timedelta(hours=9)))

    assert BudgetPeriod.DAY.first_day(in_tokyo) == date(2026, 11, 19)
    assert BudgetPeriod.DAY.resets_at(in_tokyo) == datetime(2026, 11, 20, tzinfo=UTC)


@given(st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2999, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001  (hypothesis takes naive bounds)
def test_every_moment_is_in_exactly_one_period_of_a_kind(at: datetime) -> None:
    for period in BudgetPeriod:
        following = period.resets_at(at)
        assert period.first_day(at) <= at.date() < following.date()
        assert period.first_day(following) == following.date()
        assert period.first_day(following - timedelta(microseconds=1)) == period.first_day(at)


def test_what_is_reserved_counts_as_taken() -> None:
    half = budget(BudgetPeriod.DAY, 10, spent=3, reserved=2)

    assert half.remaining == 5
    assert [half.admits(amount) for amount in (Decimal(5), Decimal("5.01"), None)] == [True, False, True]
    overdrawn = budget(BudgetPeriod.DAY, 10, spent=11)
    assert overdrawn.remaining == 0
    assert not overdrawn.admits(None)
    assert budget(BudgetPeriod.DAY, None, spent=11).admits(Decimal(10**9))


def test_the_tightest_is_the_one_with_the_least_left() -> None:
    day, month = budget(BudgetPeriod.DAY, 10), budget(BudgetPeriod.MONTH, 100, spent=95)

    assert tightest((day, month)) is month
    assert tightest((day, budget(BudgetPeriod.MONTH, None))) is day
    free = (budget(BudgetPeriod.DAY, None), budget(BudgetPeriod.MONTH, None))
    assert tightest(free) is free[1]
