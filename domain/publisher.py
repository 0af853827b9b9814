"""Works the outbox: takes publications, has them attempted until they are on their page, and notes how they fail."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID

from domain.errors import AssistantError, NotionFailed, NotionFailureReason, Unavailable
from domain.generation import Failure
from domain.live_log import LiveLogs
from domain.notion import Permit
from domain.notion_base import PageChanged
from domain.notion_pace import NotionBusy
from domain.publication import NotionPageState, Publication, PublicationStatus
from domain.publication_writer import NeedsAttention, PublicationWriter, Superseded, Unsettled, hold
from domain.store import Store
from domain.telemetry import Telemetry
from domain.worker import Round

_log = logging.getLogger(__name__)

POLL_SECONDS = 1.0
LEASE = timedelta(seconds=60)
_RENEWALS_PER_LEASE = 4
ATTEMPT_TIMEOUT_SECONDS = 3600.0  # a page of a megabyte, at Notion's pace and beside others
MAX_ATTEMPTS = 8
MAX_BACKOFF_SECONDS = 300.0
MAX_RETRY_AFTER_SECONDS = 3600
BUSY_JITTER_SECONDS = 5.0


class Publisher:
    """The outbox's worker: one per instance, several publications at a time."""

    def __init__(
        self,
        *,
        store: Store,
        writer: PublicationWriter,
        logs: LiveLogs,
        telemetry: Telemetry,
        clock: Callable[[], datetime],
        max_running: int,
        lease: timedelta = LEASE,
    ) -> None:
        self._store = store
        self._writer = writer
        self._logs = logs
        self._telemetry = telemetry
        self._clock = clock
        self._max_running = max_running
        self._lease = lease
        self._news = asyncio.Event()
        self._running: set[asyncio.Task[None]] = set()
        # Of each attempt, by publication and fence: after a standstill this very process may hold a newer one.
        self._lease_ends: dict[tuple[UUID, int], datetime] = {}
        self._is_draining = False
        # Held while work is taken: what somebody has begun to take is running when they let go.
        self._claiming = asyncio.Lock()

    def wake(self) -> None:
        """There is work."""
        self._news.set()

    async def run(self) -> None:
        """Works until cancelled; a publication cut short is taken up again from its recovery point."""
        async with asyncio.TaskGroup() as group:
            while True:
                self._news.clear()
                lease_end = self._clock() + self._lease
                async with self._claiming:
                    for publication in await self._claim(lease_end):
                        self._lease_ends[publication.id, publication.fence] = lease_end
                        task = group.create_task(self._publish(publication))
                        self._running.add(task)
                        task.add_done_callback(self._ended)
                try:
                    async with asyncio.timeout(POLL_SECONDS):
                        await self._news.wait()
                except TimeoutError:
                    continue

    async def drain(self) -> None:
        """Takes no more work and waits for what is under way."""
        self._is_draining = True
        async with self._claiming:
            running = tuple(self._running)
        if running:
            await asyncio.wait(running)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._news.set()

    async def _claim(self, lease_end: datetime) -> tuple[Publication, ...]:
        free = self._max_running - len(self._running)
        if free <= 0 or self._is_draining:
            return ()
        with Round("publication_claim"):
            async with self._store.begin() as tx:
                return await tx.publications.claim(size=free, now=self._clock(), lease_until=lease_end)
        return ()

    async def _publish(self, publication: Publication) -> None:
        self._logs.notify(publication.generation_id)
        try:
            async with asyncio.timeout(ATTEMPT_TIMEOUT_SECONDS), asyncio.TaskGroup() as group:
                lease = group.create_task(self._keep_lease(publication))
                try:
                    await self._writer.make(publication, permit=self._permit_of(publication))
                finally:
                    lease.cancel()
            self._telemetry.publication_finished(PublicationStatus.PUBLISHED.value)
        except* Superseded:
            _log.info("publication_superseded", extra={"publication_id": str(publication.id)})
        except* (AssistantError, TimeoutError) as group_error:
            await self._note_failure(publication, _first(group_error))
        except* Exception:  # noqa: BLE001  (the worker must outlive a fault in one publication; it is logged whole)
            _log.exception("publication_crashed", extra={"publication_id": str(publication.id)})
            await self._note_failure(publication, Unavailable("The server failed while publishing; it will try again."))
        finally:
            del self._lease_ends[publication.id, publication.fence]
            self._logs.notify(publication.generation_id)

    def _permit_of(self, publication: Publication) -> Permit:
        """Lets write what leaves before the lease ends."""

        def permit() -> None:
            # After the permit a request may have to wait for its connection.
            latest = self._lease_ends[publication.id, publication.fence] - self._lease / _RENEWALS_PER_LEASE
            hold(self._clock() < latest)

        return permit

    async def _keep_lease(self, publication: Publication) -> None:
        while True:
            await asyncio.sleep(self._lease.total_seconds() / _RENEWALS_PER_LEASE)
            lease_end = self._clock() + self._lease
            async with self._store.begin() as tx:
                hold(await tx.publications.renew_lease(publication.id, fence=publication.fence, lease_until=lease_end))
            self._lease_ends[publication.id, publication.fence] = lease_end

    def _backoff(self, error: AssistantError, attempts: int) -> timedelta:
        """Full jitter under an exponential cap; never sooner than Notion asks, within a bound."""
        if isinstance(error, NotionBusy):
            # Its turn is known; what is added keeps those who wait for it from coming all at once.
            return timedelta(seconds=(error.retry_after_seconds or 0) + random.uniform(0, BUSY_JITTER_SECONDS))  # noqa: S311  (spreads load; no secret)
        jittered = random.uniform(0, min(MAX_BACKOFF_SECONDS, 2.0**attempts))  # noqa: S311  (spreads load; no secret)
        return timedelta(seconds=min(error.retry_after_seconds or 0, MAX_RETRY_AFTER_SECONDS) + jittered)

    def _next_attempt_at(self, error: AssistantError, attempts: int) -> datetime:
        if isinstance(error, Unsettled):
            return error.settles_at
        return self._clock() + self._backoff(error, attempts)

    async def _note_failure(self, publication: Publication, error: AssistantError) -> None:
        failure = Failure(
            code=error.code,
            message=error.message,
            reason=error.reason.value if isinstance(error, NotionFailed) else None,
            retry_after_seconds=error.retry_after_seconds,
        )
        with Round("publication_failure") as this:
            async with self._store.begin() as tx:
                known = await tx.publications.find(publication.user_id, publication.id)
                is_unclear = known is not None and known.may_have_page
                if known is not None and known.requested_at is not None and not _is_clear(error):
                    await tx.publications.note_unsettled(publication.id, fence=publication.fence, now=self._clock())
                status = _status_after(error, publication.attempts, is_unclear=is_unclear)
                if status is PublicationStatus.PENDING:
                    is_held = await tx.publications.postpone(
                        publication.id,
                        fence=publication.fence,
                        failure=failure,
                        next_attempt_at=self._next_attempt_at(error, publication.attempts),
                        is_counted=not isinstance(error, (NotionBusy, Unsettled)),
                    )
                else:
                    is_held = await tx.publications.settle(
                        publication.id, fence=publication.fence, status=status, failure=failure
                    )
                if is_held and isinstance(error, PageChanged):
                    await tx.publications.note_page_state(publication.id, NotionPageState.CONFLICT)
        if this.error is not None:
            # The lease ends by itself, and then the next owner goes on from the recovery point.
            _log.warning("publication_failure_not_noted", extra={"publication_id": str(publication.id)})
            return
        _log.info(
            "publication_attempt_failed",
            extra={"publication_id": str(publication.id), "status": status.value, "reason": failure.reason},
        )
        self._telemetry.publication_finished(status.value)


