"""What has been used: a user's own, and for administrators everybody's."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

import strawberry

from domain.account import User
from domain.usage import UsageBucket, UsageGroup, UsageTotals
from resolvers import ids
from resolvers.context import Info


async def usage_of(
    info: Info,
    root: strawberry.Parent[User],
    from_: Annotated[
        datetime | None,
        strawberry.argument(name="from", description="Calls that began then or later; else in this month."),
    ] = None,
    to: Annotated[datetime | None, strawberry.argument(description="Calls that began before; else until now.")] = None,
) -> UsageTotals:
    """What a user has used."""
    return await info.context.services.usage.total_of(root, begins_at=from_, ends_at=to)


async def usage(
    info: Info,
    from_: Annotated[datetime, strawberry.argument(name="from", description="Calls that began then or later.")],
    to: Annotated[datetime, strawberry.argument(description="Calls that began before then; up to 366 days later.")],
    group_by: Annotated[list[UsageGroup], strawberry.argument(description="What to tell apart; nothing for one sum.")],
) -> Sequence[UsageBucket]:
    """What everybody has used."""
    return await info.context.services.usage.list_buckets(begins_at=from_, ends_at=to, group_by=frozenset(group_by))


def user_id(root: strawberry.Parent[UsageBucket]) -> str | None:
    """Whose it is."""
    return None if root.user_id is None else ids.encode(ids.NodeType.USER, root.user_id)


def day(root: strawberry.Parent[UsageBucket]) -> str | None:
    """The day, as ISO 8601 writes it."""
    return None if root.day is None else root.day.isoformat()
