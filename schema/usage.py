"""What has been used, and what it has cost."""

from __future__ import annotations

from decimal import Decimal

import strawberry

from resolvers import usage as resolve


@strawberry.type(description="Calls to providers that have ended, deleted generations' too, added up.")
class UsageTotals:
    call_count: int = strawberry.field(description="How many calls.")
    unpriced_count: int = strawberry.field(description="Of these, calls whose cost is not known and not in `cost`.")
    estimated_count: int = strawberry.field(description="Of these, calls whose tokens are in part estimated.")
    input_tokens: float = strawberry.field(description="Whole tokens of prompts, the cached ones included.")
    cached_input_tokens: float = strawberry.field(description="Of these, tokens that the provider knew already.")
    cache_write_tokens: float = strawberry.field(description="Of these, tokens that it has kept for the next time.")
    output_tokens: float = strawberry.field(description="Whole tokens of answers, reasoning included.")
    reasoning_tokens: float = strawberry.field(description="Of these, tokens of the models' thinking.")
    cost: Decimal = strawberry.field(description="What they cost, in USD.")


@strawberry.type(description="The totals of one group; what was not asked to be told apart is null.")
class UsageBucket:
    day = strawberry.field(
        resolver=resolve.day, graphql_type=str | None, description="The day (of UTC), such as `2026-11-30`."
    )
    provider_id: strawberry.ID | None = strawberry.field(description="The provider's short name.")
    model: str | None = strawberry.field(description="The model's name at the provider.")
    user_id = strawberry.field(
        resolver=resolve.user_id, graphql_type=strawberry.ID | None, description="The id of the user who asked."
    )
    username: str | None = strawberry.field(description="The name of the user who asked.")
    totals: UsageTotals = strawberry.field(description="Their calls.")
