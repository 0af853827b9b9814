"""What an operation costs, and what is left to spend."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from resolvers.context import Info


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimitView:
    """As clients see it; nothing but the cost where nothing is counted."""

    cost: int
    limit: int | None = None
    remaining: int | None = None
    resets_at: datetime | None = None


async def rate_limit(info: Info) -> RateLimitView:
    """The cost of this operation and the caller's bucket."""
    context = info.context
    standing = await context.services.rates.standing(context.viewer, context.client)
    if standing is None:
        return RateLimitView(cost=context.cost)
    return RateLimitView(
        cost=context.cost, limit=standing.limit, remaining=standing.remaining, resets_at=standing.resets_at
    )
