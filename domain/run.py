"""One generation while this process runs it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from domain.generation import Chunk, ChunkKind, Failure, Generation, GenerationStatus
from domain.live_log import LiveLog
from domain.provider import Provider, ProviderRequest, Usage
from domain.provider_attempt import ProviderAttempt


@dataclass(slots=True, kw_only=True)
class Run:
    """One generation that this process owns, and how far it has come."""

    generation: Generation
    log: LiveLog
    started_at: float
    # Set when this process is about to stop, for all its runs.
    leaving: asyncio.Event
    # The call to a provider that is not stored as ended yet, and when it began (in the loop's time).
    attempt: ProviderAttempt | None = None
    attempt_started_at: float = 0.0
    # What it asks of whom, and whether it has been sent.
    provider: Provider | None = None
    request: ProviderRequest | None = None
    is_sent: bool = False
    finish_reason: str | None = None
    failure: Failure | None = None
    stopped_as: GenerationStatus | None = None
    is_lost: bool = False
    flushed: dict[ChunkKind, int] = field(default_factory=lambda: dict.fromkeys(ChunkKind, 0))
    published: dict[ChunkKind, int] = field(default_factory=lambda: dict.fromkeys(ChunkKind, 0))
    task: asyncio.Task[Any] | None = None

    def stop(self, status: GenerationStatus) -> None:
        """Ends the provider's stream; the run then ends with this status."""
        self.stopped_as = self.stopped_as or status
        if self.task is not None:
            self.task.cancel()

    def lose(self) -> None:
        """Another instance owns it by now: nothing more may be written."""
        self.is_lost = True
        if self.task is not None:
            self.task.cancel()

    def spoil(self, failure: Failure) -> None:
        """It fails, however it has come to its end, and what its provider has counted does not count."""
        self.finish_reason, self.failure = None, failure
        if self.attempt is not None:
            self.attempt = replace(self.attempt, usage=None)

    async def pause(self, seconds: float) -> None:
        """Waits before the next call; a process that is about to stop does not wait, but gives the run back."""
        try:
            async with asyncio.timeout(seconds):
                await self.leaving.wait()
        except TimeoutError:
            return
        self.stop(GenerationStatus.INTERRUPTED)
        await asyncio.sleep(0)  # where the cancellation arrives

    def begin(self, attempt: ProviderAttempt, provider: Provider, request: ProviderRequest) -> None:
        """A call is about to be made."""
        self.attempt, self.provider, self.request, self.is_sent = attempt, provider, request, False
        self.attempt_started_at = asyncio.get_running_loop().time()

    def note_first_token(self) -> None:
        """The present call has brought its first characters."""
        if self.attempt is not None:
            seconds = asyncio.get_running_loop().time() - self.attempt_started_at
            self.attempt = replace(self.attempt, first_token_ms=round(seconds * 1000))

    def note_sent(self, parameters: Mapping[str, object]) -> None:
        """What the present call's request holds besides its texts; from now on it may be billed."""
        self.is_sent = True
        if self.attempt is not None:
            self.attempt = replace(self.attempt, parameters=parameters)

    def note_usage(self, usage: Usage) -> None:
        """What the provider has counted in the present call."""
        if self.attempt is not None:
            self.attempt = replace(self.attempt, usage=usage)

    @property
    def is_shown(self) -> bool:
        """Whether anybody may have seen something of the answer."""
        return len(self.log.text) > 0 or len(self.log.reasoning) > 0

    def chunks_after(self, offsets: dict[ChunkKind, int]) -> Iterator[Chunk]:
        """What has been written beyond these offsets."""
        for kind, offset in offsets.items():
            if text := self.log.of(kind).since(offset):
                yield self._chunk(kind, offset, text)

    def end_chunk(self) -> Chunk:
        """The empty chunk that sends watchers elsewhere to the store."""
        return self._chunk(ChunkKind.TEXT, len(self.log.text), "")

    def _chunk(self, kind: ChunkKind, offset: int, text: str) -> Chunk:
        return Chunk(
            generation_id=self.generation.id,
            fence=self.generation.fence,
            epoch=self.generation.epoch,
            kind=kind,
            offset=offset,
            text=text,
        )
