"""Keeps each connection to Notion at its pace, on the database that all instances share."""

from __future__ import annotations

import asyncio
import logging
import math
import random
from typing import Final

from domain.errors import NotionFailed, Unavailable
from domain.notion_pace import BLOCKED_SECONDS, DEFAULT_HOLD_SECONDS, LOWEST_SHARE, NotionBusy, NotionPriority, blocked
from domain.store import Store

_log = logging.getLogger(__name__)

_JITTER: Final = 0.25


class NotionPacer:
    """Behind the protocol NotionPace."""

    def __init__(self, *, store: Store, requests_per_minute: int) -> None:
        self._store = store
        self._requests_per_minute = requests_per_minute

    async def turn(self, key: str, priority: NotionPriority) -> None:
        """See the protocol."""
        deadline = asyncio.get_running_loop().time() + priority.patience_seconds
        while True:
            async with self._store.begin() as tx:
                turn = await tx.notion_paces.take(
                    key, limit_per_minute=self._requests_per_minute, ahead_seconds=priority.ahead_seconds
                )
            if turn.is_blocked:
                raise blocked()
            if turn.is_granted:
                await asyncio.sleep(turn.wait_seconds)
                return
            # Those who wait here are not to ask again all at once.
            wait_seconds = turn.wait_seconds * random.uniform(1, 1 + _JITTER)  # noqa: S311  (spreads load; no secret)
            if asyncio.get_running_loop().time() + wait_seconds > deadline:
                raise NotionBusy(retry_after_seconds=max(1, math.ceil(turn.wait_seconds)))
            await asyncio.sleep(wait_seconds)

    async def refused(self, key: str, failed: NotionFailed) -> None:
        """See the protocol."""
        seconds = failed.retry_after_seconds or DEFAULT_HOLD_SECONDS
        try:
            async with self._store.begin() as tx:
                await tx.notion_paces.hold(
                    key,
                    seconds=seconds if failed.retryable else BLOCKED_SECONDS,
                    lowest_per_minute=self._requests_per_minute * LOWEST_SHARE,
                    is_blocked=not failed.retryable,
                )
        except Unavailable:
            # The next request finds out again.
            _log.warning("notion_pace_not_lowered")
