"""A user's connection to a Notion workspace."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from functools import partial
from uuid import UUID

from domain.account import Client, User, Viewer
from domain.audit import AuditAction, AuditEvent
from domain.cipher import Cipher
from domain.credential import check_credential
from domain.errors import InvalidInput, NotFound, NotionFailed, NotionFailureReason
from domain.notion import Notion, NotionConnection, NotionTokenKind, NotionWorkspace
from domain.notion_authorization import ConnectionToken, NotionGrant, NotionOAuth
from domain.notion_renewal import NotionRenewal
from domain.notion_tokens import open_access, seal_tokens
from domain.secret import Secret
from domain.store import Store

_log = logging.getLogger(__name__)

MAX_TOKEN_CHARS = 512


class NotionService:
    """Connects, disconnects, and hands out the token to those who publish."""

    def __init__(
        self,
        *,
        store: Store,
        notion: Notion,
        oauth: NotionOAuth | None,
        cipher: Cipher,
        clock: Callable[[], datetime],
        new_id: Callable[[], UUID],
    ) -> None:
        self._store = store
        self._notion = notion
        self._oauth = oauth
        self._cipher = cipher
        self._clock = clock
        self._new_id = new_id
        self._renewal = NotionRenewal(store=store, oauth=oauth, cipher=cipher, clock=clock)

    async def connection(self, viewer: Viewer) -> NotionConnection | None:
        """The viewer's connection."""
        async with self._store.begin() as tx:
            found = await tx.notion_connections.find(viewer.user.id)
        return None if found is None else found[0]

    async def connect(self, viewer: Viewer, token: Secret, *, client: Client) -> NotionConnection:
        """Checks the integration token with Notion and keeps it, sealed; replaces an earlier connection.

        Raises InvalidInput for what cannot be a token, NotionFailed when Notion rejects it or cannot be asked, and
        Unauthenticated when the viewer's session has ended meanwhile.
        """
        value = token.reveal().strip()
        if not (0 < len(value) <= MAX_TOKEN_CHARS and value.isascii() and value.isprintable()) or " " in value:
            raise InvalidInput("This is not an integration token.", field=("token",))
        try:
            workspace = await self._notion.identify(Secret(value))
        except NotionFailed as error:
            if error.reason is NotionFailureReason.AUTHENTICATION:
                error.field = ("token",)
            raise
        return await self._keep(
            viewer, NotionTokenKind.INTEGRATION, workspace, access=Secret(value), refresh=None, client=client
        )

    async def adopt(self, viewer: Viewer, grant: NotionGrant, *, client: Client) -> NotionConnection:
        """Keeps what Notion has granted by OAuth, sealed; replaces an earlier connection. Raises Unauthenticated."""
        return await self._keep(
            viewer,
            NotionTokenKind.OAUTH,
            grant.workspace,
            access=grant.access_token,
            refresh=grant.refresh_token,
            client=client,
        )

    async def disconnect(self, viewer: Viewer, *, client: Client) -> None:
        """Forgets the tokens, and gives access by OAuth back to Notion. Raises NotFound when there is no connection."""
        async with self._store.begin() as tx:
            found = await tx.notion_connections.find(viewer.user.id)
            if found is None or not await tx.notion_connections.remove(viewer.user.id):
                raise NotFound("Notion is not connected.")
            await tx.audit.append(_event(AuditAction.NOTION_DISCONNECTED, viewer.user, found[0], client))
        connection, sealed = found
        if connection.kind is NotionTokenKind.OAUTH and self._oauth is not None:
            try:
                await self._oauth.revoke(open_access(self._cipher, connection, sealed))
            except NotionFailed as failed:
                # Nobody holds the token any more; the person can remove the connection in Notion's settings too.
                _log.warning("notion_token_not_revoked", extra={"reason": failed.reason.value})

    async def find_token(self, user_id: UUID) -> ConnectionToken | None:
        """The token of a user's connection; it is renewed when Notion rejects it."""
        async with self._store.begin() as tx:
            found = await tx.notion_connections.find(user_id)
        if found is None:
            return None
        connection, sealed = found
        return ConnectionToken(
            open_access(self._cipher, connection, sealed),
            connection_id=connection.id,
            bot_id=connection.bot_id,
            renew=partial(self._renewal.renew, user_id, connection.id),
        )

    async def _keep(
        self,
        viewer: Viewer,
        kind: NotionTokenKind,
        workspace: NotionWorkspace,
        *,
        access: Secret,
        refresh: Secret | None,
        client: Client,
    ) -> NotionConnection:
        user, now = viewer.user, self._clock()
        connection = NotionConnection(
            id=self._new_id(),
            user_id=user.id,
            kind=kind,
            bot_id=workspace.bot_id,
            workspace_id=workspace.workspace_id,
            workspace_name=workspace.workspace_name,
            connected_at=now,
        )
        sealed = seal_tokens(self._cipher, user_id=user.id, connection_id=connection.id, access=access, refresh=refresh)
        async with self._store.begin() as tx:
            # Notion was asked meanwhile. Whoever was thrown out by now must not have the answers go where they like.
            await check_credential(tx, viewer, now=now)
            await tx.notion_connections.put(connection, sealed=sealed)
            await tx.audit.append(_event(AuditAction.NOTION_CONNECTED, user, connection, client))
        return connection


def _event(action: AuditAction, user: User, connection: NotionConnection, client: Client) -> AuditEvent:
    return AuditEvent(
        action=action,
        actor_id=user.id,
        target=f"notion_connection:{connection.id}",
        ip=client.ip,
        details={"kind": connection.kind.value},
    )
