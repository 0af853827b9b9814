"""What has to be done now and then, by exactly one of all the instances."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from domain.answer_cache import AnswerCache, cache_keys_of
from domain.audit import AuditAction, AuditEvent
from domain.notion_pace import IDLE_KEPT
from domain.notion_webhook import EVENTS_KEPT
from domain.store import Store
from domain.throttle import FORGET_AFTER
from domain.worker import Round

_log = logging.getLogger(__name__)

CHECK_SECONDS = 60.0
EXPIRED_AT_ONCE = 500
ENDED_SESSIONS_KEPT = timedelta(days=30)  # for whoever looks into what happened


class Housekeeper:
    """Clears away what nobody needs any more, once an hour in all instances together."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Callable[[], datetime],
        answers: AnswerCache | None = None,
        retention_days: int | None = None,
    ) -> None:
        self._store = store
        self._answers = answers
        self._clock = clock
        self._retention_days = retention_days

    async def run(self) -> None:
        """Works until cancelled."""
        while True:
            for job in (self.purge_sessions, self.delete_expired, self.purge_notion_paces, self.purge_events):
                with Round(job.__name__):
                    await job()
            await asyncio.sleep(CHECK_SECONDS)

    async def delete_expired(self) -> int:
        """Deletes generations that are older than their user, or the server, keeps them; answers how many.

        A part at a time, once a minute, so that the first run on a long history holds nobody up.
        """
        now = self._clock()
        async with self._store.begin() as tx:
            if not await tx.periodic_slots.claim("delete_expired", now.replace(second=0, microsecond=0)):
                return 0
            expired = await tx.generations.list_expired(now=now, server_days=self._retention_days, size=EXPIRED_AT_ONCE)
            cache_keys: set[bytes] = set()
            for user_id, generation_ids in expired.items():
                cache_keys |= cache_keys_of((await tx.generations.find_many(user_id, generation_ids)).values())
                await tx.generations.delete(user_id, generation_ids)
                await tx.audit.append(
                    AuditEvent(
                        action=AuditAction.GENERATIONS_EXPIRED,
                        actor_id=None,
                        target=f"user:{user_id}",
                        details={"count": len(generation_ids)},
                    )
                )
        if self._answers is not None:
            await self._answers.remove(cache_keys)
        return sum(len(generation_ids) for generation_ids in expired.values())

    async def purge_sessions(self) -> int:
        """Deletes what nobody can sign in with any more; answers how much. Does nothing if somebody has this hour."""
        now = self._clock()
        slot = now.replace(minute=0, second=0, microsecond=0)
        async with self._store.begin() as tx:
            # Claim and work are one transaction: whoever dies in between has not claimed.
            if not await tx.periodic_slots.claim("purge_sessions", slot):
                return 0
            purged = await tx.sessions.purge(ended_before=now - ENDED_SESSIONS_KEPT)
            purged += await tx.access_tokens.purge(expired_before=now - ENDED_SESSIONS_KEPT)
            purged += await tx.account_links.purge(expired_before=now)
            purged += await tx.sign_in_attempts.purge(updated_before=now - FORGET_AFTER)
        if purged:
            _log.info("sessions_purged", extra={"count": purged})
        return purged

    async def purge_notion_paces(self) -> int:
        """Forgets the pace of connections to Notion that are not used any more; answers how many. Once an hour."""
        slot = self._clock().replace(minute=0, second=0, microsecond=0)
        async with self._store.begin() as tx:
            if not await tx.periodic_slots.claim("purge_notion_paces", slot):
                return 0
            return await tx.notion_paces.purge(idle=IDLE_KEPT)

    async def purge_events(self) -> int:
        """Forgets which of Notion's events have come in, once they are too old to be listened to; answers how many."""
        now = self._clock()
        slot = now.replace(minute=0, second=0, microsecond=0)
        async with self._store.begin() as tx:
            if not await tx.periodic_slots.claim("purge_notion_events", slot):
                return 0
            # Some time more than they are listened to: an event may have been long on its way.
            return await tx.notion_webhooks.purge_events(received_before=now - 2 * EVENTS_KEPT)
