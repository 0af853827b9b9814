"""Budgets: how much a person may spend in a day and in a month, and the store behind them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from domain.account import Role


class BudgetPeriod(StrEnum):
    """How long a budget lasts before it begins anew, in UTC. In the order in which budgets are taken from."""

    DAY = "DAY"
    MONTH = "MONTH"

    def first_day(self, at: datetime) -> date:
        """The day on which the period around a moment has begun."""
        day = at.astimezone(UTC).date()
        return day if self is BudgetPeriod.DAY else day.replace(day=1)

    def resets_at(self, at: datetime) -> datetime:
        """When the period around a moment ends and the next one begins."""
        first = self.first_day(at)
        following = first + timedelta(days=1)
        if self is BudgetPeriod.MONTH:
            # No month has more than 31 days, and none so few that this would leap over one.
            following = (first + timedelta(days=31)).replace(day=1)
        return datetime(following.year, following.month, following.day, tzinfo=UTC)


class UnpricedPolicy(StrEnum):
    """What becomes of a request to a model whose price is not known, of somebody who has a budget."""

    ALLOW = "ALLOW"
    REFUSE = "REFUSE"


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetRules:
    """The server's own: limits in USD by role and period (what is missing has none), and what else is configured.

    `reserved_output_tokens` are kept back for the answer to a request that does not say how long it may become.
    """

    limits: Mapping[tuple[Role, BudgetPeriod], Decimal]
    unpriced: UnpricedPolicy = UnpricedPolicy.ALLOW
    reserved_output_tokens: int = 4_096


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetLimit:
    """What an administrator has set for one user or for every user of a role; `limit` None is no limit at all."""

    user_id: UUID | None
    role: Role | None
    period: BudgetPeriod
    limit: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """What a user has spent in a period, and what is reserved for requests that have not ended; both in USD.

    `unpriced_count` are calls whose cost is not known, and so is not in `spent`.
    """

    spent: Decimal = Decimal(0)
    reserved: Decimal = Decimal(0)
    unpriced_count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """A user's budget as it stands; `limit` None is no limit."""

    period: BudgetPeriod
    limit: Decimal | None
    spent: Decimal
    reserved: Decimal
    unpriced_count: int
    resets_at: datetime

    @property
    def remaining(self) -> Decimal | None:
        """What can still be reserved; never below 0."""
        return None if self.limit is None else max(Decimal(0), self.limit - self.spent - self.reserved)

    def admits(self, amount: Decimal | None) -> bool:
        """Whether a request of this (highest) cost may run now; one of unknown cost needs a budget with a rest."""
        if self.limit is None:
            return True
        taken = self.spent + self.reserved
        return taken < self.limit if amount is None else taken + amount <= self.limit


class Budgets(Protocol):
    """The limits that administrators have set, and what is spent and reserved.

    What a call has cost is added, and what is reserved for a generation is given back, by the database itself, with
    the change that ends the one or the other.
    """

    async def list_limits_for(self, user_id: UUID, role: Role) -> tuple[BudgetLimit, ...]:
        """Those set for the user and those for the role."""

    async def list_role_limits(self) -> tuple[BudgetLimit, ...]:
        """All that are set for roles."""

    async def put_limit(self, limit: BudgetLimit) -> None:
        """Sets it, in place of an earlier one. Raises NotFound when there is no such user."""

    async def remove_limit(self, *, user_id: UUID | None, role: Role | None, period: BudgetPeriod) -> None:
        """Takes it back."""

    async def find_spending(self, user_id: UUID, *, at: datetime) -> dict[BudgetPeriod, Spending]:
        """In the periods around this moment."""

    async def reserve(
        self,
        user_id: UUID,
        amount: Decimal,
        *,
        period: BudgetPeriod,
        at: datetime,
        limit: Decimal | None,
        needs_rest: bool,
    ) -> bool:
        """Adds to what is reserved, unless that would lead beyond the limit; False when it would.

        With `needs_rest` something must be left over too. Exact, however many ask at the same time.
        """
