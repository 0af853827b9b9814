"""Tries to sign in, counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert

from domain.sign_in_attempts import Attempts
from persistence.statements import Statements, is_one_of
from persistence.tables import sign_in_attempts


class PostgresSignInAttempts:
    """Behind the port SignInAttempts."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def lock(self, keys: Sequence[bytes], *, now: datetime) -> Mapping[bytes, Attempts]:
        """What is counted under each key, locked until the transaction ends; keys are locked in their order."""
        # In this order always, or two tries could wait for each other.
        new = [{"key": key, "failures": 0, "blocked_until": now, "updated_at": now} for key in sorted(keys)]
        await self._statements.change(insert(sign_in_attempts).values(new).on_conflict_do_nothing())
        rows = await self._statements.rows(
            select(sign_in_attempts)
            .where(is_one_of(sign_in_attempts.c.key, keys))
            .order_by(sign_in_attempts.c.key)
            .with_for_update()
        )
        return {
            row["key"]: Attempts(
                failures=row["failures"], blocked_until=row["blocked_until"], updated_at=row["updated_at"]
            )
            for row in rows
        }

    async def save(self, key: bytes, attempts: Attempts) -> None:
        """Puts this in place."""
        await self._statements.change(
            update(sign_in_attempts)
            .where(sign_in_attempts.c.key == key)
            .values(failures=attempts.failures, blocked_until=attempts.blocked_until, updated_at=attempts.updated_at)
        )

    async def take_back(self, keys: Sequence[bytes], *, forgetting: bytes | None = None) -> None:
        """One failure less under each key, and none under one; keys are locked in their order."""
        for key in sorted({*keys} if forgetting is None else {*keys, forgetting}):
            values: dict[str, object] = {"failures": func.greatest(sign_in_attempts.c.failures - 1, 0)}
            if key == forgetting:
                values = {"failures": 0, "blocked_until": sign_in_attempts.c.updated_at}
            await self._statements.change(
                update(sign_in_attempts).where(sign_in_attempts.c.key == key).values(**values)
            )

    async def purge(self, *, updated_before: datetime) -> int:
        """Deletes what was last counted before then; answers how many."""
        return await self._statements.change(
            delete(sign_in_attempts).where(sign_in_attempts.c.updated_at < updated_before)
        )
