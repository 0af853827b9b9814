"""What has been stored of many running generations since one last looked, in one query."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import Final
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Integer,
    Select,
    TableValuedAlias,
    Uuid,
    and_,
    case,
    func,
    select,
    true,
    union_all,
)

from domain.generation import Chunk, ChunkKind, Cursor, GenerationStatus, Growth
from domain.provider_attempt import FAILING
from persistence.generation_row import IS_RUNNING
from persistence.statements import Statements, values_table
from persistence.tables import content_history, generation_chunks, provider_attempts

_POSITION_OF: Final = {ChunkKind.TEXT: "text", ChunkKind.REASONING: "reasoning"}


class GenerationGrowths:
    """The part of the port Generations that follows other instances' runs."""

    _statements: Statements

    async def list_growth(self, positions: Mapping[UUID, Cursor]) -> tuple[Growth, ...]:
        """What is stored of each of these beyond its position (of another epoch: all); without deleted ones."""
        cursors = positions.values()
        known = values_table(
            "known",
            id=(Uuid(), list(positions)),
            epoch=(Integer(), [cursor.epoch for cursor in cursors]),
            text=(Integer(), [cursor.text for cursor in cursors]),
            reasoning=(Integer(), [cursor.reasoning for cursor in cursors]),
        )
        chunk = union_all(*(_beyond(known, kind) for kind in ChunkKind)).lateral("chunk")
        failed = _failed_calls().lateral("failed")
        rows = await self._statements.rows(
            select(
                content_history.c.id,
                content_history.c.status,
                content_history.c.epoch,
                content_history.c.fence,
                failed.c.size.label("failed_calls"),
                chunk.c.kind,
                chunk.c.start,
                chunk.c.text,
            )
            .select_from(
                known.join(content_history, content_history.c.id == known.c.id)
                .join(failed, true())
                .outerjoin(chunk, IS_RUNNING)
            )
            .order_by(content_history.c.id, chunk.c.start)
        )
        return tuple(
            Growth(
                generation_id=generation_id,
                status=GenerationStatus(status),
                epoch=epoch,
                failed_calls=failed_calls,
                chunks=tuple(
                    Chunk(
                        generation_id=generation_id,
                        fence=row["fence"],
                        epoch=epoch,
                        kind=ChunkKind(row["kind"]),
                        offset=row["start"],
                        text=row["text"],
                    )
                    for row in group
                    if row["kind"] is not None
                ),
            )
            for (generation_id, status, epoch, failed_calls), group in groupby(
                rows, key=lambda row: (row["id"], row["status"], row["epoch"], row["failed_calls"])
            )
        )


def _failed_calls() -> Select[int]:
    """How many calls have failed, or were not made, as long as it runs."""
    return (
        select(func.count().label("size"))
        .select_from(provider_attempts)
        .where(
            provider_attempts.c.generation_id == content_history.c.id,
            provider_attempts.c.status.in_([status.value for status in FAILING]),
            IS_RUNNING,
        )
        .correlate(content_history)
    )


def _beyond(known: TableValuedAlias, kind: ChunkKind) -> Select[tuple[str, int, str]]:
    """The chunks of one text from the one on that holds the known position; both looks go through the index."""
    chunk, earlier = generation_chunks.alias(), generation_chunks.alias()
    position = case((known.c.epoch == content_history.c.epoch, known.c[_POSITION_OF[kind]]), else_=0)
    holding = (
        select(func.max(earlier.c.start))
        .where(_is_chunk(earlier, kind), earlier.c.start <= position)
        .correlate(known, content_history)
        .scalar_subquery()
    )
    return (
        select(chunk.c.kind, chunk.c.start, chunk.c.text)
        .where(_is_chunk(chunk, kind), chunk.c.start >= func.coalesce(holding, 0))
        .correlate(known, content_history)
    )


def _is_chunk(chunk: FromClause, kind: ChunkKind) -> ColumnElement[bool]:
    return and_(
        chunk.c.generation_id == content_history.c.id,
        chunk.c.epoch == content_history.c.epoch,
        chunk.c.kind == kind.value,
    )
