"""The users' connections to Notion, and who has gone there to make one."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, RowMapping, delete, select, update
from sqlalchemy.dialects.postgresql import insert

from domain.cipher import Sealed
from domain.notion import NotionConnection, NotionTokenKind, SealedTokens
from domain.notion_authorization import NotionAuthorization
from persistence.statements import Statements
from persistence.tables import notion_authorizations, notion_connections

_NO_RENEWAL: Final[dict[str, None]] = {"renewal_until": None, "rejected_at": None}


class PostgresNotionConnections:
    """Behind the port NotionConnections."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def find(self, user_id: UUID) -> tuple[NotionConnection, SealedTokens] | None:
        """A user's connection and its sealed tokens."""
        row = await self._statements.row(select(notion_connections).where(notion_connections.c.user_id == user_id))
        return None if row is None else (_connection_of(row), _tokens_of(row))

    async def find_for_renewal(self, user_id: UUID) -> tuple[NotionConnection, SealedTokens, datetime | None] | None:
        """The same with the row locked until the transaction ends, and until when somebody has claimed the renewal."""
        row = await self._statements.row(
            select(notion_connections).where(notion_connections.c.user_id == user_id).with_for_update()
        )
        return None if row is None else (_connection_of(row), _tokens_of(row), row["renewal_until"])

    async def put(self, connection: NotionConnection, *, sealed: SealedTokens) -> None:
        """Connects, or replaces the connection."""
        values = {
            "id": connection.id,
            "kind": connection.kind.value,
            "bot_id": connection.bot_id,
            "workspace_id": connection.workspace_id,
            "workspace_name": connection.workspace_name,
            "connected_at": connection.connected_at,
            **_token_values(sealed),
            **_NO_RENEWAL,
        }
        await self._statements.change(
            insert(notion_connections)
            .values(user_id=connection.user_id, **values)
            .on_conflict_do_update(index_elements=[notion_connections.c.user_id], set_=values)
        )

    async def claim_renewal(self, connection_id: UUID, *, until: datetime) -> None:
        """Nobody else renews the tokens until then."""
        await self._statements.change(update(notion_connections).where(_is(connection_id)).values(renewal_until=until))

    async def replace_tokens(self, connection_id: UUID, *, sealed: SealedTokens) -> bool:
        """Puts both new tokens in place and ends the claim; False when the connection is gone."""
        values = {**_token_values(sealed), **_NO_RENEWAL}
        replaced = await self._statements.change(update(notion_connections).where(_is(connection_id)).values(**values))
        return replaced == 1

    async def end_renewal(self, connection_id: UUID, *, rejected_at: datetime | None) -> None:
        """Ends the claim without new tokens; with a time, notes that Notion takes the token no more."""
        await self._statements.change(
            update(notion_connections).where(_is(connection_id)).values(renewal_until=None, rejected_at=rejected_at)
        )

    async def remove(self, user_id: UUID) -> bool:
        """Disconnects; False when there was no connection."""
        removed = await self._statements.change(
            delete(notion_connections).where(notion_connections.c.user_id == user_id)
        )
        return removed == 1


class PostgresNotionAuthorizations:
    """Behind the port NotionAuthorizations."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def put(self, authorization: NotionAuthorization, *, now: datetime) -> None:
        """Waits for it, in place of the session's earlier one; forgets all that have run out."""
        table = notion_authorizations
        values = {
            "user_id": authorization.user_id,
            "state_hash": authorization.state_hash,
            "browser_hash": authorization.browser_hash,
            "return_to": authorization.return_to,
            "expires_at": authorization.expires_at,
        }
        await self._statements.change(delete(table).where(table.c.expires_at <= now))
        await self._statements.change(
            insert(table)
            .values(session_id=authorization.session_id, **values)
            .on_conflict_do_update(index_elements=[table.c.session_id], set_=values)
        )

    async def take(self, *, state_hash: bytes, browser_hash: bytes) -> NotionAuthorization | None:
        """The one of both hashes, which is there no more from then on."""
        table = notion_authorizations
        row = await self._statements.row(
            delete(table)
            .where(table.c.state_hash == state_hash, table.c.browser_hash == browser_hash)
            .returning(*table.c)
        )
        return None if row is None else NotionAuthorization(**row)


def _is(connection_id: UUID) -> ColumnElement[bool]:
    return notion_connections.c.id == connection_id


def _token_values(sealed: SealedTokens) -> dict[str, object]:
    refresh = sealed.refresh
    return {
        "encrypted_token": sealed.access.ciphertext,
        "encryption_key_id": sealed.access.key_id,
        "encrypted_refresh_token": None if refresh is None else refresh.ciphertext,
        "refresh_encryption_key_id": None if refresh is None else refresh.key_id,
    }


def _connection_of(row: RowMapping) -> NotionConnection:
    return NotionConnection(
        id=row["id"],
        user_id=row["user_id"],
        kind=NotionTokenKind(row["kind"]),
        bot_id=row["bot_id"],
        workspace_id=row["workspace_id"],
        workspace_name=row["workspace_name"],
        connected_at=row["connected_at"],
        rejected_at=row["rejected_at"],
    )


def _tokens_of(row: RowMapping) -> SealedTokens:
    refresh = row["encrypted_refresh_token"]
    return SealedTokens(
        access=Sealed(key_id=row["encryption_key_id"], ciphertext=row["encrypted_token"]),
        refresh=None if refresh is None else Sealed(key_id=row["refresh_encryption_key_id"], ciphertext=refresh),
    )
