"""What has been used and what it has cost, added up over the calls to providers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Protocol
from uuid import UUID


class UsageGroup(StrEnum):
    """By what usage can be told apart."""

    DAY = "DAY"
    PROVIDER = "PROVIDER"
    MODEL = "MODEL"
    USER = "USER"


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageTotals:
    """Calls that have ended, their tokens and their cost in USD.

    `cost` is that of the calls whose cost is known; `unpriced_count` are the others. `estimated_count` are calls whose
    tokens were not all told.
    """

    call_count: int
    unpriced_count: int
    estimated_count: int
    input_tokens: int
    cached_input_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cost: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageBucket:
    """The totals of one group; what was not asked to be told apart is None."""

    day: date | None
    provider_id: str | None
    model: str | None
    user_id: UUID | None
    username: str | None
    totals: UsageTotals


class UsageReports(Protocol):
    """Sums over the calls that began in a period: from its beginning on and before its end."""

    async def total(self, user_id: UUID, *, begins_at: datetime, ends_at: datetime) -> UsageTotals:
        """One user's."""

    async def list_buckets(
        self, *, begins_at: datetime, ends_at: datetime, group_by: frozenset[UsageGroup], size: int
    ) -> tuple[UsageBucket, ...]:
        """Everybody's, the earliest day first and within it the costliest; at most `size`."""