def _first(group: BaseExceptionGroup[AssistantError | TimeoutError]) -> AssistantError:
    """What to tell of several failures at once: the first, for they have one cause."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, AssistantError):
        return error
    return NotionFailed(
        "Publishing took too long; it will be taken up again.",
        reason=NotionFailureReason.TIMEOUT,
        retryable=True,
        ambiguous=True,
    )


def _is_clear(error: AssistantError) -> bool:
    """Whether what was sent has surely come to its end: anything but Notion's own word may have cut it short."""
    if isinstance(error, NotionFailed):
        return not error.ambiguous
    return not isinstance(error, Unavailable)


def _status_after(error: AssistantError, attempts: int, *, is_unclear: bool) -> PublicationStatus:
    is_ambiguous = isinstance(error, NotionFailed) and error.ambiguous
    is_retryable = (
        is_ambiguous or isinstance(error, Unavailable) or (isinstance(error, NotionFailed) and error.retryable)
    )
    if isinstance(error, NeedsAttention):
        return PublicationStatus.NEEDS_ATTENTION
    if isinstance(error, (NotionBusy, Unsettled)) or (is_retryable and attempts < MAX_ATTEMPTS):
        return PublicationStatus.PENDING
    return PublicationStatus.NEEDS_ATTENTION if is_unclear else PublicationStatus.FAILED
