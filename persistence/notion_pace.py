"""The allowances of connections to Notion: one row each, changed by one statement for each request.

A row holds the time up to which the allowance is used (`used_until`); a request moves it by one interval. This is the
generic cell rate algorithm: a bucket that refills by itself.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from sqlalchemy import bindparam, delete, func, literal, text
from sqlalchemy.dialects.postgresql import insert

from domain.notion_pace import (
    BURST_SECONDS,
    LOWERED_TO,
    RECOVERY_PER_MINUTE,
    SECONDS_PER_LIMIT,
    Turn,
)
from persistence.statements import Statements
from persistence.tables import notion_paces

# `seen` is materialised, so that everything looks at one moment, and at one after the row's lock was waited for.
_TAKE: Final = text(
    f"""
    WITH row AS MATERIALIZED (SELECT * FROM notion_paces WHERE key = :key FOR UPDATE),
    seen AS MATERIALIZED (SELECT row.*, clock_timestamp() AS now FROM row),
    pace AS MATERIALIZED (
        SELECT
            key, now,
            coalesce(greatest(0, extract(epoch FROM held_until - now)), 0)::double precision AS held_seconds,
            is_blocked,
            least(
                :limit_per_minute,
                per_minute + {RECOVERY_PER_MINUTE} * extract(epoch FROM now - seen_at)::double precision / 60
            ) AS per_minute,
            greatest(0, extract(epoch FROM used_until - now))::double precision AS ahead_seconds
        FROM seen
    ),
    turn AS MATERIALIZED (
        SELECT *, {SECONDS_PER_LIMIT} / per_minute AS interval_seconds FROM pace
    ),
    decided AS MATERIALIZED (
        SELECT *, held_seconds = 0 AND ahead_seconds + interval_seconds <= :ahead_seconds AS is_granted FROM turn
    )
    UPDATE notion_paces SET
        per_minute = decided.per_minute,
        seen_at = decided.now,
        is_blocked = decided.is_blocked AND decided.held_seconds > 0,
        used_until = CASE
            WHEN decided.is_granted
            THEN decided.now + make_interval(secs => decided.ahead_seconds + decided.interval_seconds)
            ELSE notion_paces.used_until
        END
    FROM decided WHERE notion_paces.key = decided.key
    RETURNING
        decided.is_granted,
        notion_paces.is_blocked,
        greatest(
            0,
            decided.held_seconds,
            decided.ahead_seconds + decided.interval_seconds
                - CASE WHEN decided.is_granted THEN {BURST_SECONDS} ELSE :ahead_seconds END
        ) AS wait_seconds
    """  # noqa: S608  (numbers of our own)
).bindparams(bindparam("key"), bindparam("limit_per_minute"), bindparam("ahead_seconds"))

# Refusals that come while everybody holds still already are the answers to what was under way.
_HOLD: Final = text(
    f"""
    UPDATE notion_paces SET
        per_minute = CASE
            WHEN held_until > clock_timestamp() THEN per_minute
            ELSE greatest(least(:lowest_per_minute, per_minute), per_minute * {LOWERED_TO})
        END,
        is_blocked = is_blocked OR :is_blocked,
        held_until = greatest(held_until, clock_timestamp() + make_interval(secs => :seconds))
    WHERE key = :key
    RETURNING key
    """  # noqa: S608  (numbers of our own)
).bindparams(bindparam("key"), bindparam("seconds"), bindparam("lowest_per_minute"), bindparam("is_blocked"))


class PostgresNotionPaces:
    """Behind the port NotionPaces."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def take(self, key: str, *, limit_per_minute: float, ahead_seconds: float) -> Turn:
        """Takes one request from the allowance, if it may run so far ahead."""
        statement = _TAKE.bindparams(key=key, limit_per_minute=float(limit_per_minute), ahead_seconds=ahead_seconds)
        row = await self._statements.row(statement)
        if row is None:
            await self._statements.change(
                insert(notion_paces)
                .values(key=key, per_minute=float(limit_per_minute))
                .on_conflict_do_nothing(index_elements=[notion_paces.c.key])
            )
            row = await self._statements.row(statement)
        if row is None:
            raise RuntimeError("The row of a connection's allowance has vanished.")
        return Turn(is_granted=row["is_granted"], is_blocked=row["is_blocked"], wait_seconds=row["wait_seconds"])

    async def hold(self, key: str, *, seconds: float, lowest_per_minute: float, is_blocked: bool) -> None:
        """Nobody asks for so long, and then at a lower pace. `is_blocked`: Notion wants no requests at all."""
        await self._statements.row(
            _HOLD.bindparams(
                key=key, seconds=float(seconds), lowest_per_minute=float(lowest_per_minute), is_blocked=is_blocked
            )
        )

    async def purge(self, *, idle: timedelta) -> int:
        """Forgets connections that were not used for so long; answers how many."""
        return await self._statements.change(
            delete(notion_paces).where(notion_paces.c.seen_at < func.clock_timestamp() - literal(idle))
        )
