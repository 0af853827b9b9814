"""The adapter of Notion in front of a served stand-in, with one connection and a page that is shared with it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from domain.document import Document
from domain.notion import CreatedPage, NewPage, NotionParent
from domain.secret import Secret
from integrations.notion import NotionAdapter
from tests.standins.notion import NotionStandin
from tests.standins.notion_hand import Hand
from tests.standins.notion_state import Node
from tests.standins.server import running


@dataclass(kw_only=True)
class Connected:
    """`inbox` is the shared page, and `parent` the same as the adapter knows it."""

    standin: NotionStandin
    notion: NotionAdapter
    token: Secret
    inbox: Node
    parent: NotionParent

    @property
    def hand(self) -> Hand:
        """Whose pages these are, at work in Notion."""
        return self.standin.hand()

    async def create(self, document: Document, *, title: str = "An answer", **properties: object) -> CreatedPage:
        """Makes a page in the inbox."""
        page = NewPage(parent=self.parent, title=title, properties=properties, document=document)
        return await self.notion.create_page(self.token, page)


C = TypeVar("C", bound=Connected)


@asynccontextmanager
async def connected(kind: type[C]) -> AsyncIterator[C]:
    """One of that kind, whose further fields have defaults."""
    standin = NotionStandin()
    token = Secret(standin.add_workspace().token)
    inbox = standin.add_page("Inbox")
    async with running(standin) as base_url:
        notion = NotionAdapter(base_url=base_url, timeout_seconds=90)
        try:
            parent = await notion.resolve_parent(token, inbox.id)
            yield kind(standin=standin, notion=notion, token=token, inbox=inbox, parent=parent)
        finally:
            await notion.aclose()
