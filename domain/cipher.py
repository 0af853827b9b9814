"""The port that seals secrets for storage, and where each secret is sealed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from domain.secret import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """A secret as stored: unreadable without the encryption key named `key_id`."""

    key_id: str
    ciphertext: bytes


class Cipher(Protocol):
    """Authenticated encryption that binds a secret to its place, so that a moved row does not open."""

    @property
    def active_key_id(self) -> str:
        """The key that seals."""

    def seal(self, secret: Secret, *, place: str) -> Sealed:
        """Encrypts with the active key; `place` names the row and owner, and must be given again to open."""

    def open(self, sealed: Sealed, *, place: str) -> Secret:
        """Decrypts. Raises Unavailable when the key is unknown or the place is another."""

    def rewrap(self, sealed: Sealed, *, place: str) -> Sealed:
        """The same secret under the active key. Raises Unavailable as `open` does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSecret:
    """A sealed secret; `column` (with its table) and `row_id` say which."""

    column: str
    row_id: UUID | str
    place: str
    sealed: Sealed


class StoredSecrets(Protocol):
    """Everything that is kept sealed, whatever it is for."""

    async def count_by_key(self) -> Mapping[str, int]:
        """How many secrets each encryption key has sealed, by its id."""

    async def next_batch(self, *, other_than: str, after: StoredSecret | None, size: int) -> tuple[StoredSecret, ...]:
        """The next that are sealed with another key than this, in a fixed order, locked until the transaction ends.

        Those that somebody else is changing just now are left out.
        """

    async def put(self, secret: StoredSecret, sealed: Sealed) -> None:
        """Stores the secret as it is sealed now."""


def api_key_place(user_id: UUID, key_id: UUID) -> str:
    """Where a user's key at a provider is sealed."""
    return f"api_key:{user_id}:{key_id}"


def notion_token_place(user_id: UUID) -> str:
    """Where the token of a user's connection to Notion is sealed."""
    return f"notion_connection:{user_id}"


def notion_refresh_token_place(user_id: UUID, connection_id: UUID) -> str:
    """Where what that token is renewed with is sealed."""
    return f"notion_connection:{user_id}:{connection_id}:refresh"


def signing_key_place(kid: str) -> str:
    """Where the private half of a key that signs access tokens is sealed."""
    return f"signing_key:{kid}"


def notion_webhook_place(window_id: UUID) -> str:
    """Of the verification token of a webhook subscription."""
    return f"notion_webhook:{window_id}"
