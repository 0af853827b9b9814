"""The accounts, their sign-ins, and the keys that sign access tokens."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    RowMapping,
    Text,
    and_,
    cast,
    collate,
    delete,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert as upsert

from domain.account import Role, Session, SigningKey, User
from domain.audit import AuditAction
from domain.cipher import Sealed
from persistence.advisory_lock import AdvisoryLock
from persistence.statements import Statements, is_one_of
from persistence.tables import audit_log, sessions, signing_keys, users

USER_COLUMNS: Final = (
    users.c.id,
    users.c.email,
    users.c.username,
    users.c.role,
    users.c.is_active,
    users.c.created_at,
    users.c.updated_at,
)


class PostgresUsers:
    """Behind the port Users."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def add(self, user: User, *, password_hash: str) -> None:
        """Raises Conflict with field ("email",) or ("username",) when one is taken, whatever its case."""
        await self._statements.change(
            insert(users).values(
                id=user.id,
                email=user.email,
                email_key=_email_key(user.email),
                username=user.username,
                password_hash=password_hash,
                role=user.role.value,
                is_active=user.is_active,
                created_at=user.created_at,
                updated_at=user.updated_at,
            )
        )

    async def find(self, user_id: UUID) -> User | None:
        """By id."""
        row = await self._statements.row(select(*USER_COLUMNS).where(users.c.id == user_id))
        return None if row is None else user_of(row)

    async def find_by_login(self, login: str) -> tuple[User, str] | None:
        """By email or username in any case, with the password's hash. No username has the @ of an address."""
        is_named = func.lower(collate(users.c.username, "C")) == func.lower(collate(literal(login), "C"))
        row = await self._statements.row(
            select(*USER_COLUMNS, users.c.password_hash).where(or_(users.c.email_key == _email_key(login), is_named))
        )
        return None if row is None else (user_of(row), row["password_hash"])

    async def lock(self, user_id: UUID) -> tuple[User, str] | None:
        """By id, with the password's hash, and the row locked until the transaction ends: changes of it take turns."""
        row = await self._statements.row(
            select(*USER_COLUMNS, users.c.password_hash).where(users.c.id == user_id).with_for_update(key_share=True)
        )
        return None if row is None else (user_of(row), row["password_hash"])

    async def set_password_hash(self, user_id: UUID, password_hash: str) -> None:
        """Replaces the hash."""
        await self._statements.change(update(users).where(users.c.id == user_id).values(password_hash=password_hash))

    async def has_unchanged_password(self, email: str) -> bool:
        """Whether an active account of this address has never changed its password."""
        changed = exists().where(
            audit_log.c.action.in_((AuditAction.PASSWORD_CHANGED.value, AuditAction.PASSWORD_RESET.value)),
            audit_log.c.target == literal("user:").concat(cast(users.c.id, Text)),
        )
        is_there = exists().where(users.c.email_key == _email_key(email), users.c.is_active, ~changed)
        return await self._statements.row(select(literal(1)).where(is_there)) is not None

    async def has_administrator(self) -> bool:
        """Whether any active administrator exists."""
        is_there = exists().where(users.c.role == Role.ADMIN.value, users.c.is_active)
        return await self._statements.row(select(literal(1)).where(is_there)) is not None


