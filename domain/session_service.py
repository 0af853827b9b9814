"""A user's sign-ins: listed and ended."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from domain.account import Client, Session, Viewer
from domain.audit import AuditAction, AuditEvent
from domain.errors import NotFound
from domain.store import Store


class SessionService:
    """A user's sessions. What is ended here ends everywhere: connections that it has open close within 30 seconds."""

    def __init__(self, *, store: Store, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock

    async def list_of(self, viewer: Viewer) -> tuple[Session, ...]:
        """The viewer's live sessions, those seen last first. Raises Forbidden for a viewer who came by a token."""
        viewer.require_session()
        async with self._store.begin() as tx:
            return await tx.sessions.list_of(viewer.user.id, now=self._clock())

    async def revoke(self, viewer: Viewer, session_id: UUID, *, client: Client) -> None:
        """Ends one session. Raises NotFound when the viewer has no such live session."""
        viewer.require_session()
        now = self._clock()
        async with self._store.begin() as tx:
            if not await tx.sessions.revoke_of(viewer.user.id, session_id, now=now):
                raise NotFound("There is no such session.", field=("id",))
            await tx.audit.append(
                AuditEvent(
                    action=AuditAction.SESSION_REVOKED,
                    actor_id=viewer.user.id,
                    target=f"session:{session_id}",
                    ip=client.ip,
                )
            )

    async def revoke_others(self, viewer: Viewer, *, client: Client) -> int:
        """Ends all sessions but the viewer's; answers how many."""
        current = viewer.require_session()
        now = self._clock()
        async with self._store.begin() as tx:
            revoked = await tx.sessions.revoke_all(viewer.user.id, except_id=current, now=now)
            await tx.audit.append(
                AuditEvent(
                    action=AuditAction.OTHER_SESSIONS_REVOKED,
                    actor_id=viewer.user.id,
                    target=f"user:{viewer.user.id}",
                    ip=client.ip,
                    details={"count": revoked},
                )
            )
        return revoked
