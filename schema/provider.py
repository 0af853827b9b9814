"""AI providers and their models."""

from __future__ import annotations

from decimal import Decimal

import strawberry

from domain.provider import ModelParameter
from resolvers import provider as resolve
from schema.access import ADMINISTER


@strawberry.type(description="A model that a provider offers. What is not known is null.")
class Model:
    id: strawberry.ID = strawberry.field(description="Its name at the provider, as given to generateContent.")
    name: str = strawberry.field(description="Its name for people.")
    context_window: int | None = strawberry.field(description="Tokens of prompt and answer together.")
    max_output_tokens: int | None = strawberry.field(description="Tokens of the longest answer.")
    parameters = strawberry.field(
        resolver=resolve.parameters_of,
        graphql_type=list[ModelParameter],
        description="The knobs it is known to have; empty when nothing is known.",
    )
    input_price: Decimal | None = strawberry.field(description="USD for a million tokens of prompt.")
    output_price: Decimal | None = strawberry.field(description="USD for a million tokens of answer.")


@strawberry.type(description="What a model costs by an administrator's word, in USD per million tokens.")
class ModelPrice:
    input: Decimal = strawberry.field(description="Tokens of prompt.")
    cached_input: Decimal = strawberry.field(description="Tokens of prompt that the provider knew already.")
    cache_write: Decimal = strawberry.field(description="Tokens of prompt that it keeps for the next time.")
    output: Decimal = strawberry.field(description="Tokens of answer, reasoning included.")


@strawberry.type(description="What an administrator has said of a model; it counts before all that is known of it.")
class ModelOverride:
    model_id: strawberry.ID = strawberry.field(name="model", description="The model's exact name at the provider.")
    price: ModelPrice | None = strawberry.field(description="What it costs; null when the price list tells.")
    parameters = strawberry.field(
        resolver=resolve.overridden_parameters,
        graphql_type=list[ModelParameter] | None,
        description="The knobs that it has; null when its provider or its family tells.",
    )


@strawberry.type(description="How a provider is set up.")
class ProviderAdministration:
    is_built_in = strawberry.field(
        resolver=resolve.is_built_in,
        graphql_type=bool,
        description="Whether it is part of the product, and not an endpoint that was added.",
    )
    is_active: bool = strawberry.field(description="Whether it is offered.")
    base_url = strawberry.field(
        resolver=resolve.base_url,
        graphql_type=str | None,
        description="Its address; null for what is built in, whose address the configuration tells.",
    )
    models: list[Model] = strawberry.field(description="What is known of its models without asking it.")
    model_overrides = strawberry.field(
        resolver=resolve.model_overrides,
        graphql_type=list[ModelOverride],
        description="What was set for single models.",
    )


@strawberry.type(description="An AI service.")
class Provider:
    id: strawberry.ID = strawberry.field(description="Its short name, such as `openai`, as given to generateContent.")
    name: str = strawberry.field(description="Its name for people.")
    is_available = strawberry.field(
        resolver=resolve.is_available, graphql_type=bool, description="Whether the viewer can use it now."
    )
    unavailable_reason = strawberry.field(
        resolver=resolve.unavailable_reason,
        graphql_type=str | None,
        description="What is missing for it to be available; null when nothing is.",
    )
    models = strawberry.field(
        resolver=resolve.models,
        graphql_type=list[Model],
        description="Its models: as its own endpoint lists them once there is a key, before that the best known.",
    )
    requires_key = strawberry.field(
        resolver=resolve.requires_key, graphql_type=bool, description="Whether nobody gets in without a key."
    )
    default_model = strawberry.field(
        resolver=resolve.default_model,
        graphql_type=strawberry.ID | None,
        description="The model of a request that names none; null when that is the first of `models`.",
    )
    administration = strawberry.field(
        resolver=resolve.administration,
        graphql_type=ProviderAdministration | None,
        directives=[ADMINISTER],
        description="How it is set up. For administrators.",
    )
