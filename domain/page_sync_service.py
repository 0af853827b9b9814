"""What a person can do with a published page: compare it, take Notion's version, change ours, read every version."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from enum import StrEnum
from typing import assert_never
from uuid import UUID

from domain.account import Client, Viewer
from domain.audit import AuditAction, AuditEvent
from domain.errors import Conflict, NotFound
from domain.maintenance import Maintenance
from domain.notion import DocumentParser
from domain.page import Page, PageRequest
from domain.page_sync import MAX_CONTENT_CHARS, PageContent, PageVersion, TrackedPage, VersionOrigin, hash_of
from domain.page_watcher import PageWatcher
from domain.publication import NotionPage, NotionPageState, PublicationStatus
from domain.publication_service import PublicationWorker
from domain.store import Store, Transaction
from domain.text import checked_text


class SyncDirection(StrEnum):
    """What to do once the page was compared."""

    COMPARE = "COMPARE"
    TAKE = "TAKE"
    PUSH = "PUSH"


class PageSyncService:
    """A person's published pages, and the versions of what they say."""

    def __init__(
        self,
        *,
        store: Store,
        watcher: PageWatcher,
        worker: PublicationWorker,
        parse: DocumentParser,
        maintenance: Maintenance,
        clock: Callable[[], datetime],
        new_id: Callable[[], UUID],
    ) -> None:
        self._store = store
        self._watcher = watcher
        self._worker = worker
        self._parse = parse
        self._maintenance = maintenance
        self._clock = clock
        self._new_id = new_id

    async def sync(
        self, viewer: Viewer, page_row_id: UUID, direction: SyncDirection, *, seen_version: int | None, client: Client
    ) -> NotionPage:
        """Reads the page in Notion; takes what it says for ours, or has what counts here written to it, if wanted.

        `seen_version`: the newest version that the viewer knows of; needed where one would be put aside for another.
        Raises NotFound, Conflict (not published completely; there is a newer version), NotionFailed.
        """
        if direction is SyncDirection.PUSH:
            await self._maintenance.check(viewer)
        async with self._store.begin() as tx:
            tracked = await tx.tracked_pages.find(viewer.user.id, page_row_id)
        tracked, content = await self._watcher.look(_complete(tracked), for_somebody=True)
        match direction:
            case SyncDirection.COMPARE:
                return tracked.page
            case SyncDirection.TAKE:
                return await self._take(viewer, page_row_id, content, seen_version=seen_version, client=client)
            case SyncDirection.PUSH:
                return await self._push(viewer, page_row_id, seen_version, client)
            case _:
                assert_never(direction)

    async def _take(
        self,
        viewer: Viewer,
        page_row_id: UUID,
        content: PageContent | None,
        *,
        seen_version: int | None,
        client: Client,
    ) -> NotionPage:
        """What was read counts here from now on, and its blocks are the answer's, whoever has made them."""
        blocks = () if content is None else await asyncio.to_thread(content.blocks, self._parse)
        async with self._store.begin() as tx:
            held = _there(await tx.tracked_pages.hold(page_row_id))
            await _check_seen(tx, held, seen_version, is_needed=held.is_changed_here)
            if held.state is NotionPageState.IN_SYNC:
                return held.page
            page = replace(held.page, version=held.page.notion_version, state=NotionPageState.IN_SYNC)
            taken = replace(held, page=page, base=page.notion_version, base_fingerprint=held.notion_fingerprint)
            await tx.tracked_pages.put(taken)
            if held.is_changed_in_notion:
                if content is None or content.fingerprint != held.notion_fingerprint:
                    raise Conflict("The page was read once more just now: try again.")
                # They count as written by us: the next update changes or removes them, and does not say them twice.
                await tx.notion_bases.put(held.publication_id, notion_page_id=page.id, blocks=blocks, now=self._clock())
            await tx.audit.append(_event(AuditAction.PAGE_TAKEN, viewer, page, client))
        return page

    async def _push(self, viewer: Viewer, page_row_id: UUID, seen_version: int | None, client: Client) -> NotionPage:
        """Sends what counts here through the outbox."""
        async with self._store.begin() as tx:
            held = _there(await tx.tracked_pages.hold(page_row_id))
            await _check_seen(tx, held, seen_version, is_needed=held.is_changed_in_notion)
            if held.state is NotionPageState.IN_SYNC and held.status is PublicationStatus.PUBLISHED:
                return held.page
            send = tx.publications.update_again if held.status is PublicationStatus.PUBLISHED else tx.publications.retry
            if not await send(held.publication_id, now=self._clock(), overwrites=held.is_changed_in_notion):
                raise Conflict("The page is being written to just now: try again.")
            await tx.audit.append(_event(AuditAction.PAGE_PUSHED, viewer, held.page, client))
        self._worker.wake()
        return held.page

    async def edit(
        self, viewer: Viewer, page_row_id: UUID, content: str, *, base_version: int, client: Client
    ) -> NotionPage:
        """Keeps a new version, which counts here from now on; Notion is not told of it.

        `base_version`: what was edited. Raises NotFound, InvalidInput, and Conflict when another counts by now.
        """
        checked_text(content, field=("content",), max_chars=MAX_CONTENT_CHARS)
        async with self._store.begin() as tx:
            if await tx.tracked_pages.find(viewer.user.id, page_row_id) is None:
                raise NotFound("There is no such page.", field=("id",))
            held = _complete(await tx.tracked_pages.hold(page_row_id))
            if held.page.version != base_version:
                raise Conflict(
                    f"Version {held.page.version} counts by now: start from that one.", field=("baseVersion",)
                )
            version = PageVersion(
                id=self._new_id(),
                page_row_id=page_row_id,
                number=await tx.tracked_pages.newest_number(page_row_id) + 1,
                origin=VersionOrigin.EDIT,
                content_hash=hash_of(content),
                made_by=viewer.user.username,
                created_at=self._clock(),
            )
            await tx.tracked_pages.add_version(held, version, content)
            edited = replace(held, page=replace(held.page, version=version.number))
            if held.page.state is not NotionPageState.GONE:
                edited = replace(edited, page=replace(edited.page, state=edited.state))
            await tx.tracked_pages.put(edited)
            await tx.audit.append(_event(AuditAction.PAGE_EDITED, viewer, edited.page, client))
        return edited.page

    async def versions(self, viewer: Viewer, page_row_id: UUID, page: PageRequest) -> Page[PageVersion]:
        """The versions of the viewer's page, the newest first."""
        async with self._store.begin() as tx:
            return await tx.tracked_pages.list_versions(viewer.user.id, page_row_id, page)

    async def find_versions(
        self, viewer: Viewer, numbers: Sequence[tuple[UUID, int]]
    ) -> dict[tuple[UUID, int], PageVersion]:
        """Versions of the viewer's pages, by our id of the page and their number."""
        async with self._store.begin() as tx:
            found = await tx.tracked_pages.find_versions(viewer.user.id, numbers)
        return {(version.page_row_id, version.number): version for version in found}

    async def contents(self, viewer: Viewer, version_ids: Sequence[UUID]) -> dict[UUID, str]:
        """What versions of the viewer's pages say."""
        async with self._store.begin() as tx:
            return await tx.tracked_pages.contents(viewer.user.id, version_ids)


