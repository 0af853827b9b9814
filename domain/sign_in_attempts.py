"""Tries to sign in, counted under keys that tell neither who nor where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempts:
    """Tries that failed, or that have not ended yet, under one key."""

    failures: int
    blocked_until: datetime
    updated_at: datetime


class SignInAttempts(Protocol):
    """What is counted."""

    async def lock(self, keys: Sequence[bytes], *, now: datetime) -> Mapping[bytes, Attempts]:
        """What is counted under each key, locked until the transaction ends; keys are locked in their order."""

    async def save(self, key: bytes, attempts: Attempts) -> None:
        """Puts this in place."""

    async def take_back(self, keys: Sequence[bytes], *, forgetting: bytes | None = None) -> None:
        """One failure less under each key, and none under one; keys are locked in their order."""

    async def purge(self, *, updated_before: datetime) -> int:
        """Deletes what was last counted before then; answers how many."""
