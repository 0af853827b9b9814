"""Seals and opens a connection's tokens, each bound to its place."""

from __future__ import annotations

from uuid import UUID

from domain.cipher import Cipher, Sealed, notion_refresh_token_place, notion_token_place
from domain.notion import NotionConnection, SealedTokens
from domain.secret import Secret


def seal_tokens(
    cipher: Cipher, *, user_id: UUID, connection_id: UUID, access: Secret, refresh: Secret | None
) -> SealedTokens:
    """The tokens as they are stored."""
    return SealedTokens(
        access=cipher.seal(access, place=notion_token_place(user_id)),
        refresh=None
        if refresh is None
        else cipher.seal(refresh, place=notion_refresh_token_place(user_id, connection_id)),
    )


def open_access(cipher: Cipher, connection: NotionConnection, sealed: SealedTokens) -> Secret:
    """The access token. Raises Unavailable when it does not open."""
    return cipher.open(sealed.access, place=notion_token_place(connection.user_id))


def open_refresh(cipher: Cipher, connection: NotionConnection, sealed: Sealed) -> Secret:
    """The refresh token. Raises Unavailable when it does not open."""
    return cipher.open(sealed, place=notion_refresh_token_place(connection.user_id, connection.id))
