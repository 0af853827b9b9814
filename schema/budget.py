"""Budgets, and what a request would cost."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import strawberry

from domain.budget import BudgetPeriod
from resolvers import budget as resolve
from schema.provider import Model, Provider


@strawberry.type(description="How much a user may spend in a period, and how that stands. All amounts are in USD.")
class Budget:
    period: BudgetPeriod = strawberry.field(description="How long it lasts.")
    limit: Decimal | None = strawberry.field(description="What may be spent; null is no limit.")
    spent: Decimal = strawberry.field(description="What calls to providers have cost in this period.")
    reserved: Decimal = strawberry.field(
        description="What is kept back for generations that have not ended; it is given back when they do."
    )
    remaining: Decimal | None = strawberry.field(
        description="What can still be asked for: the limit less what is spent and reserved; null is no limit."
    )
    unpriced_count: int = strawberry.field(
        description="Calls in this period whose cost is not known, so that it is not in `spent`."
    )
    resets_at: datetime = strawberry.field(description="When it begins anew: midnight UTC, or the month's first day.")


@strawberry.type(description="What a request would cost if this model answers. All amounts are in USD.")
class ModelEstimate:
    provider = strawberry.field(
        resolver=resolve.estimated_provider, graphql_type=Provider, description="Who would write it."
    )
    model = strawberry.field(
        resolver=resolve.estimated_model, graphql_type=Model, description="The model that would write it."
    )
    input_tokens: int = strawberry.field(
        description="Tokens of prompt and instructions: estimated, as only the provider can count them."
    )
    max_output_tokens: int | None = strawberry.field(
        description="Tokens of the longest answer there can be; null when that is not known."
    )
    min_cost: Decimal | None = strawberry.field(
        description="The cost of the prompt alone; null when the model's price is not known."
    )
    max_cost: Decimal | None = strawberry.field(
        description="The cost with the longest answer; null when that or the model's price is not known."
    )
    reserved: Decimal | None = strawberry.field(
        description="What budgets would keep back for it; null when the model's price is not known."
    )


@strawberry.type(description="What a request would cost, worked out from its text. All amounts are in USD.")
class Estimate:
    provider = strawberry.field(
        resolver=resolve.estimated_provider, graphql_type=Provider, description="Who would write it."
    )
    model = strawberry.field(
        resolver=resolve.estimated_model, graphql_type=Model, description="The model that would write it."
    )
    input_tokens = strawberry.field(
        resolver=resolve.input_tokens,
        graphql_type=int,
        description="Tokens of prompt and instructions: estimated, as only the provider can count them.",
    )
    max_output_tokens = strawberry.field(
        resolver=resolve.max_output_tokens,
        graphql_type=int | None,
        description="Tokens of the longest answer there can be; null when that is not known.",
    )
    min_cost: Decimal | None = strawberry.field(
        description="The cost of the prompt alone, at the cheapest of `models`; null when a price is not known."
    )
    max_cost: Decimal | None = strawberry.field(
        description="The cost with the longest answer, of the dearest of `models`; null when either is not known."
    )
    reserved: Decimal | None = strawberry.field(
        description="What budgets would keep back, enough for the dearest of `models`; null when no price is known."
    )
    models = strawberry.field(
        resolver=resolve.estimates_of,
        graphql_type=list[ModelEstimate],
        description="The same for each model that can come to answer: the one that is asked first, and then those that "
        "the request, or the settings, fall back on.",
    )
    is_within_budget: bool = strawberry.field(description="Whether the viewer's budgets would let it run now.")
    budgets: list[Budget] = strawberry.field(description="The viewer's budgets, the day's first.")
