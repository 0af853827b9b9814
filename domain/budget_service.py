"""Keeping people within their budgets, showing these, and setting them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from math import ceil
from uuid import UUID

from domain.account import Client, Role, User, Viewer
from domain.audit import AuditAction, AuditEvent
from domain.budget import Budget, BudgetLimit, BudgetPeriod, BudgetRules, Spending, UnpricedPolicy
from domain.errors import InvalidInput, NotFound, QuotaExceeded
from domain.store import Store, Transaction

MAX_LIMIT = Decimal(1_000_000_000)
MAX_DECIMALS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetChange:
    """A budget to set, for exactly one user or one role.

    `limit` None takes an earlier setting back, so that the next one counts: a user's, then the role's, then the
    server's. With `is_unlimited` there is no limit, whatever those say.
    """

    user_id: UUID | None = None
    role: Role | None = None
    period: BudgetPeriod
    limit: Decimal | None = None
    is_unlimited: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectiveLimit:
    """What counts for one user, or for everybody of a role who has no limit of their own; None is no limit."""

    user: User | None
    role: Role | None
    period: BudgetPeriod
    limit: Decimal | None


class BudgetService:
    """Everybody's budgets."""

    def __init__(self, *, store: Store, rules: BudgetRules, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._rules = rules
        self._clock = clock

    @property
    def rules(self) -> BudgetRules:
        """The server's own."""
        return self._rules

    async def budgets_of(self, user: User) -> tuple[Budget, ...]:
        """How a user's budgets stand: the day's, then the month's."""
        async with self._store.begin() as tx:
            return await self._read(tx, user, at=self._clock())

    async def list_role_limits(self) -> tuple[EffectiveLimit, ...]:
        """For each role and period what counts for those who have no limit of their own."""
        async with self._store.begin() as tx:
            limits = await self._role_limits(tx)
        return tuple(
            EffectiveLimit(user=None, role=role, period=period, limit=limits.get((role, period)))
            for role in Role
            for period in BudgetPeriod
        )

    async def set(self, viewer: Viewer, change: BudgetChange, *, client: Client) -> EffectiveLimit:
        """Sets a budget, or takes a setting back; answers what counts now.

        Raises InvalidInput, NotFound, and then nothing has changed.
        """
        async with self._store.begin() as tx:
            return await self.set_within(tx, viewer, change, client=client)

    async def set_within(
        self, tx: Transaction, viewer: Viewer, change: BudgetChange, *, client: Client
    ) -> EffectiveLimit:
        """The same as a part of a larger change."""
        _check(change)
        user = None if change.user_id is None else await tx.users.find(change.user_id)
        if change.user_id is not None and user is None:
            raise NotFound("There is no such user.", field=("user",))
        if change.limit is None and not change.is_unlimited:
            await tx.budgets.remove_limit(user_id=change.user_id, role=change.role, period=change.period)
        else:
            await tx.budgets.put_limit(
                BudgetLimit(user_id=change.user_id, role=change.role, period=change.period, limit=change.limit)
            )
        await tx.audit.append(
            AuditEvent(
                action=AuditAction.BUDGET_SET,
                actor_id=viewer.user.id,
                target=f"role:{change.role}" if change.user_id is None else f"user:{change.user_id}",
                ip=client.ip,
                details={
                    "period": change.period.value,
                    "limit": None if change.limit is None else str(change.limit),
                    "is_unlimited": change.is_unlimited,
                },
            )
        )
        if user is not None:
            limit = (await self._limits_of(tx, user))[change.period]
        else:
            limit = (await self._role_limits(tx)).get((change.role, change.period))
        return EffectiveLimit(user=user, role=change.role, period=change.period, limit=limit)

    async def reserve(self, tx: Transaction, user: User, amount: Decimal | None, *, at: datetime) -> None:
        """Sets aside what a request may cost, in the transaction that queues it.

        `amount` None is unknown. What is free needs no budget. Raises QuotaExceeded.
        """
        if amount == 0:
            return
        limits = await self._limits_of(tx, user)
        is_limited = any(limit is not None for limit in limits.values())
        if amount is None and is_limited and self._rules.unpriced is UnpricedPolicy.REFUSE:
            raise QuotaExceeded("The price of this model is not known, so no budget can be kept with it.")
        for period in BudgetPeriod:
            is_reserved = await tx.budgets.reserve(
                user.id,
                amount or Decimal(0),
                period=period,
                at=at,
                limit=limits[period],
                needs_rest=amount is None,
            )
            if not is_reserved:
                raise _exceeded(period, at=at)

    def is_admitted(self, budgets: tuple[Budget, ...], amount: Decimal | None) -> bool:
        """Whether a request of this cost could be reserved now."""
        if amount == 0:
            return True
        is_limited = any(budget.limit is not None for budget in budgets)
        if amount is None and is_limited and self._rules.unpriced is UnpricedPolicy.REFUSE:
            return False
        return all(budget.admits(amount) for budget in budgets)

    async def _read(self, tx: Transaction, user: User, *, at: datetime) -> tuple[Budget, ...]:
        limits = await self._limits_of(tx, user)
        spending = await tx.budgets.find_spending(user.id, at=at)
        return tuple(
            _budget_of(period, limits[period], spending.get(period, Spending()), at=at) for period in BudgetPeriod
        )

    async def _role_limits(self, tx: Transaction) -> dict[tuple[Role | None, BudgetPeriod], Decimal | None]:
        own = {(each.role, each.period): each.limit for each in await tx.budgets.list_role_limits()}
        return {(role, period): limit for (role, period), limit in self._rules.limits.items()} | own

    async def _limits_of(self, tx: Transaction, user: User) -> Mapping[BudgetPeriod, Decimal | None]:
        """A user's own limit counts before the role's, and that before the server's."""
        limits = {period: self._rules.limits.get((user.role, period)) for period in BudgetPeriod}
        found = await tx.budgets.list_limits_for(user.id, user.role)
        for each in sorted(found, key=lambda each: each.user_id is not None):
            limits[each.period] = each.limit
        return limits


def tightest(budgets: tuple[Budget, ...]) -> Budget:
    """The one of which the least is left; of those without a limit the longest."""
    limited = [(budget.remaining, budget) for budget in budgets if budget.remaining is not None]
    return min(limited, key=lambda each: each[0])[1] if limited else budgets[-1]


def _budget_of(period: BudgetPeriod, limit: Decimal | None, spending: Spending, *, at: datetime) -> Budget:
    return Budget(
        period=period,
        limit=limit,
        spent=spending.spent,
        reserved=spending.reserved,
        unpriced_count=spending.unpriced_count,
        resets_at=period.resets_at(at),
    )


def _exceeded(period: BudgetPeriod, *, at: datetime) -> QuotaExceeded:
    resets_at = period.resets_at(at)
    return QuotaExceeded(
        f"What is left of the {period.value.lower()}'s budget is not enough for this request.",
        resets_at=resets_at,
        retry_after_seconds=ceil((resets_at - at).total_seconds()),
    )


def _check(change: BudgetChange) -> None:
    if (change.user_id is None) == (change.role is None):
        raise InvalidInput("Name either a user or a role.", field=("user",))
    limit = change.limit
    if limit is None:
        return
    if change.is_unlimited:
        raise InvalidInput("A budget without a limit has none to give.", field=("limit",))
    exponent = limit.as_tuple().exponent
    if not isinstance(exponent, int) or exponent < -MAX_DECIMALS or not 0 <= limit <= MAX_LIMIT:
        raise InvalidInput(
            f"This must be from 0 to {MAX_LIMIT:,} USD, with at most {MAX_DECIMALS} decimals.", field=("limit",)
        )
