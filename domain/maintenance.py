"""Maintenance: while it lasts nobody but administrators starts anything new; what runs comes to its end."""

from __future__ import annotations

from dataclasses import replace

from domain.account import Client, Role, Viewer
from domain.audit import AuditAction, AuditEvent
from domain.errors import Unavailable
from domain.store import Store
from domain.text import checked_text

MAX_MESSAGE_CHARS = 1_000
DEFAULT_MESSAGE = "The server is under maintenance; try again later. What was begun goes on."


class Maintenance:
    """Whether there is any, on all instances alike."""

    def __init__(self, *, store: Store) -> None:
        self._store = store

    async def find_message(self) -> str | None:
        """What people are told; None when there is no maintenance."""
        async with self._store.begin() as tx:
            return (await tx.server_settings.get()).maintenance_message

    async def check(self, viewer: Viewer) -> None:
        """Raises Unavailable for everybody but administrators while it lasts."""
        if viewer.user.role is not Role.ADMIN and (message := await self.find_message()) is not None:
            raise Unavailable(message)

    async def begin(self, viewer: Viewer, message: str | None, *, client: Client) -> None:
        """Starts it, or changes what people are told. Raises InvalidInput for a message that is blank or too long."""
        if message is not None:
            checked_text(message, field=("message",), max_chars=MAX_MESSAGE_CHARS)
        await self._put(viewer, message or DEFAULT_MESSAGE, client)

    async def end(self, viewer: Viewer, *, client: Client) -> None:
        """Ends it."""
        await self._put(viewer, None, client)

    async def _put(self, viewer: Viewer, message: str | None, client: Client) -> None:
        async with self._store.begin() as tx:
            before = await tx.server_settings.lock()
            await tx.server_settings.put(replace(before, maintenance_message=message))
            await tx.audit.append(
                AuditEvent(
                    action=AuditAction.MAINTENANCE_CHANGED,
                    actor_id=viewer.user.id,
                    target="server",
                    ip=client.ip,
                    details={"before": before.maintenance_message, "after": message},
                )
            )
