"""Connecting Notion by OAuth: what is asked of Notion's authorization server, and who has asked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from domain.notion import NotionWorkspace
from domain.secret import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class NotionGrant:
    """What Notion grants: access to a workspace, and a token for the next pair of tokens (None if it gives none)."""

    workspace: NotionWorkspace
    access_token: Secret
    refresh_token: Secret | None


class NotionOAuth(Protocol):
    """The port to Notion's authorization server. Every failure is a NotionFailed; no retries of its own."""

    def authorize_url(self, *, state: str) -> str:
        """Where the person goes to allow access; Notion then sends them back with the state and a code."""

    async def exchange(self, code: Secret) -> NotionGrant:
        """The grant for a code. Raises NotionFailed(AUTHENTICATION) for a code that is wrong, used or too old."""

    async def refresh(self, refresh_token: Secret) -> NotionGrant:
        """The next pair of tokens; from then on the last pair is void.

        Raises NotionFailed(AUTHENTICATION) for a refresh token that is void. One that is used twice may make Notion
        take the whole grant back.
        """

    async def revoke(self, token: Secret) -> None:
        """Gives the access back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotionAuthorization:
    """Somebody who has gone to Notion and is waited for: of which sign-in, and in which browser.

    `state_hash` and `browser_hash` are SHA-256 of what Notion hands back and of what only that browser holds.
    """

    state_hash: bytes
    browser_hash: bytes
    user_id: UUID
    session_id: UUID
    return_to: str | None
    expires_at: datetime


class NotionAuthorizations(Protocol):
    """Those who are waited for: one for each sign-in."""

    async def put(self, authorization: NotionAuthorization, *, now: datetime) -> None:
        """Waits for it, in place of the session's earlier one; forgets all that have run out."""

    async def take(self, *, state_hash: bytes, browser_hash: bytes) -> NotionAuthorization | None:
        """The one of both hashes, which is there no more from then on."""


class ConnectionToken(Secret):
    """A connection's access token: always the newest one, since it can be renewed while somebody works with it.

    `bot_id` is whom Notion counts its requests for: it outlives each token, and who connects with the same
    integration token, or once more, has the same one.
    """

    __slots__ = ("_newest", "_renew", "bot_id", "connection_id")

    def __init__(
        self, token: Secret, *, connection_id: UUID, bot_id: str, renew: Callable[[Secret], Awaitable[Secret | None]]
    ) -> None:
        super().__init__(token.reveal())
        self.connection_id = connection_id
        self.bot_id = bot_id
        self._newest = token
        self._renew = renew

    def reveal(self) -> str:
        """The newest token."""
        return self._newest.reveal()

    async def renew(self, rejected: Secret) -> bool:
        """Puts another in place of one that Notion has rejected; False when only connecting again helps.

        Raises NotionFailed when Notion cannot be asked, Unavailable when the store cannot.
        """
        renewed = await self._renew(rejected)
        if renewed is None:
            return False
        self._newest = renewed
        return True
