"""Works the outbox: makes each publication's page in Notion exactly once and sees it completed."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol, assert_never
from uuid import UUID

from domain.audit import AuditAction, AuditEvent
from domain.document import Document
from domain.errors import AssistantError, ErrorCode, InvalidInput, NotionFailed, NotionFailureReason, Unavailable
from domain.generation import Failure
from domain.live_log import LiveLogs
from domain.notion import CreatedPage, DocumentParser, NewPage, Notion, PageUpdate, Permit
from domain.notion_authorization import ConnectionToken
from domain.notion_base import EVERYTHING, PageChanged, Place, SyncedBlock, block_ids
from domain.notion_pace import NotionBusy
from domain.notion_service import NotionService
from domain.page_sync import FIRST_VERSION, NotionReader
from domain.publication import NotionPage, NotionPageState, Publication, PublicationStatus, PublishMode, new_page
from domain.publication_answer import properties_of
from domain.store import Store
from domain.telemetry import Telemetry
from domain.worker import Round

_log = logging.getLogger(__name__)

POLL_SECONDS = 1.0
LEASE = timedelta(seconds=60)
_RENEWALS_PER_LEASE = 4
SETTLING_TIME = timedelta(seconds=70)  # Notion gives a request up after a minute
ATTEMPT_TIMEOUT_SECONDS = 3600.0  # a page of a megabyte, at Notion's pace and beside others
MAX_ATTEMPTS = 8
MAX_BACKOFF_SECONDS = 300.0
MAX_RETRY_AFTER_SECONDS = 3600
BUSY_JITTER_SECONDS = 5.0
CLOCK_TOLERANCE = timedelta(minutes=2)  # between our clock and Notion's, whose times are rounded to the minute


class _Superseded(Exception):
    """Another instance has taken the publication over: stop at once."""


class _Unsettled(NotionFailed):
    """What was sent last may still take effect at Notion: until then there is nothing to do but to look."""

    def __init__(self, settles_at: datetime) -> None:
        super().__init__(
            "Notion may still be at work on what was sent last; when that is over, it is looked at once more.",
            reason=NotionFailureReason.TIMEOUT,
            retryable=True,
        )
        self.settles_at = settles_at


class _NeedsAttention(AssistantError):
    """Only a person can tell."""

    code = ErrorCode.CONFLICT


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    publication: Publication
    token: ConnectionToken
    document: Document
    properties: Mapping[str, object]
    version: int
    # Until then what an earlier attempt has sent may take effect, and this one only looks; None: that is over.
    settles_at: datetime | None


class PagesOfNotion(Notion, NotionReader, Protocol):
    """What writes pages, and reads them."""


class PageKeeper(Protocol):
    """Sees to it that nothing is overwritten unread."""

    async def keep_unseen(self, user_id: UUID, page_row_id: UUID) -> bool:
        """Keeps what a page says; whether somebody has been shown how it differs, and it differs otherwise by now."""


class Publisher:
    """The outbox's worker: one per instance, several publications at a time."""

    def __init__(
        self,
        *,
        store: Store,
        notion: PagesOfNotion,
        connections: NotionService,
        keeper: PageKeeper,
        parse: DocumentParser,
        logs: LiveLogs,
        telemetry: Telemetry,
        clock: Callable[[], datetime],
        new_id: Callable[[], UUID],
        max_running: int,
        lease: timedelta = LEASE,
        settling_time: timedelta = SETTLING_TIME,
    ) -> None:
        self._store = store
        self._notion = notion
        self._connections = connections
        self._keeper = keeper
        self._parse = parse
        self._logs = logs
        self._telemetry = telemetry
        self._clock = clock
        self._new_id = new_id
        self._max_running = max_running
        self._lease = lease
        # How long a request may still take effect at Notion's side after it was sent: what is not there any sooner
        # may still come.
        self._settling_time = settling_time
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
                    await self._attempt(publication)
                finally:
                    lease.cancel()
        except* _Superseded:
            _log.info("publication_superseded", extra={"publication_id": str(publication.id)})
        except* (AssistantError, TimeoutError) as group_error:
            await self._note_failure(publication, _first(group_error))
        except* Exception:  # noqa: BLE001  (the worker must outlive a fault in one publication; it is logged whole)
            _log.exception("publication_crashed", extra={"publication_id": str(publication.id)})
            await self._note_failure(publication, Unavailable("The server failed while publishing; it will try again."))
        finally:
            del self._lease_ends[publication.id, publication.fence]
            self._logs.notify(publication.generation_id)

    def _permit_of(self, job: _Job) -> Permit:
        """Lets write what leaves before the lease ends, once what was sent before can no more take effect."""
        publication = job.publication

        def permit() -> None:
            if job.settles_at is not None:
                raise _Unsettled(job.settles_at)
            # After the permit a request may have to wait for its connection.
            latest = self._lease_ends[publication.id, publication.fence] - self._lease / _RENEWALS_PER_LEASE
            _hold(self._clock() < latest)

        return permit

    def _settles_at(self, publication: Publication) -> datetime | None:
        """When all that was sent has taken effect or never will; None if that is so already."""
        if publication.unsettled_since is None:
            return None
        settles_at = publication.unsettled_since + self._settling_time
        return settles_at if self._clock() < settles_at else None

    async def _attempt(self, publication: Publication) -> None:
        job = await self._prepare(publication)
        match publication.mode:
            case PublishMode.CREATE:
                page, blocks = await self._write_page(job)
            case PublishMode.APPEND:
                page, blocks = await self._append(job)
            case PublishMode.UPDATE:
                page, blocks = await self._update(job)
            case _:
                assert_never(publication.mode)
        now = self._clock()
        async with self._store.begin() as tx:
            _hold(
                await tx.publications.complete(
                    publication.id,
                    fence=publication.fence,
                    degraded=job.document.degraded,
                    now=now,
                )
            )
            await tx.notion_bases.put(publication.id, notion_page_id=page.id, blocks=blocks, now=now)
            if publication.mode is PublishMode.UPDATE and page.is_ours:
                await tx.tracked_pages.note_written(page.id, version=job.version, now=now)
            await tx.audit.append(
                AuditEvent(
                    action=AuditAction.PAGE_PUBLISHED,
                    actor_id=publication.user_id,
                    target=f"publication:{publication.id}",
                    details={"page_id": page.page_id},
                )
            )
        self._telemetry.publication_finished(PublicationStatus.PUBLISHED.value)

    async def _write_page(self, job: _Job) -> tuple[NotionPage, tuple[SyncedBlock, ...]]:
        """Makes the page, unless an earlier attempt has, and sees that all blocks are there."""
        publication = job.publication
        page = publication.page
        if page is None:
            created = await self._find_earlier_page(job) if publication.requested_at is not None else None
            if created is None:
                created = await self._create_page(job)
            page = await self._record_page(job, created)
            # All that was sent before was the wish for this page.
            job = replace(job, settles_at=None)
        return page, await self._complete(job, page, since=None)

    async def _append(self, job: _Job) -> tuple[NotionPage, tuple[SyncedBlock, ...]]:
        """Puts the blocks behind the page's last one, or goes on where an earlier attempt was cut short."""
        publication = job.publication
        page, since = publication.page, publication.requested_at
        if page is None or since is None:
            end = await self._notion.find_end(job.token, publication.parent.id)
            since = self._clock()
            page = NotionPage(
                id=self._new_id(),
                user_id=publication.user_id,
                page_id=end.page_id,
                parent_id=None,
                title=end.title,
                url=end.url,
                created_at=end.created_at,
                last_sync_at=since,
                state=NotionPageState.IN_SYNC,
                is_ours=False,
            )
            async with self._store.begin() as tx:
                _hold(
                    await tx.publications.record_append(
                        publication.id,
                        fence=publication.fence,
                        page=page,
                        anchor=end.last_block_id,
                        now=since,
                        bot_id=job.token.bot_id,
                    )
                )
            job = replace(job, publication=replace(publication, anchor=end.last_block_id))
        return page, await self._complete(job, page, since=since)

    async def _complete(self, job: _Job, page: NotionPage, *, since: datetime | None) -> tuple[SyncedBlock, ...]:
        place = await self._place(job, page, since=since)
        return await self._notion.complete_page(
            job.token, page.page_id, job.document, place=place, permit=self._permit_of(job)
        )

    async def _update(self, job: _Job) -> tuple[NotionPage, tuple[SyncedBlock, ...]]:
        """Changes on the page what differs from what counts here now."""
        publication = job.publication
        page = publication.page
        if page is None:
            raise InvalidInput("There is no page to bring up to date.")
        async with self._store.begin() as tx:
            base = await tx.notion_bases.find(publication.id)
            tracked = await tx.tracked_pages.find(publication.user_id, page.id)
        place = await self._place(job, page, since=publication.requested_at)
        if base == EVERYTHING and tracked is not None:
            # Nobody knows the blocks one by one, but what they say together.
            content = await self._notion.read_page(job.token, page.page_id, others=place.others)
            if content.fingerprint != tracked.base_fingerprint and not publication.overwrites:
                raise PageChanged(
                    "Somebody has changed this in Notion. Take that over here, or update again and overwrite it.",
                    field=("publish", "overwrite"),
                )
            base = await asyncio.to_thread(content.blocks, self._parse)
            async with self._store.begin() as tx:
                await tx.notion_bases.put(publication.id, notion_page_id=page.id, blocks=base, now=self._clock())
        update = PageUpdate(
            document=job.document,
            base=base,
            place=place,
            overwrites=publication.overwrites,
            is_begun=publication.is_begun,
        )
        begin = partial(self._begin, publication, page) if update.overwrites and not update.is_begun else None
        return page, await self._notion.update_page(
            job.token, page.page_id, update, begin=begin, permit=self._permit_of(job)
        )

    async def _begin(self, publication: Publication, page: NotionPage, found: tuple[SyncedBlock, ...]) -> None:
        """Keeps what is going to be overwritten; where somebody changes it after that, a later attempt stops."""
        if page.is_ours and await self._keeper.keep_unseen(publication.user_id, page.id):
            raise PageChanged("Somebody has changed the page once more. Look at the newest version first.")
        async with self._store.begin() as tx:
            _hold(await tx.publications.record_begun(publication.id, fence=publication.fence))
            await tx.notion_bases.put(publication.id, notion_page_id=page.id, blocks=found, now=self._clock())

    async def _place(self, job: _Job, page: NotionPage, *, since: datetime | None) -> Place:
        """Where on the page blocks may be ours that nobody knows by their ids."""
        publication = job.publication
        async with self._store.begin() as tx:
            bases = await tx.notion_bases.list_on_page(page.id)
            has_rivals = await tx.publications.has_rivals(publication)
        return Place(
            is_our_page=page.is_ours,
            others=frozenset().union(*(block_ids(base) for owner, base in bases.items() if owner != publication.id)),
            since=None if since is None else since - CLOCK_TOLERANCE,
            anchor=publication.anchor,
            has_rivals=has_rivals,
            made_by=publication.requested_by,
        )

    async def _prepare(self, publication: Publication) -> _Job:
        # Before anything is looked at: what is missing counts as missing only if it can come no more by then.
        settles_at = self._settles_at(publication)
        token = await self._connections.find_token(publication.user_id)
        if token is None:
            raise NotionFailed(
                "Notion is not connected any more; connect it and publish again.",
                reason=NotionFailureReason.AUTHENTICATION,
                retryable=False,
            )
        async with self._store.begin() as tx:
            transcripts = await tx.generations.list_transcripts(publication.user_id, [publication.generation_id])
            counting = None
            if publication.mode is PublishMode.UPDATE and publication.page is not None:
                counting = await tx.tracked_pages.find_text(publication.page.id)
            properties = await properties_of(tx, publication)
        version, content = counting or (FIRST_VERSION, transcripts[publication.generation_id].content)
        document = await asyncio.to_thread(self._parse, content)
        return _Job(
            publication=publication,
            token=token,
            document=document,
            properties=properties,
            version=version,
            settles_at=settles_at,
        )

    async def _create_page(self, job: _Job) -> CreatedPage:
        publication = job.publication
        if job.settles_at is not None:
            raise _Unsettled(job.settles_at)
        async with self._store.begin() as tx:
            _hold(
                await tx.publications.record_intent(
                    publication.id, fence=publication.fence, now=self._clock(), bot_id=job.token.bot_id
                )
            )
        try:
            return await self._notion.create_page(
                job.token,
                NewPage(
                    parent=publication.parent,
                    title=publication.title,
                    properties=job.properties,
                    document=job.document,
                ),
                permit=self._permit_of(job),
            )
        except NotionFailed as error:
            # What an earlier attempt may have made is known by now to be missing.
            if not error.ambiguous:
                async with self._store.begin() as tx:
                    _hold(await tx.publications.withdraw_intent(publication.id, fence=publication.fence))
            raise

    async def _find_earlier_page(self, job: _Job) -> CreatedPage | None:
        """The page that an earlier attempt may have made before it was cut short; looks before anything is repeated."""
        publication = job.publication
        assert publication.requested_at is not None  # noqa: S101  (asked only then)
        candidates = await self._notion.find_pages(
            job.token,
            publication.parent,
            title=publication.title,
            created_after=publication.requested_at - CLOCK_TOLERANCE,
            made_by=publication.requested_by,
            external_id=publication.external_id,
        )
        async with self._store.begin() as tx:
            known = await tx.publications.list_known_page_ids([page.page_id for page in candidates])
        unclaimed = [page for page in candidates if page.page_id not in known]
        # Of several, those that somebody has thrown away are not it.
        found = [page for page in unclaimed if not page.is_in_trash] if len(unclaimed) > 1 else unclaimed
        if len(found) > 1 or (unclaimed and not found):
            raise _NeedsAttention(
                f"{len(unclaimed)} pages of this title were made at that time, and it is not clear which is this one."
            )
        return found[0] if found else None

    async def _record_page(self, job: _Job, created: CreatedPage) -> NotionPage:
        publication = job.publication
        page = new_page(created, publication, row_id=self._new_id(), now=self._clock())
        async with self._store.begin() as tx:
            _hold(await tx.publications.record_page(publication.id, fence=publication.fence, page=page))
        return page

    async def _keep_lease(self, publication: Publication) -> None:
        while True:
            await asyncio.sleep(self._lease.total_seconds() / _RENEWALS_PER_LEASE)
            lease_end = self._clock() + self._lease
            async with self._store.begin() as tx:
                _hold(await tx.publications.renew_lease(publication.id, fence=publication.fence, lease_until=lease_end))
            self._lease_ends[publication.id, publication.fence] = lease_end

    def _backoff(self, error: AssistantError, attempts: int) -> timedelta:
        """Full jitter under an exponential cap; never sooner than Notion asks, within a bound."""
        if isinstance(error, NotionBusy):
            # Its turn is known; what is added keeps those who wait for it from coming all at once.
            return timedelta(seconds=(error.retry_after_seconds or 0) + random.uniform(0, BUSY_JITTER_SECONDS))  # noqa: S311  (spreads load; no secret)
        jittered = random.uniform(0, min(MAX_BACKOFF_SECONDS, 2.0**attempts))  # noqa: S311  (spreads load; no secret)
        return timedelta(seconds=min(error.retry_after_seconds or 0, MAX_RETRY_AFTER_SECONDS) + jittered)

    def _next_attempt_at(self, error: AssistantError, attempts: int) -> datetime:
        if isinstance(error, _Unsettled):
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
                if isinstance(error, PageChanged):
                    await tx.publications.note_page_state(publication.id, NotionPageState.CONFLICT)
                if known is not None and known.requested_at is not None and not _is_clear(error):
                    await tx.publications.note_unsettled(publication.id, fence=publication.fence, now=self._clock())
                status = _status_after(error, publication.attempts, is_unclear=is_unclear)
                if status is PublicationStatus.PENDING:
                    await tx.publications.postpone(
                        publication.id,
                        fence=publication.fence,
                        failure=failure,
                        next_attempt_at=self._next_attempt_at(error, publication.attempts),
                        is_counted=not isinstance(error, (NotionBusy, _Unsettled)),
                    )
                else:
                    await tx.publications.settle(
                        publication.id, fence=publication.fence, status=status, failure=failure
                    )
        if this.error is not None:
            # The lease ends by itself, and then the next owner goes on from the recovery point.
            _log.warning("publication_failure_not_noted", extra={"publication_id": str(publication.id)})
            return
        _log.info(
            "publication_attempt_failed",
            extra={"publication_id": str(publication.id), "status": status.value, "reason": failure.reason},
        )
        self._telemetry.publication_finished(status.value)


def _hold(is_held: bool) -> None:
    if not is_held:
        raise _Superseded


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
    if isinstance(error, _NeedsAttention):
        return PublicationStatus.NEEDS_ATTENTION
    if isinstance(error, (NotionBusy, _Unsettled)) or (is_retryable and attempts < MAX_ATTEMPTS):
        return PublicationStatus.PENDING
    return PublicationStatus.NEEDS_ATTENTION if is_unclear else PublicationStatus.FAILED
