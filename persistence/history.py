"""A user's history: pages and counts of their generations, filtered, without long texts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final
from uuid import UUID

from sqlalchemy import Column, ColumnElement, exists, func, literal_column, select
from sqlalchemy.dialects.postgresql import REGCONFIG

from domain.generation import Generation, HistoryFilter, HistoryOrder
from domain.page import Page, PageRequest
from domain.publication import PublicationStatus
from persistence.generation_row import GENERATION_COLUMNS, generation_of, has_status
from persistence.paging import read_page
from persistence.statements import Statements, is_one_of
from persistence.tables import SEARCH_SEPARATORS, content_history, publications

# No language's rules, for a history has many languages; the same as in the column that is searched.
_SIMPLE: Final = literal_column("'pg_catalog.simple'::regconfig", REGCONFIG)
_SEPARATOR: Final = re.compile(rf"[{re.escape(SEARCH_SEPARATORS.replace('-', ''))}]|(?<=[^\s\"])-|-(?=\s|$)")


class GenerationHistory:
    """The part of the port Generations that lists a user's own."""

    _statements: Statements

    async def list_history(
        self, user_id: UUID, page: PageRequest, *, where: HistoryFilter, order: HistoryOrder
    ) -> Page[Generation]:
        """A page of a user's generations, without long texts."""
        return await read_page(
            self._statements,
            select(*GENERATION_COLUMNS),
            page,
            # Ids are time-ordered, so the id is the order and the position in one.
            position=content_history.c.id,
            conditions=tuple(_conditions(user_id, where)),
            is_descending=order is HistoryOrder.NEWEST_FIRST,
            read=generation_of,
        )

    async def count_history(self, user_id: UUID, *, where: HistoryFilter) -> int:
        """How many there are in all."""
        row = await self._statements.row(
            select(func.count().label("size")).select_from(content_history).where(*_conditions(user_id, where))
        )
        return 0 if row is None else row["size"]


def _conditions(user_id: UUID, where: HistoryFilter) -> Iterator[ColumnElement[bool]]:
    column = content_history.c
    yield column.user_id == user_id
    if where.search is not None:
        yield column.search.bool_op("@@")(func.websearch_to_tsquery(_SIMPLE, _words_of(where.search)))
    yield from _is_among(column.status, where.statuses)
    yield from _is_among(column.provider, where.provider_ids)
    yield from _is_among(column.model, where.models)
    if where.created_after is not None:
        yield column.created_at >= where.created_after
    if where.created_before is not None:
        yield column.created_at < where.created_before
    if where.is_published is not None:
        is_published = exists().where(
            publications.c.user_id == column.user_id,
            publications.c.generation_id == column.id,
            has_status(publications.c.status, PublicationStatus.PUBLISHED),
        )
        yield is_published if where.is_published else ~is_published


def _words_of(search: str) -> str:
    """The search with its words parted as those of the texts are; a minus before a word or quotation means "not"."""
    return _SEPARATOR.sub(" ", search)


def _is_among(column: Column[str], values: frozenset[str]) -> Iterator[ColumnElement[bool]]:
    if len(values) == 1:
        yield column == next(iter(values))  # Then the index has the rows in the history's order.
    elif values:
        yield is_one_of(column, sorted(values))