def _there(tracked: TrackedPage | None) -> TrackedPage:
    found = _complete(tracked)
    if found.page.state is NotionPageState.GONE:
        raise Conflict("The page is not in Notion any more, or not shared with the integration.")
    return found


def _complete(tracked: TrackedPage | None) -> TrackedPage:
    if tracked is None:
        raise NotFound("There is no such page.", field=("id",))
    if not tracked.is_complete:
        raise Conflict("The page is not completely written yet: wait until its publication is PUBLISHED.")
    return tracked


async def _check_seen(tx: Transaction, held: TrackedPage, seen_version: int | None, *, is_needed: bool) -> None:
    """Raises Conflict unless the viewer knows the newest version, or need not say."""
    newest = await tx.tracked_pages.newest_number(held.page.id)
    if seen_version is None and is_needed:
        raise Conflict(
            f"This would put one version aside for another. Look at both, and give the newest's number, {newest}.",
            field=("seenVersion",),
        )
    if seen_version is not None and seen_version != newest:
        raise Conflict(f"By now the newest version is {newest}: look at that one first.", field=("seenVersion",))


def _event(action: AuditAction, viewer: Viewer, page: NotionPage, client: Client) -> AuditEvent:
    return AuditEvent(
        action=action,
        actor_id=viewer.user.id,
        target=f"notion_page:{page.id}",
        ip=client.ip,
        details={"version": page.version},
    )
