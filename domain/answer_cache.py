"""Answers kept for requests that come again: what makes two requests the same, and where their answer is kept."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from domain.generation import Generation
from domain.provider import Model, Parameters, Provider

# An answer that takes a tenth of all the room pushes too many others out.
_LARGEST_SHARE = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedAnswer:
    """A complete answer, and the generation that it was written for: without that, it is nobody's any more."""

    generation_id: UUID
    content: str
    reasoning: str

    @property
    def size_bytes(self) -> int:
        """About as much as it takes in memory."""
        return len(self.content.encode()) + len(self.reasoning.encode()) + 256


class AnswerCache(Protocol):
    """Where answers are kept for a while. It never fails: what cannot be reached has nothing and takes nothing.

    So it may also keep what it was told to forget, until `ttl` is over. Who finds an answer looks whether its
    generation is still there.
    """

    @property
    def ttl(self) -> timedelta:
        """How long an answer is kept."""

    async def find(self, key: bytes) -> CachedAnswer | None:
        """The answer, if it is still there."""

    async def put(self, key: bytes, answer: CachedAnswer) -> None:
        """Keeps it, in place of an earlier one."""

    async def remove(self, keys: Collection[bytes]) -> None:
        """Forgets them."""


def answer_key(
    provider: Provider,
    model: Model,
    *,
    user_id: UUID | None,
    prompt: str,
    system_prompt: str | None,
    parameters: Parameters,
) -> bytes:
    """SHA-256 of all that an answer depends on, and of whose it is; without a user everybody's who asks the same."""
    parts = {
        "user": None if user_id is None else str(user_id),
        "provider": [provider.id, provider.kind.value, provider.api_endpoint],
        "model": model.id,
        "parameters": parameters.as_json(),
        "system_prompt": system_prompt,
        "prompt": prompt,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).digest()


def cache_keys_of(generations: Iterable[Generation]) -> frozenset[bytes]:
    """Under which their answers may be kept."""
    return frozenset(each.cache_key for each in generations if each.cache_key is not None)


class MemoryAnswerCache:
    """Keeps answers in this process, so many bytes of them: those that were not asked for the longest go first."""

    def __init__(self, *, max_bytes: int, ttl: timedelta, clock: Callable[[], datetime]) -> None:
        self._max_bytes = max_bytes
        self._ttl = ttl
        self._clock = clock
        self._answers: OrderedDict[bytes, tuple[datetime, CachedAnswer]] = OrderedDict()
        self._size_bytes = 0

    @property
    def ttl(self) -> timedelta:
        """How long an answer is kept."""
        return self._ttl

    @property
    def size_bytes(self) -> int:
        """How much is kept."""
        return self._size_bytes

    async def find(self, key: bytes) -> CachedAnswer | None:
        """The answer, if it is still there."""
        if key not in self._answers:
            return None
        expires_at, answer = self._answers[key]
        if expires_at <= self._clock():
            self._remove(key)
            return None
        self._answers.move_to_end(key)
        return answer

    async def remove(self, keys: Collection[bytes]) -> None:
        """Forgets them."""
        for key in keys:
            self._remove(key)

    async def put(self, key: bytes, answer: CachedAnswer) -> None:
        """Keeps it, in place of an earlier one; not if it is too large."""
        self._remove(key)
        if answer.size_bytes * _LARGEST_SHARE > self._max_bytes:
            return
        self._answers[key] = (self._clock() + self._ttl, answer)
        self._size_bytes += answer.size_bytes
        while self._size_bytes > self._max_bytes:
            self._remove(next(iter(self._answers)))

    def _remove(self, key: bytes) -> None:
        if (found := self._answers.pop(key, None)) is not None:
            self._size_bytes -= found[1].size_bytes
