"""Everything that is kept sealed: the one list of the columns that hold it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Column, RowMapping, Table, func, select, update

from domain.cipher import (
    Sealed,
    StoredSecret,
    api_key_place,
    notion_refresh_token_place,
    notion_token_place,
    notion_webhook_place,
    signing_key_place,
)
from persistence.statements import Statements
from persistence.tables import api_keys, notion_connections, notion_webhooks, signing_keys


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedColumn:
    """A column of ciphertexts (null where there is no secret), and the one that says which key has sealed it.

    `place` is where a row's secret is sealed.
    """

    ciphertext: Column[Any]  # Any: bytes, or bytes and None
    key_id: Column[Any]
    place: Callable[[RowMapping], str]

    @property
    def name(self) -> str:
        """With its table."""
        return str(self.ciphertext)

    @property
    def table(self) -> Table:
        """Where it is."""
        return self.ciphertext.table

    @property
    def row_id(self) -> Column[Any]:  # Any: a UUID or a text
        """The table's primary key, of one column."""
        (column,) = self.table.primary_key.columns
        return column


# In the order in which they are sealed anew.
SEALED_COLUMNS: Final = (
    SealedColumn(
        ciphertext=signing_keys.c.encrypted_private_key,
        key_id=signing_keys.c.encryption_key_id,
        place=lambda row: signing_key_place(row["kid"]),
    ),
    SealedColumn(
        ciphertext=api_keys.c.encrypted_key,
        key_id=api_keys.c.encryption_key_id,
        place=lambda row: api_key_place(row["user_id"], row["id"]),
    ),
    SealedColumn(
        ciphertext=notion_connections.c.encrypted_token,
        key_id=notion_connections.c.encryption_key_id,
        place=lambda row: notion_token_place(row["user_id"]),
    ),
    SealedColumn(
        ciphertext=notion_connections.c.encrypted_refresh_token,
        key_id=notion_connections.c.refresh_encryption_key_id,
        place=lambda row: notion_refresh_token_place(row["user_id"], row["id"]),
    ),
    SealedColumn(
        ciphertext=notion_webhooks.c.encrypted_token,
        key_id=notion_webhooks.c.encryption_key_id,
        place=lambda row: notion_webhook_place(row["id"]),
    ),
)


class PostgresStoredSecrets:
    """Behind the port StoredSecrets."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def count_by_key(self) -> Mapping[str, int]:
        """How many secrets each encryption key has sealed, by its id."""
        counts: Counter[str] = Counter()
        for column in SEALED_COLUMNS:
            rows = await self._statements.rows(
                select(column.key_id.label("key_id"), func.count().label("count"))
                .where(column.key_id.is_not(None))
                .group_by(column.key_id)
            )
            counts.update({row["key_id"]: row["count"] for row in rows})
        return counts

    async def next_batch(self, *, other_than: str, after: StoredSecret | None, size: int) -> tuple[StoredSecret, ...]:
        """The next that are sealed with another key than this, in a fixed order, locked until the transaction ends."""
        names = [column.name for column in SEALED_COLUMNS]
        first = 0 if after is None else names.index(after.column)
        for column in SEALED_COLUMNS[first:]:
            row_id = after.row_id if after is not None and after.column == column.name else None
            if batch := await self._batch(column, other_than=other_than, after=row_id, size=size):
                return batch
        return ()

    async def put(self, secret: StoredSecret, sealed: Sealed) -> None:
        """Stores the secret as it is sealed now."""
        column = next(each for each in SEALED_COLUMNS if each.name == secret.column)
        await self._statements.change(
            update(column.table)
            .where(column.row_id == secret.row_id, column.ciphertext == secret.sealed.ciphertext)
            .values({column.ciphertext: sealed.ciphertext, column.key_id: sealed.key_id})
        )

    async def _batch(
        self, column: SealedColumn, *, other_than: str, after: UUID | str | None, size: int
    ) -> tuple[StoredSecret, ...]:
        query = select(column.table).where(column.key_id != other_than).order_by(column.row_id).limit(size)
        if after is not None:
            query = query.where(column.row_id > after)
        rows = await self._statements.rows(query.with_for_update(skip_locked=True))
        return tuple(
            StoredSecret(
                column=column.name,
                row_id=row[column.row_id.name],
                place=column.place(row),
                sealed=Sealed(key_id=row[column.key_id.name], ciphertext=row[column.ciphertext.name]),
            )
            for row in rows
        )
