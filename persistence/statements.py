"""Runs statements on a transaction's connection, with the database's faults translated."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from sqlalchemy import (
    ColumnElement,
    Executable,
    RowMapping,
    TableValuedAlias,
    UpdateBase,
    any_,
    column,
    func,
    literal,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import TypeEngine

from persistence.faults import translated_faults

T = TypeVar("T")


class Statements:
    """The one way from the repositories to the database."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def rows(self, statement: Executable) -> Sequence[RowMapping]:
        """All rows, by column name."""
        with translated_faults():
            return (await self._connection.execute(statement)).mappings().all()

    async def row(self, statement: Executable) -> RowMapping | None:
        """The first row."""
        with translated_faults():
            return (await self._connection.execute(statement)).mappings().first()

    async def run(self, statement: Executable) -> None:
        """Whatever answers nothing."""
        with translated_faults():
            await self._connection.execute(statement)

    async def change(self, statement: UpdateBase) -> int:
        """How many rows were inserted, updated or deleted."""
        with translated_faults():
            return (await self._connection.execute(statement)).rowcount


def is_one_of(column: ColumnElement[T], values: Iterable[T]) -> ColumnElement[bool]:
    """One statement, and so one prepared plan, however many values there are (IN has a parameter for each)."""
    return column == any_(literal(list(values), ARRAY(column.type)))


def values_table(name: str, **columns: tuple[TypeEngine[Any], list[Any]]) -> TableValuedAlias:  # Any: each has its type
    """Values as a table, one array for each column: one statement, however many rows there are."""
    arrays = (literal(values, ARRAY(kind)) for kind, values in columns.values())
    names = (column(key, kind) for key, (kind, _) in columns.items())
    return func.unnest(*arrays).table_valued(*names).render_derived(name=name)
