"""The viewer's past generations, page by page."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import strawberry

from domain.generation import Generation, GenerationStatus, HistoryFilter, HistoryOrder
from domain.page import PageRequest
from resolvers.connection import After, Before, Connection, First, Last
from resolvers.context import Info


@strawberry.input(name="HistoryFilter", description="Which generations; everything that is given must hold.")
class HistoryFilterInput:
    search: str | None = strawberry.field(
        default=None, description='Words to be found in prompt or answer; full-text search with "phrases" and -without.'
    )
    status: list[GenerationStatus] | None = strawberry.field(default=None, description="In one of these states.")
    provider: list[strawberry.ID] | None = strawberry.field(default=None, description="By one of these providers.")
    model: list[str] | None = strawberry.field(default=None, description="By one of these models.")
    created_after: datetime | None = strawberry.field(default=None, description="Asked for at this moment or later.")
    created_before: datetime | None = strawberry.field(default=None, description="Asked for before this moment.")
    published: bool | None = strawberry.field(default=None, description="Whether there is a page of it in Notion.")

    def to_domain(self) -> HistoryFilter:
        """As the services take it."""
        return HistoryFilter(
            search=self.search,
            statuses=frozenset(self.status or ()),
            provider_ids=frozenset(self.provider or ()),
            models=frozenset(self.model or ()),
            created_after=self.created_after,
            created_before=self.created_before,
            is_published=self.published,
        )


async def history(
    info: Info,
    first: First = None,
    after: After = None,
    last: Last = None,
    before: Before = None,
    filter_: Annotated[
        HistoryFilterInput | None, strawberry.argument(name="filter", description="Which generations.")
    ] = None,
    order_by: Annotated[HistoryOrder, strawberry.argument(description="In which order.")] = HistoryOrder.NEWEST_FIRST,
) -> Connection[Generation]:
    """A page of the viewer's generations."""
    viewer = info.context.require_viewer()
    generations = info.context.services.generations
    request = PageRequest.of(first=first, after=after, last=last, before=before)
    where = HistoryFilter() if filter_ is None else filter_.to_domain()
    page = await generations.history(viewer, request, where=where, order=order_by)
    return Connection(page=page, count=lambda: generations.count_history(viewer, where=where))
