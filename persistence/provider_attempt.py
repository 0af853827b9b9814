"""The calls to AI providers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import RowMapping, and_, literal, select, update
from sqlalchemy.dialects.postgresql import insert

from domain.provider_attempt import AttemptStatus, ProviderAttempt
from persistence.billing import billing_values, usage_of
from persistence.failure import failure_of, failure_values
from persistence.generation_row import IS_RUNNING
from persistence.statements import Statements, is_one_of
from persistence.tables import content_history, provider_attempts

_IS_OPEN: Final = provider_attempts.c.status == AttemptStatus.RUNNING.value

_IS_UNBILLED: Final = and_(
    provider_attempts.c.status == AttemptStatus.INTERRUPTED.value, provider_attempts.c.input_tokens.is_(None)
)


class PostgresProviderAttempts:
    """Behind the port ProviderAttempts."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def open(self, attempt: ProviderAttempt, *, fence: int) -> bool:
        """Stores a RUNNING one; False, and nothing stored, when the generation's run has another owner by now."""
        # Until this is committed nobody can end the run, and so nobody overlooks this row when closing the run's.
        held = (
            select(content_history.c.id)
            .where(content_history.c.id == attempt.generation_id, content_history.c.fence == fence, IS_RUNNING)
            .with_for_update(read=True)
            .cte("held")
        )
        values: dict[str, Any] = {  # Any: each column has its type
            "id": attempt.id,
            "user_id": attempt.user_id,
            "generation_id": attempt.generation_id,
            "provider": attempt.provider_id,
            "model": attempt.model,
            "parameters": attempt.parameters,
            "status": attempt.status.value,
            "started_at": attempt.started_at,
        }
        columns = [literal(value, provider_attempts.c[name].type) for name, value in values.items()]
        opened = await self._statements.change(
            insert(provider_attempts)
            .from_select(list(values), select(*columns).select_from(held))
            # Again, when it is not known whether the first time took effect.
            .on_conflict_do_update(index_elements=[provider_attempts.c.id], set_={"status": attempt.status.value})
        )
        return opened == 1

    async def close(self, attempt: ProviderAttempt) -> None:
        """Stores how it ended; one that was closed already stays as it is."""
        await self._statements.change(
            update(provider_attempts)
            .where(provider_attempts.c.id == attempt.id, _IS_OPEN)
            .values(
                status=attempt.status.value,
                parameters=attempt.parameters,
                finished_at=attempt.finished_at,
                first_token_ms=attempt.first_token_ms,
                retry_at=attempt.retry_at,
                **billing_values(attempt),
                **failure_values(attempt.failure),
            )
        )

    async def list_unbilled(self, generation_ids: Sequence[UUID]) -> tuple[ProviderAttempt, ...]:
        """Those of these generations that are INTERRUPTED and have no usage yet."""
        rows = await self._statements.rows(
            select(provider_attempts)
            .where(is_one_of(provider_attempts.c.generation_id, generation_ids), _IS_UNBILLED)
            .order_by(provider_attempts.c.id)
        )
        return tuple(_attempt_of(row) for row in rows)

    async def bill(self, attempt: ProviderAttempt) -> None:
        """Stores usage and cost of one that has ended without them."""
        await self._statements.change(
            update(provider_attempts)
            .where(provider_attempts.c.id == attempt.id, _IS_UNBILLED)
            .values(billing_values(attempt))
        )

    async def list_by_generation(
        self, user_id: UUID, generation_ids: Sequence[UUID]
    ) -> dict[UUID, tuple[ProviderAttempt, ...]]:
        """Those of the user's generations, oldest first."""
        rows = await self._statements.rows(
            select(provider_attempts)
            .where(provider_attempts.c.user_id == user_id, is_one_of(provider_attempts.c.generation_id, generation_ids))
            .order_by(provider_attempts.c.started_at, provider_attempts.c.id)
        )
        found: dict[UUID, tuple[ProviderAttempt, ...]] = {}
        for row in rows:
            found[row["generation_id"]] = (*found.get(row["generation_id"], ()), _attempt_of(row))
        return found


def _attempt_of(row: RowMapping) -> ProviderAttempt:
    return ProviderAttempt(
        id=row["id"],
        user_id=row["user_id"],
        generation_id=row["generation_id"],
        provider_id=row["provider"],
        model=row["model"],
        parameters=row["parameters"],
        status=AttemptStatus(row["status"]),
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        first_token_ms=row["first_token_ms"],
        usage=usage_of(row),
        cost=row["cost_usd"],
        price_version=row["price_version"],
        failure=failure_of(row),
        retry_at=row["retry_at"],
    )
