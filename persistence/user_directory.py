"""All accounts, and everything that is a user's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Column, ColumnElement, ForeignKey, LargeBinary, Table, delete, func, or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import TSVECTOR

from domain.account import Role, User
from domain.page import Page, PageRequest
from domain.user_directory import Belongings
from persistence.account import USER_COLUMNS, user_of
from persistence.paging import read_page
from persistence.statements import Statements, is_one_of
from persistence.tables import metadata, users


class PostgresUserDirectory:
    """Behind the port UserDirectory."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def find_many(self, user_ids: Sequence[UUID]) -> dict[UUID, User]:
        """Those that exist."""
        rows = await self._statements.rows(select(*USER_COLUMNS).where(is_one_of(users.c.id, user_ids)))
        return {row["id"]: user_of(row) for row in rows}

    async def list_page(self, page: PageRequest, *, search: str | None) -> Page[User]:
        """A page of the accounts whose name or address contains the search, the oldest first."""
        return await read_page(
            self._statements,
            select(*USER_COLUMNS),
            page,
            position=users.c.id,
            conditions=tuple(_found_by(search)),
            is_descending=False,
            read=user_of,
        )

    async def count(self, *, search: str | None) -> int:
        """How many there are."""
        row = await self._statements.row(
            select(func.count().label("size")).select_from(users).where(*_found_by(search))
        )
        return 0 if row is None else row["size"]

    async def lock_administrators(self) -> frozenset[UUID]:
        """The active administrators, none of whom ceases to be one before the transaction has ended."""
        rows = await self._statements.rows(
            select(users.c.id)
            .where(users.c.role == Role.ADMIN.value, users.c.is_active)
            .order_by(users.c.id)
            .with_for_update(key_share=True)
        )
        return frozenset(row["id"] for row in rows)

    async def change(self, user_id: UUID, *, role: Role, is_active: bool, now: datetime) -> User:
        """Replaces both."""
        (row,) = await self._statements.rows(
            update(users)
            .where(users.c.id == user_id)
            .values(role=role.value, is_active=is_active, updated_at=now)
            .returning(*USER_COLUMNS)
        )
        return user_of(row)

    async def count_belongings(self, user_id: UUID) -> dict[str, int]:
        """How many rows of each table are the user's."""
        counted = {}
        for name in _TABLES:
            table = metadata.tables[name]
            row = await self._statements.row(
                select(func.count().label("size")).select_from(table).where(_is_theirs(table, user_id))
            )
            counted[name] = 0 if row is None else row["size"]
        return counted

    def list_tables(self) -> Sequence[str]:
        """The tables that hold what is a user's."""
        return _TABLES

    async def read_belongings(
        self, user_id: UUID, table: str, *, after: tuple[object, ...] | None, size: int
    ) -> Belongings:
        """The next rows of one table that are the user's, after a position."""
        source = metadata.tables[table]
        key = tuple(source.primary_key)
        query = select(*(column for column in source.columns if _is_shown(column)))
        query = query.add_columns(*(column.label(f"{_KEY_PREFIX}{column.name}") for column in key))
        query = query.where(_is_theirs(source, user_id)).order_by(*key).limit(size)
        if after is not None:
            query = query.where(tuple_(*key) > tuple_(*after))
        rows = await self._statements.rows(query)
        is_end = len(rows) < size
        return Belongings(
            table=table,
            rows=[
                {str(name): value for name, value in row.items() if not name.startswith(_KEY_PREFIX)} for row in rows
            ],
            position=None if is_end else tuple(rows[-1][f"{_KEY_PREFIX}{column.name}"] for column in key),
        )

    async def delete(self, user_id: UUID) -> None:
        """Deletes the account with all that is the user's."""
        await self._statements.change(delete(users).where(users.c.id == user_id))


def _is_theirs(table: Table, user_id: UUID) -> ColumnElement[bool]:
    """Whether a row is the user's: it says so itself, or the row does that it belongs to."""
    if table is users:
        return users.c.id == user_id
    if "user_id" in table.columns:
        return table.c.user_id == user_id
    (key,) = _ways_up(table)
    return key.parent.in_(select(key.column).where(_is_theirs(key.column.table, user_id)))


def _tables_of_users() -> tuple[str, ...]:
    """Those whose rows are deleted with a user."""
    found = {users}
    for table in metadata.sorted_tables:
        if any(key.column.table in found for key in _ways_up(table)):
            found.add(table)
    return tuple(str(table.name) for table in metadata.sorted_tables if table in found)


def _ways_up(table: Table) -> list[ForeignKey]:
    """What the table's rows belong to: with that they are deleted."""
    return [key for key in table.foreign_keys if key.ondelete == "CASCADE"]


def _is_shown(column: Column[Any]) -> bool:  # of any type
    """Not what is sealed or hashed (all of it bytes, but for the password's hash), nor what only a search needs."""
    return not isinstance(column.type, LargeBinary | TSVECTOR) and column is not users.c.password_hash


_TABLES: Final = _tables_of_users()
_KEY_PREFIX: Final = "key_of_"


def _found_by(search: str | None) -> Iterator[ColumnElement[bool]]:
    if search is not None:
        yield or_(users.c.username.icontains(search, autoescape=True), users.c.email.icontains(search, autoescape=True))
