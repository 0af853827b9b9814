"""Notion as this product needs it: the connection, where a page goes, and the port that writes it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from domain.cipher import Sealed
from domain.document import Document
from domain.notion_base import WHOLE_PAGE, Place, SyncedBlock
from domain.secret import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class NotionWorkspace:
    """Whom an integration token speaks for."""

    bot_id: str
    workspace_id: str | None
    workspace_name: str


class NotionTokenKind(StrEnum):
    """By what a workspace is connected."""

    INTEGRATION = "INTEGRATION"
    OAUTH = "OAUTH"


@dataclass(frozen=True, slots=True, kw_only=True)
class NotionConnection:
    """A user's link to a workspace. `rejected_at`: Notion takes its token no more, and only connecting again helps."""

    id: UUID
    user_id: UUID
    kind: NotionTokenKind
    bot_id: str
    workspace_id: str | None
    workspace_name: str
    connected_at: datetime
    rejected_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedTokens:
    """A connection's tokens as stored, sealed at `notion_connection:{user_id}`.

    The refresh token, which only OAuth has, is sealed at `notion_connection:{user_id}:{connection_id}:refresh`.
    """

    access: Sealed
    refresh: Sealed | None = None


class NotionParentKind(StrEnum):
    """What a page can be put under."""

    PAGE = "PAGE"
    DATA_SOURCE = "DATA_SOURCE"


@dataclass(frozen=True, slots=True, kw_only=True)
class NotionParent:
    """A place for pages. `properties` maps a data source's property names to their types; empty under a page.

    `title_property` is the name of the property that holds the title ("title" under a page). `options` are the names
    that a select, multi-select or status has; they and what is only shown (`url`, `icon`) are not kept with a
    publication.
    """

    kind: NotionParentKind
    id: str
    title: str
    title_property: str
    properties: Mapping[str, str]
    options: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    url: str | None = None
    icon: str | None = None


