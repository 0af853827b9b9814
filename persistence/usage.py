"""What has been used, added up over the calls to providers."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Date, RowMapping, and_, cast, func, select

from domain.provider_attempt import AttemptStatus
from domain.usage import UsageBucket, UsageGroup, UsageTotals
from persistence.statements import Statements
from persistence.tables import provider_attempts, users

_CALL: Final = provider_attempts.c
_TOKENS: Final = ("input_tokens", "cached_input_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens")
_TOTALS: Final = (
    func.count().label("call_count"),
    func.count().filter(_CALL.cost_usd.is_(None)).label("unpriced_count"),
    func.count().filter(_CALL.usage_is_estimated).label("estimated_count"),
    *(func.coalesce(func.sum(_CALL[name]), 0).label(name) for name in _TOKENS),
    func.coalesce(func.sum(_CALL.cost_usd), 0).label("cost"),
)
_DAY: Final = cast(func.timezone("UTC", _CALL.started_at), Date).label("day")


class PostgresUsageReports:
    """Behind the port UsageReports."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def total(self, user_id: UUID, *, begins_at: datetime, ends_at: datetime) -> UsageTotals:
        """One user's."""
        (row,) = await self._statements.rows(
            select(*_TOTALS).where(_CALL.user_id == user_id, _has_ended_between(begins_at, ends_at))
        )
        return _totals_of(row)

    async def list_buckets(
        self, *, begins_at: datetime, ends_at: datetime, group_by: frozenset[UsageGroup], size: int
    ) -> tuple[UsageBucket, ...]:
        """Everybody's, the earliest day first and within it the costliest; at most `size`."""
        columns: dict[UsageGroup, tuple[ColumnElement[Any], ...]] = {  # Any: each column has its type
            UsageGroup.DAY: (_DAY,),
            UsageGroup.PROVIDER: (_CALL.provider,),
            UsageGroup.MODEL: (_CALL.model,),
            UsageGroup.USER: (users.c.id.label("user_id"), users.c.username),
        }
        keys = [column for group in UsageGroup if group in group_by for column in columns[group]]
        statement = select(*keys, *_TOTALS).where(_has_ended_between(begins_at, ends_at)).having(func.count() > 0)
        if UsageGroup.USER in group_by:
            statement = statement.join_from(provider_attempts, users)
        order = [func.sum(_CALL.cost_usd).desc().nulls_last(), *keys]
        if UsageGroup.DAY in group_by:
            order.insert(0, _DAY)
        rows = await self._statements.rows(statement.group_by(*keys).order_by(*order).limit(size))
        return tuple(
            UsageBucket(
                day=row.get("day"),
                provider_id=row.get("provider"),
                model=row.get("model"),
                user_id=row.get("user_id"),
                username=row.get("username"),
                totals=_totals_of(row),
            )
            for row in rows
        )


def _has_ended_between(begins_at: datetime, ends_at: datetime) -> ColumnElement[bool]:
    return and_(_CALL.status != AttemptStatus.RUNNING.value, _CALL.started_at >= begins_at, _CALL.started_at < ends_at)


def _totals_of(row: RowMapping) -> UsageTotals:
    return UsageTotals(
        call_count=row["call_count"],
        unpriced_count=row["unpriced_count"],
        estimated_count=row["estimated_count"],
        # Sums of bigint are numeric in PostgreSQL.
        input_tokens=int(row["input_tokens"]),
        cached_input_tokens=int(row["cached_input_tokens"]),
        cache_write_tokens=int(row["cache_write_tokens"]),
        output_tokens=int(row["output_tokens"]),
        reasoning_tokens=int(row["reasoning_tokens"]),
        cost=row["cost"],
    )
