"""The budgets: limits that administrators have set, and what is spent and reserved in each period."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import ColumnElement, RowMapping, delete, literal, or_, select, tuple_
from sqlalchemy.dialects.postgresql import insert

from domain.account import Role
from domain.budget import BudgetLimit, BudgetPeriod, Spending
from persistence.statements import Statements
from persistence.tables import budget_limits, budget_periods


class PostgresBudgets:
    """Behind the port Budgets."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def list_limits_for(self, user_id: UUID, role: Role) -> tuple[BudgetLimit, ...]:
        """Those set for the user and those for the role."""
        rows = await self._statements.rows(
            select(budget_limits).where(or_(budget_limits.c.user_id == user_id, budget_limits.c.role == role.value))
        )
        return tuple(_limit_of(row) for row in rows)

    async def list_role_limits(self) -> tuple[BudgetLimit, ...]:
        """All that are set for roles."""
        rows = await self._statements.rows(select(budget_limits).where(budget_limits.c.role.is_not(None)))
        return tuple(_limit_of(row) for row in rows)

    async def put_limit(self, limit: BudgetLimit) -> None:
        """Sets it, in place of an earlier one."""
        subject = budget_limits.c.role if limit.user_id is None else budget_limits.c.user_id
        await self._statements.change(
            insert(budget_limits)
            .values(
                user_id=limit.user_id,
                role=None if limit.role is None else limit.role.value,
                period=limit.period.value,
                limit_usd=limit.limit,
            )
            .on_conflict_do_update(index_elements=[subject, budget_limits.c.period], set_={"limit_usd": limit.limit})
        )

    async def remove_limit(self, *, user_id: UUID | None, role: Role | None, period: BudgetPeriod) -> None:
        """Takes it back."""
        is_subject = budget_limits.c.user_id == user_id if role is None else budget_limits.c.role == role.value
        await self._statements.change(delete(budget_limits).where(is_subject, budget_limits.c.period == period.value))

    async def find_spending(self, user_id: UUID, *, at: datetime) -> dict[BudgetPeriod, Spending]:
        """In the periods around this moment."""
        around = [(period.value, period.first_day(at)) for period in BudgetPeriod]
        rows = await self._statements.rows(
            select(budget_periods).where(
                budget_periods.c.user_id == user_id,
                tuple_(budget_periods.c.period, budget_periods.c.first_day).in_(around),
            )
        )
        return {
            BudgetPeriod(row["period"]): Spending(
                spent=row["spent_usd"], reserved=row["reserved_usd"], unpriced_count=row["unpriced_count"]
            )
            for row in rows
        }

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
        """Adds to what is reserved, unless that would lead beyond the limit; False when it would."""
        names = ("user_id", "period", "first_day", "reserved_usd")
        column = budget_periods.c
        values = (user_id, period.value, period.first_day(at), amount)
        wanted = select(*(literal(value, column[name].type) for name, value in zip(names, values, strict=True)))
        if limit is not None:
            wanted = wanted.where(_fits(literal(amount), limit, needs_rest=needs_rest))
        insertion = insert(budget_periods).from_select(list(names), wanted)
        # Of a row that another transaction is changing the new version is waited for, and the condition asked of that.
        reserved = await self._statements.change(
            insertion.on_conflict_do_update(
                index_elements=list(budget_periods.primary_key),
                set_={"reserved_usd": column.reserved_usd + amount},
                where=None
                if limit is None
                else _fits(column.spent_usd + column.reserved_usd + amount, limit, needs_rest=needs_rest),
            )
        )
        return reserved == 1


def _fits(taken: ColumnElement[Decimal], limit: Decimal, *, needs_rest: bool) -> ColumnElement[bool]:
    return taken < literal(limit) if needs_rest else taken <= literal(limit)


def _limit_of(row: RowMapping) -> BudgetLimit:
    return BudgetLimit(
        user_id=row["user_id"],
        role=None if row["role"] is None else Role(row["role"]),
        period=BudgetPeriod(row["period"]),
        limit=row["limit_usd"],
    )
