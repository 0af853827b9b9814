"""The personal access tokens."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, RowMapping, and_, delete, insert, or_, select, update

from domain.access_token import PersonalAccessToken
from domain.account import Scope, User
from persistence.account import USER_COLUMNS, user_of
from persistence.statements import Statements, is_one_of
from persistence.tables import access_tokens, users

_TOKEN_COLUMNS = tuple(
    each.label(f"token_{each.name}") for each in access_tokens.c if each is not access_tokens.c.secret_hash
)


class PostgresPersonalAccessTokens:
    """Behind the port PersonalAccessTokens."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def add(self, token: PersonalAccessToken, *, secret_hash: bytes) -> None:
        """Stores a new one."""
        await self._statements.change(
            insert(access_tokens).values(
                id=token.id,
                user_id=token.user_id,
                name=token.name,
                prefix=token.prefix,
                secret_hash=secret_hash,
                scopes=sorted(token.scopes),
                created_at=token.created_at,
                expires_at=token.expires_at,
                last_used_at=token.last_used_at,
            )
        )

    async def list_of(self, user_id: UUID) -> tuple[PersonalAccessToken, ...]:
        """The user's, newest first, those that have run out included."""
        rows = await self._statements.rows(
            select(*_TOKEN_COLUMNS)
            .where(access_tokens.c.user_id == user_id)
            .order_by(access_tokens.c.created_at.desc(), access_tokens.c.id.desc())
        )
        return tuple(_token_of(row) for row in rows)

    async def find_viewer(self, secret_hash: bytes, *, now: datetime) -> tuple[User, PersonalAccessToken] | None:
        """The active owner of a token that has not run out, in one query."""
        row = await self._statements.row(
            select(*USER_COLUMNS, *_TOKEN_COLUMNS)
            .join_from(access_tokens, users)
            .where(access_tokens.c.secret_hash == secret_hash, _is_live(now))
        )
        return None if row is None else (user_of(row), _token_of(row))

    async def list_live(self, token_ids: Sequence[UUID], *, now: datetime) -> frozenset[UUID]:
        """Those that neither were revoked nor have run out and whose owner is active."""
        rows = await self._statements.rows(
            select(access_tokens.c.id)
            .join_from(access_tokens, users)
            .where(is_one_of(access_tokens.c.id, token_ids), _is_live(now))
        )
        return frozenset(row["id"] for row in rows)

    async def mark_used(self, token_id: UUID, *, now: datetime) -> None:
        """Notes its use; waits for nobody, so one of two uses at the same moment may go unnoted."""
        free = select(access_tokens.c.id).where(access_tokens.c.id == token_id).with_for_update(skip_locked=True)
        await self._statements.change(
            update(access_tokens).where(access_tokens.c.id == free.scalar_subquery()).values(last_used_at=now)
        )

    async def remove(self, user_id: UUID, token_id: UUID) -> bool:
        """Deletes it; False when the user has no such token."""
        removed = await self._statements.change(
            delete(access_tokens).where(access_tokens.c.id == token_id, access_tokens.c.user_id == user_id)
        )
        return removed == 1

    async def remove_all(self, user_id: UUID) -> int:
        """Deletes all of the user's; answers how many."""
        return await self._statements.change(delete(access_tokens).where(access_tokens.c.user_id == user_id))

    async def purge(self, *, expired_before: datetime) -> int:
        """Deletes those that ran out before then; answers how many."""
        return await self._statements.change(delete(access_tokens).where(access_tokens.c.expires_at < expired_before))


def _is_live(now: datetime) -> ColumnElement[bool]:
    return and_(or_(access_tokens.c.expires_at.is_(None), access_tokens.c.expires_at > now), users.c.is_active)


def _token_of(row: RowMapping) -> PersonalAccessToken:
    return PersonalAccessToken(
        id=row["token_id"],
        user_id=row["token_user_id"],
        name=row["token_name"],
        prefix=row["token_prefix"],
        scopes=frozenset(Scope(scope) for scope in row["token_scopes"]),
        created_at=row["token_created_at"],
        expires_at=row["token_expires_at"],
        last_used_at=row["token_last_used_at"],
    )
