"""Notion through its SDK: the domain's port, and the one door through which the SDK's failures leave."""

from __future__ import annotations

import asyncio
import copy
import hashlib
import json
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from typing import Final

import httpx
from notion_client import AsyncClient
from notion_client.errors import HTTPResponseError, RequestTimeoutError

from domain.document import Document
from domain.errors import InvalidInput, NotionFailed, NotionFailureReason
from domain.notion import (
    Begin,
    CreatedPage,
    ExternalId,
    NewPage,
    NotionParent,
    NotionParentKind,
    NotionWorkspace,
    PageEnd,
    PagePlan,
    PageUpdate,
    ParentListing,
    Permit,
    unlimited,
)
from domain.notion_authorization import ConnectionToken
from domain.notion_base import WHOLE_PAGE, Place, SyncedBlock
from domain.notion_pace import NotionPace, NotionPriority, Unpaced
from domain.notion_references import notion_id
from domain.page_sync import PageContent, RemotePage
from domain.secret import Secret
from integrations import notion_failures as failures
from integrations.notion_answers import (
    created_page,
    data_source_parent,
    listed_parents,
    moment,
    only_data_source,
    page_end,
    page_parent,
    page_under,
    reading,
    remote_page,
    title_of,
)
from integrations.notion_blocks import Batch, Json, batches, count_blocks, count_requests, to_notion
from integrations.notion_page import content_of, read_blocks
from integrations.notion_properties import property_values, rich_text
from integrations.notion_update import PageReader, PageUpdater, plan_update, words_of
from integrations.notion_writer import NotionWriter, synced

NOTION_VERSION: Final = "2026-03-11"
DEFAULT_BASE_URL: Final = "https://api.notion.com"
# Notion itself gives up after a minute; a little more lets its own answer win.
DEFAULT_TIMEOUT_SECONDS: Final = 70.0
CONNECT_TIMEOUT_SECONDS: Final = 10.0
MAX_CONNECTIONS: Final = 20

PAGE_SIZE: Final = 100
MAX_LISTINGS: Final = 100
_MAX_KNOWN_BOTS: Final = 1000
_TOO_MUCH: Final = (429, 529)
# What notion_blocks.REQUEST_BYTES leaves of the 500 KB of a request.
_PROPERTIES_BYTES: Final = 45_000


