"""What an operation costs, and what is left to spend."""

from __future__ import annotations

from datetime import datetime

import strawberry


@strawberry.type(
    description="What an operation costs and what is left: a point for a field, times the items of each list it is in."
)
class RateLimit:
    cost: int = strawberry.field(description="The points that this operation was counted with.")
    limit: int | None = strawberry.field(description="The points that can be spent in a minute; null without a limit.")
    remaining: int | None = strawberry.field(description="The points that are left; null without a limit.")
    resets_at: datetime | None = strawberry.field(description="When the next points come back; null without a limit.")
