"""Keyset pagination over rows whose time-ordered id is their order and their position in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import Column, ColumnElement, RowMapping, Select, exists, select, true

from domain.page import Page, PageRequest
from persistence.statements import Statements

T = TypeVar("T")


async def read_page(
    statements: Statements,
    query: Select[Any],  # of whatever columns
    page: PageRequest,
    *,
    position: Column[UUID],
    conditions: Sequence[ColumnElement[bool]],
    is_descending: bool,
    read: Callable[[RowMapping], T],
) -> Page[T]:
    """The slice of the rows that fulfil the conditions, and whether there are more on either side."""
    is_read_descending = is_descending is not page.is_backward
    rows = await statements.rows(
        query.where(
            *conditions,
            true() if page.after is None else _is_after(position, page.after, is_descending=is_descending),
            true() if page.before is None else _is_after(position, page.before, is_descending=not is_descending),
        )
        .order_by(position.desc() if is_read_descending else position.asc())
        .limit(page.size + 1)
    )
    items = [read(row) for row in rows[: page.size]]
    if page.is_backward:
        items.reverse()
    has_rest = len(rows) > page.size
    has_previous = page.is_backward and has_rest
    has_next = has_rest and not page.is_backward

    async def has_any(side: ColumnElement[bool]) -> bool:
        row = await statements.row(select(exists().where(*conditions, side).label("is_there")))
        return row is not None and row["is_there"]

    # On its other side the slice reaches to a cursor: the list goes on if anything is there or beyond.
    if page.after is not None and not has_previous:
        has_previous = await has_any(_is_from(position, page.after, is_descending=not is_descending))
    if page.before is not None and not has_next:
        has_next = await has_any(_is_from(position, page.before, is_descending=is_descending))
    return Page(items=tuple(items), has_previous=has_previous, has_next=has_next)


def _is_after(position: Column[UUID], id_: UUID, *, is_descending: bool) -> ColumnElement[bool]:
    return position < id_ if is_descending else position > id_


def _is_from(position: Column[UUID], id_: UUID, *, is_descending: bool) -> ColumnElement[bool]:
    return position <= id_ if is_descending else position >= id_
