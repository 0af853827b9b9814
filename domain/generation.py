"""A Generation, one run of one request: its states, its growing text, and the store behind it."""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Protocol, Self
from uuid import UUID

from domain.errors import ErrorCode, InvalidInput
from domain.page import Page, PageRequest
from domain.provider import ModelRef, Usage


class GenerationStatus(StrEnum):
    """QUEUED -> RUNNING -> SUCCEEDED | FAILED | CANCELLED | INTERRUPTED (its server died with text already shown)."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    INTERRUPTED = "INTERRUPTED"

    @property
    def is_final(self) -> bool:
        """Whether nothing more will be written."""
        return self not in (GenerationStatus.QUEUED, GenerationStatus.RUNNING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What went wrong, in words for the person who waits; `reason` is the provider's or Notion's failure reason."""

    code: ErrorCode
    message: str
    reason: str | None = None
    retry_after_seconds: int | None = None


INTERRUPTED_RUN = Failure(
    code=ErrorCode.UNAVAILABLE,
    message="The server stopped while the answer was being written; what had arrived was kept.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryPolicy:
    """What becomes of a run whose server has died.

    With nothing stored it starts again. With text stored it ends as INTERRUPTED and keeps it, or starts again too if
    `restarts_shown`; watchers then see it restarted. After `max_starts` it is given up: it may be what kills servers.
    """

    restarts_shown: bool = False
    max_starts: int = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """One run of one request, without its long texts (see Transcript).

    `usage` and `cost` are those of all its calls together; a cost is None as long as that of any call is not known.

    Under `cache_key`, if it has one, its answer is kept; one with `is_cached` has been answered from there.

    `epoch` counts the earlier starts, whose text was thrown away: a cursor of another epoch is stale. `fence` is the
    number that every write of the run's owner must match. `provider_id` and `model` are what was asked for; when they
    fail before anything is shown, those of `fallback` are asked in their order, and the calls tell who has answered.
    """

    id: UUID
    user_id: UUID
    parent_id: UUID | None
    provider_id: str
    model: str
    parameters: Mapping[str, object]
    fallback: tuple[ModelRef, ...]
    status: GenerationStatus
    epoch: int
    fence: int
    usage: Usage | None
    cost: Decimal | None
    price_version: str | None
    finish_reason: str | None
    failure: Failure | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    metadata: Mapping[str, object] = field(default_factory=dict)
    cache_key: bytes | None = None
    is_cached: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """The long texts of a generation: what was asked and what has been written so far."""

    prompt: str
    system_prompt: str | None
    content: str
    reasoning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NewGeneration:
    """A generation about to be queued. `request_hash` identifies the input, for its idempotency key.

    `reserved` is what the budgets keep back for it until it has ended, in USD; None is nothing. Under `cache_key` its
    answer is kept for requests that come again; None is not at all.
    """

    id: UUID
    user_id: UUID
    parent_id: UUID | None
    provider_id: str
    model: str
    parameters: Mapping[str, object]
    prompt: str
    system_prompt: str | None
    idempotency_key: str | None
    request_hash: bytes
    created_at: datetime
    reserved: Decimal | None = None
    fallback: tuple[ModelRef, ...] = ()
    cache_key: bytes | None = None


_SHORT_CURSOR_BYTES = 6 + 3 * 4


@dataclass(frozen=True, slots=True, order=True, kw_only=True)
class Cursor:
    """A position in the growing log: characters of text and of reasoning already seen, in a given epoch.

    `failed_calls` is how many calls have been told of that failed and were followed by another, in all epochs.
    """

    epoch: int = 0
    text: int = 0
    reasoning: int = 0
    failed_calls: int = 0

    def encode(self, generation_id: UUID) -> str:
        """The opaque form, bound to its generation."""
        numbers = [self.epoch, self.text, self.reasoning]
        if self.failed_calls:
            # Only then: this is what versions read that knew of no such calls.
            numbers.append(self.failed_calls)
        packed = generation_id.bytes[-6:] + struct.pack(f">{len(numbers)}I", *numbers)
        return base64.urlsafe_b64encode(packed).decode()

    @classmethod
    def decode(cls, cursor: str, generation_id: UUID) -> Self:
        """Raises InvalidInput for what is not a cursor of this generation."""
        try:
            packed = base64.b64decode(cursor, altchars=b"-_", validate=True)
            is_short = len(packed) == _SHORT_CURSOR_BYTES
            epoch, text, reasoning, *rest = struct.unpack(">3I" if is_short else ">4I", packed[6:])
        except (ValueError, binascii.Error, struct.error) as error:
            raise InvalidInput("`after` is not a cursor of this generation.", field=("after",)) from error
        if packed[:6] != generation_id.bytes[-6:]:
            raise InvalidInput("`after` is a cursor of another generation.", field=("after",))
        return cls(epoch=epoch, text=text, reasoning=reasoning, failed_calls=sum(rest))


class ChunkKind(StrEnum):
    """Which of a generation's two texts a chunk belongs to."""

    TEXT = "TEXT"
    REASONING = "REASONING"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A stored piece of a running generation's text, `offset` characters into it."""

    generation_id: UUID
    fence: int
    epoch: int
    kind: ChunkKind
    offset: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Appended:
    """What has come of chunks: the generations whose chunks are `stored`, and those whose fence `held`.

    Where the fence held and nothing is stored somebody has locked the generation: the chunks are to come again.
    """

    stored: frozenset[UUID]
    held: frozenset[UUID]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What is stored of a generation beyond a cursor.

    `text` and `reasoning` begin at the cursor. When the cursor is of another epoch, or lies beyond the end of a final
    text, `is_restarted` is set and they begin at 0; beyond the end of a text that still grows there is nothing yet.
    """

    generation: Generation
    text: str
    reasoning: str
    is_restarted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """What is stored of a running generation beyond a position: chunks that overlap it or follow it, in order.

    `failed_calls` is how many calls have failed, or were not made, from the beginning on.
    """

    generation_id: UUID
    status: GenerationStatus
    epoch: int
    failed_calls: int
    chunks: tuple[Chunk, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a run ended, with all that is stored of it in the one transaction that ends it.

    Its bill is no part of it: that is always the sum of its calls, and stored with the end of each.
    """

    status: GenerationStatus
    content: str
    reasoning: str
    finish_reason: str | None
    failure: Failure | None


class HistoryOrder(StrEnum):
    """The order of a history."""

    NEWEST_FIRST = "NEWEST_FIRST"
    OLDEST_FIRST = "OLDEST_FIRST"


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryFilter:
    """Which generations; everything given must hold. `search` is full text over prompt and answer."""

    search: str | None = None
    statuses: frozenset[GenerationStatus] = frozenset()
    provider_ids: frozenset[str] = frozenset()
    models: frozenset[str] = frozenset()
    created_after: datetime | None = None
    created_before: datetime | None = None
    is_published: bool | None = None


class Generations(Protocol):
    """The generations, their chunks and their history.

    Methods with a `fence` change nothing and answer False (or leave the id out) when the run has another owner by now.
    """

    async def add(self, generation: NewGeneration) -> None:
        """Queues it. Raises Conflict when the user has used the idempotency key before."""

    async def add_answered(self, generation: NewGeneration, *, content: str, reasoning: str) -> None:
        """Adds one that has succeeded already, at no cost. Raises Conflict like `add`."""

    async def exists(self, generation_id: UUID) -> bool:
        """Whether it is there, whosever it is."""

    async def list_cache_keys(self, user_id: UUID, *, finished_after: datetime) -> tuple[bytes, ...]:
        """Under which the user's answers of that time may be kept."""

    async def find_by_idempotency_key(
        self, user_id: UUID, key: str, *, created_after: datetime
    ) -> tuple[Generation, bytes] | None:
        """The generation made with this key, and the hash of its input."""

    async def find(self, user_id: UUID, generation_id: UUID) -> Generation | None:
        """A user's generation."""

    async def find_many(self, user_id: UUID, generation_ids: Sequence[UUID]) -> dict[UUID, Generation]:
        """Those of the ids that are the user's."""

    async def hold_status(self, user_id: UUID, generation_id: UUID) -> GenerationStatus | None:
        """The status of a user's generation, which nobody changes before the transaction has ended."""

    async def forget_idempotency_key(self, user_id: UUID, key: str, *, created_before: datetime) -> None:
        """Makes a key free again whose generation is older than that."""

    async def list_transcripts(self, user_id: UUID, generation_ids: Sequence[UUID]) -> dict[UUID, Transcript]:
        """The long texts of those that are the user's, a running generation's as flushed so far."""

    async def progress(self, generation_id: UUID, cursor: Cursor) -> Progress | None:
        """What is stored beyond the cursor; None when the generation has been deleted."""

    async def list_growth(self, positions: Mapping[UUID, Cursor]) -> tuple[Growth, ...]:
        """What is stored of each of these beyond its position (of another epoch: all); without deleted ones."""

    async def list_history(
        self, user_id: UUID, page: PageRequest, *, where: HistoryFilter, order: HistoryOrder
    ) -> Page[Generation]:
        """A page of a user's generations, without long texts."""

    async def count_history(self, user_id: UUID, *, where: HistoryFilter) -> int:
        """How many there are in all."""

    async def delete(self, user_id: UUID, generation_ids: Sequence[UUID]) -> tuple[UUID, ...]:
        """Deletes those that are the user's and final, with their publications; answers the deleted ones."""

    async def list_expired(self, *, now: datetime, server_days: int | None, size: int) -> dict[UUID, list[UUID]]:
        """Ended ones that are older than their user or the server keeps them, the ids by user; the oldest first."""

    async def claim(
        self, *, size: int, per_user: int, owner: str, now: datetime, lease: timedelta
    ) -> tuple[Generation, ...]:
        """Takes queued generations to run: marks them RUNNING with a new fence; fair between users.

        One that was started before (`started_at` is set) gets a new epoch, for watchers may have seen unstored text.
        Leases begin and end by the store's clock.
        """

    async def recover_abandoned(self, *, now: datetime, policy: RecoveryPolicy, up_for: timedelta) -> tuple[UUID, ...]:
        """Deals with runs whose lease has ended: ends them as INTERRUPTED (or CANCELLED), or queues them again.

        A store that has not been `up_for` that long proves nobody dead: nobody could renew a lease while it was away.
        """

    async def renew_leases(self, runs: Mapping[UUID, int], *, lease: timedelta) -> frozenset[UUID]:
        """Extends the leases of these ids with these fences; answers the ids that are still held.

        Nobody waits for one that somebody else has locked: it keeps the lease that it has.
        """

    async def release(self, generation_id: UUID, *, fence: int) -> bool:
        """Gives back a run, so that it is queued again; False also when somebody has asked to stop it."""

    async def request_cancel(self, user_id: UUID, generation_id: UUID, *, now: datetime) -> Generation | None:
        """Ends a queued one at once as CANCELLED, marks a running one; None when the user has no such generation.

        One that waits to start again keeps what is stored of its first try.
        """

    async def find_queue_position(self, generation_id: UUID) -> int | None:
        """Where a queued one stands in line: 1 is next; None when it is not queued."""

    async def list_cancel_requested(self, generation_ids: Sequence[UUID]) -> frozenset[UUID]:
        """Which of these running ones somebody has asked to stop."""

    async def append_chunks(self, chunks: Sequence[Chunk]) -> Appended:
        """Stores chunks of many runs in one statement, but for those that somebody else has locked."""

    async def finish(self, generation_id: UUID, *, fence: int, outcome: Outcome, now: datetime) -> bool:
        """Ends the run: the outcome, the whole text in place of its chunks."""
