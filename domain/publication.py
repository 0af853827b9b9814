"""A Publication, the intent and outcome of sending one generation to Notion, and the page that comes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from domain.errors import ErrorCode
from domain.generation import Failure
from domain.notion import CreatedPage, ExternalId, NotionParent

MAX_TITLE_CHARS = 200
NO_ANSWER = Failure(code=ErrorCode.CONFLICT, message="The generation ended without an answer, so there is no page.")


class PublicationStatus(StrEnum):
    """PENDING (also while the answer is still written) -> PUBLISHING -> PUBLISHED | FAILED | NEEDS_ATTENTION.

    NEEDS_ATTENTION: the page may exist in Notion, or exist twice, so nothing is repeated until a person has looked.
    """

    PENDING = "PENDING"
    PUBLISHING = "PUBLISHING"
    PUBLISHED = "PUBLISHED"
    FAILED = "FAILED"
    NEEDS_ATTENTION = "NEEDS_ATTENTION"

    @property
    def is_settled(self) -> bool:
        """Whether nothing more will happen by itself."""
        return self not in (PublicationStatus.PENDING, PublicationStatus.PUBLISHING)


class PublishMode(StrEnum):
    """What becomes of an answer: a page of its own, the end of another page, or the new text of what was published."""

    CREATE = "CREATE"
    APPEND = "APPEND"
    UPDATE = "UPDATE"


class NotionPageState(StrEnum):
    """How a page compares with what was published."""

    IN_SYNC = "IN_SYNC"
    CHANGED_IN_NOTION = "CHANGED_IN_NOTION"
    CHANGED_HERE = "CHANGED_HERE"
    CONFLICT = "CONFLICT"
    GONE = "GONE"


@dataclass(frozen=True, slots=True, kw_only=True)
class NotionPage:
    """A remote page; `page_id` is Notion's, `id` ours. Not `is_ours`: an answer was appended to somebody else's page.

    `version` and `notion_version` are numbers of versions of its text: what counts here, what Notion showed last.
    """

    id: UUID
    user_id: UUID
    page_id: str
    parent_id: str | None
    title: str
    url: str
    created_at: datetime
    last_sync_at: datetime
    state: NotionPageState
    is_ours: bool = True
    version: int = 1
    notion_version: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """An outbox row. Its recovery points: `requested_at` (the intent to write, of the bot `requested_by`), `page` (it
    exists) and its `writers` (the bots that may have put blocks there).

    A page whose `completed_at` is missing may lack blocks. `parent` and `properties` were checked before;
    `external_id_property` names the one that holds the generation's id alone. For an append
    `parent` is the page itself, and `anchor` its last block before. An update `overwrites` what somebody has changed in
    Notion only if that was asked for; it `is_begun` once what it found there is kept, and is its base.
    `unsettled_since`: the last moment at which something may have been sent to Notion of which nobody knows what has
    come; it may take effect some time after.
    """

    id: UUID
    generation_id: UUID
    user_id: UUID
    status: PublicationStatus
    parent: NotionParent
    title: str
    properties: Mapping[str, object]
    mode: PublishMode
    anchor: str | None
    overwrites: bool
    requested_at: datetime | None
    completed_at: datetime | None
    page: NotionPage | None
    failure: Failure | None
    degraded: tuple[str, ...]
    attempts: int
    fence: int
    next_attempt_at: datetime
    created_at: datetime
    external_id_property: str | None = None
    requested_by: str | None = None
    writers: frozenset[str] = frozenset()
    unsettled_since: datetime | None = None
    is_begun: bool = False

    @property
    def external_id(self) -> ExternalId | None:
        """What tells its page from every other, if there is such a property."""
        name = self.external_id_property
        return None if name is None else ExternalId(property=name, value=str(self.properties[name]))

    @property
    def has_failed(self) -> bool:
        """Whether nothing more will happen by itself, and the answer is not in Notion."""
        return self.status in (PublicationStatus.FAILED, PublicationStatus.NEEDS_ATTENTION)

    @property
    def is_void(self) -> bool:
        """Whether it has failed and has surely made nothing."""
        return self.status is PublicationStatus.FAILED and self.requested_at is None and self.page is None

    @property
    def may_have_page(self) -> bool:
        """Whether a page was asked for, and nobody knows what has come of it."""
        return self.requested_at is not None and self.page is None

    def settles_at(self, settling_time: timedelta, *, now: datetime) -> datetime | None:
        """When all that was sent has taken effect or never will; None if that is so already."""
        if self.unsettled_since is None:
            return None
        settles_at = self.unsettled_since + settling_time
        return settles_at if now < settles_at else None

    @property
    def waiting_until(self) -> datetime | None:
        """When it goes on by itself, if something has kept it waiting: `failure` says what."""
        is_waiting = self.status is PublicationStatus.PENDING and self.failure is not None
        return self.next_attempt_at if is_waiting else None


def new_page(made: CreatedPage, publication: Publication, *, row_id: UUID, now: datetime) -> NotionPage:
    """A page of ours, as it is when it is known for the first time."""
    return NotionPage(
        id=row_id,
        user_id=publication.user_id,
        page_id=made.page_id,
        parent_id=publication.parent.id,
        title=publication.title,
        url=made.url,
        created_at=made.created_at,
        last_sync_at=now,
        state=NotionPageState.IN_SYNC,
    )


class Publications(Protocol):
    """The outbox. Methods with a `fence` change nothing and answer False when another instance has taken over."""

    async def add(self, publication: Publication) -> None:
        """Stores the intent. Raises Conflict when the generation has a publication already."""

    async def find(self, user_id: UUID, publication_id: UUID) -> Publication | None:
        """A user's publication."""

    async def find_page(self, user_id: UUID, page_row_id: UUID) -> NotionPage | None:
        """A user's page, by our id."""

    async def list_by_generation(self, generation_ids: Sequence[UUID]) -> dict[UUID, Publication]:
        """The publications of these generations."""

    async def retry(self, publication_id: UUID, *, now: datetime, overwrites: bool = False) -> bool:
        """Puts a FAILED or NEEDS_ATTENTION one back to PENDING, attempts at 0, its recovery points kept; else False."""

    async def resolve(self, publication_id: UUID, *, fence: int, page: NotionPage | None, now: datetime) -> bool:
        """Puts a FAILED or NEEDS_ATTENTION one back to PENDING: its page is this one, or there is none.

        False when that is not unclear. Raises Conflict when the page belongs to another publication.
        """

    async def ask_anew(self, publication: Publication) -> bool:
        """Puts another wish in the place of one that has failed and has surely made nothing; else False."""

    async def update_again(self, publication_id: UUID, *, now: datetime, overwrites: bool) -> bool:
        """Has a PUBLISHED one brought up to date; False in any other state."""

    async def find_to_update(self, user_id: UUID, generation_id: UUID) -> Publication | None:
        """The publication of the nearest answer that this one, perhaps in several steps, was regenerated from."""

    async def hand_over(self, publication_id: UUID, *, generation_id: UUID) -> bool:
        """Makes a PUBLISHED publication that of another answer; False in any other state."""

    async def fail_pending_of(self, generation_id: UUID, failure: Failure) -> None:
        """Settles the publication of a generation that has ended without an answer."""

    async def claim(self, *, size: int, now: datetime, lease_until: datetime) -> tuple[Publication, ...]:
        """Takes due ones of succeeded generations, and those whose lease has ended; one per Notion parent at a time."""

    async def renew_lease(self, publication_id: UUID, *, fence: int, lease_until: datetime) -> bool:
        """Extends the lease."""

    async def record_intent(
        self, publication_id: UUID, *, fence: int, now: datetime, bot_id: str | None = None
    ) -> bool:
        """Recovery point: a page is about to be asked for, by this bot."""

    async def record_append(
        self,
        publication_id: UUID,
        *,
        fence: int,
        page: NotionPage,
        anchor: str | None,
        now: datetime,
    ) -> bool:
        """Recovery point: blocks are about to be put behind the anchor, the page's last block."""

    async def record_writer(self, publication_id: UUID, *, fence: int, bot_id: str) -> bool:
        """Recovery point: this bot is about to write to the page."""

    async def record_begun(self, publication_id: UUID, *, fence: int) -> bool:
        """Recovery point: an update is about to overwrite what it found, which is kept and its base from now on."""

    async def has_rivals(self, publication: Publication) -> bool:
        """Whether another publication has begun to write to the same page and not come to its end."""

    async def note_page_state(self, publication_id: UUID, state: NotionPageState) -> None:
        """How a publication's page compares with what was published."""

    async def record_page(self, publication_id: UUID, *, fence: int, page: NotionPage) -> bool:
        """Recovery point: the page exists."""

    async def list_known_page_ids(self, page_ids: Sequence[str]) -> frozenset[str]:
        """Which of these Notion ids publications have made already; not those that were only appended to."""

    async def complete(self, publication_id: UUID, *, fence: int, degraded: Sequence[str], now: datetime) -> bool:
        """PUBLISHED: the page says all that the answer said."""

    async def postpone(
        self, publication_id: UUID, *, fence: int, failure: Failure, next_attempt_at: datetime, is_counted: bool = True
    ) -> bool:
        """PENDING again, with the failure shown, until its next attempt; one that only waited need not be counted."""

    async def note_unsettled(self, publication_id: UUID, *, fence: int, now: datetime) -> bool:
        """Recovery point: what was sent until now may still take effect."""

    async def withdraw_intent(self, publication_id: UUID, *, fence: int) -> bool:
        """Notion has surely not made the page: the intent is void."""

    async def settle(self, publication_id: UUID, *, fence: int, status: PublicationStatus, failure: Failure) -> bool:
        """FAILED or NEEDS_ATTENTION."""
