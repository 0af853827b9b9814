"""The places for pages that a person's connection can see: listed, searched, and looked up."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from domain.account import Viewer
from domain.errors import InvalidInput, NotFound
from domain.notion import Notion, NotionParent, NotionParentKind
from domain.notion_service import NotionService
from domain.page import DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE, decode_cursor
from domain.secret import Secret
from domain.text import checked_text

LISTING_TTL = timedelta(minutes=5)
MAX_PARENTS = 1_000
MAX_LISTINGS = 500
MAX_SEARCH_CHARS = 200
MAX_REFERENCE_CHARS = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ParentPage:
    """A slice of a listing, and when Notion was first asked for it."""

    parents: tuple[NotionParent, ...]
    has_previous: bool
    has_next: bool
    listed_at: datetime


@dataclass(slots=True, kw_only=True)
class _Listing:
    """What Notion has told so far, and where it goes on; `cursor` is None before the first page and after the last."""

    listed_at: datetime
    parents: list[NotionParent] = field(default_factory=list)
    places: dict[str, int] = field(default_factory=dict)
    cursor: str | None = None
    is_begun: bool = False
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def is_complete(self) -> bool:
        return (self.is_begun and self.cursor is None) or len(self.parents) >= MAX_PARENTS


_Key = tuple[UUID, str | None, NotionParentKind | None]


class NotionParents:
    """Lists parents page by page.

    Notion is asked for no more than somebody wants to see, and what it has told is remembered for a few minutes, in
    this instance and for this connection alone.
    """

    def __init__(self, *, notion: Notion, connections: NotionService, clock: Callable[[], datetime]) -> None:
        self._notion = notion
        self._connections = connections
        self._clock = clock
        self._listings: OrderedDict[_Key, _Listing] = OrderedDict()

    async def page(
        self,
        viewer: Viewer,
        *,
        search: str | None,
        kind: NotionParentKind | None,
        first: int | None,
        after: str | None,
        refresh: bool,
    ) -> ParentPage:
        """A page of what the viewer's connection can see. Raises InvalidInput, NotFound (no connection), NotionFailed.

        `refresh` asks Notion anew, if it is the first page that is wanted.
        """
        size = DEFAULT_PAGE_SIZE if first is None else first
        if not 1 <= size <= MAX_PAGE_SIZE:
            raise InvalidInput(f"`first` is {size}; it must be from 1 to {MAX_PAGE_SIZE}.", field=("first",))
        last_seen = None if after is None else str(decode_cursor(after, field="after"))
        if search is not None:
            search = checked_text(search, field=("search",), max_chars=MAX_SEARCH_CHARS).strip()
        connection_id, token = await self._token(viewer)
        listing = self._listing((connection_id, search, kind), is_new=refresh and after is None)
        async with listing.lock:
            start = 0
            if last_seen is not None:
                start = await self._place_after(listing, token, search, kind, last_seen)
            # One more than wanted, so that it is known whether there is more.
            while len(listing.parents) <= start + size and not listing.is_complete:
                await self._go_on(listing, token, search, kind)
        return ParentPage(
            parents=tuple(listing.parents[start : start + size]),
            has_previous=start > 0,
            has_next=len(listing.parents) > start + size,
            listed_at=listing.listed_at,
        )

    async def find(self, viewer: Viewer, reference: str) -> NotionParent:
        """What any Notion address or id names. Raises InvalidInput, NotFound (no connection), NotionFailed."""
        checked_text(reference, field=("reference",), max_chars=MAX_REFERENCE_CHARS)
        _, token = await self._token(viewer)
        try:
            return await self._notion.resolve_parent(token, reference)
        except InvalidInput as error:
            raise InvalidInput(error.message, field=("reference",)) from error

    async def _token(self, viewer: Viewer) -> tuple[UUID, Secret]:
        token = await self._connections.find_token(viewer.user.id)
        if token is None:
            raise NotFound("Notion is not connected.")
        return token.connection_id, token

    def _listing(self, key: _Key, *, is_new: bool) -> _Listing:
        now = self._clock()
        listing = self._listings.get(key)
        if listing is None or is_new or now - listing.listed_at > LISTING_TTL:
            listing = self._listings[key] = _Listing(listed_at=now)
        self._listings.move_to_end(key)
        while len(self._listings) > MAX_LISTINGS:
            self._listings.popitem(last=False)
        return listing

    async def _place_after(
        self, listing: _Listing, token: Secret, search: str | None, kind: NotionParentKind | None, last_seen: str
    ) -> int:
        while last_seen not in listing.places:
            if listing.is_complete:
                raise InvalidInput(
                    "`after` is not a cursor of this list, or not any more: begin again.", field=("after",)
                )
            await self._go_on(listing, token, search, kind)
        return listing.places[last_seen] + 1

    async def _go_on(self, listing: _Listing, token: Secret, search: str | None, kind: NotionParentKind | None) -> None:
        told = await self._notion.list_parents(token, search=search, kind=kind, cursor=listing.cursor)
        for parent in told.parents:
            # What is edited while it is listed may come up again.
            if parent.id not in listing.places and len(listing.parents) < MAX_PARENTS:
                listing.places[parent.id] = len(listing.parents)
                listing.parents.append(parent)
        listing.is_begun, listing.cursor = True, told.cursor
