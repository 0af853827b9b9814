"""Personal access tokens: what programs use in their owner's name, within the scopes that they were given."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from domain.account import Scope, User
from domain.secret import Secret

# What scanners for secrets look for in code and logs.
SECRET_PREFIX = "nat_"  # noqa: S105  (a prefix that every token has)
_SECRET_BYTES = 32
_SECRET = re.compile(r"nat_[A-Za-z0-9_-]{43}")
_SHOWN_CHARS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonalAccessToken:
    """A token without its secret, of which only SHA-256 is stored; `prefix` is its beginning, to tell it by."""

    id: UUID
    user_id: UUID
    name: str
    prefix: str
    scopes: frozenset[Scope]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


def new_secret() -> tuple[Secret, str, bytes]:
    """A token's secret, the beginning by which it is told, and the hash that is stored.

    Its 256 random bits need no slow hash: nobody guesses them (NIST SP 800-63B-4, 3.1.2.2).
    """
    secret = SECRET_PREFIX + base64.urlsafe_b64encode(secrets.token_bytes(_SECRET_BYTES)).decode().rstrip("=")
    return Secret(secret), secret[:_SHOWN_CHARS], hash_of(secret)


def is_secret(text: str) -> bool:
    """Whether it has the form of a token's secret."""
    return _SECRET.fullmatch(text) is not None


def hash_of(secret: str) -> bytes:
    """What is stored of a secret."""
    return hashlib.sha256(secret.encode()).digest()


class PersonalAccessTokens(Protocol):
    """The tokens."""

    async def add(self, token: PersonalAccessToken, *, secret_hash: bytes) -> None:
        """Stores a new one."""

    async def list_of(self, user_id: UUID) -> tuple[PersonalAccessToken, ...]:
        """The user's, newest first, those that have run out included."""

    async def find_viewer(self, secret_hash: bytes, *, now: datetime) -> tuple[User, PersonalAccessToken] | None:
        """The active owner of a token that has not run out, in one query."""

    async def list_live(self, token_ids: Sequence[UUID], *, now: datetime) -> frozenset[UUID]:
        """Those that neither were revoked nor have run out and whose owner is active."""

    async def mark_used(self, token_id: UUID, *, now: datetime) -> None:
        """Notes its use; waits for nobody, so one of two uses at the same moment may go unnoted."""

    async def remove(self, user_id: UUID, token_id: UUID) -> bool:
        """Deletes it; False when the user has no such token."""

    async def remove_all(self, user_id: UUID) -> int:
        """Deletes all of the user's; answers how many."""

    async def purge(self, *, expired_before: datetime) -> int:
        """Deletes those that ran out before then; answers how many."""
