"""How fast Notion is asked: one allowance for each integration in a workspace, shared by all instances.

That is what Notion itself counts: everybody who connects with the same integration token shares it, and a renewed
token, or a second connection of the same person, begins no new one.

A request costs an interval of the allowance's time. Requests may run ahead of time by `BURST_SECONDS`, and no minute
has more of them than the limit says. What works in the background leaves a part of that to people; a person's request
may also wait in line. After a refusal nobody asks before it is time again, and the pace is lower for a while.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final, Protocol

from domain.errors import NotionFailed, NotionFailureReason

BURST_SECONDS: Final = 12.0
# With bursts of an interval's share of a minute and the rest spread over it, no minute has more than the limit.
SECONDS_PER_LIMIT: Final = 60.0 + BURST_SECONDS
RESERVED_SECONDS: Final = 4.0
LOWEST_SHARE: Final = 1 / 3
LOWERED_TO: Final = 0.7
RECOVERY_PER_MINUTE: Final = 10.0
DEFAULT_HOLD_SECONDS: Final = 10.0
BLOCKED_SECONDS: Final = 900.0
IDLE_KEPT: Final = timedelta(days=1)


class NotionPriority(StrEnum):
    """Whether somebody waits for the answer."""

    INTERACTIVE = "INTERACTIVE"
    BACKGROUND = "BACKGROUND"

    @property
    def ahead_seconds(self) -> float:
        """How far requests may run ahead of the allowance; beyond BURST_SECONDS they wait for their time."""
        if self is NotionPriority.INTERACTIVE:
            return BURST_SECONDS + self.patience_seconds
        return BURST_SECONDS - RESERVED_SECONDS

    @property
    def patience_seconds(self) -> float:
        """How long a request waits here; then it is not made."""
        return 8.0 if self is NotionPriority.INTERACTIVE else 15.0


class NotionBusy(NotionFailed):
    """The connection's allowance is used up: Notion was not asked, and the request is to be made later."""

    def __init__(self, *, retry_after_seconds: int) -> None:
        super().__init__(
            "Notion takes only so many requests a minute from one connection; this one waits for its turn.",
            reason=NotionFailureReason.RATE_LIMITED,
            retryable=True,
            retry_after_seconds=retry_after_seconds,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """Granted: the request is made after the wait. Otherwise: nothing is taken, and asking again makes sense then."""

    is_granted: bool
    is_blocked: bool
    wait_seconds: float


class NotionPaces(Protocol):
    """The allowances, by a key for each integration in a workspace. Times are those of the database's clock."""

    async def take(self, key: str, *, limit_per_minute: float, ahead_seconds: float) -> Turn:
        """Takes one request from the allowance, if it may run so far ahead."""

    async def hold(self, key: str, *, seconds: float, lowest_per_minute: float, is_blocked: bool) -> None:
        """Nobody asks for so long, and then at a lower pace. `is_blocked`: Notion wants no requests at all."""

    async def purge(self, *, idle: timedelta) -> int:
        """Forgets connections that were not used for so long; answers how many."""


class NotionPace(Protocol):
    """What whoever asks Notion keeps to."""

    async def turn(self, key: str, priority: NotionPriority) -> None:
        """Returns when a request may be made. Raises NotionBusy when that is too far off, NotionFailed when blocked."""

    async def refused(self, key: str, failed: NotionFailed) -> None:
        """Notion has said 429 or 529."""


def blocked() -> NotionFailed:
    """Notion wants no more requests of this connection, now or later."""
    return NotionFailed(
        "Notion has blocked this integration's requests; its owner has to settle that with Notion.",
        reason=NotionFailureReason.RATE_LIMITED,
        retryable=False,
    )


class Unpaced:
    """For whoever has all of Notion to himself."""

    async def turn(self, key: str, priority: NotionPriority) -> None:
        """At once."""

    async def refused(self, key: str, failed: NotionFailed) -> None:
        """So be it."""
