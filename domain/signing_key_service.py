"""The keys that sign access tokens: known to everybody before they sign, and until their last token has run out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, Protocol

from domain.account import AccessClaims, AccessTokens, SigningKey
from domain.audit import AuditAction, AuditEvent
from domain.errors import Conflict
from domain.store import Store, Transaction
from domain.worker import Round

_log = logging.getLogger(__name__)

RELOAD_SECONDS = 10.0
# A key is published for so long before it signs, so that whoever keeps a copy of what is published has it by then.
PUBLISHED_BEFORE: Final = timedelta(minutes=10)
# An instance may go on for a while with the key of before, until it has heard of the new one.
_HEARD_WITHIN: Final = timedelta(minutes=5)
# How often a token that was signed by an unknown key makes this instance look for new ones, and how many may wait.
_LOOK_SECONDS: Final = 1.0
_MAX_WAITING: Final = 100
RETIRED_KEPT: Final = timedelta(days=30)


class SigningKeyring(AccessTokens, Protocol):
    """Signs with the active key, and verifies with all it was given."""

    def new_key(self, now: datetime) -> SigningKey:
        """A fresh key, sealed."""

    def use(self, keys: Sequence[SigningKey]) -> None:
        """Puts these keys in place, the active one first."""

    def knows_key_of(self, token: str) -> bool:
        """Whether the key that the token names is in place; True for what is no token."""

    def published(self) -> tuple[Mapping[str, str], ...]:
        """The public halves as JSON Web Keys (RFC 7517)."""


class SigningKeyService:
    """Keeps the ring as the store has it; one key is active, one is the next, and others are retired."""

    def __init__(
        self,
        *,
        store: Store,
        ring: SigningKeyring,
        clock: Callable[[], datetime],
        rotated_every: timedelta,
        token_ttl: timedelta,
        reload_seconds: float = RELOAD_SECONDS,
    ) -> None:
        self._store = store
        self._ring = ring
        self._clock = clock
        self._rotated_every = rotated_every
        self._token_ttl = token_ttl
        self._reload_seconds = reload_seconds
        self._look_lock = asyncio.Lock()
        self._looked_at = float("-inf")
        self._asked_for_slot: datetime | None = None
        self._waiting = 0

    async def open(self) -> None:
        """Reads the keys; the very first start makes them."""
        now = self._clock()
        async with self._store.begin() as tx:
            if not await tx.signing_keys.list_usable(now=now):
                await tx.signing_keys.add_if_none(self._ring.new_key(now))
        async with self._store.begin() as tx:
            await self._ensure_next(tx, now)
        await self.reload()

    async def run(self) -> None:
        """Works until cancelled."""
        while True:
            with Round("signing_keys"):
                await self.rotate_if_due()
                await self.reload()
            await asyncio.sleep(self._reload_seconds)

    async def reload(self) -> None:
        """Takes over what other instances have changed."""
        async with self._store.begin() as tx:
            keys = await tx.signing_keys.list_usable(now=self._clock())
        self._ring.use(keys)

    async def verify(self, token: str, *, now: datetime) -> AccessClaims:
        """As AccessTokens; a key that is not known is looked for first. Raises Unauthenticated."""
        if not self._ring.knows_key_of(token) and self._waiting < _MAX_WAITING:
            self._waiting += 1
            try:
                await self._look()
            finally:
                self._waiting -= 1
        return self._ring.verify(token, now=now)

    def published(self) -> tuple[Mapping[str, str], ...]:
        """The public halves of the keys that sign, will sign, or have signed what is still good."""
        return self._ring.published()

    async def rotate(self) -> None:
        """Has the next key sign from now on; tokens of the one before stay good. Raises Conflict when it is too new."""
        now = self._clock()
        async with self._store.begin() as tx:
            following = await self._ensure_next(tx, now)
            ready_at = following.created_at + PUBLISHED_BEFORE
            if now >= ready_at:
                await self._promote(tx, following, now)
        if now < ready_at:
            raise Conflict(f"The next key was published only a moment ago; rotate after {ready_at:%H:%M:%S} UTC.")
        await self.reload()

    async def replace_all(self) -> None:
        """Has a new key sign at once, for when the others are not secret any more: their tokens are refused.

        People stay signed in: their refresh tokens are not signed.
        """
        now = self._clock()
        async with self._store.begin() as tx:
            await tx.signing_keys.lock()
            await tx.signing_keys.retire_all(now=now)
            await tx.signing_keys.add_if_none(self._ring.new_key(now))
            await self._ensure_next(tx, now)
            await tx.audit.append(_event(AuditAction.SIGNING_KEYS_REPLACED))
        await self.reload()

    async def rotate_if_due(self) -> bool:
        """Rotates when the active key has signed for long enough; once an hour one of all instances looks."""
        now = self._clock()
        slot = now.replace(minute=0, second=0, microsecond=0)
        if slot == self._asked_for_slot:
            return False
        self._asked_for_slot = slot
        async with self._store.begin() as tx:
            if not await tx.periodic_slots.claim("rotate_signing_key", slot):
                return False
            await tx.signing_keys.purge(retired_before=now - RETIRED_KEPT)
            following = await self._ensure_next(tx, now)
            active = (await tx.signing_keys.list_usable(now=now))[0]
            since = active.activated_at or active.created_at
            is_due = now - since >= self._rotated_every and now - following.created_at >= PUBLISHED_BEFORE
            if is_due:
                await self._promote(tx, following, now)
        if is_due:
            await self.reload()
        return is_due

    async def _ensure_next(self, tx: Transaction, now: datetime) -> SigningKey:
        await tx.signing_keys.lock()
        found = next((key for key in await tx.signing_keys.list_usable(now=now) if key.is_next), None)
        if found is not None:
            return found
        new = self._ring.new_key(now)
        await tx.signing_keys.add_next(new)
        return new

    async def _promote(self, tx: Transaction, following: SigningKey, now: datetime) -> None:
        await tx.signing_keys.promote(following.kid, now=now, retired_at=now + self._token_ttl + _HEARD_WITHIN)
        await tx.signing_keys.add_next(self._ring.new_key(now))
        await tx.audit.append(_event(AuditAction.SIGNING_KEY_ROTATED, following.kid))
        _log.info("signing_key_rotated", extra={"kid": following.kid})

    async def _look(self) -> None:
        """Reloads, unless somebody has begun to since this was called."""
        loop = asyncio.get_running_loop()
        called_at = loop.time()
        async with self._look_lock:
            if self._looked_at >= called_at:
                return
            await asyncio.sleep(self._looked_at + _LOOK_SECONDS - called_at)
            self._looked_at = loop.time()
            await self.reload()


def _event(action: AuditAction, kid: str = "all") -> AuditEvent:
    return AuditEvent(action=action, actor_id=None, target=f"signing_key:{kid}")
