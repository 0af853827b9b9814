"""Notices what happens to published pages in Notion: looks at each now and then, and at once when somebody asks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from domain.errors import AssistantError, NotFound, NotionFailed, NotionFailureReason
from domain.notion_base import block_ids
from domain.notion_service import NotionService
from domain.page_sync import (
    Fingerprinter,
    NotionReader,
    PageContent,
    PageVersion,
    RemotePage,
    TrackedPage,
    VersionOrigin,
    hash_of,
    read,
)
from domain.publication import MAX_TITLE_CHARS, NotionPageState
from domain.secret import Secret
from domain.store import Store, Transaction
from domain.worker import Round

_log = logging.getLogger(__name__)

CHECK_SECONDS: Final = 5.0
PAGES_AT_ONCE: Final = 8
PAGES_AT_ONCE_PER_USER: Final = 2
CLAIM: Final = timedelta(minutes=10)
LOOK_TIMEOUT_SECONDS: Final = 480.0
LONGEST_INTERVAL: Final = timedelta(days=1)
# A page is looked at after a part of the time for which nothing has happened to it.
_QUIET_TIME_PARTS: Final = 8


class PageWatcher:
    """Compares pages with what is kept of them; one per instance, and all instances share the work."""

    def __init__(
        self,
        *,
        store: Store,
        notion: NotionReader,
        notion_for_people: NotionReader,
        connections: NotionService,
        fingerprint: Fingerprinter,
        clock: Callable[[], datetime],
        new_id: Callable[[], UUID],
        interval: timedelta,
    ) -> None:
        self._store = store
        self._notion = notion
        self._notion_for_people = notion_for_people
        self._connections = connections
        self._fingerprint = fingerprint
        self._clock = clock
        self._new_id = new_id
        self._interval = interval
        self._news = asyncio.Event()
        self._is_draining = False

    def wake(self) -> None:
        """There is a page to be looked at."""
        self._news.set()

    def drain(self) -> None:
        """Looks at nothing more; what is under way may be cut short at any time."""
        self._is_draining = True

    async def run(self) -> None:
        """Works until cancelled."""
        while True:
            self._news.clear()
            if not await self._look_at_due():
                try:
                    async with asyncio.timeout(CHECK_SECONDS):
                        await self._news.wait()
                except TimeoutError:
                    continue

    async def _look_at_due(self) -> int:
        """Looks at some of the pages that are due; answers at how many."""
        if self._is_draining:
            return 0
        now = self._clock()
        due: Sequence[TrackedPage] = ()
        with Round("page_watch"):
            async with self._store.begin() as tx:
                due = await tx.tracked_pages.claim(
                    size=PAGES_AT_ONCE, per_user=PAGES_AT_ONCE_PER_USER, now=now, claimed_until=now + CLAIM
                )
        async with asyncio.TaskGroup() as group:
            for tracked in due:
                group.create_task(self._look_in_time(tracked))
        return len(due)

    async def _look_in_time(self, tracked: TrackedPage) -> None:
        """One look of its own accord; a failure is the next look's business."""
        page_row_id = str(tracked.page.id)
        try:
            async with asyncio.timeout(LOOK_TIMEOUT_SECONDS):
                await self.look(tracked)
            return
        except (AssistantError, TimeoutError) as error:
            wait = max(self._interval, timedelta(seconds=getattr(error, "retry_after_seconds", None) or 0))
            if isinstance(error, NotionFailed) and not error.retryable:
                wait = LONGEST_INTERVAL
            _log.info("page_look_failed", extra={"page_id": page_row_id, "error": type(error).__name__})
        except Exception:  # noqa: BLE001  (the worker must outlive a fault with one page; it is logged whole)
            _log.exception("page_look_crashed", extra={"page_id": page_row_id})
            wait = LONGEST_INTERVAL
        with Round("page_watch"):
            async with self._store.begin() as tx:
                await tx.tracked_pages.postpone(
                    tracked.page.id, seen=tracked.next_look_at, next_look_at=self._clock() + wait
                )

    async def look(self, tracked: TrackedPage, *, for_somebody: bool = False) -> tuple[TrackedPage, PageContent | None]:
        """Asks Notion for the page, reads it if it may have changed, and keeps what has come of it.

        `for_somebody` who waits: reads it in any case. Answers also what was read, None if it was not. Raises
        NotionFailed, and NotFound when there is no page any more here.
        """
        token = await self._token_of(tracked)
        notion = self._notion_for_people if for_somebody else self._notion
        began_at = self._clock()
        try:
            remote = await notion.look_at_page(token, tracked.page.page_id)
            if remote.is_in_trash:
                return await self._note_gone(tracked, began_at), None
            if not for_somebody and not tracked.needs_reading(remote):
                return await self._note_unread(tracked, remote, began_at), None
            content = await self._read(notion, token, tracked)
        except NotionFailed as error:
            if error.reason is not NotionFailureReason.NOT_SHARED:
                raise
            return await self._note_gone(tracked, began_at), None
        return await self._note_read(tracked, remote, content, began_at), content

    async def keep_unseen(self, user_id: UUID, page_row_id: UUID) -> bool:
        """Before a page is overwritten: keeps what it says, unless that is kept already.

        Answers whether somebody has been shown how the page differs, and it differs in another way by now.
        """
        async with self._store.begin() as tx:
            tracked = await tx.tracked_pages.find(user_id, page_row_id)
        if tracked is None:
            return False
        token = await self._token_of(tracked)
        remote = await self._notion.look_at_page(token, tracked.page.page_id)
        content = await self._read(self._notion, token, tracked)
        async with self._store.begin() as tx:
            held = await _hold(tx, tracked)
            if content.fingerprint in (held.base_fingerprint, held.notion_fingerprint):
                return False
            newest = await tx.tracked_pages.newest_number(page_row_id)
            await self._keep(tx, held, newest + 1, remote, content)
            if not held.is_changed_in_notion:
                return False
            page = replace(held.page, notion_version=newest + 1)
            await tx.tracked_pages.put(replace(held, page=page, notion_fingerprint=content.fingerprint))
        return True

    async def _read(self, notion: NotionReader, token: Secret, tracked: TrackedPage) -> PageContent:
        async with self._store.begin() as tx:
            bases = await tx.notion_bases.list_on_page(tracked.page.id)
        base = bases.pop(tracked.publication_id, None)
        # What was appended there is another answer's, and what becomes of it that one's business.
        others = frozenset[str]().union(*map(block_ids, bases.values()))
        return await notion.read_page(token, tracked.page.page_id, base=base, others=others)

    async def _token_of(self, tracked: TrackedPage) -> Secret:
        token = await self._connections.find_token(tracked.page.user_id)
        if token is None:
            raise NotionFailed(
                "Notion is not connected any more; connect it again.",
                reason=NotionFailureReason.AUTHENTICATION,
                retryable=False,
            )
        return token

    async def _keep(
        self, tx: Transaction, held: TrackedPage, number: int, remote: RemotePage, content: PageContent
    ) -> None:
        """One more version, of what the page says."""
        version = PageVersion(
            id=self._new_id(),
            page_row_id=held.page.id,
            number=number,
            origin=VersionOrigin.NOTION,
            content_hash=hash_of(content.markdown),
            made_by=remote.edited_by,
            created_at=self._clock(),
        )
        await tx.tracked_pages.add_version(held, version, content.markdown)

    async def _note_gone(self, tracked: TrackedPage, began_at: datetime) -> TrackedPage:
        async with self._store.begin() as tx:
            held = await _hold(tx, tracked)
            if not _is_news(held, began_at):
                return held
            # Forgets when it was edited, so that it is read anew once it is back.
            gone = replace(held, page=replace(held.page, state=NotionPageState.GONE), edited_at=None, read_at=began_at)
            return await self._stored(tx, tracked, gone, quiet_since=held.page.last_sync_at)

    async def _note_unread(self, tracked: TrackedPage, remote: RemotePage, began_at: datetime) -> TrackedPage:
        async with self._store.begin() as tx:
            held = await _hold(tx, tracked)
            if not _is_news(held, began_at):
                return held
            page = replace(held.page, state=held.state, last_sync_at=began_at)
            return await self._stored(tx, tracked, replace(held, page=page), quiet_since=remote.edited_at)

    async def _note_read(
        self, tracked: TrackedPage, remote: RemotePage, content: PageContent, began_at: datetime
    ) -> TrackedPage:
        expected = None
        if tracked.base_fingerprint is None:
            expected = await asyncio.to_thread(self._fingerprint, await self._base_of(tracked))
        async with self._store.begin() as tx:
            held = await _hold(tx, tracked)
            if not _is_news(held, began_at) or (held.base_fingerprint is None and expected is None):
                return held
            newest = await tx.tracked_pages.newest_number(held.page.id)
            reading = read(held, content, expected=expected, newest=newest)
            if reading.is_new:
                await self._keep(tx, held, newest + 1, remote, content)
            page = replace(
                reading.tracked.page,
                title=remote.title[:MAX_TITLE_CHARS] or held.page.title,
                url=remote.url,
                parent_id=remote.parent_id,
                state=reading.tracked.state,
                last_sync_at=began_at,
            )
            seen = replace(reading.tracked, page=page, edited_at=remote.edited_at, read_at=began_at)
            return await self._stored(tx, tracked, seen, quiet_since=remote.edited_at)

    async def _base_of(self, tracked: TrackedPage) -> str:
        """The text of the version that was last written to the page."""
        async with self._store.begin() as tx:
            held = await _hold(tx, tracked)
            (version,) = await tx.tracked_pages.find_versions(held.page.user_id, [(held.page.id, held.base)])
            return (await tx.tracked_pages.contents(held.page.user_id, [version.id]))[version.id]

    async def _stored(
        self, tx: Transaction, before: TrackedPage, after: TrackedPage, *, quiet_since: datetime
    ) -> TrackedPage:
        """Keeps what was seen, and says when to look again unless somebody has asked for that in the meantime."""
        if after.next_look_at != before.next_look_at:
            after = replace(after, edited_at=None)
        else:
            after = replace(after, next_look_at=self._next_look_at(quiet_since))
        await tx.tracked_pages.put(after)
        if after.page.state is not before.page.state:
            _log.info("page_state_changed", extra={"page_id": str(after.page.id), "state": after.page.state.value})
        return after

    def _next_look_at(self, quiet_since: datetime) -> datetime:
        now = self._clock()
        quiet_time = (now - quiet_since) / _QUIET_TIME_PARTS
        return now + max(self._interval, min(LONGEST_INTERVAL, quiet_time))


async def _hold(tx: Transaction, tracked: TrackedPage) -> TrackedPage:
    held = await tx.tracked_pages.hold(tracked.page.id)
    if held is None:
        raise NotFound("There is no such page.", field=("id",))
    return held


def _is_news(held: TrackedPage, began_at: datetime) -> bool:
    """Whether a look that began then tells anything: nobody looked later, or has written to the page since."""
    return held.is_complete and (held.read_at is None or held.read_at < began_at)
