"""The texts that generations have: whole in their row when they have ended, in chunks while they are written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Integer,
    ScalarSelect,
    and_,
    case,
    func,
    literal,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by

from domain.generation import ChunkKind, Cursor, Progress, Transcript
from persistence.generation_row import GENERATION_COLUMNS, IS_OPEN, generation_of
from persistence.statements import Statements, is_one_of
from persistence.tables import content_history, generation_chunks

_FINAL_TEXT: Final = {
    ChunkKind.TEXT: content_history.c.generated_content,
    ChunkKind.REASONING: content_history.c.reasoning,
}
_MAX_POSITION: Final = 2**31 - 2


class GenerationTexts:
    """The part of the port Generations that reads long texts."""

    _statements: Statements

    async def list_transcripts(self, user_id: UUID, generation_ids: Sequence[UUID]) -> dict[UUID, Transcript]:
        """The long texts of those that are the user's, a running generation's as flushed so far."""
        rows = await self._statements.rows(
            select(
                content_history.c.id,
                content_history.c.prompt,
                content_history.c.system_prompt,
                *(
                    case((IS_OPEN, text_in_chunks(kind)), else_=_FINAL_TEXT[kind]).label(kind.value)
                    for kind in ChunkKind
                ),
            ).where(content_history.c.user_id == user_id, is_one_of(content_history.c.id, generation_ids))
        )
        return {
            row["id"]: Transcript(
                prompt=row["prompt"],
                system_prompt=row["system_prompt"],
                content=row[ChunkKind.TEXT.value],
                reasoning=row[ChunkKind.REASONING.value],
            )
            for row in rows
        }

    async def progress(self, generation_id: UUID, cursor: Cursor) -> Progress | None:
        """What is stored beyond the cursor; None when the generation has been deleted."""
        # Clients may send any cursor; one that no text reaches is as good as the greatest that PostgreSQL can count to.
        epoch, text, reasoning = (
            min(position, _MAX_POSITION) for position in (cursor.epoch, cursor.text, cursor.reasoning)
        )
        final_length = {kind: func.char_length(final_text) for kind, final_text in _FINAL_TEXT.items()}
        present = (
            select(
                *GENERATION_COLUMNS,
                content_history.c.generated_content,
                content_history.c.reasoning,
                IS_OPEN.label("is_open"),
                # Of an epoch whose text still grows a cursor beyond what is stored is only early: another instance has
                # shown the text already, and in one epoch there is no other.
                or_(
                    content_history.c.epoch != epoch,
                    and_(
                        ~IS_OPEN,
                        or_(
                            final_length[ChunkKind.TEXT] < text,
                            final_length[ChunkKind.REASONING] < reasoning,
                        ),
                    ),
                ).label("is_restarted"),
            )
            .where(content_history.c.id == generation_id)
            .cte("present")
            .prefix_with("MATERIALIZED")  # Computed once; merged into the rest it would be anew for every chunk.
        )
        row = await self._statements.row(
            select(
                *(present.c[column.name] for column in GENERATION_COLUMNS),
                present.c.is_restarted,
                _beyond(text, ChunkKind.TEXT, present, present.c.generated_content),
                _beyond(reasoning, ChunkKind.REASONING, present, present.c.reasoning),
            )
        )
        if row is None:
            return None
        return Progress(
            generation=generation_of(row),
            text=row[ChunkKind.TEXT.value],
            reasoning=row[ChunkKind.REASONING.value],
            is_restarted=row["is_restarted"],
        )


def text_in_chunks(kind: ChunkKind) -> ColumnElement[str]:
    """All that is stored of a generation's text in its present epoch."""
    chunk = generation_chunks.c
    joined = select(func.string_agg(chunk.text, aggregate_order_by(literal(""), chunk.start))).where(
        _is_chunk_of(content_history, kind)
    )
    return func.coalesce(joined.correlate(content_history).scalar_subquery(), "")


def _beyond(position: int, kind: ChunkKind, present: FromClause, final_text: ColumnElement[str]) -> ColumnElement[str]:
    """The text from the position on, reading no chunk that ends before it."""
    chunk = generation_chunks.c
    first = case((present.c.is_restarted, 0), else_=literal(position, Integer))
    is_of_generation = _is_chunk_of(present, kind)
    start_of_first: ScalarSelect[int] = (
        select(func.max(chunk.start)).where(is_of_generation, chunk.start <= first).correlate(present).scalar_subquery()
    )
    rest = func.substr(chunk.text, func.greatest(first - chunk.start, 0) + 1)
    joined = (
        select(func.string_agg(rest, aggregate_order_by(literal(""), chunk.start)))
        .where(is_of_generation, chunk.start >= func.coalesce(start_of_first, 0))
        .correlate(present)
        .scalar_subquery()
    )
    return case((present.c.is_open, func.coalesce(joined, "")), else_=func.substr(final_text, first + 1)).label(
        kind.value
    )


def _is_chunk_of(generation: FromClause, kind: ChunkKind) -> ColumnElement[bool]:
    chunk = generation_chunks.c
    return and_(chunk.generation_id == generation.c.id, chunk.epoch == generation.c.epoch, chunk.kind == kind.value)
