"""The generations: adding, finding and deleting them; their runs, texts and history are in files of their own."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final
from uuid import UUID

from sqlalchemy import Integer, and_, delete, func, insert, literal, not_, select, update

from domain.generation import Generation, GenerationStatus, NewGeneration
from domain.provider import FinishReason
from persistence.generation_growth import GenerationGrowths
from persistence.generation_row import GENERATION_COLUMNS, IS_OPEN, generation_of
from persistence.generation_run import GenerationRuns
from persistence.generation_text import GenerationTexts
from persistence.history import GenerationHistory
from persistence.notifications import work_announced
from persistence.statements import Statements, is_one_of
from persistence.tables import content_history, provider_attempts, user_settings

_NO_CALL: Final = "nothing billed"


class PostgresGenerations(GenerationRuns, GenerationTexts, GenerationGrowths, GenerationHistory):
    """Behind the port Generations."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def add(self, generation: NewGeneration) -> None:
        """Queues it. Raises Conflict when the user has used the idempotency key before."""
        await self._statements.change(
            insert(content_history).values(
                **_values_of(generation),
                reserved_usd=generation.reserved,
                status=GenerationStatus.QUEUED.value,
            )
        )
        await self._statements.rows(work_announced())

    async def add_answered(self, generation: NewGeneration, *, content: str, reasoning: str) -> None:
        """Adds one that has succeeded already, at no cost. Raises Conflict like `add`."""
        await self._statements.change(
            insert(content_history).values(
                **_values_of(generation),
                status=GenerationStatus.SUCCEEDED.value,
                generated_content=content,
                reasoning=reasoning,
                is_cached=True,
                input_tokens=0,
                cached_input_tokens=0,
                cache_write_tokens=0,
                output_tokens=0,
                reasoning_tokens=0,
                cost_usd=Decimal(0),
                price_version=_NO_CALL,
                finish_reason=FinishReason.STOP.value,
                started_at=generation.created_at,
                finished_at=generation.created_at,
            )
        )
        # There may be a publication that has waited for it.
        await self._statements.rows(work_announced())

    async def exists(self, generation_id: UUID) -> bool:
        """Whether it is there, whosever it is."""
        return (
            await self._statements.row(select(content_history.c.id).where(content_history.c.id == generation_id))
            is not None
        )

    async def list_cache_keys(self, user_id: UUID, *, finished_after: datetime) -> tuple[bytes, ...]:
        """Under which the user's answers of that time may be kept."""
        rows = await self._statements.rows(
            select(content_history.c.cache_key)
            .where(
                content_history.c.user_id == user_id,
                content_history.c.cache_key.is_not(None),
                content_history.c.finished_at > finished_after,
            )
            .distinct()
        )
        return tuple(row["cache_key"] for row in rows)

    async def find_by_idempotency_key(
        self, user_id: UUID, key: str, *, created_after: datetime
    ) -> tuple[Generation, bytes] | None:
        """The generation made with this key, and the hash of its input."""
        row = await self._statements.row(
            select(*GENERATION_COLUMNS, content_history.c.request_hash).where(
                content_history.c.user_id == user_id,
                content_history.c.idempotency_key == key,
                content_history.c.created_at > created_after,
            )
        )
        return None if row is None else (generation_of(row), row["request_hash"])

    async def forget_idempotency_key(self, user_id: UUID, key: str, *, created_before: datetime) -> None:
        """Makes a key free again whose generation is older than that."""
        await self._statements.change(
            update(content_history)
            .where(
                content_history.c.user_id == user_id,
                content_history.c.idempotency_key == key,
                content_history.c.created_at <= created_before,
            )
            .values(idempotency_key=None)
        )

    async def find(self, user_id: UUID, generation_id: UUID) -> Generation | None:
        """A user's generation."""
        return (await self.find_many(user_id, (generation_id,))).get(generation_id)

    async def hold_status(self, user_id: UUID, generation_id: UUID) -> GenerationStatus | None:
        """The status of a user's generation, which nobody changes before the transaction has ended."""
        row = await self._statements.row(
            select(content_history.c.status)
            .where(content_history.c.user_id == user_id, content_history.c.id == generation_id)
            .with_for_update(read=True)
        )
        return None if row is None else GenerationStatus(row["status"])

    async def find_many(self, user_id: UUID, generation_ids: Sequence[UUID]) -> dict[UUID, Generation]:
        """Those of the ids that are the user's."""
        rows = await self._statements.rows(
            select(*GENERATION_COLUMNS).where(
                content_history.c.user_id == user_id, is_one_of(content_history.c.id, generation_ids)
            )
        )
        return {row["id"]: generation_of(row) for row in rows}

    async def list_expired(self, *, now: datetime, server_days: int | None, size: int) -> dict[UUID, list[UUID]]:
        """Ended ones that are older than their user or the server keeps them, the ids by user; the oldest first."""
        # LEAST leaves out what is NULL.
        days = func.least(user_settings.c.retention_days, literal(server_days, Integer))
        rows = await self._statements.rows(
            select(content_history.c.id, content_history.c.user_id)
            .outerjoin_from(content_history, user_settings, user_settings.c.user_id == content_history.c.user_id)
            .where(content_history.c.created_at < now - func.make_interval(0, 0, 0, days), not_(IS_OPEN))
            .order_by(content_history.c.id)
            .limit(size)
        )
        expired: dict[UUID, list[UUID]] = {}
        for row in rows:
            expired.setdefault(row["user_id"], []).append(row["id"])
        return expired

    async def delete(self, user_id: UUID, generation_ids: Sequence[UUID]) -> tuple[UUID, ...]:
        """Deletes those that are the user's and final, with their publications; answers the deleted ones.

        What is known of their pages stays, so that no later publication takes one of them for its own; and so does
        what was spent on them, without the providers' words.
        """
        is_to_go = and_(
            content_history.c.user_id == user_id, is_one_of(content_history.c.id, generation_ids), not_(IS_OPEN)
        )
        await self._statements.change(
            update(provider_attempts)
            .where(
                provider_attempts.c.generation_id == content_history.c.id,
                provider_attempts.c.failure_message.is_not(None),
                is_to_go,
            )
            .values(failure_message="")
        )
        rows = await self._statements.rows(delete(content_history).where(is_to_go).returning(content_history.c.id))
        return tuple(row["id"] for row in rows)


def _values_of(generation: NewGeneration) -> dict[str, object]:
    return {
        "id": generation.id,
        "user_id": generation.user_id,
        "parent_id": generation.parent_id,
        "provider": generation.provider_id,
        "model": generation.model,
        "parameters": generation.parameters,
        "fallback": [{"provider": each.provider_id, "model": each.model} for each in generation.fallback],
        "prompt": generation.prompt,
        "system_prompt": generation.system_prompt,
        "idempotency_key": generation.idempotency_key,
        "request_hash": generation.request_hash,
        "created_at": generation.created_at,
        "cache_key": generation.cache_key,
    }
