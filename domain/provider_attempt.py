"""A ProviderAttempt, one call to an AI provider for a generation, and the store behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from domain.generation import Failure, Generation, GenerationStatus
from domain.provider import Usage


class AttemptStatus(StrEnum):
    """RUNNING -> SUCCEEDED | FAILED | CANCELLED | INTERRUPTED (its server stopped or died).

    SKIPPED was never a call: the model's turn had come, but its provider was not to be asked.
    """

    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    INTERRUPTED = "INTERRUPTED"
    SKIPPED = "SKIPPED"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderAttempt:
    """One call to a provider. Its row is written before the call, so that no call is ever without one.

    `usage` is what the provider has told, also of a call that failed or was stopped, and from its end on what it is
    billed for (see domain/billing.py); `cost` follows from it. Both are part of the generation's from the end on.
    `retry_at` is when a failed call is followed by another of the same model.
    `generation_id` is None when the generation has been deleted: what was spent stays known.
    """

    id: UUID
    user_id: UUID
    generation_id: UUID | None
    provider_id: str
    model: str
    started_at: datetime
    status: AttemptStatus = AttemptStatus.RUNNING
    parameters: Mapping[str, object] = field(default_factory=dict)
    finished_at: datetime | None = None
    first_token_ms: int | None = None
    usage: Usage | None = None
    cost: Decimal | None = None
    price_version: str | None = None
    failure: Failure | None = None
    retry_at: datetime | None = None

    @property
    def duration_ms(self) -> int | None:
        """From its start to its end."""
        if self.finished_at is None:
            return None
        return round((self.finished_at - self.started_at).total_seconds() * 1000)


# Ended without an answer, and not by somebody's wish: another call follows, unless the generation has ended with it.
FAILING = frozenset({AttemptStatus.FAILED, AttemptStatus.SKIPPED})


def failed_and_followed(attempts: Sequence[ProviderAttempt], status: GenerationStatus) -> tuple[ProviderAttempt, ...]:
    """Those of a generation's calls, oldest first, that failed, or were not made, and did not end it."""
    failed = tuple(each for each in attempts if each.status in FAILING)
    has_ended_it = status.is_final and failed[-1:] == tuple(attempts)[-1:] and failed and failed[-1].retry_at is None
    return failed[:-1] if has_ended_it else failed


def answered_by(generation: Generation, attempts: Sequence[ProviderAttempt]) -> tuple[str, str]:
    """The ids of the provider and the model whose answer it is: a fallback's, if the first could not be had."""
    for attempt in reversed(attempts):
        if attempt.status is AttemptStatus.SUCCEEDED:
            return attempt.provider_id, attempt.model
    return generation.provider_id, generation.model


class ProviderAttempts(Protocol):
    """The calls to providers."""

    async def open(self, attempt: ProviderAttempt, *, fence: int) -> bool:
        """Stores a RUNNING one; False, and nothing stored, when the generation's run has another owner by now."""

    async def close(self, attempt: ProviderAttempt) -> None:
        """Stores how it ended; one that was closed already stays as it is."""

    async def list_unbilled(self, generation_ids: Sequence[UUID]) -> tuple[ProviderAttempt, ...]:
        """Those of these generations that are INTERRUPTED and have no usage yet."""

    async def bill(self, attempt: ProviderAttempt) -> None:
        """Stores usage and cost of one that has ended without them."""

    async def list_by_generation(
        self, user_id: UUID, generation_ids: Sequence[UUID]
    ) -> dict[UUID, tuple[ProviderAttempt, ...]]:
        """Those of the user's generations, oldest first."""
