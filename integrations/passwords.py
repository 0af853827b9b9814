"""Hashes passwords with Argon2id in two threads of its own, so that sign-ins never hold up the event loop."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

import argon2
from argon2.exceptions import VerifyMismatchError

from domain.errors import RateLimited, Unavailable
from domain.secret import Secret

T = TypeVar("T")

# OWASP Password Storage Cheat Sheet, Argon2id: 19 MiB, two passes, one lane is the least it accepts.
MEMORY_KIB: Final = 19 * 1024
TIME_COST: Final = 2
PARALLELISM: Final = 1
HASH_BYTES: Final = 32
SALT_BYTES: Final = 16

THREADS: Final = 2
MAX_WAITING: Final = 64


class Argon2Passwords:
    """Two hashes are computed at a time (argon2 releases the GIL); at most `max_waiting` more wait for their turn."""

    def __init__(self, *, max_waiting: int = MAX_WAITING) -> None:
        self._hasher = argon2.PasswordHasher(
            time_cost=TIME_COST,
            memory_cost=MEMORY_KIB,
            parallelism=PARALLELISM,
            hash_len=HASH_BYTES,
            salt_len=SALT_BYTES,
            type=argon2.Type.ID,
        )
        self._nobodys_hash = _unmatched_hash()
        self._executor = ThreadPoolExecutor(THREADS, thread_name_prefix="passwords")
        self._max_pending = THREADS + max_waiting
        self._pending = 0
        self._is_closed = False

    async def hash(self, password: Secret) -> str:
        """The encoded hash. Raises RateLimited when too many wait, Unavailable after `close()`."""
        return await self._run(lambda: self._hasher.hash(_octets(password)))

    async def verify(self, password: Secret, password_hash: str | None) -> bool:
        """As `hash`; without a hash, a made-up one is verified, which takes as long and matches nothing."""
        return await self._run(lambda: self._matches(password, password_hash or self._nobodys_hash))

    def needs_rehash(self, password_hash: str) -> bool:
        """Whether its parameters are not the ones above."""
        return self._hasher.check_needs_rehash(password_hash)

    def close(self) -> None:
        """Takes no more work; what has begun is finished in its thread."""
        self._is_closed = True
        self._executor.shutdown(wait=False)

    def _matches(self, password: Secret, password_hash: str) -> bool:
        # A hash that cannot be read is a fault of the store and is left to fail: it is not a wrong password.
        try:
            return self._hasher.verify(password_hash, _octets(password))
        except VerifyMismatchError:
            return False

    async def _run(self, work: Callable[[], T]) -> T:
        if self._is_closed:
            raise Unavailable("This server is shutting down. Try again in a moment.")
        if self._pending >= self._max_pending:
            raise RateLimited("Too many people are signing in right now. Try again in a moment.", retry_after_seconds=2)
        self._pending += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, work)
        finally:
            self._pending -= 1


def _octets(password: Secret) -> bytes:
    return password.reveal().encode("utf-8", "surrogatepass")


def _unmatched_hash() -> str:
    """A hash in Argon2's own encoding, with today's parameters, that no password is known to match."""
    salt, digest = (
        base64.b64encode(os.urandom(size_bytes)).decode().rstrip("=") for size_bytes in (SALT_BYTES, HASH_BYTES)
    )
    return f"$argon2id$v={argon2.low_level.ARGON2_VERSION}$m={MEMORY_KIB},t={TIME_COST},p={PARALLELISM}${salt}${digest}"