class NotionAdapter:
    """Implements domain.notion.Notion. One HTTP client (a connection pool) for all users; `aclose` it at the end."""

    def __init__(
        self,
        *,
        base_url: str = DEFAULT_BASE_URL,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
        pace: NotionPace | None = None,
    ) -> None:
        self._timeout_seconds = timeout_seconds
        self._pace = pace or Unpaced()
        self._priority = NotionPriority.INTERACTIVE
        self._http = httpx.AsyncClient(limits=httpx.Limits(max_connections=MAX_CONNECTIONS))
        self._sdk = AsyncClient(
            client=self._http,
            base_url=base_url.rstrip("/"),
            notion_version=NOTION_VERSION,
            timeout_ms=int(timeout_seconds * 1000),
            retry=False,
            logger=logging.getLogger(f"{__name__}.sdk"),
            # Above every level: the SDK logs what Notion says of a bad request, and that quotes the page's text.
            log_level=logging.CRITICAL + 1,
        )
        # The SDK has just set one timeout for every phase; connecting deserves a shorter one.
        self._http.timeout = httpx.Timeout(timeout_seconds, connect=min(CONNECT_TIMEOUT_SECONDS, timeout_seconds))
        # Whom a token speaks for never changes; asked anew for every page it would be a third of the requests.
        self._bots: OrderedDict[str, str] = OrderedDict()

    def in_background(self) -> NotionAdapter:
        """The same for work that nobody waits for: it leaves a part of each connection's allowance to people."""
        other = copy.copy(self)
        other._priority = NotionPriority.BACKGROUND
        return other

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._sdk.aclose()

    async def identify(self, token: Secret) -> NotionWorkspace:
        """See the port."""
        me = await self._call(token, "GET", "users/me")
        with reading(writes=False):
            bot = me.get("bot") or {}
            workspace = NotionWorkspace(
                bot_id=str(me["id"]),
                workspace_id=bot.get("workspace_id"),
                workspace_name=str(bot.get("workspace_name") or me.get("name") or "Notion"),
            )
        self._remember_bot(token, workspace.bot_id)
        return workspace

    async def resolve_parent(self, token: Secret, reference: str) -> NotionParent:
        """See the port. An id does not tell what it is of, so the endpoints are asked in turn."""
        parent_id = notion_id(reference)
        page = await self._find(token, f"pages/{parent_id}")
        if page is not None:
            with reading(writes=False):
                return page_parent(page)
        database = await self._find(token, f"databases/{parent_id}")
        if database is not None:
            with reading(writes=False):
                parent_id = only_data_source(database)
        source = await self._find(token, f"data_sources/{parent_id}")
        if source is None:
            raise failures.not_shared()
        with reading(writes=False):
            return data_source_parent(source)

    async def resolve_page(
        self,
        token: Secret,
        reference: str,
        parent: NotionParent,
        *,
        created_after: datetime,
        made_by: str | None = None,
    ) -> CreatedPage:
        """See the port."""
        page = await self._call(token, "GET", f"pages/{notion_id(reference)}")
        makers = {await self._bot_id(token), made_by}
        with reading(writes=False):
            return page_under(parent, page, makers=makers, since=_minute_of(created_after))

    async def list_parents(
        self, token: Secret, *, search: str | None, kind: NotionParentKind | None, cursor: str | None
    ) -> ParentListing:
        """See the port."""
        asked: Json = {
            "sort": {"timestamp": "last_edited_time", "direction": "descending"},
            "page_size": PAGE_SIZE,
        }
        if search is not None:
            asked["query"] = search
        if kind is not None:
            asked["filter"] = {"property": "object", "value": kind.value.lower()}
        if cursor is not None:
            asked["start_cursor"] = cursor
        listing = await self._call(token, "POST", "search", body=asked)
        with reading(writes=False):
            return ParentListing(
                parents=listed_parents(listing["results"]),
                cursor=listing["next_cursor"] if listing["has_more"] else None,
            )

    def property_values(
        self, parent: NotionParent, properties: Mapping[str, object], *, may_add_options: bool = True
    ) -> Mapping[str, object]:
        """See the port."""
        return property_values(parent, properties, may_add_options=may_add_options)

    def plan(self, document: Document) -> PagePlan:
        """See the port."""
        blocks = to_notion(document)
        # The first blocks travel with the page.
        return PagePlan(block_count=count_blocks(blocks), request_count=max(1, count_requests(blocks)))

    async def create_page(self, token: Secret, page: NewPage, *, permit: Permit = unlimited) -> CreatedPage:
        """See the port."""
        blocks = await asyncio.to_thread(to_notion, page.document)
        first = next(batches(blocks), Batch(()))
        properties = {
            **property_values(page.parent, page.properties),
            page.parent.title_property: {"title": rich_text(page.title)},
        }
        if len(json.dumps(properties)) > _PROPERTIES_BYTES:
            # Too much together for one request: the content follows on its own.
            first = Batch(())
        key = "page_id" if page.parent.kind is NotionParentKind.PAGE else "data_source_id"
        body: Json = {
            "parent": {"type": key, key: page.parent.id},
            "properties": properties,
            "children": first.children,
        }
        is_complete = len(first.blocks) == len(blocks) and all(block.is_whole for block in blocks)
        try:
            made = await self._call(token, "POST", "pages", body=body, permit=permit)
        except NotionFailed as failed:
            if not failed.committed_ids:
                raise
            # Saved, but Notion could not build its answer in time; it asks to read the page instead.
            made = await self._reread(token, failed)
            is_complete = False
        with reading(writes=True):
            return created_page(made, is_complete=is_complete)

    async def _reread(self, token: Secret, failed: NotionFailed) -> Json:
        """The page that a failed request has made all the same; the failure itself when it cannot be read either."""
        try:
            return await self._call(token, "GET", f"pages/{notion_id(failed.committed_ids[0])}")
        except (NotionFailed, InvalidInput):
            raise failed from None

    async def complete_page(
        self,
        token: Secret,
        page_id: str,
        document: Document,
        *,
        place: Place = WHOLE_PAGE,
        permit: Permit = unlimited,
    ) -> tuple[SyncedBlock, ...]:
        """See the port."""
        blocks = await asyncio.to_thread(to_notion, document)
        makers = await self._makers(token, page_id, place)
        written = await NotionWriter(_Calls(self, token), makers=makers, permit=permit).complete(
            page_id, blocks, place=place
        )
        return await asyncio.to_thread(synced, written)

    async def find_end(self, token: Secret, page_id: str) -> PageEnd:
        """See the port."""
        page = await self._call(token, "GET", f"pages/{page_id}")
        last: str | None = None
        async for block in self._children(token, page_id):
            last = str(block["id"])
        with reading(writes=False):
            return page_end(page, last_block_id=last)

    async def update_page(
        self,
        token: Secret,
        page_id: str,
        update: PageUpdate,
        *,
        begin: Begin | None = None,
        permit: Permit = unlimited,
    ) -> tuple[SyncedBlock, ...]:
        """See the port."""
        calls = _Calls(self, token)
        makers = await self._makers(token, page_id, update.place)
        blocks = await asyncio.to_thread(to_notion, update.document)
        # Taken apart one by one, beside the event loop.
        superseded = chain.from_iterable(map(to_notion, update.superseded))
        words = await asyncio.to_thread(words_of, chain(blocks, superseded))
        reader = PageReader(calls, makers=makers, place=update.place, words=words)
        seen = await reader.read_page(page_id, update.base)
        level = await asyncio.to_thread(plan_update, reader, seen, blocks, update)
        if begin is not None:
            await begin(tuple(each.synced() for each in seen if each.is_sure))
        writer = NotionWriter(calls, makers=makers, permit=permit)
        return await PageUpdater(calls, writer).carry_out(page_id, level)

    async def _makers(self, token: Secret, page_id: str, place: Place) -> frozenset[str]:
        """Whose blocks on a page are ours. Raises NotionFailed when it is in the trash."""
        page = await self._call(token, "GET", f"pages/{page_id}")
        with reading(writes=False):
            if page["in_trash"]:
                raise failures.in_trash()
            # The maker of a page of ours wrote its first blocks, and may have been another integration of this person.
            makers = {str(page["created_by"]["id"])} if place.is_our_page else set()
        return frozenset(makers | place.made_by | {await self._bot_id(token)})

    async def look_at_page(self, token: Secret, page_id: str) -> RemotePage:
        """See the port NotionReader."""
        page = await self._call(token, "GET", f"pages/{page_id}")
        with reading(writes=False):
            return remote_page(page)

    async def read_page(
        self,
        token: Secret,
        page_id: str,
        *,
        base: Sequence[SyncedBlock] | None = None,
        others: Collection[str] = (),
    ) -> PageContent:
        """See the port NotionReader."""
        bot_id = await self._bot_id(token)
        blocks = await read_blocks(lambda block_id: self._children(token, block_id), page_id, others=others)
        return await asyncio.to_thread(content_of, blocks, bot_id=bot_id, base=base or ())

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
        """See the port. In a data source also the trash is looked at; under a page Notion does not show it."""
        if external_id is not None and parent.kind is NotionParentKind.DATA_SOURCE:
            try:
                condition = {"property": external_id.property, "rich_text": {"equals": external_id.value}}
                rows = [row async for row in self._queried(token, parent.id, condition)]
            except NotionFailed as failed:
                # Somebody has renamed or removed the property.
                if failed.reason is not NotionFailureReason.REJECTED or failed.ambiguous:
                    raise
            else:
                with reading(writes=False):
                    return tuple(created_page(row, is_complete=False) for row in rows)
        makers = {await self._bot_id(token), made_by}
        since = _minute_of(created_after)
        look = self._rows if parent.kind is NotionParentKind.DATA_SOURCE else self._subpages
        found = [page async for page in look(token, parent.id, title=title, since=since)]
        with reading(writes=False):
            return tuple(created_page(page, is_complete=False) for page in found if page["created_by"]["id"] in makers)

    async def _rows(self, token: Secret, source_id: str, *, title: str, since: datetime) -> AsyncIterator[Json]:
        """A data source's rows of this title that were made since then."""
        # The title property's id is `title` whatever its name.
        async for row in self._queried(token, source_id, {"property": "title", "title": {"equals": title}}):
            with reading(writes=False):
                is_one = title_of(row) == title.strip() and moment(row["created_time"]) >= since
            if is_one:
                yield row

    async def _queried(self, token: Secret, source_id: str, condition: Json) -> AsyncIterator[Json]:
        """A data source's rows that meet a condition, and those of its trash."""
        for in_trash in (False, True):
            query: Json = {"filter": condition, "in_trash": in_trash, "page_size": PAGE_SIZE}
            async for row in self._listed(token, "POST", f"data_sources/{source_id}/query", query):
                yield row

    async def _subpages(self, token: Secret, page_id: str, *, title: str, since: datetime) -> AsyncIterator[Json]:
        """The pages under a page that have this title and were made since then."""
        async for block in self._children(token, page_id):
            with reading(writes=False):
                is_one = (
                    block["type"] == "child_page"
                    and str(block["child_page"]["title"]).strip() == title.strip()
                    and moment(block["created_time"]) >= since
                )
            if is_one:
                yield await self._call(token, "GET", f"pages/{block['id']}")

    async def _children(self, token: Secret, block_id: str) -> AsyncIterator[Json]:
        """The blocks directly under a block or a page, in order."""
        async for block in self._listed(token, "GET", f"blocks/{block_id}/children", {"page_size": PAGE_SIZE}):
            yield block

    async def _listed(self, token: Secret, method: str, path: str, asked: Json) -> AsyncIterator[Json]:
        """The results of a paginated endpoint; gives up, rather than pretend, after MAX_LISTINGS requests."""
        cursor: str | None = None
        for _ in range(MAX_LISTINGS):
            more = {**asked, "start_cursor": cursor} if cursor else asked
            query, body = (more, None) if method == "GET" else (None, more)
            listing = await self._call(token, method, path, query=query, body=body)
            with reading(writes=False):
                results: list[Json] = list(listing["results"])
                cursor = listing["next_cursor"] if listing["has_more"] else None
            for result in results:
                yield result
            if cursor is None:
                return
        raise NotionFailed(
            f"There are more than {MAX_LISTINGS * PAGE_SIZE} entries at this place in Notion, too many to read.",
            reason=NotionFailureReason.REJECTED,
            retryable=False,
            ambiguous=True,
        )

    async def _find(self, token: Secret, path: str) -> Json | None:
        """An object, or None when the integration sees none of that kind under the id."""
        try:
            return await self._call(token, "GET", path)
        except NotionFailed as failed:
            if failed.reason is NotionFailureReason.NOT_SHARED:
                return None
            raise

    async def _bot_id(self, token: Secret) -> str:
        known = self._bots.get(_digest(token))
        return known if known is not None else (await self.identify(token)).bot_id

    def _remember_bot(self, token: Secret, bot_id: str) -> None:
        self._bots[_digest(token)] = bot_id
        while len(self._bots) > _MAX_KNOWN_BOTS:
            self._bots.popitem(last=False)

    def _pace_key(self, token: Secret) -> str:
        """Whose allowance a request takes from. Of a token that nobody has connected yet only itself is known."""
        bot_id = token.bot_id if isinstance(token, ConnectionToken) else self._bots.get(_digest(token))
        return _digest(token) if bot_id is None else f"bot:{bot_id}"

    async def _call(
        self,
        token: Secret,
        method: str,
        path: str,
        *,
        query: Json | None = None,
        body: Json | None = None,
        permit: Permit | None = None,
    ) -> Json:
        """One request, and another with a renewed token when the first is rejected; failures leave as NotionFailed.

        A `permit` is given for what would change something.
        """
        key, used = self._pace_key(token), Secret(token.reveal())
        try:
            return await self._request(used, method, path, key=key, query=query, body=body, permit=permit)
        except NotionFailed as failed:
            if failed.reason is not NotionFailureReason.AUTHENTICATION or not isinstance(token, ConnectionToken):
                raise
            if not await token.renew(used):
                raise
        return await self._request(token, method, path, key=key, query=query, body=body, permit=permit)

    async def _request(
        self,
        token: Secret,
        method: str,
        path: str,
        *,
        key: str,
        query: Json | None,
        body: Json | None,
        permit: Permit | None,
    ) -> Json:
        """One request, when its turn by the `key` has come; only after that wait the permit is asked."""
        await self._pace.turn(key, self._priority)
        if permit is not None:
            permit()
        writes = permit is not None
        async with self._door(key, writes=writes):
            # Not the SDK's endpoint methods: they drop parameters that they do not know, without a word.
            answer: object = await self._sdk.request(
                path=path, method=method, query=query, body=body, auth=token.reveal()
            )
        if not isinstance(answer, dict):
            raise failures.malformed(ambiguous=writes)
        return answer

    @asynccontextmanager
    async def _door(self, key: str, *, writes: bool) -> AsyncIterator[None]:
        """Translates what the SDK and its HTTP client raise. `writes`: the request would change something."""
        try:
            async with asyncio.timeout(self._timeout_seconds):
                yield
        except HTTPResponseError as error:
            # From None: the SDK's message is Notion's, which quotes the page; a logged chain would show it.
            failed = failures.refused(
                failures.Refusal.read(error.status, error.body),
                retry_after=error.headers.get("retry-after"),
                writes=writes,
            )
            if error.status in _TOO_MUCH:
                await self._pace.refused(key, failed)
            raise failed from None
        except RequestTimeoutError as error:
            # What ran out of time is the context: without a connection nothing can have happened.
            never_sent = isinstance(error.__context__, (httpx.ConnectTimeout, httpx.PoolTimeout))
            raise failures.timed_out(ambiguous=writes and not never_sent) from error
        except TimeoutError as error:
            raise failures.timed_out(ambiguous=writes) from error
        except (httpx.ConnectError, httpx.ProxyError, httpx.UnsupportedProtocol) as error:
            raise failures.unreachable(ambiguous=False) from error
        except httpx.DecodingError as error:
            raise failures.malformed(ambiguous=writes) from error
        except httpx.RequestError as error:
            raise failures.unreachable(ambiguous=writes) from error
        except UnicodeEncodeError:
            raise failures.unfit_text() from None
        except ValueError:
            # 200, but no JSON. From None: the error holds the whole answer.
            raise failures.malformed(ambiguous=writes) from None


@dataclass(frozen=True, slots=True)
class _Calls:
    """Behind the protocol NotionCalls."""

    adapter: NotionAdapter
    token: Secret

    async def call(
        self,
        method: str,
        path: str,
        *,
        query: Json | None = None,
        body: Json | None = None,
        permit: Permit | None = None,
    ) -> Json:
        """One request; with a permit, if it would change something."""
        return await self.adapter._call(self.token, method, path, query=query, body=body, permit=permit)

    def children(self, block_id: str) -> AsyncIterator[Json]:
        """The blocks directly under a block or a page, in order."""
        return self.adapter._children(self.token, block_id)


def _minute_of(moment: datetime) -> datetime:
    """As Notion tells times."""
    return moment.astimezone(UTC).replace(second=0, microsecond=0)


def _digest(token: Secret) -> str:
    return hashlib.sha256(token.reveal().encode()).hexdigest()
