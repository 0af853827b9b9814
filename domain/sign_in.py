"""Making sessions and exchanging their refresh tokens: what a client gets to stay signed in."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from domain.account import AccessClaims, AccessTokens, Client, Session, User
from domain.audit import AuditAction, AuditEvent
from domain.errors import Unauthenticated
from domain.secret import Secret
from domain.store import Transaction

_SECRET_BYTES = 32
_UUID_BYTES = 16
_MAX_USER_AGENT_CHARS = 400
_MAX_SESSIONS = 100  # of one user; a further sign-in ends the one that was not seen for the longest


@dataclass(frozen=True, slots=True, kw_only=True)
class SignIn:
    """What a client needs to stay signed in; `expires_at` is the access token's, and each `ttl` counts from now."""

    user: User
    session_id: UUID
    access_token: Secret
    refresh_token: Secret
    expires_at: datetime
    access_token_ttl: timedelta
    refresh_token_ttl: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifetimes:
    """How long what a sign-in gives is good."""

    access_token: timedelta
    session_idle: timedelta
    session_absolute: timedelta


class SignIns:
    """Begins sessions and keeps them going, within somebody else's transaction."""

    def __init__(
        self, *, tokens: AccessTokens, lifetimes: Lifetimes, clock: Callable[[], datetime], new_id: Callable[[], UUID]
    ) -> None:
        self._tokens = tokens
        self._lifetimes = lifetimes
        self._clock = clock
        self._new_id = new_id

    async def begin(self, tx: Transaction, user: User, client: Client) -> SignIn:
        """A new session."""
        now = self._clock()
        session_id = self._new_id()
        await tx.sessions.revoke_oldest(user.id, keep=_MAX_SESSIONS - 1, now=now)
        raw = session_id.bytes + secrets.token_bytes(_SECRET_BYTES)
        session_end = now + self._lifetimes.session_idle
        await tx.sessions.add(
            Session(
                id=session_id,
                user_id=user.id,
                refresh_hash=_hash_of(raw),
                previous_hash=None,
                created_at=now,
                last_seen_at=now,
                rotated_at=now,
                expires_at=session_end,
                revoked_at=None,
                user_agent=None if client.user_agent is None else client.user_agent[:_MAX_USER_AGENT_CHARS],
                ip=client.ip,
            )
        )
        await tx.audit.append(
            AuditEvent(action=AuditAction.SIGNED_IN, actor_id=user.id, target=f"session:{session_id}", ip=client.ip)
        )
        return self._signed_in(user, session_id, raw, now, session_end=session_end)

    async def rotate(self, tx: Transaction, session: Session, user: User, raw: bytes) -> SignIn:
        """The next refresh token in place of the session's newest, `raw`; the session's row is locked."""
        now = self._clock()
        salt = secrets.token_bytes(_SECRET_BYTES)
        following = _following(raw, salt)
        session_end = min(now + self._lifetimes.session_idle, session.created_at + self._lifetimes.session_absolute)
        await tx.sessions.rotate(
            session.id,
            refresh_hash=_hash_of(following),
            previous_hash=session.refresh_hash,
            rotation_salt=salt,
            now=now,
            expires_at=session_end,
        )
        return self._signed_in(user, session.id, following, now, session_end=session_end)

    async def renew(self, tx: Transaction, session: Session, user: User) -> SignIn:
        """A refresh token that follows from none, after which those of before are of no use; the row is locked."""
        raw = session.id.bytes + secrets.token_bytes(_SECRET_BYTES)
        return await self.rotate(tx, session, user, raw)

    def repeat(self, session: Session, user: User, raw: bytes) -> SignIn | None:
        """The answer to the exchange of `raw` once more, with the very token it gave, if that is still the newest."""
        if session.rotation_salt is None:
            return None
        following = _following(raw, session.rotation_salt)
        if not hmac.compare_digest(_hash_of(following), session.refresh_hash):
            return None
        return self._signed_in(user, session.id, following, self._clock(), session_end=session.expires_at)

    def _signed_in(self, user: User, session_id: UUID, raw: bytes, now: datetime, *, session_end: datetime) -> SignIn:
        expires_at = now + self._lifetimes.access_token
        claims = AccessClaims(user_id=user.id, session_id=session_id, expires_at=expires_at)
        return SignIn(
            user=user,
            session_id=session_id,
            access_token=self._tokens.issue(claims, now=now),
            refresh_token=Secret(base64.urlsafe_b64encode(raw).decode()),
            expires_at=expires_at,
            access_token_ttl=self._lifetimes.access_token,
            refresh_token_ttl=session_end - now,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshToken:
    """A refresh token as it was presented: it names its session, and of the stored one there is only the hash."""

    session_id: UUID
    raw: bytes

    @classmethod
    def read(cls, token: str) -> RefreshToken:
        """Raises Unauthenticated for what this server cannot have given."""
        try:
            raw = base64.b64decode(token, altchars=b"-_", validate=True)
        except (ValueError, binascii.Error) as error:
            raise Unauthenticated("This is not a refresh token.", field=("refreshToken",)) from error
        if len(raw) != _UUID_BYTES + _SECRET_BYTES:
            raise Unauthenticated("This is not a refresh token.", field=("refreshToken",))
        return cls(session_id=UUID(bytes=raw[:_UUID_BYTES]), raw=raw)

    def matches(self, stored_hash: bytes | None) -> bool:
        """Whether it is the one whose hash was stored."""
        return stored_hash is not None and hmac.compare_digest(stored_hash, _hash_of(self.raw))


def _following(raw: bytes, salt: bytes) -> bytes:
    """The token that comes after: nobody can tell it without the one before and what only the store knows.

    It is computed, and not drawn, so that who asks twice with the same token can be given the same answer, although no
    token is stored.
    """
    return raw[:_UUID_BYTES] + hmac.digest(salt, raw, hashlib.sha256)


def _hash_of(raw: bytes) -> bytes:
    return hashlib.sha256(raw).digest()
