"""Watching a generation: everything from a cursor on, first what is stored, then live, until all is settled."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeAlias, TypeVar
from uuid import UUID

from domain.account import Viewer
from domain.errors import NotFound, RateLimited, Unavailable
from domain.generation import Cursor, Generation
from domain.live_log import LiveLogs
from domain.provider_attempt import ProviderAttempt, failed_and_followed
from domain.publication import Publication
from domain.store import Store, Transaction

T = TypeVar("T")

COALESCE_SECONDS = 0.025  # a screen shows no difference; one frame then carries all tokens of a fast model's burst
MAX_WATCHES_PER_USER = 500  # in one instance
POLL_SECONDS = 1.0  # the safety net under the signals
STORE_PATIENCE_SECONDS = 30.0  # a database that restarts is waited for
MAX_EVENT_CHARS = 32_000  # a slow reader has something of a long answer, and a cursor, after each
_RESTART_REASON = "The answer is being written anew, so what was shown before no longer counts."


@dataclass(frozen=True, slots=True, kw_only=True)
class TextAdded:
    """The answer's next characters."""

    cursor: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasoningAdded:
    """The next characters of the model's thinking."""

    cursor: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFailed:
    """A call has failed, or was not made, before anything was shown; another follows."""

    cursor: str
    attempt: ProviderAttempt


@dataclass(frozen=True, slots=True, kw_only=True)
class Restarted:
    """Everything shown so far is void."""

    cursor: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicationChanged:
    """The publication as it is now."""

    cursor: str
    publication: Publication


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The generation as it ended."""

    cursor: str
    generation: Generation


GenerationEvent: TypeAlias = TextAdded | ReasoningAdded | CallFailed | Restarted | PublicationChanged | Finished


class GenerationFeed:
    """Follows generations, wherever they run, holding no connection while it waits."""

    def __init__(self, *, store: Store, logs: LiveLogs, max_watches_per_user: int = MAX_WATCHES_PER_USER) -> None:
        self._store = store
        self._logs = logs
        self._max_watches_per_user = max_watches_per_user
        self._watches: Counter[UUID] = Counter()

    @property
    def watch_count(self) -> int:
        """How many generations are being followed here, by everybody together."""
        return self._watches.total()

    async def watch(self, viewer: Viewer, generation_id: UUID, *, after: str | None) -> AsyncIterator[GenerationEvent]:
        """Yields the events after the cursor; ends after Finished and, if it is published, its last PublicationChanged.

        A cursor of a text that was thrown away, or that a crash has cut short, is answered by Restarted and the whole
        text. Raises NotFound for a generation that is not the viewer's, InvalidInput for a cursor that is not its own,
        RateLimited when the viewer watches too many at once.
        """
        cursor = None if after is None else Cursor.decode(after, generation_id)
        async with self._store.begin() as tx:
            generation = await tx.generations.find(viewer.user.id, generation_id)
        if generation is None:
            raise NotFound("There is no such generation.", field=("id",))
        with self._counted(viewer.user.id), self._logs.listen(generation_id) as news:
            end = ""
            async for event in self._follow_text(generation, cursor or Cursor(epoch=generation.epoch), news):
                end = event.cursor
                yield event
            async for change in self._follow_publication(end, generation_id, news):
                yield change

    @contextmanager
    def _counted(self, user_id: UUID) -> Iterator[None]:
        if self._watches[user_id] >= self._max_watches_per_user:
            raise RateLimited(f"At most {self._max_watches_per_user} generations can be watched at a time.")
        self._watches[user_id] += 1
        try:
            yield
        finally:
            self._watches[user_id] -= 1
            if not self._watches[user_id]:
                del self._watches[user_id]

    async def settle(self, *, timeout_seconds: float) -> None:
        """Returns when everybody who watched a run that has ended here has been told how, or after that time."""
        await _wait(self._logs.all_told, timeout_seconds)

    async def _follow_text(
        self, generation: Generation, cursor: Cursor, news: asyncio.Event
    ) -> AsyncIterator[GenerationEvent]:
        loop = asyncio.get_running_loop()
        next_frame_at = 0.0
        while True:
            if (pause_seconds := next_frame_at - loop.time()) > 0:
                await asyncio.sleep(pause_seconds)
            news.clear()
            log = self._logs.find(generation.id)
            if log is not None:
                is_final, epoch, growth = False, log.epoch, log.beyond(cursor)
                failed: Sequence[ProviderAttempt] = ()
                if (count := log.failed_calls) > cursor.failed_calls:
                    failed = (await self._failed_calls(generation))[:count]
            else:
                generation, growth = await self._stored_growth(generation.id, cursor)
                is_final, epoch = generation.status.is_final, generation.epoch
                # Of one that waits in line, of which is asked again and again, there are none.
                failed = () if generation.started_at is None else await self._failed_calls(generation)
            for attempt in failed[cursor.failed_calls :]:
                cursor = replace(cursor, failed_calls=cursor.failed_calls + 1)
                yield CallFailed(cursor=cursor.encode(generation.id), attempt=attempt)
            for event, position in _events(generation.id, cursor, epoch, *growth):
                cursor = position
                yield event
            if is_final:
                yield Finished(cursor=cursor.encode(generation.id), generation=generation)
                return
            next_frame_at = loop.time() + COALESCE_SECONDS
            await _wait(news, POLL_SECONDS if log is None else None)

    async def _stored_growth(self, generation_id: UUID, cursor: Cursor) -> tuple[Generation, tuple[bool, str, str]]:
        progress = await self._patiently(lambda tx: tx.generations.progress(generation_id, cursor))
        if progress is None:
            raise NotFound("The generation has been deleted.")
        return progress.generation, (progress.is_restarted, progress.text, progress.reasoning)

    async def _failed_calls(self, generation: Generation) -> tuple[ProviderAttempt, ...]:
        ids = [generation.id]
        found = await self._patiently(lambda tx: tx.provider_attempts.list_by_generation(generation.user_id, ids))
        return failed_and_followed(found.get(generation.id, ()), generation.status)

    async def _follow_publication(
        self, cursor: str, generation_id: UUID, news: asyncio.Event
    ) -> AsyncIterator[PublicationChanged]:
        shown: Publication | None = None
        while True:
            news.clear()
            found = await self._patiently(lambda tx: tx.publications.list_by_generation([generation_id]))
            publication = found.get(generation_id)
            if publication is None:
                return
            # A new lease alone (fence, next attempt) is nothing to show.
            visible = replace(publication, fence=0, next_attempt_at=publication.created_at)
            if visible != shown:
                shown = visible
                yield PublicationChanged(cursor=cursor, publication=publication)
            if publication.status.is_settled:
                return
            await _wait(news, POLL_SECONDS)

    async def _patiently(self, read: Callable[[Transaction], Awaitable[T]]) -> T:
        """Reads from the store, and waits a while for one that is away: watchers should not notice its restart."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + STORE_PATIENCE_SECONDS
        while True:
            try:
                async with self._store.begin() as tx:
                    return await read(tx)
            except Unavailable:
                if loop.time() > deadline:
                    raise
                await asyncio.sleep(POLL_SECONDS)


