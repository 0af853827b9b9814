"""One attempt to bring an answer to its page in Notion, which looks before it repeats what an earlier one has done."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import Protocol, assert_never
from uuid import UUID

from domain.audit import AuditAction, AuditEvent
from domain.document import Document
from domain.errors import AssistantError, ErrorCode, InvalidInput, NotionFailed, NotionFailureReason
from domain.notion import CreatedPage, DocumentParser, NewPage, Notion, PageUpdate, Permit
from domain.notion_authorization import ConnectionToken
from domain.notion_base import PageChanged, Place, SyncedBlock, block_ids
from domain.notion_service import NotionService
from domain.page_sync import FIRST_VERSION, TrackedPage, VersionOrigin
from domain.publication import NotionPage, NotionPageState, Publication, PublishMode, new_page
from domain.publication_answer import properties_of
from domain.store import Store

CLOCK_TOLERANCE = timedelta(minutes=2)  # between our clock and Notion's, whose times are rounded to the minute


class Superseded(Exception):
    """Another instance has taken the publication over: stop at once."""


class Unsettled(NotionFailed):
    """What was sent last may still take effect at Notion: until then there is nothing to do but to look."""

    def __init__(self, settles_at: datetime) -> None:
        super().__init__(
            "Notion may still be at work on what was sent last; when that is over, it is looked at once more.",
            reason=NotionFailureReason.TIMEOUT,
            retryable=True,
        )
        self.settles_at = settles_at


class NeedsAttention(AssistantError):
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
    # Of whoever holds the publication.
    permit: Permit

    def may_write(self) -> None:
        """Lets write once what was sent before can no more take effect (a Permit)."""
        if self.settles_at is not None:
            raise Unsettled(self.settles_at)
        self.permit()


class PageKeeper(Protocol):
    """Sees to it that nothing is overwritten unread."""

    async def keep_unseen(self, user_id: UUID, page_row_id: UUID) -> bool:
        """Keeps what a page says; whether somebody has been shown how it differs, and it differs otherwise by now."""


class PublicationWriter:
    """Makes pages, appends to them or brings them up to date, from where an earlier attempt was cut short."""

    def __init__(
        self,
        *,
        store: Store,
        notion: Notion,
        connections: NotionService,
        keeper: PageKeeper,
        parse: DocumentParser,
        clock: Callable[[], datetime],
        new_id: Callable[[], UUID],
        settling_time: timedelta,
    ) -> None:
        self._store = store
        self._notion = notion
        self._connections = connections
        self._keeper = keeper
        self._parse = parse
        self._clock = clock
        self._new_id = new_id
        # How long a request may still take effect at Notion's side after it was sent: what is not there any sooner
        # may still come.
        self._settling_time = settling_time

    async def make(self, publication: Publication, *, permit: Permit) -> None:
        """Sees to it that the page says what it should, and notes it; `permit` is asked before each write.

        Raises Superseded, Unsettled, NeedsAttention, PageChanged, NotionFailed and other AssistantErrors.
        """
        job = await self._prepare(publication, permit)
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
            hold(
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
                hold(
                    await tx.publications.record_append(
                        publication.id,
                        fence=publication.fence,
                        page=page,
                        anchor=end.last_block_id,
                        now=since,
                    )
                )
            job = replace(job, publication=replace(publication, anchor=end.last_block_id))
        return page, await self._complete(job, page, since=since)

    async def _complete(self, job: _Job, page: NotionPage, *, since: datetime | None) -> tuple[SyncedBlock, ...]:
        place = await self._place(job, page, since=since)
        return await self._notion.complete_page(
            job.token, page.page_id, job.document, place=place, permit=job.may_write
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
        update = PageUpdate(
            document=job.document,
            base=base,
            place=place,
            overwrites=publication.overwrites,
            is_begun=publication.is_begun,
            superseded=await self._superseded(job, tracked),
        )
        begin = partial(self._begin, publication, page) if update.overwrites and not update.is_begun else None
        blocks = await self._notion.update_page(job.token, page.page_id, update, begin=begin, permit=job.may_write)
        if update.superseded and job.settles_at is not None:
            # The page is as it should be, but what was sent for another version may still change it.
            raise Unsettled(job.settles_at)
        return page, blocks

    async def _superseded(self, job: _Job, tracked: TrackedPage | None) -> tuple[Document, ...]:
        """Versions that counted when an earlier attempt of this update may have been made, and do no more."""
        publication = job.publication
        if tracked is None or publication.requested_at is None:
            return ()
        numbers = [(tracked.page.id, number) for number in range(tracked.base, job.version + 1)]
        async with self._store.begin() as tx:
            versions = await tx.tracked_pages.find_versions(publication.user_id, numbers)
            # What Notion showed counts only once it is taken, and that makes it the base.
            counted = sorted(
                (each for each in versions if each.origin is not VersionOrigin.NOTION or each.number == tracked.base),
                key=lambda each: each.number,
            )
            since = publication.requested_at
            ids = [each.id for each, successor in pairwise(counted) if successor.created_at >= since]
            contents = await tx.tracked_pages.contents(publication.user_id, ids)
        return tuple([await asyncio.to_thread(self._parse, content) for content in contents.values()])

    async def _begin(self, publication: Publication, page: NotionPage, found: tuple[SyncedBlock, ...]) -> None:
        """Keeps what is going to be overwritten; where somebody changes it after that, a later attempt stops."""
        if page.is_ours and await self._keeper.keep_unseen(publication.user_id, page.id):
            raise PageChanged("Somebody has changed the page once more. Look at the newest version first.")
        async with self._store.begin() as tx:
            hold(await tx.publications.record_begun(publication.id, fence=publication.fence))
            await tx.notion_bases.put(publication.id, notion_page_id=page.id, blocks=found, now=self._clock())

    async def _place(self, job: _Job, page: NotionPage, *, since: datetime | None) -> Place:
        """Where on the page blocks may be ours that nobody knows by their ids; from now on there may be more."""
        publication = job.publication
        async with self._store.begin() as tx:
            bases = await tx.notion_bases.list_on_page(page.id)
            has_rivals = await tx.publications.has_rivals(publication)
            hold(await tx.publications.record_writer(publication.id, fence=publication.fence, bot_id=job.token.bot_id))
        return Place(
            is_our_page=page.is_ours,
            others=frozenset().union(*(block_ids(base) for owner, base in bases.items() if owner != publication.id)),
            since=None if since is None else since - CLOCK_TOLERANCE,
            anchor=publication.anchor,
            has_rivals=has_rivals,
            made_by=publication.writers,
        )

    async def _prepare(self, publication: Publication, permit: Permit) -> _Job:
        # Before anything is looked at: what is missing counts as missing only if it can come no more by then.
        settles_at = publication.settles_at(self._settling_time, now=self._clock())
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
            permit=permit,
        )

    async def _create_page(self, job: _Job) -> CreatedPage:
        publication = job.publication
        if job.settles_at is not None:
            raise Unsettled(job.settles_at)
        async with self._store.begin() as tx:
            hold(
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
                permit=job.may_write,
            )
        except NotionFailed as error:
            # What an earlier attempt may have made is known by now to be missing.
            if not error.ambiguous:
                async with self._store.begin() as tx:
                    hold(await tx.publications.withdraw_intent(publication.id, fence=publication.fence))
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
            raise NeedsAttention(
                f"{len(unclaimed)} pages of this title were made at that time, and it is not clear which is this one."
            )
        return found[0] if found else None

    async def _record_page(self, job: _Job, created: CreatedPage) -> NotionPage:
        publication = job.publication
        page = new_page(created, publication, row_id=self._new_id(), now=self._clock())
        async with self._store.begin() as tx:
            hold(await tx.publications.record_page(publication.id, fence=publication.fence, page=page))
        return page


def hold(is_held: bool) -> None:
    """Raises Superseded where a write that must match the fence did not."""
    if not is_held:
        raise Superseded
