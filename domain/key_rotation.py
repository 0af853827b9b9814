"""Another encryption key: everything that is stored sealed is wrapped anew, while the server goes on serving."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

from domain.cipher import Cipher, StoredSecret
from domain.errors import Unavailable
from domain.store import Store

_log = logging.getLogger(__name__)

BATCH_SIZE: Final = 100
# What a server has sealed just before it learned of the new key may be stored a moment later.
PASSES: Final = 3
PAUSE_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """What has come of it: `left` could not be wrapped anew, because it does not open or is being changed."""

    key_id: str
    rewrapped: int
    left: int


class KeyRotation:
    """Wraps all that is stored under the active key. Stopped in the middle, it goes on where it was."""

    def __init__(self, *, store: Store, cipher: Cipher, pause_seconds: float = PAUSE_SECONDS) -> None:
        self._store = store
        self._cipher = cipher
        self._pause_seconds = pause_seconds

    async def count_to_do(self) -> int:
        """How many secrets are sealed with another key than the active one."""
        return await _count_other_than(self._store, self._cipher.active_key_id)

    async def run(self, on_progress: Callable[[int], None]) -> Rotation:
        """Works in batches, each a transaction of its own, and tells after each how many are done."""
        active = self._cipher.active_key_id
        rewrapped = 0
        left = await _count_other_than(self._store, active)
        for number in range(PASSES):
            if number:
                await asyncio.sleep(self._pause_seconds)
            last: StoredSecret | None = None
            while (batch := await self._rewrap_after(last, active)) is not None:
                last, done = batch
                rewrapped += done
                on_progress(rewrapped)
            left = await _count_other_than(self._store, active)
        return Rotation(key_id=active, rewrapped=rewrapped, left=left)

    async def _rewrap_after(self, last: StoredSecret | None, active: str) -> tuple[StoredSecret, int] | None:
        """The last secret of the next batch, and how many of it are under the active key now."""
        done = 0
        async with self._store.begin() as tx:
            batch = await tx.stored_secrets.next_batch(other_than=active, after=last, size=BATCH_SIZE)
            for secret in batch:
                try:
                    sealed = self._cipher.rewrap(secret.sealed, place=secret.place)
                except Unavailable:
                    _log.warning("secret_does_not_open", extra={"column": secret.column, "key": secret.sealed.key_id})
                    continue
                await tx.stored_secrets.put(secret, sealed)
                done += 1
        return (batch[-1], done) if batch else None


async def find_unknown_keys(store: Store, known: Collection[str]) -> frozenset[str]:
    """The ids of encryption keys that have sealed something and are not among the known ones."""
    async with store.begin() as tx:
        return frozenset(await tx.stored_secrets.count_by_key()) - frozenset(known)


async def _count_other_than(store: Store, key_id: str) -> int:
    async with store.begin() as tx:
        counts = await tx.stored_secrets.count_by_key()
    return sum(count for each, count in counts.items() if each != key_id)
