"""Telling users and administrators what has been used."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from domain.account import User
from domain.errors import InvalidInput
from domain.store import Store
from domain.usage import UsageBucket, UsageGroup, UsageTotals

MAX_PERIOD = timedelta(days=366)
MAX_BUCKETS = 1_000


class UsageService:
    """Who has used how much."""

    def __init__(self, *, store: Store, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock

    async def total_of(self, user: User, *, begins_at: datetime | None, ends_at: datetime | None) -> UsageTotals:
        """A user's; of this month (of UTC) so far, unless told otherwise. Raises InvalidInput."""
        ends_at = ends_at or self._clock()
        if begins_at is None:
            begins_at = ends_at.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        _check(begins_at, ends_at)
        async with self._store.begin() as tx:
            return await tx.usage_reports.total(user.id, begins_at=begins_at, ends_at=ends_at)

    async def list_buckets(
        self, *, begins_at: datetime, ends_at: datetime, group_by: frozenset[UsageGroup]
    ) -> tuple[UsageBucket, ...]:
        """Everybody's, in groups. Raises InvalidInput, also when there are too many of them."""
        _check(begins_at, ends_at)
        async with self._store.begin() as tx:
            buckets = await tx.usage_reports.list_buckets(
                begins_at=begins_at, ends_at=ends_at, group_by=group_by, size=MAX_BUCKETS + 1
            )
        if len(buckets) > MAX_BUCKETS:
            raise InvalidInput(
                f"These would be more than {MAX_BUCKETS:,} groups: ask for less time, or for fewer distinctions.",
                field=("groupBy",),
            )
        return buckets


def _check(begins_at: datetime, ends_at: datetime) -> None:
    if not begins_at <= ends_at:
        raise InvalidInput("The end must not be before the beginning.", field=("to",))
    if ends_at - begins_at > MAX_PERIOD:
        raise InvalidInput(f"At most {MAX_PERIOD.days} days can be asked for at once.", field=("from",))