class PostgresSessions:
    """Behind the port Sessions."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def add(self, session: Session) -> None:
        """Stores a new one."""
        await self._statements.change(
            insert(sessions).values(
                id=session.id,
                user_id=session.user_id,
                refresh_hash=session.refresh_hash,
                previous_hash=session.previous_hash,
                created_at=session.created_at,
                last_seen_at=session.last_seen_at,
                rotated_at=session.rotated_at,
                expires_at=session.expires_at,
                revoked_at=session.revoked_at,
                user_agent=session.user_agent,
                ip=session.ip,
            )
        )

    async def find_viewer(self, session_id: UUID, *, now: datetime) -> tuple[User, datetime] | None:
        """The active user of a sign-in that is neither revoked nor expired, and when it was last seen, in one query."""
        row = await self._statements.row(
            select(*USER_COLUMNS, sessions.c.last_seen_at)
            .join_from(sessions, users)
            .where(sessions.c.id == session_id, _is_live(now))
        )
        return None if row is None else (user_of(row), row["last_seen_at"])

    async def mark_seen(self, session_id: UUID, *, now: datetime, ip: str | None) -> None:
        """Notes its use; waits for nobody, so one of two uses at the same moment may go unnoted."""
        free = (
            select(sessions.c.id).where(sessions.c.id == session_id).with_for_update(key_share=True, skip_locked=True)
        )
        await self._statements.change(
            update(sessions)
            .where(sessions.c.id == free.scalar_subquery())
            .values(last_seen_at=now, ip=func.coalesce(ip, sessions.c.ip))
        )

    async def has_been_seen_at(self, user_id: UUID, ip: str | None) -> bool:
        """Whether the user has a session, live or not, that was last seen at this address."""
        is_there = exists().where(sessions.c.user_id == user_id, sessions.c.ip == ip)
        return await self._statements.row(select(literal(1)).where(is_there)) is not None

    async def list_of(self, user_id: UUID, *, now: datetime) -> tuple[Session, ...]:
        """The user's live ones, those seen last first."""
        rows = await self._statements.rows(
            select(sessions)
            .join_from(sessions, users)
            .where(sessions.c.user_id == user_id, _is_live(now))
            .order_by(sessions.c.last_seen_at.desc(), sessions.c.id.desc())
        )
        return tuple(Session(**row) for row in rows)

    async def list_live(self, session_ids: Sequence[UUID], *, now: datetime) -> frozenset[UUID]:
        """Those that are neither revoked nor expired and whose user is active."""
        rows = await self._statements.rows(
            select(sessions.c.id).join_from(sessions, users).where(is_one_of(sessions.c.id, session_ids), _is_live(now))
        )
        return frozenset(row["id"] for row in rows)

    async def find_for_update(self, session_id: UUID) -> Session | None:
        """The sign-in with its row locked until the transaction ends."""
        row = await self._statements.row(select(sessions).where(sessions.c.id == session_id).with_for_update())
        return None if row is None else Session(**row)

    async def rotate(
        self,
        session_id: UUID,
        *,
        refresh_hash: bytes,
        previous_hash: bytes,
        rotation_salt: bytes,
        now: datetime,
        expires_at: datetime,
    ) -> None:
        """Puts the next refresh token in place and notes that the session was seen."""
        await self._statements.change(
            update(sessions)
            .where(sessions.c.id == session_id)
            .values(
                refresh_hash=refresh_hash,
                previous_hash=previous_hash,
                rotation_salt=rotation_salt,
                last_seen_at=now,
                rotated_at=now,
                expires_at=expires_at,
            )
        )

    async def purge(self, *, ended_before: datetime) -> int:
        """Deletes those that were revoked or ran out before then; answers how many."""
        return await self._statements.change(
            delete(sessions).where(or_(sessions.c.revoked_at < ended_before, sessions.c.expires_at < ended_before))
        )

    async def revoke(self, session_id: UUID, *, now: datetime) -> bool:
        """Ends it; False when it had ended already."""
        revoked = await self._statements.change(
            update(sessions).where(sessions.c.id == session_id, sessions.c.revoked_at.is_(None)).values(revoked_at=now)
        )
        return revoked == 1

    async def revoke_of(self, user_id: UUID, session_id: UUID, *, now: datetime) -> bool:
        """Ends it; False when the user has no such live one."""
        revoked = await self._statements.change(
            update(sessions).where(sessions.c.id == session_id, _is_open(user_id, now)).values(revoked_at=now)
        )
        return revoked == 1

    async def revoke_all(self, user_id: UUID, *, except_id: UUID | None, now: datetime) -> int:
        """Ends all the user's live ones, or all but one; answers how many."""
        is_meant = _is_open(user_id, now)
        if except_id is not None:
            is_meant = and_(is_meant, sessions.c.id != except_id)
        return await self._statements.change(update(sessions).where(is_meant).values(revoked_at=now))

    async def revoke_oldest(self, user_id: UUID, *, keep: int, now: datetime) -> None:
        """Ends all the user's live ones but so many, those seen last."""
        surplus = (
            select(sessions.c.id)
            .where(_is_open(user_id, now))
            .order_by(sessions.c.last_seen_at.desc(), sessions.c.id.desc())
            .offset(keep)
        )
        await self._statements.change(update(sessions).where(sessions.c.id.in_(surplus)).values(revoked_at=now))


