"""Lists as Relay connections: a page of things that have an id, and how many there are in all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, Generic, Protocol, TypeVar
from uuid import UUID

import strawberry

from domain.page import Page, encode_cursor


class Item(Protocol):
    """What can stand in a list."""

    @property
    def id(self) -> UUID: ...


T = TypeVar("T", bound=Item)

First = Annotated[int | None, strawberry.argument(description="How many from the start, 1 to 100; 20 unless said.")]
After = Annotated[str | None, strawberry.argument(description="Only what follows this cursor.")]
Last = Annotated[int | None, strawberry.argument(description="How many from the end, 1 to 100; not with `first`.")]
Before = Annotated[str | None, strawberry.argument(description="Only what precedes this cursor.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection(Generic[T]):
    """A page, and what counts the whole list when that is asked for."""

    page: Page[T]
    count: Callable[[], Awaitable[int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge(Generic[T]):
    """A thing and its place in the list."""

    cursor: str
    node: T


@dataclass(frozen=True, slots=True, kw_only=True)
class PageBounds:
    """Where a page begins and ends."""

    has_previous_page: bool
    has_next_page: bool
    start_cursor: str | None
    end_cursor: str | None


# Any: whatever the list is of; its type is the schema's business.


def nodes(root: strawberry.Parent[Any]) -> list[Any]:
    """The things of the page."""
    return list(root.page.items)


def edges(root: strawberry.Parent[Any]) -> list[Any]:
    """The things of the page, each with its cursor."""
    return [Edge(cursor=encode_cursor(each.id), node=each) for each in root.page.items]


def page_info(root: strawberry.Parent[Any]) -> PageBounds:
    """Where the page begins and ends."""
    return bounds_of(root.page)


def bounds_of(page: Page[T]) -> PageBounds:
    """Where a page begins and ends."""
    return PageBounds(
        has_previous_page=page.has_previous,
        has_next_page=page.has_next,
        start_cursor=encode_cursor(page.items[0].id) if page.items else None,
        end_cursor=encode_cursor(page.items[-1].id) if page.items else None,
    )


async def total_count(root: strawberry.Parent[Any]) -> int:
    """How many there are on all pages together, counted only when asked for."""
    size: int = await root.count()
    return size
