"""Keeping published pages in step, and the versions of what they say."""

from __future__ import annotations

from typing import Annotated

import strawberry

from domain.page import Page, PageRequest
from domain.page_sync import PageVersion
from domain.page_sync_service import SyncDirection
from domain.publication import NotionPage
from resolvers import ids
from resolvers.connection import PageBounds, bounds_of
from resolvers.context import Info


@strawberry.input(description="A page to compare with what Notion shows, and what to do then.")
class SyncInput:
    id: strawberry.ID = strawberry.field(description="The page.")
    direction: SyncDirection = strawberry.field(
        default=SyncDirection.COMPARE, description="What to do once it was compared; nothing unless said."
    )
    seen_version: int | None = strawberry.field(
        default=None,
        description="The number of the newest version that you have seen; needed where one is put aside for another. "
        "If there is a newer one, nothing is done.",
    )


@strawberry.input(description="A change of what a page says, made here.")
class EditNotionPageInput:
    id: strawberry.ID = strawberry.field(description="The page.")
    content: str = strawberry.field(description="All that it is to say, in Markdown.")
    base_version: int = strawberry.field(
        description="The number of the version that was edited. If another counts by now, nothing is changed."
    )


async def sync_notion_page(
    info: Info,
    input_: Annotated[SyncInput, strawberry.argument(name="input", description="Which page, and what to do.")],
) -> NotionPage:
    """Compares a page with what Notion shows."""
    context = info.context
    return await context.services.page_sync.sync(
        context.require_viewer(),
        ids.decode_as(ids.NodeType.NOTION_PAGE, input_.id),
        input_.direction,
        seen_version=input_.seen_version,
        client=context.client,
    )


async def edit_notion_page(
    info: Info,
    input_: Annotated[EditNotionPageInput, strawberry.argument(name="input", description="The page and its text.")],
) -> NotionPage:
    """Keeps a new version of a page's text."""
    context = info.context
    return await context.services.page_sync.edit(
        context.require_viewer(),
        ids.decode_as(ids.NodeType.NOTION_PAGE, input_.id),
        input_.content,
        base_version=input_.base_version,
        client=context.client,
    )


async def version(info: Info, root: strawberry.Parent[NotionPage]) -> PageVersion | None:
    """What counts here."""
    return await info.context.loaders.versions.load((root.id, root.version))


async def notion_version(info: Info, root: strawberry.Parent[NotionPage]) -> PageVersion | None:
    """What Notion showed last."""
    return await info.context.loaders.versions.load((root.id, root.notion_version))


async def versions(
    info: Info,
    root: strawberry.Parent[NotionPage],
    first: Annotated[int | None, strawberry.argument(description="How many, 1 to 100; 20 unless said.")] = None,
    after: Annotated[str | None, strawberry.argument(description="Only what follows this cursor.")] = None,
) -> Page[PageVersion]:
    """A page of the versions, the newest first."""
    request = PageRequest.of(first=first, after=after, last=None, before=None)
    return await info.context.services.page_sync.versions(info.context.require_viewer(), root.id, request)


def nodes(root: strawberry.Parent[Page[PageVersion]]) -> list[PageVersion]:
    """The versions of the page of the list."""
    return list(root.items)


def page_info(root: strawberry.Parent[Page[PageVersion]]) -> PageBounds:
    """Where the page of the list begins and ends."""
    return bounds_of(root)


async def content(info: Info, root: strawberry.Parent[PageVersion]) -> str:
    """What a version says."""
    return await info.context.loaders.version_contents.load(root.id) or ""


def content_hash(root: strawberry.Parent[PageVersion]) -> str:
    """The hash of what it says."""
    return root.content_hash.hex()
