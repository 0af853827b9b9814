"""A person's account and sign-ins: values, the rules for their input, and the ports they need."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from domain.cipher import Sealed
from domain.errors import Forbidden, InvalidInput
from domain.secret import Secret

MAX_EMAIL_CHARS = 254  # RFC 5321, 4.5.3.1.3: a path of 256 octets, less its angle brackets
_EMAIL = re.compile(r"[^\s@\x00-\x1f\ud800-\udfff]+@[^\s@\x00-\x1f\ud800-\udfff]+\.[^\s@.\x00-\x1f\ud800-\udfff]+")
_USERNAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{1,38})[A-Za-z0-9]")


class Role(StrEnum):
    """An account's rights."""

    USER = "USER"
    ADMIN = "ADMIN"


class Scope(StrEnum):
    """What a token may be used for."""

    READ = "READ"
    GENERATE = "GENERATE"
    PUBLISH = "PUBLISH"
    ADMIN = "ADMIN"


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """An account."""

    id: UUID
    email: str
    username: str
    role: Role
    is_active: bool
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One sign-in: a family of refresh tokens of which only the newest is good.

    `refresh_hash` and `previous_hash` are SHA-256 of the newest token and of the one before it, from which the newest
    was computed with `rotation_salt`.
    """

    id: UUID
    user_id: UUID
    refresh_hash: bytes
    previous_hash: bytes | None
    created_at: datetime
    last_seen_at: datetime
    rotated_at: datetime
    expires_at: datetime
    revoked_at: datetime | None
    user_agent: str | None
    ip: str | None
    rotation_salt: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewer:
    """The authenticated caller: who, by which sign-in or personal access token, and until when that speaks for them.

    `scopes` is None after a sign-in, which may do whatever its user may.
    """

    user: User
    session_id: UUID | None
    authenticated_until: datetime | None
    scopes: frozenset[Scope] | None = None
    access_token_id: UUID | None = None

    @property
    def credential_id(self) -> UUID:
        """What has to last for the viewer to be served: the session, or the personal access token."""
        credential_id = self.session_id or self.access_token_id
        if credential_id is None:
            raise ValueError("A viewer comes by a session or by a token.")
        return credential_id

    def require_scope(self, scope: Scope) -> None:
        """Raises Forbidden for a viewer who came by a token that lacks the scope."""
        if self.scopes is not None and scope not in self.scopes:
            raise Forbidden(f"The token lacks the scope {scope}.")

    def require_session(self) -> UUID:
        """The session's id. Raises Forbidden for a viewer who came by a token: these manage no credentials."""
        if self.session_id is None:
            raise Forbidden("A token may not do this; sign in.")
        return self.session_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """Where a request comes from, as far as it tells."""

    ip: str | None
    user_agent: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessClaims:
    """What a verified access token says."""

    user_id: UUID
    session_id: UUID
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """A key that signs access tokens; the private half is sealed at the place `signing_key:{kid}`."""

    kid: str
    algorithm: str
    private_key: Sealed
    public_key: str
    created_at: datetime
    is_active: bool = False
    activated_at: datetime | None = None
    retired_at: datetime | None = None

    @property
    def is_next(self) -> bool:
        """Whether it is published but does not sign yet."""
        return not self.is_active and self.activated_at is None and self.retired_at is None


def checked_email(email: str, *, field: tuple[str, ...]) -> str:
    """The address, trimmed and in NFC. Raises InvalidInput when it is not one."""
    email = unicodedata.normalize("NFC", email.strip())
    if len(email) > MAX_EMAIL_CHARS or not _EMAIL.fullmatch(email):
        raise InvalidInput("This is not an email address.", field=field)
    return email


def checked_username(username: str, *, field: tuple[str, ...]) -> str:
    """The name, trimmed. Raises InvalidInput when it breaks the rule that its message tells."""
    username = username.strip()
    if not _USERNAME.fullmatch(username):
        raise InvalidInput(
            "A username has 3 to 40 characters: letters, digits, and dots, dashes or underscores between them.",
            field=field,
        )
    return username


