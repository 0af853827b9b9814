"""What a person may have of their own data: all of it, or its end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence

from domain.account import Client, Viewer
from domain.administration import AdministrationService
from domain.audit import AuditAction, AuditEvent
from domain.authentication import AuthenticationService
from domain.store import Store
from domain.user_directory import Belongings

_BATCH = 50  # rows, each of which may hold an answer of megabytes
ANSWERS = "content_history"
CREDENTIALS = frozenset({"sessions", "access_tokens", "account_links"})


class PrivacyService:
    """A person's own data."""

    def __init__(
        self, *, store: Store, authentication: AuthenticationService, administration: AdministrationService
    ) -> None:
        self._store = store
        self._authentication = authentication
        self._administration = administration

    async def begin_export(self, viewer: Viewer, *, client: Client) -> Sequence[str]:
        """The tables in which `read` finds what is the viewer's. That they were asked for is in the audit log.

        What somebody signs in with is not among them for a token: it sees none of that elsewhere either.
        """
        async with self._store.begin() as tx:
            await tx.audit.append(
                AuditEvent(
                    action=AuditAction.ACCOUNT_EXPORTED,
                    actor_id=viewer.user.id,
                    target=f"user:{viewer.user.id}",
                    ip=client.ip,
                )
            )
            tables = tx.user_directory.list_tables()
        return [each for each in tables if viewer.session_id is not None or each not in CREDENTIALS]

    async def read(self, viewer: Viewer, table: str) -> AsyncIterator[Belongings]:
        """What is the viewer's in one table, without secrets; no connection is held between two batches."""
        position: tuple[object, ...] | None = None
        while True:
            async with self._store.begin() as tx:
                batch = await tx.user_directory.read_belongings(viewer.user.id, table, after=position, size=_BATCH)
            yield batch
            if (position := batch.position) is None:
                return

    async def delete_account(
        self, viewer: Viewer, *, password: str, is_dry_run: bool, client: Client
    ) -> Mapping[str, int]:
        """Deletes the viewer's account with everything in it; pages in Notion stay.

        Answers how many rows of each table go; a dry run leaves them there. Raises like confirm_password, and Conflict
        for the last administrator.
        """
        await self._authentication.confirm_password(viewer, password, client=client)
        return await self._administration.delete_user(viewer, viewer.user.id, is_dry_run=is_dry_run, client=client)
