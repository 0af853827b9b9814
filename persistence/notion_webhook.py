"""The verification tokens of webhook subscriptions, and which events have come in."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, insert, select, update
from sqlalchemy.dialects.postgresql import insert as insert_or_ignore

from domain.cipher import Sealed
from domain.notion_webhook import MAX_TOKENS
from persistence.statements import Statements
from persistence.tables import notion_events, notion_webhooks

_HAS_TOKEN = notion_webhooks.c.encrypted_token.is_not(None)


class PostgresNotionWebhooks:
    """Behind the port NotionWebhooks."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def open_window(self, window_id: UUID, *, now: datetime, until: datetime) -> None:
        """Waits for one token until then."""
        await self._statements.change(delete(notion_webhooks).where(~_HAS_TOKEN, notion_webhooks.c.open_until < now))
        await self._statements.change(insert(notion_webhooks).values(id=window_id, opened_at=now, open_until=until))

    async def close_window(self, window_id: UUID, *, now: datetime) -> None:
        """Waits no more, unless the token has come."""
        await self._statements.change(
            update(notion_webhooks).where(notion_webhooks.c.id == window_id, ~_HAS_TOKEN).values(open_until=now)
        )

    async def find_window(self, *, now: datetime) -> UUID | None:
        """The window that waits for a token, the newest of several; nobody else gets it in this moment."""
        row = await self._statements.row(
            select(notion_webhooks.c.id)
            .where(~_HAS_TOKEN, notion_webhooks.c.open_until > now)
            .order_by(notion_webhooks.c.opened_at.desc())
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        return None if row is None else row["id"]

    async def keep_token(self, window_id: UUID, *, sealed: Sealed, now: datetime) -> None:
        """The token has come; of all tokens the newest are kept, as many as MAX_TOKENS."""
        await self._statements.change(
            update(notion_webhooks)
            .where(notion_webhooks.c.id == window_id)
            .values(encrypted_token=sealed.ciphertext, encryption_key_id=sealed.key_id, received_at=now)
        )
        newest = (
            select(notion_webhooks.c.id)
            .where(_HAS_TOKEN)
            .order_by(notion_webhooks.c.received_at.desc(), notion_webhooks.c.id.desc())
            .limit(MAX_TOKENS)
        )
        await self._statements.change(delete(notion_webhooks).where(_HAS_TOKEN, notion_webhooks.c.id.not_in(newest)))

    async def find_token(self, window_id: UUID) -> Sealed | None:
        """The token that has come through a window."""
        row = await self._statements.row(select(notion_webhooks).where(notion_webhooks.c.id == window_id, _HAS_TOKEN))
        return None if row is None else Sealed(key_id=row["encryption_key_id"], ciphertext=row["encrypted_token"])

    async def list_tokens(self) -> Sequence[tuple[UUID, Sealed]]:
        """All tokens, the newest first."""
        rows = await self._statements.rows(
            select(notion_webhooks).where(_HAS_TOKEN).order_by(notion_webhooks.c.received_at.desc()).limit(MAX_TOKENS)
        )
        return [(row["id"], Sealed(key_id=row["encryption_key_id"], ciphertext=row["encrypted_token"])) for row in rows]

    async def forget_tokens(self) -> int:
        """Deletes all tokens; answers how many there were."""
        return await self._statements.change(delete(notion_webhooks).where(_HAS_TOKEN))

    async def note_event(self, event_id: str, *, now: datetime) -> bool:
        """Whether this event has not come in before."""
        noted = insert_or_ignore(notion_events).values(id=event_id, received_at=now).on_conflict_do_nothing()
        return await self._statements.change(noted) == 1

    async def purge_events(self, *, received_before: datetime) -> int:
        """Forgets which events have come in; answers how many."""
        return await self._statements.change(delete(notion_events).where(notion_events.c.received_at < received_before))