WRITABLE_PROPERTY_TYPES = frozenset(
    {
        "title",
        "rich_text",
        "number",
        "checkbox",
        "select",
        "status",
        "multi_select",
        "date",
        "url",
        "email",
        "phone_number",
        "people",
        "relation",
        "files",
        "place",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParentListing:
    """A page of what a connection can see, and where the next one begins; None after the last."""

    parents: tuple[NotionParent, ...]
    cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PagePlan:
    """How many blocks a page gets, and how many requests write it."""

    block_count: int
    request_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalId:
    """A text property and its value, which no other page of the data source has."""

    property: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPage:
    """A page to be made; `properties` are plain JSON values by property name, the title apart."""

    parent: NotionParent
    title: str
    properties: Mapping[str, object]
    document: Document


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatedPage:
    """A page as Notion has made it; not yet complete when its blocks did not fit into one request."""

    page_id: str
    url: str
    created_at: datetime
    is_complete: bool
    is_in_trash: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PageEnd:
    """A page to append to; `last_block_id` is None when it is empty."""

    page_id: str
    title: str
    url: str
    created_at: datetime
    last_block_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PageUpdate:
    """A new version of what is on a page. `base`: what was written last; None when nobody knows any more.

    `overwrites`: also what others have changed since; or, once the update `is_begun`, what they had changed until then,
    which is the base by now. `superseded`: versions of which an attempt may have written something since the base.
    """

    document: Document
    base: Sequence[SyncedBlock] | None
    place: Place
    overwrites: bool
    is_begun: bool = False
    superseded: Sequence[Document] = ()


Permit = Callable[[], None]
Begin = Callable[[tuple[SyncedBlock, ...]], Awaitable[None]]


def unlimited() -> None:
    """The permit of somebody who has no rival."""


class Notion(Protocol):
    """The port to Notion. Every failure is a NotionFailed; wrong input is an InvalidInput; no retries of its own.

    Notion knows no fences. So a `permit` is asked right before each request that writes, and what it raises ends the
    writing: its owner may have stood still for so long that somebody else has taken over.
    """

    async def identify(self, token: Secret) -> NotionWorkspace:
        """Whom the token speaks for. Raises NotionFailed(AUTHENTICATION) when Notion rejects it."""

    async def resolve_parent(self, token: Secret, reference: str) -> NotionParent:
        """The page, data source or database (with one data source) behind any Notion URL or id.

        Raises InvalidInput for what is no reference, and for a database with several data sources (naming them);
        NotionFailed(NOT_SHARED) for what the integration cannot see.
        """

    async def resolve_page(
        self,
        token: Secret,
        reference: str,
        parent: NotionParent,
        *,
        created_after: datetime,
        made_by: str | None = None,
    ) -> CreatedPage:
        """The page behind any Notion URL or id.

        Raises InvalidInput for what is no reference, not directly under the parent, in the trash, or not made by the
        token's own bot or `made_by` since then (to the minute); NotionFailed(NOT_SHARED) for what the integration
        cannot see.
        """

    async def list_parents(
        self, token: Secret, *, search: str | None, kind: NotionParentKind | None, cursor: str | None
    ) -> ParentListing:
        """Pages and data sources that the token can see, the last edited first; with `search`, by words of the title.

        Notion's search lags behind by minutes and is not exhaustive. What lies in the trash is left out.
        """

    def property_values(
        self, parent: NotionParent, properties: Mapping[str, object], *, may_add_options: bool = True
    ) -> Mapping[str, object]:
        """The values in Notion's own form.

        Raises InvalidInput with field (name,) for a property that the parent lacks or a value its type rejects; and,
        unless options may be added, for one that a select or multi-select lacks.
        """

    def plan(self, document: Document) -> PagePlan:
        """What it takes to write the document; pure and CPU-bound, so to be called beside the event loop."""

    async def create_page(self, token: Secret, page: NewPage, *, permit: Permit = unlimited) -> CreatedPage:
        """Makes the page with as much of the document as one request takes."""

    async def complete_page(
        self,
        token: Secret,
        page_id: str,
        document: Document,
        *,
        place: Place = WHOLE_PAGE,
        permit: Permit = unlimited,
    ) -> tuple[SyncedBlock, ...]:
        """Appends what the page lacks of the document, after looking at what is there; can be repeated at any time.

        `place`: where on the page the document's blocks may be already. Answers them all. What somebody has edited or
        deleted since it was written stays so, and has no id when it is gone; NotionFailed(CONFLICT), with nothing
        written there, when blocks were rearranged.
        """

    async def find_end(self, token: Secret, page_id: str) -> PageEnd:
        """The page as it is, and its last block."""

    async def update_page(
        self,
        token: Secret,
        page_id: str,
        update: PageUpdate,
        *,
        begin: Begin | None = None,
        permit: Permit = unlimited,
    ) -> tuple[SyncedBlock, ...]:
        """Makes the document's blocks what the page shows in place of the base's; can be repeated at any time.

        Blocks that did not change are not touched, nor what is not ours; new ones are written before old ones go.
        Answers the document's blocks. `begin` is told before anything is written which of ours were found, and as what;
        what it raises ends the update. Raises PageChanged, before anything is written, where that would undo what
        somebody has done in Notion.
        """

    async def find_pages(
        self,
        token: Secret,
        parent: NotionParent,
        *,
        title: str,
        created_after: datetime,
        made_by: str | None = None,
        external_id: ExternalId | None = None,
    ) -> tuple[CreatedPage, ...]:
        """Pages of this title that the token's own bot, or `made_by`, has made under the parent since (to the minute).

        With an external id they are found by it alone, as long as the data source has the property.
        """


class DocumentParser(Protocol):
    """Reads an answer's Markdown."""

    def __call__(self, markdown: str) -> Document:
        """The tree of blocks that the text means; pure and CPU-bound, so to be called beside the event loop."""


class NotionConnections(Protocol):
    """The users' links to Notion."""

    async def find(self, user_id: UUID) -> tuple[NotionConnection, SealedTokens] | None:
        """A user's connection and its sealed tokens."""

    async def find_for_renewal(self, user_id: UUID) -> tuple[NotionConnection, SealedTokens, datetime | None] | None:
        """The same with the row locked until the transaction ends, and until when somebody has claimed the renewal."""

    async def put(self, connection: NotionConnection, *, sealed: SealedTokens) -> None:
        """Connects, or replaces the connection."""

    async def claim_renewal(self, connection_id: UUID, *, until: datetime) -> None:
        """Nobody else renews the tokens until then."""

    async def replace_tokens(self, connection_id: UUID, *, sealed: SealedTokens) -> bool:
        """Puts both new tokens in place and ends the claim; False when the connection is gone."""

    async def end_renewal(self, connection_id: UUID, *, rejected_at: datetime | None) -> None:
        """Ends the claim without new tokens; with a time, notes that Notion takes the token no more."""

    async def remove(self, user_id: UUID) -> bool:
        """Disconnects; False when there was no connection."""
