"""Rate limits by the library `limits`: counted in Redis for all instances, or in memory when there is none."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

from limits import RateLimitItem, RateLimitItemPerSecond
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.storage.redis.redispy import RedispyBridge
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.errors import StorageError

from domain.rate_limit import Allowance, Standing
from domain.secret import Secret

DEFAULT_TIMEOUT_SECONDS: Final = 0.25
DEFAULT_PAUSE_SECONDS: Final = 5.0
_MAX_COUNTERS: Final = 50_000
_MAX_CONNECTIONS: Final = 16


class LimitsRateCounters:
    """Implements domain.rate_limit.RateCounters.

    Without an answer of Redis within `timeout_seconds`, the memory counts for `pause_seconds`: each instance for
    itself, so that an outage loosens the limits and never closes the server.
    """

    def __init__(
        self,
        redis_url: Secret | None,
        *,
        namespace: str,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
        pause_seconds: float = DEFAULT_PAUSE_SECONDS,
    ) -> None:
        self._memory = SlidingWindowCounterRateLimiter(_BoundedMemory())
        self._redis_storage = None if redis_url is None else _redis_storage(redis_url, namespace, timeout_seconds)
        self._redis = None if self._redis_storage is None else SlidingWindowCounterRateLimiter(self._redis_storage)
        self._timeout_seconds = timeout_seconds
        self._pause_seconds = pause_seconds
        self._resume_at = 0.0
        # Fewer at a time than the pool has connections: it fails when it runs out of them.
        self._turns = asyncio.Semaphore(_MAX_CONNECTIONS)

    async def take(self, bucket: str, allowance: Allowance, *, points: int) -> bool:
        """Takes points, if there are so many."""
        item = _item(allowance)
        if self._redis is not None and time.monotonic() >= self._resume_at:
            try:
                async with asyncio.timeout(self._timeout_seconds), self._turns:
                    return await self._redis.hit(item, bucket, cost=points)
            except (StorageError, OSError):  # a TimeoutError is an OSError
                self._resume_at = time.monotonic() + self._pause_seconds
        return await self._memory.hit(item, bucket, cost=points)

    async def standing(self, bucket: str, allowance: Allowance) -> Standing:
        """How full it is."""
        item = _item(allowance)
        stats = None
        if self._redis is not None and time.monotonic() >= self._resume_at:
            try:
                async with asyncio.timeout(self._timeout_seconds), self._turns:
                    stats = await self._redis.get_window_stats(item, bucket)
            except (StorageError, OSError):
                self._resume_at = time.monotonic() + self._pause_seconds
        if stats is None:
            stats = await self._memory.get_window_stats(item, bucket)
        return Standing(
            limit=allowance.points,
            remaining=stats.remaining,
            resets_at=datetime.fromtimestamp(stats.reset_time, UTC),
        )

    async def aclose(self) -> None:
        """Closes the connections."""
        bridge = None if self._redis_storage is None else self._redis_storage.bridge
        if isinstance(bridge, RedispyBridge):
            with suppress(StorageError, OSError):
                async with asyncio.timeout(self._timeout_seconds):
                    await bridge.get_connection().aclose()  # type: ignore[attr-defined]  # the library names less


class _BoundedMemory(MemoryStorage):
    """The library's memory without its clean-up, which looks at every counter there is after each hit.

    Counters stand in the order in which they were made; the oldest go first, whether they have run out or not.
    """

    async def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        """Called by the library for each hit; nothing here waits, so it needs no lock."""
        if key not in self.expirations:
            self.expirations[key] = time.time() + expiry
            while len(self.expirations) > _MAX_COUNTERS:
                await self.clear(next(iter(self.expirations)))
        self.storage[key] += amount
        return self.storage[key]

    async def decr(self, key: str, amount: int = 1) -> int:
        """Called by the library to take a hit back."""
        self.storage[key] = max(self.storage[key] - amount, 0)
        return self.storage[key]


def _redis_storage(url: Secret, namespace: str, timeout_seconds: float) -> RedisStorage:
    address = url.reveal()
    scheme = "async+redis+" if address.startswith("unix:") else "async+"
    return RedisStorage(
        scheme + address,
        wrap_exceptions=True,
        implementation="redispy",
        key_prefix=f"{namespace}:rates",
        socket_timeout=timeout_seconds,
        socket_connect_timeout=timeout_seconds,
        max_connections=2 * _MAX_CONNECTIONS,
    )


def _item(allowance: Allowance) -> RateLimitItem:
    return RateLimitItemPerSecond(allowance.points, int(allowance.period.total_seconds()))
