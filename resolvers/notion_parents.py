"""The places for pages that the viewer's connection to Notion can see."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated
from uuid import UUID

import strawberry

from domain.notion import WRITABLE_PROPERTY_TYPES, NotionParent, NotionParentKind
from domain.notion_parents import ParentPage
from domain.page import encode_cursor
from resolvers.connection import PageBounds
from resolvers.context import Info

MAX_OPTIONS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class PropertyView:
    """A data source's property as clients see it."""

    name: str
    type: str
    is_writable: bool
    options: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ParentItem:
    """A parent and its place in the list."""

    cursor: str
    node: NotionParent


async def parents(
    info: Info,
    search: Annotated[
        str | None, strawberry.argument(description="Words of the title; without it what was edited last comes first.")
    ] = None,
    kind: Annotated[NotionParentKind | None, strawberry.argument(description="Only of this kind.")] = None,
    first: Annotated[int | None, strawberry.argument(description="How many, 1 to 100; 20 unless said.")] = None,
    after: Annotated[str | None, strawberry.argument(description="Only what follows this cursor.")] = None,
    refresh: Annotated[
        bool, strawberry.argument(description="Whether to ask Notion anew, for what was just shared; not with `after`.")
    ] = False,
) -> ParentPage:
    """A page of what the connection can see."""
    return await info.context.services.notion_parents.page(
        info.context.require_viewer(), search=search, kind=kind, first=first, after=after, refresh=refresh
    )


async def parent(
    info: Info,
    reference: Annotated[str, strawberry.argument(description="Any address or id in Notion.")],
) -> NotionParent:
    """What an address or id names."""
    return await info.context.services.notion_parents.find(info.context.require_viewer(), reference)


def properties(root: strawberry.Parent[NotionParent]) -> list[PropertyView]:
    """A data source's properties."""
    return [
        PropertyView(
            name=name,
            type=type_,
            is_writable=type_ in WRITABLE_PROPERTY_TYPES,
            options=list(root.options.get(name, ())[:MAX_OPTIONS]),
        )
        for name, type_ in root.properties.items()
    ]


def nodes(root: strawberry.Parent[ParentPage]) -> list[NotionParent]:
    """The parents of the page."""
    return list(root.parents)


def edges(root: strawberry.Parent[ParentPage]) -> list[ParentItem]:
    """The parents with their cursors."""
    return [ParentItem(cursor=_cursor_of(parent), node=parent) for parent in root.parents]


def page_info(root: strawberry.Parent[ParentPage]) -> PageBounds:
    """Where the page begins and ends."""
    return PageBounds(
        has_previous_page=root.has_previous,
        has_next_page=root.has_next,
        start_cursor=_cursor_of(root.parents[0]) if root.parents else None,
        end_cursor=_cursor_of(root.parents[-1]) if root.parents else None,
    )


def listed_at(root: strawberry.Parent[ParentPage]) -> datetime:
    """When Notion was asked."""
    return root.listed_at


def _cursor_of(parent: NotionParent) -> str:
    return encode_cursor(UUID(parent.id))
