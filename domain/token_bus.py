"""The port that carries the live tail of running generations from one instance to the others."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol
from uuid import UUID

from domain.generation import Chunk


class TokenBus(Protocol):
    """Fast and forgetful: it may lose, repeat or reorder anything at any time, for PostgreSQL is the truth.

    A chunk without text says that its generation has changed in the store: it has ended, say. Whoever receives a chunk
    that does not fit on what it has, or hears of a loss, reads the store.
    """

    async def publish(self, chunks: Sequence[Chunk]) -> None:
        """Sends them, in a bounded time. Raises Unavailable when the bus is down, or so slow that it counts as down."""

    def watch(self, generation_ids: Collection[UUID]) -> None:
        """Replaces the set of generations whose chunks are wanted; takes effect at once."""

    async def receive(self) -> Sequence[Chunk]:
        """The next chunks of watched generations that were published after `watch` named them; waits for some.

        Raises Unavailable when the bus is down; may then be called again, and waits a little before it tries anew.
        What was published in between may be missing.
        """
