"""A user's personal access tokens: made, listed, revoked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from domain.access_token import PersonalAccessToken, new_secret
from domain.account import Client, Scope, Viewer
from domain.audit import AuditAction, AuditEvent
from domain.credential import check_credential
from domain.errors import Conflict, InvalidInput, NotFound
from domain.secret import Secret
from domain.store import Store
from domain.text import checked_text

MAX_NAME_CHARS: Final = 100
MAX_TOKENS: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAccessToken:
    """A token that was just made, with the secret that is shown this once."""

    token: PersonalAccessToken
    secret: Secret


class AccessTokenService:
    """A user's tokens. Only a sign-in makes or revokes them: a token can neither widen nor renew itself."""

    def __init__(self, *, store: Store, clock: Callable[[], datetime], new_id: Callable[[], UUID]) -> None:
        self._store = store
        self._clock = clock
        self._new_id = new_id

    async def list_of(self, viewer: Viewer) -> tuple[PersonalAccessToken, ...]:
        """The viewer's tokens, newest first. Raises Forbidden for a viewer who came by a token."""
        viewer.require_session()
        async with self._store.begin() as tx:
            return await tx.access_tokens.list_of(viewer.user.id)

    async def create(
        self, viewer: Viewer, *, name: str, scopes: Sequence[Scope], expires_at: datetime | None, client: Client
    ) -> NewAccessToken:
        """Makes a token. Raises InvalidInput, Conflict (too many), Forbidden for a token."""
        viewer.require_session()
        now = self._clock()
        name = checked_text(name.strip(), field=("name",), max_chars=MAX_NAME_CHARS)
        if not scopes:
            raise InvalidInput("A token needs at least one scope.", field=("scopes",))
        if expires_at is not None and expires_at <= now:
            raise InvalidInput("This is in the past.", field=("expiresAt",))
        secret, prefix, secret_hash = new_secret()
        token = PersonalAccessToken(
            id=self._new_id(),
            user_id=viewer.user.id,
            name=name,
            prefix=prefix,
            scopes=frozenset(scopes),
            created_at=now,
            expires_at=expires_at,
            last_used_at=None,
        )
        async with self._store.begin() as tx:
            # With the account locked, so that two at once do not both find room for one more.
            await check_credential(tx, viewer, now=now)
            if len(await tx.access_tokens.list_of(viewer.user.id)) >= MAX_TOKENS:
                raise Conflict(f"There are {MAX_TOKENS} tokens already; revoke one that is not needed any more.")
            await tx.access_tokens.add(token, secret_hash=secret_hash)
            await tx.audit.append(_event(AuditAction.ACCESS_TOKEN_CREATED, viewer, token.id, client, token.scopes))
        return NewAccessToken(token=token, secret=secret)

    async def revoke(self, viewer: Viewer, token_id: UUID, *, client: Client) -> None:
        """Ends a token; connections that it has opened are closed within 30 seconds. Raises NotFound."""
        viewer.require_session()
        async with self._store.begin() as tx:
            if not await tx.access_tokens.remove(viewer.user.id, token_id):
                raise NotFound("There is no such token.", field=("id",))
            await tx.audit.append(_event(AuditAction.ACCESS_TOKEN_REVOKED, viewer, token_id, client))


def _event(
    action: AuditAction, viewer: Viewer, token_id: UUID, client: Client, scopes: Iterable[Scope] = ()
) -> AuditEvent:
    details = {"scopes": sorted(scopes)} if scopes else {}
    return AuditEvent(
        action=action, actor_id=viewer.user.id, target=f"access_token:{token_id}", ip=client.ip, details=details
    )