def _is_open(user_id: UUID, now: datetime) -> ColumnElement[bool]:
    return and_(sessions.c.user_id == user_id, sessions.c.revoked_at.is_(None), sessions.c.expires_at > now)


def _is_live(now: datetime) -> ColumnElement[bool]:
    return and_(sessions.c.revoked_at.is_(None), sessions.c.expires_at > now, users.c.is_active)


class PostgresSigningKeys:
    """Behind the port SigningKeys."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def lock(self) -> None:
        """Whoever changes the keys has them alone until the transaction ends."""
        await self._statements.row(AdvisoryLock.SIGNING_KEYS.taken())

    async def list_usable(self, *, now: datetime) -> tuple[SigningKey, ...]:
        """Those whose tokens are accepted, or will be, the active one first."""
        rows = await self._statements.rows(
            select(signing_keys)
            .where(or_(signing_keys.c.retired_at.is_(None), signing_keys.c.retired_at > now))
            .order_by(signing_keys.c.is_active.desc(), signing_keys.c.created_at.desc())
        )
        return tuple(_signing_key_of(row) for row in rows)

    async def add_if_none(self, key: SigningKey) -> None:
        """Makes it the active key unless there is one already (two instances may start at once)."""
        await self._add(key, is_active=True, activated_at=key.created_at)

    async def add_next(self, key: SigningKey) -> None:
        """Makes it the next key unless there is one already."""
        await self._add(key, is_active=False, activated_at=None)

    async def promote(self, kid: str, *, now: datetime, retired_at: datetime) -> None:
        """Has the next key sign; tokens of the active one are accepted until it retires."""
        await self._statements.change(
            update(signing_keys).where(signing_keys.c.is_active).values(is_active=False, retired_at=retired_at)
        )
        await self._statements.change(
            update(signing_keys).where(signing_keys.c.kid == kid).values(is_active=True, activated_at=now)
        )

    async def retire_all(self, *, now: datetime) -> None:
        """Has no token of any key accepted any more."""
        is_usable = or_(signing_keys.c.retired_at.is_(None), signing_keys.c.retired_at > now)
        await self._statements.change(update(signing_keys).where(is_usable).values(is_active=False, retired_at=now))

    async def purge(self, *, retired_before: datetime) -> int:
        """Deletes those that retired before then; answers how many."""
        return await self._statements.change(delete(signing_keys).where(signing_keys.c.retired_at < retired_before))

    async def _add(self, key: SigningKey, *, is_active: bool, activated_at: datetime | None) -> None:
        await self._statements.change(
            upsert(signing_keys)
            .values(
                kid=key.kid,
                algorithm=key.algorithm,
                encrypted_private_key=key.private_key.ciphertext,
                encryption_key_id=key.private_key.key_id,
                public_key=key.public_key,
                is_active=is_active,
                created_at=key.created_at,
                activated_at=activated_at,
            )
            .on_conflict_do_nothing()
        )


def _email_key(email: str) -> str:
    """The address in the one form that all its spellings share."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", email).casefold())


def user_of(row: RowMapping) -> User:
    """The user in a row that has these columns."""
    return User(
        id=row["id"],
        email=row["email"],
        username=row["username"],
        role=Role(row["role"]),
        is_active=row["is_active"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def _signing_key_of(row: RowMapping) -> SigningKey:
    return SigningKey(
        kid=row["kid"],
        algorithm=row["algorithm"],
        private_key=Sealed(key_id=row["encryption_key_id"], ciphertext=row["encrypted_private_key"]),
        public_key=row["public_key"],
        created_at=row["created_at"],
        is_active=row["is_active"],
        activated_at=row["activated_at"],
        retired_at=row["retired_at"],
    )
