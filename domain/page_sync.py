"""How a page in Notion and the answer it came of compare, and the versions of their text that are kept.

Each page has a numbered list of versions, none of which is ever changed. Three of them have a part to play: the one
that counts here, the one that Notion showed when it was last read, and the one that both last agreed on, the base.
docs/decisions/0013-when-a-page-has-changed.md says what counts as a change.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from typing import Final, Protocol
from uuid import UUID

from domain.notion import DocumentParser
from domain.notion_base import SyncedBlock
from domain.page import Page, PageRequest
from domain.publication import NotionPage, NotionPageState, PublicationStatus, PublishMode
from domain.secret import Secret

FIRST_VERSION: Final = 1
MAX_CONTENT_CHARS: Final = 1_000_000
# Between Notion's clock, whose times are rounded down to the minute, and ours.
_CLOCK_TOLERANCE: Final = timedelta(minutes=2)
_MINUTE: Final = timedelta(minutes=1)


class VersionOrigin(StrEnum):
    """Where a version of a page's text comes from."""

    ANSWER = "ANSWER"
    NOTION = "NOTION"
    EDIT = "EDIT"


@dataclass(frozen=True, slots=True, kw_only=True)
class PageVersion:
    """One version of a page's text, without the text; `made_by` names a model, somebody in Notion, or a user."""

    id: UUID
    page_row_id: UUID
    number: int
    origin: VersionOrigin
    content_hash: bytes
    made_by: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RemotePage:
    """What one request tells of a page; `edited_at` is rounded down to the minute."""

    title: str
    url: str
    parent_id: str | None
    is_in_trash: bool
    edited_at: datetime
    edited_by: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PageContent:
    """All that a page says, as Markdown, and a hash of it that is blind to what Notion writes in its own way.

    `is_only_ours`: nobody but the integration itself has had a hand in any part of it, and none of ours is missing.
    `own_fingerprint`: the hash of what is left of it without the parts that others have had a hand in. `blocks` tells,
    CPU-bound, what is on the page as a base to go on from, for a text that will be read by that parser.
    """

    markdown: str
    fingerprint: bytes
    own_fingerprint: bytes
    is_only_ours: bool
    blocks: Callable[[DocumentParser], tuple[SyncedBlock, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackedPage:
    """A page with all that is needed to compare it; `base` is the number of the version that both last agreed on.

    `base_fingerprint` is None until the page is read for the first time after we have written to it. `read_at` is when
    that reading began, or when we had written: a look that began before tells nothing new.
    `next_look_at` also tells whether somebody has asked for a look since: then it is another.
    """

    page: NotionPage
    publication_id: UUID
    generation_id: UUID
    status: PublicationStatus
    mode: PublishMode
    base: int
    base_fingerprint: bytes | None
    notion_fingerprint: bytes | None
    edited_at: datetime | None
    read_at: datetime | None
    next_look_at: datetime

    @property
    def is_complete(self) -> bool:
        """Whether nobody writes to the page and it has said all of some version, be it before an update that failed."""
        match self.status:
            case PublicationStatus.PUBLISHED:
                return True
            case PublicationStatus.FAILED | PublicationStatus.NEEDS_ATTENTION:
                return self.mode is PublishMode.UPDATE
            case _:
                return False

    @property
    def is_changed_in_notion(self) -> bool:
        """Whether the page says something else than what both last agreed on."""
        return self.base_fingerprint != self.notion_fingerprint

    @property
    def is_changed_here(self) -> bool:
        """Whether another version counts here than the one that both last agreed on."""
        return self.page.version != self.base

    @property
    def state(self) -> NotionPageState:
        """How the two compare, as long as the page is there."""
        match self.is_changed_in_notion, self.is_changed_here:
            case False, False:
                return NotionPageState.IN_SYNC
            case True, False:
                return NotionPageState.CHANGED_IN_NOTION
            case False, True:
                return NotionPageState.CHANGED_HERE
            case _:
                return NotionPageState.CONFLICT

    def needs_reading(self, remote: RemotePage) -> bool:
        """Whether the page may say something else than when it was last read.

        The time of the last edit is rounded down to the minute, so that it proves nothing about the minute in which
        the page was read; an edit in any later minute would show another time.
        """
        if self.edited_at is None or self.read_at is None or self.edited_at != remote.edited_at:
            return True
        return self.read_at < remote.edited_at + _MINUTE + _CLOCK_TOLERANCE


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A page after it was read; `is_new`: what it says must be kept, as the version after the newest."""

    tracked: TrackedPage
    is_new: bool


def read(tracked: TrackedPage, content: PageContent, *, expected: bytes | None, newest: int) -> Reading:
    """What follows from the page's saying this now.

    `expected`: how a page that says the base would read, needed only while the base's fingerprint is not known.
    What Notion itself makes of our text is no change: a page that nobody else has touched says what we wrote. Nor is
    what others have put between our blocks, once we have written to the page beside it: it was there before.
    """
    base_fingerprint = tracked.base_fingerprint
    is_new = content.fingerprint not in (base_fingerprint, tracked.notion_fingerprint)
    if base_fingerprint is None:
        is_beside_ours = tracked.mode is PublishMode.UPDATE and content.own_fingerprint == expected
        is_new = content.fingerprint != expected and not is_beside_ours
        base_fingerprint = content.fingerprint if content.is_only_ours or is_beside_ours else expected
    seen = replace(tracked, base_fingerprint=base_fingerprint, notion_fingerprint=content.fingerprint)
    shown = seen.base
    if seen.is_changed_in_notion:
        shown = newest + 1 if is_new else tracked.page.notion_version
    page = replace(seen.page, notion_version=shown)
    return Reading(tracked=replace(seen, page=page), is_new=is_new)


def hash_of(content: str) -> bytes:
    """What tells two versions apart: SHA-256 of the text in UTF-8."""
    return sha256(content.encode()).digest()


class NotionReader(Protocol):
    """The part of Notion that shows pages. Every failure is a NotionFailed."""

    async def look_at_page(self, token: Secret, page_id: str) -> RemotePage:
        """A page without what it says, in one request. NotionFailed(NOT_SHARED) when there is none to be seen."""

    async def read_page(
        self,
        token: Secret,
        page_id: str,
        *,
        base: Sequence[SyncedBlock] | None = None,
        others: Collection[str] = (),
    ) -> PageContent:
        """All that a page says, in as many requests as that takes, without the blocks that are `others`.

        `base`: our blocks there, as far as they are known. What still shows as in the base is ours, whoever wrote it.
        """


class Fingerprinter(Protocol):
    """Tells how a page would read."""

    def __call__(self, markdown: str) -> bytes:
        """The fingerprint of a page that was made of this; pure and CPU-bound, to be called beside the event loop."""


class TrackedPages(Protocol):
    """The pages that are compared, and the versions of what they say."""

    async def find(self, user_id: UUID, page_row_id: UUID) -> TrackedPage | None:
        """A user's page, if the answer it came of is still there."""

    async def hold(self, page_row_id: UUID) -> TrackedPage | None:
        """The same, for whoever is going to change it: nobody else can before the transaction has ended.

        Its first version, the answer, is there from then on.
        """

    async def put(self, tracked: TrackedPage) -> None:
        """Stores a page that is held, as compared now."""

    async def postpone(self, page_row_id: UUID, *, seen: datetime, next_look_at: datetime) -> None:
        """The next look, unless somebody has asked for another since `next_look_at` was `seen`."""

    async def claim(
        self, *, size: int, per_user: int, now: datetime, claimed_until: datetime
    ) -> tuple[TrackedPage, ...]:
        """Published pages that are due, a few of each user's; nobody else gets them before `claimed_until`."""

    async def ask_for_looks(self, notion_ids: Collection[str], *, now: datetime) -> int:
        """Makes the pages with these ids in Notion, and those right under them, due; answers how many there are.

        Those with these ids are read in any case.
        """

    async def find_text(self, page_row_id: UUID) -> tuple[int, str] | None:
        """The version of a page that counts here, by its number, and what it says; None when none is kept yet."""

    async def note_written(self, page_row_id: UUID, *, version: int, now: datetime) -> None:
        """The page says this version now: how Notion shows it, nobody knows before a look that begins after that."""

    async def newest_number(self, page_row_id: UUID) -> int:
        """The number of the newest version."""

    async def add_version(self, tracked: TrackedPage, version: PageVersion, content: str) -> None:
        """Keeps one more version of a page that is held."""

    async def list_versions(self, user_id: UUID, page_row_id: UUID, page: PageRequest) -> Page[PageVersion]:
        """A page's versions, the newest first."""

    async def find_versions(self, user_id: UUID, numbers: Sequence[tuple[UUID, int]]) -> tuple[PageVersion, ...]:
        """Versions by the row of their page and their number."""

    async def contents(self, user_id: UUID, version_ids: Sequence[UUID]) -> dict[UUID, str]:
        """What these versions say."""