def _events(
    generation_id: UUID, cursor: Cursor, epoch: int, is_restarted: bool, text: str, reasoning: str
) -> Iterator[tuple[GenerationEvent, Cursor]]:
    """The events that lead on from the cursor, each with the position after it."""
    if is_restarted:
        was_shown = cursor.text > 0 or cursor.reasoning > 0
        cursor = replace(cursor, epoch=epoch, text=0, reasoning=0)
        if was_shown:
            yield Restarted(cursor=cursor.encode(generation_id), reason=_RESTART_REASON), cursor
    for piece in _pieces(reasoning):
        cursor = replace(cursor, reasoning=cursor.reasoning + len(piece))
        yield ReasoningAdded(cursor=cursor.encode(generation_id), text=piece), cursor
    for piece in _pieces(text):
        cursor = replace(cursor, text=cursor.text + len(piece))
        yield TextAdded(cursor=cursor.encode(generation_id), text=piece), cursor


def _pieces(text: str) -> Iterator[str]:
    for start in range(0, len(text), MAX_EVENT_CHARS):
        yield text[start : start + MAX_EVENT_CHARS]


async def _wait(news: asyncio.Event, timeout_seconds: float | None) -> None:
    try:
        async with asyncio.timeout(timeout_seconds):
            await news.wait()
    except TimeoutError:
        return