class Users(Protocol):
    """The accounts."""

    async def add(self, user: User, *, password_hash: str) -> None:
        """Raises Conflict with field ("email",) or ("username",) when one is taken, whatever its case."""

    async def find(self, user_id: UUID) -> User | None:
        """By id."""

    async def find_by_login(self, login: str) -> tuple[User, str] | None:
        """By email or username in any case, with the password's hash."""

    async def lock(self, user_id: UUID) -> tuple[User, str] | None:
        """By id, with the password's hash, and the row locked until the transaction ends: changes of it take turns."""

    async def set_password_hash(self, user_id: UUID, password_hash: str) -> None:
        """Replaces the hash."""

    async def has_unchanged_password(self, email: str) -> bool:
        """Whether an active account of this address has never changed its password."""

    async def has_administrator(self) -> bool:
        """Whether any active administrator exists."""


class Sessions(Protocol):
    """The sign-ins."""

    async def add(self, session: Session) -> None:
        """Stores a new one."""

    async def find_viewer(self, session_id: UUID, *, now: datetime) -> tuple[User, datetime] | None:
        """The active user of a sign-in that is neither revoked nor expired, and when it was last seen, in one query."""

    async def mark_seen(self, session_id: UUID, *, now: datetime, ip: str | None) -> None:
        """Notes its use; waits for nobody, so one of two uses at the same moment may go unnoted."""

    async def has_been_seen_at(self, user_id: UUID, ip: str | None) -> bool:
        """Whether the user has a session, live or not, that was last seen at this address."""

    async def list_of(self, user_id: UUID, *, now: datetime) -> tuple[Session, ...]:
        """The user's live ones, those seen last first."""

    async def list_live(self, session_ids: Sequence[UUID], *, now: datetime) -> frozenset[UUID]:
        """Those that are neither revoked nor expired and whose user is active."""

    async def find_for_update(self, session_id: UUID) -> Session | None:
        """The sign-in with its row locked until the transaction ends."""

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

    async def purge(self, *, ended_before: datetime) -> int:
        """Deletes those that were revoked or ran out before then; answers how many."""

    async def revoke(self, session_id: UUID, *, now: datetime) -> bool:
        """Ends it; False when it had ended already."""

    async def revoke_of(self, user_id: UUID, session_id: UUID, *, now: datetime) -> bool:
        """Ends it; False when the user has no such live one."""

    async def revoke_all(self, user_id: UUID, *, except_id: UUID | None, now: datetime) -> int:
        """Ends all the user's live ones, or all but one; answers how many."""

    async def revoke_oldest(self, user_id: UUID, *, keep: int, now: datetime) -> None:
        """Ends all the user's live ones but so many, those seen last."""


class SigningKeys(Protocol):
    """The keys that sign access tokens."""

    async def lock(self) -> None:
        """Whoever changes the keys has them alone until the transaction ends."""

    async def list_usable(self, *, now: datetime) -> tuple[SigningKey, ...]:
        """Those whose tokens are accepted, or will be, the active one first."""

    async def add_if_none(self, key: SigningKey) -> None:
        """Makes it the active key unless there is one already (two instances may start at once)."""

    async def add_next(self, key: SigningKey) -> None:
        """Makes it the next key unless there is one already."""

    async def promote(self, kid: str, *, now: datetime, retired_at: datetime) -> None:
        """Has the next key sign; tokens of the active one are accepted until it retires."""

    async def retire_all(self, *, now: datetime) -> None:
        """Has no token of any key accepted any more."""

    async def purge(self, *, retired_before: datetime) -> int:
        """Deletes those that retired before then; answers how many."""


class PasswordHasher(Protocol):
    """Slow by design, so it runs beside the event loop in a bounded pool; a full queue raises RateLimited."""

    async def hash(self, password: Secret) -> str:
        """The encoded hash to store."""

    async def verify(self, password: Secret, password_hash: str | None) -> bool:
        """Whether they match; None takes as long as a wrong password and is False."""

    def needs_rehash(self, password_hash: str) -> bool:
        """Whether it was made with weaker parameters than today's."""


class AccessTokens(Protocol):
    """Signs and verifies access tokens."""

    def issue(self, claims: AccessClaims, *, now: datetime) -> Secret:
        """A signed token with these claims."""

    def verify(self, token: str, *, now: datetime) -> AccessClaims:
        """The claims of a genuine token. Raises Unauthenticated, with `expired` when that is all that is wrong."""
