"""Where a page of a list begins and ends."""

from __future__ import annotations

import strawberry


@strawberry.type(description="Where a page of a list begins and ends.")
class PageInfo:
    has_previous_page: bool = strawberry.field(description="Whether there are items before this page.")
    has_next_page: bool = strawberry.field(description="Whether there are items after this page.")
    start_cursor: str | None = strawberry.field(description="The cursor of the first item; null on an empty page.")
    end_cursor: str | None = strawberry.field(description="The cursor of the last item; null on an empty page.")
