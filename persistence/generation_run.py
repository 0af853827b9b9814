"""The runs of generations: claimed, kept, written and ended by one owner at a time, whom the fence tells from others.

Whatever takes a run from its owner, or ends it, updates the generation's row; whatever its owner writes locks that row
first. Where there are several, locked rows are not waited for: whoever holds one keeps up that run and no other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    DateTime,
    Integer,
    Subquery,
    TableValuedAlias,
    Text,
    Uuid,
    and_,
    case,
    delete,
    exists,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from domain.generation import (
    INTERRUPTED_RUN,
    Appended,
    Chunk,
    ChunkKind,
    Generation,
    GenerationStatus,
    Outcome,
    RecoveryPolicy,
)
from domain.provider_attempt import AttemptStatus
from domain.publication import NO_ANSWER, PublicationStatus
from persistence.advisory_lock import AdvisoryLock
from persistence.failure import failure_values
from persistence.generation_row import GENERATION_COLUMNS, IS_OPEN, IS_QUEUED, IS_RUNNING, generation_of, has_status
from persistence.generation_text import text_in_chunks
from persistence.statements import Statements, is_one_of, values_table
from persistence.tables import content_history, generation_chunks, provider_attempts, publications

_NO_OWNER: Final = {"owner": None, "lease_until": None}


class GenerationRuns:
    """The part of the port Generations that works on running ones."""

    _statements: Statements

    async def claim(
        self, *, size: int, per_user: int, owner: str, now: datetime, lease: timedelta
    ) -> tuple[Generation, ...]:
        """Takes queued generations to run: marks them RUNNING with a new fence; fair between users.

        A user's next generation stands behind as many of others as the user has running or in front of it.
        """
        # Two instances that counted a user's runs at the same time would both find room for one more. The count comes
        # in a statement of its own, so that it sees what was committed before the lock was given.
        if not await self._statements.rows(AdvisoryLock.GENERATION_CLAIM.taken().where(exists().where(IS_QUEUED))):
            return ()
        queue = _queue()
        picked = (
            select(content_history.c.id, queue.c.place)
            .join_from(content_history, queue, queue.c.id == content_history.c.id)
            .where(IS_QUEUED, queue.c.place <= per_user)
            .order_by(queue.c.place, queue.c.id)
            .limit(size)
            .with_for_update(of=content_history, skip_locked=True)
            .cte("picked")
        )
        is_restart = content_history.c.started_at.is_not(None)
        rows = await self._statements.rows(
            update(content_history)
            .where(content_history.c.id == picked.c.id)
            .values(
                status=GenerationStatus.RUNNING.value,
                fence=content_history.c.fence + 1,
                epoch=content_history.c.epoch + case((is_restart, 1), else_=0),
                owner=owner,
                lease_until=_database_time() + lease,
                started_at=now,
            )
            .returning(*GENERATION_COLUMNS, picked.c.place)
            .add_cte(
                delete(generation_chunks).where(generation_chunks.c.generation_id == picked.c.id).cte("thrown_away")
            )
        )
        return tuple(generation_of(row) for row in sorted(rows, key=lambda row: (row["place"], row["id"])))

    async def recover_abandoned(self, *, now: datetime, policy: RecoveryPolicy, up_for: timedelta) -> tuple[UUID, ...]:
        """Deals with runs whose lease has ended, unless the database has not been `up_for` that long.

        Those that were asked to stop become CANCELLED, others that the policy gives up INTERRUPTED, both with what is
        stored; the rest are QUEUED again. Of their calls to providers nothing more will be heard.
        """
        abandoned = await self._statements.rows(
            select(content_history.c.id)
            .where(
                IS_RUNNING,
                content_history.c.lease_until < _database_time(),
                func.pg_postmaster_start_time(type_=DateTime(timezone=True)) <= _database_time() - up_for,
            )
            .order_by(content_history.c.id)
            .with_for_update(skip_locked=True)
        )
        if not abandoned:
            return ()
        ids = tuple(row["id"] for row in abandoned)
        is_cancelled = content_history.c.cancel_requested_at.is_not(None)
        has_text = exists().where(
            generation_chunks.c.generation_id == content_history.c.id,
            generation_chunks.c.epoch == content_history.c.epoch,
        )
        is_given_up = content_history.c.fence >= policy.max_starts
        if not policy.restarts_shown:
            is_given_up = or_(is_given_up, has_text)
        ended = await self._statements.rows(
            update(content_history)
            .where(is_one_of(content_history.c.id, ids), or_(is_cancelled, is_given_up))
            .values(
                status=case((is_cancelled, GenerationStatus.CANCELLED.value), else_=GenerationStatus.INTERRUPTED.value),
                generated_content=text_in_chunks(ChunkKind.TEXT),
                reasoning=text_in_chunks(ChunkKind.REASONING),
                finished_at=now,
                failure_code=case((is_cancelled, None), else_=INTERRUPTED_RUN.code.value),
                failure_message=case((is_cancelled, None), else_=INTERRUPTED_RUN.message),
                **_NO_OWNER,
            )
            .returning(content_history.c.id)
        )
        ended_ids = tuple(row["id"] for row in ended)
        await self._statements.change(
            update(content_history)
            .where(is_one_of(content_history.c.id, ids), IS_RUNNING)
            .values(status=GenerationStatus.QUEUED.value, **_NO_OWNER)
        )
        await self._statements.change(
            delete(generation_chunks).where(is_one_of(generation_chunks.c.generation_id, ended_ids))
        )
        await self._statements.change(
            update(publications)
            .where(
                is_one_of(publications.c.generation_id, ended_ids),
                has_status(publications.c.status, PublicationStatus.PENDING),
            )
            .values(status=PublicationStatus.FAILED.value, **failure_values(NO_ANSWER))
        )
        await self._statements.change(
            update(provider_attempts)
            .where(
                is_one_of(provider_attempts.c.generation_id, ids),
                provider_attempts.c.status == AttemptStatus.RUNNING.value,
            )
            .values(status=AttemptStatus.INTERRUPTED.value, finished_at=now)
        )
        return ids

    async def renew_leases(self, runs: Mapping[UUID, int], *, lease: timedelta) -> frozenset[UUID]:
        """Extends the leases of these ids with these fences; answers the ids that are still held.

        Among them are those whose row is locked at the moment: they keep the lease that they have.
        """
        given = values_table("given", generation_id=(Uuid(), list(runs)), fence=(Integer(), list(runs.values())))
        held = (
            select(content_history.c.id)
            .join_from(
                content_history,
                given,
                and_(given.c.generation_id == content_history.c.id, given.c.fence == content_history.c.fence),
            )
            .where(IS_RUNNING)
        )
        free = held.with_for_update(of=content_history, key_share=True, skip_locked=True).cte("free")
        renewal = (
            update(content_history)
            .where(content_history.c.id == free.c.id)
            .values(lease_until=_database_time() + lease)
        )
        rows = await self._statements.rows(held.add_cte(renewal.cte("renewal")))
        return frozenset(row["id"] for row in rows)

    async def find_queue_position(self, generation_id: UUID) -> int | None:
        """Where a queued one stands in line: 1 is next; None when it is not queued."""
        queue = _queue()
        line = select(queue.c.id, func.row_number().over(order_by=(queue.c.place, queue.c.id)).label("position"))
        in_line = line.subquery("line")
        row = await self._statements.row(select(in_line.c.position).where(in_line.c.id == generation_id))
        return None if row is None else row["position"]

    async def release(self, generation_id: UUID, *, fence: int) -> bool:
        """Gives back a run, so that it is queued again; False also when somebody has asked to stop it."""
        released = await self._statements.change(
            update(content_history)
            .where(_is_run(generation_id, fence), content_history.c.cancel_requested_at.is_(None))
            .values(status=GenerationStatus.QUEUED.value, **_NO_OWNER)
        )
        return released == 1

    async def request_cancel(self, user_id: UUID, generation_id: UUID, *, now: datetime) -> Generation | None:
        """Ends a queued one at once as CANCELLED, marks a running one; None when the user has no such generation.

        One that waits to start again keeps what is stored of its first try.
        """
        is_users = and_(content_history.c.id == generation_id, content_history.c.user_id == user_id)
        row = await self._statements.row(
            update(content_history)
            .where(is_users, IS_OPEN)
            .values(
                status=case((IS_QUEUED, GenerationStatus.CANCELLED.value), else_=content_history.c.status),
                finished_at=case((IS_QUEUED, now), else_=None),
                cancel_requested_at=func.coalesce(content_history.c.cancel_requested_at, now),
            )
            .returning(*GENERATION_COLUMNS)
        )
        if row is None:
            row = await self._statements.row(select(*GENERATION_COLUMNS).where(is_users))
        elif row["started_at"] is not None and row["status"] == GenerationStatus.CANCELLED.value:
            # Statements of their own: they see the chunks that were committed while the first waited for the row.
            await self._statements.change(
                update(content_history)
                .where(is_users)
                .values(generated_content=text_in_chunks(ChunkKind.TEXT), reasoning=text_in_chunks(ChunkKind.REASONING))
            )
            await self._statements.change(
                delete(generation_chunks).where(generation_chunks.c.generation_id == generation_id)
            )
        return None if row is None else generation_of(row)

    async def list_cancel_requested(self, generation_ids: Sequence[UUID]) -> frozenset[UUID]:
        """Which of these running ones somebody has asked to stop."""
        rows = await self._statements.rows(
            select(content_history.c.id).where(
                is_one_of(content_history.c.id, generation_ids),
                IS_RUNNING,
                content_history.c.cancel_requested_at.is_not(None),
            )
        )
        return frozenset(row["id"] for row in rows)

    async def append_chunks(self, chunks: Sequence[Chunk]) -> Appended:
        """Stores chunks of many runs in one statement, but for those whose row is locked at the moment.

        A chunk may come again, longer too, as it does when it is not known whether its first storing took effect.
        """
        incoming = _table_of(chunks)
        held = select(content_history.c.id, content_history.c.fence, content_history.c.epoch).where(
            exists().where(
                incoming.c.generation_id == content_history.c.id,
                incoming.c.fence == content_history.c.fence,
                incoming.c.epoch == content_history.c.epoch,
            ),
            IS_RUNNING,
        )
        # Until this is committed nobody can end the run; what somebody is just ending is left alone.
        free = held.with_for_update(read=True, skip_locked=True).cte("free")
        is_free = and_(
            free.c.id == incoming.c.generation_id,
            free.c.fence == incoming.c.fence,
            free.c.epoch == incoming.c.epoch,
        )
        names = ("generation_id", "epoch", "kind", "start", "text")
        insertion = insert(generation_chunks).from_select(
            names,
            select(*(incoming.c[name] for name in names))
            .join_from(incoming, free, is_free)
            .where(incoming.c.text != ""),
        )
        longer = insertion.excluded.text
        stored = insertion.on_conflict_do_update(
            index_elements=list(generation_chunks.primary_key),
            set_={"text": longer},
            where=func.char_length(longer) > func.char_length(generation_chunks.c.text),
        )
        rows = await self._statements.rows(
            held.add_columns(exists().where(free.c.id == content_history.c.id).label("is_free")).add_cte(
                stored.cte("stored")
            )
        )
        return Appended(
            stored=frozenset(row["id"] for row in rows if row["is_free"]),
            held=frozenset(row["id"] for row in rows),
        )

    async def finish(self, generation_id: UUID, *, fence: int, outcome: Outcome, now: datetime) -> bool:
        """Ends the run: the outcome, the whole text in place of its chunks."""
        ended = await self._statements.change(
            update(content_history)
            .where(_is_run(generation_id, fence))
            .values(
                status=outcome.status.value,
                generated_content=outcome.content,
                reasoning=outcome.reasoning,
                finish_reason=outcome.finish_reason,
                finished_at=now,
                **failure_values(outcome.failure),
                **_NO_OWNER,
            )
        )
        if ended == 0:
            return False
        # A statement of its own: it sees the chunks that were committed while the first waited for the row.
        await self._statements.change(
            delete(generation_chunks).where(generation_chunks.c.generation_id == generation_id)
        )
        return True


def _queue() -> Subquery:
    """The queued ones, each with its place: how many of the user's own are running or stand in line up to it."""
    running = (
        select(content_history.c.user_id, func.count().label("size"))
        .where(IS_RUNNING)
        .group_by(content_history.c.user_id)
        .subquery("running")
    )
    number = func.row_number().over(partition_by=content_history.c.user_id, order_by=content_history.c.id)
    return (
        select(content_history.c.id, (number + func.coalesce(running.c.size, 0)).label("place"))
        .outerjoin_from(content_history, running, running.c.user_id == content_history.c.user_id)
        .where(IS_QUEUED)
        .subquery("queue")
    )


def _database_time() -> ColumnElement[datetime]:
    """What leases go by: one clock for all instances, at the moment when the row is written or looked at."""
    return func.clock_timestamp(type_=DateTime(timezone=True))


def _is_run(generation_id: UUID, fence: int) -> ColumnElement[bool]:
    return and_(content_history.c.id == generation_id, content_history.c.fence == fence, IS_RUNNING)


def _table_of(chunks: Sequence[Chunk]) -> TableValuedAlias:
    # No key may come twice in one statement: of equal ones the longest says all.
    by_length = sorted(chunks, key=lambda chunk: len(chunk.text))
    unique = {(chunk.generation_id, chunk.fence, chunk.epoch, chunk.kind, chunk.offset): chunk for chunk in by_length}
    given = tuple(unique.values())
    return values_table(
        "incoming",
        generation_id=(Uuid(), [chunk.generation_id for chunk in given]),
        fence=(Integer(), [chunk.fence for chunk in given]),
        epoch=(Integer(), [chunk.epoch for chunk in given]),
        kind=(Text(), [chunk.kind.value for chunk in given]),
        start=(Integer(), [chunk.offset for chunk in given]),
        text=(Text(), [chunk.text for chunk in given]),
    )
