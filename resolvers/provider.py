"""Providers and their models, as the viewer can use them and as administrators set them up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, TypeVar

import strawberry
from strawberry import UNSET

from domain.access import Rule, Who
from domain.account import Scope
from domain.generation import Generation
from domain.model_override import ModelOverride, ModelOverrideChange, PriceChange, overrides_of
from domain.provider import ApiKey, Model, ModelParameter, ModelRef, Provider, ProviderKind
from domain.provider_attempt import ProviderAttempt
from domain.provider_catalog import OfferedProvider
from domain.provider_service import ProviderChange
from domain.unset import UNSET as UNCHANGED
from domain.unset import UnsetType
from resolvers.context import Info

T = TypeVar("T")

_ADMINISTRATORS = Rule(who=Who.ADMINISTRATOR, scope=Scope.ADMIN)

_NOT_OFFERED = "This provider is not offered any more."


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderView:
    """A provider that may have been taken away since; `offer` is looked up when it is asked for."""

    id: str
    name: str
    provider: Provider | None = None
    offer: OfferedProvider | None = None


def view_of(provider: Provider, offer: OfferedProvider | None = None) -> ProviderView:
    """A provider that is there."""
    return ProviderView(id=provider.id, name=provider.name, provider=provider, offer=offer)


@strawberry.input(description="A model that a provider has. What is left out is not known.")
class ModelInput:
    id: str = strawberry.field(description="Its name at the provider.")
    name: str | None = strawberry.field(default=None, description="Its name for people.")
    context_window: int | None = strawberry.field(default=None, description="Tokens of prompt and answer together.")
    max_output_tokens: int | None = strawberry.field(default=None, description="Tokens of the longest answer.")
    parameters: list[ModelParameter] = strawberry.field(
        default_factory=list, description="The knobs that it is known to have."
    )


@strawberry.input(description="What a model costs, in USD per million tokens.")
class ModelPriceInput:
    input: Decimal = strawberry.field(description="Tokens of prompt.")
    output: Decimal = strawberry.field(description="Tokens of answer, reasoning included.")
    cached_input: Decimal | None = strawberry.field(
        default=None, description="Tokens of prompt that the provider knew already; else as much as any others."
    )
    cache_write: Decimal | None = strawberry.field(
        default=None, description="Tokens of prompt that it keeps for the next time; else as much as any others."
    )


@strawberry.input(
    description="What an administrator knows better of a model. What is left out stays; null takes back what was said."
)
class ModelOverrideInput:
    model: strawberry.ID = strawberry.field(description="Its exact name at the provider.")
    price: ModelPriceInput | None = strawberry.field(
        default=UNSET, description="What is billed, estimated and kept within budgets with; null: the price list's."
    )
    parameters: list[ModelParameter] | None = strawberry.field(
        default=UNSET,
        description="The knobs that it has, and no others; null: what its provider or its family tells.",
    )


@strawberry.input(
    description="An endpoint that speaks OpenAI's Chat Completions: Ollama, vLLM, LM Studio, OpenRouter …"
)
class AddProviderInput:
    id: strawberry.ID = strawberry.field(
        description="Its short name, for ever: 1 to 40 small letters, digits, and dashes between them."
    )
    name: str = strawberry.field(description="Its name for people.")
    base_url: str = strawberry.field(
        description=(
            "Its address, usually ending in `/v1`. It begins with `https://` and leads to a public address, unless the "
            "operator lists it in PRIVATE_ENDPOINTS."
        )
    )
    models: list[ModelInput] = strawberry.field(
        default_factory=list,
        description="What is known of its models, at most 200; the endpoint's own list goes before.",
    )
    default_model: str | None = strawberry.field(
        default=None, description="The model of a request that names none; else the first."
    )
    requires_key: bool = strawberry.field(default=True, description="Whether nobody gets in without a key.")
    model_overrides: list[ModelOverrideInput] = strawberry.field(
        default_factory=list, description="What is known better of its models: what they cost and take; at most 200."
    )
    is_active: bool = strawberry.field(default=True, description="Whether it is offered.")


@strawberry.input(description="A provider's change. What is left out stays.")
class UpdateProviderInput:
    id: strawberry.ID = strawberry.field(description="The provider's short name.")
    name: str | None = strawberry.field(default=UNSET, description="Its name for people.")
    base_url: str | None = strawberry.field(
        default=UNSET,
        description="Its address, of an added endpoint only. Another address clears every key that is stored for it.",
    )
    models: list[ModelInput] | None = strawberry.field(
        default=UNSET, description="What is known of its models, at most 200; replaces what was known."
    )
    default_model: str | None = strawberry.field(
        default=UNSET, description="The model of a request that names none; null for the first."
    )
    requires_key: bool | None = strawberry.field(
        default=UNSET, description="Whether nobody gets in without a key, of an added endpoint only."
    )
    is_active: bool | None = strawberry.field(default=UNSET, description="Whether it is offered.")
    model_overrides: list[ModelOverrideInput] | None = strawberry.field(
        default=UNSET,
        description="What is known better of single models: what they cost and take. Models that are not named keep "
        "what was said of them; at most 200 can have something.",
    )


@strawberry.input(description="Names a provider.")
class RemoveProviderInput:
    id: strawberry.ID = strawberry.field(description="The provider's short name.")


async def providers(
    info: Info,
    include_inactive: Annotated[
        bool, strawberry.argument(description="Also those that are switched off, which only administrators see.")
    ] = False,
) -> Sequence[ProviderView]:
    """The providers on offer."""
    context = info.context
    offered = await context.services.providers.list_offered(context.require_viewer())
    views = [view_of(each.provider, each) for each in offered]
    if not include_inactive:
        return views
    if (refusal := _ADMINISTRATORS.find_refusal(context.viewer)) is not None:
        raise refusal
    shown = {view.id for view in views}
    known = await context.services.provider_administration.list_all()
    return [*views, *(view_of(each) for each in known if each.id not in shown)]


async def add_provider(
    info: Info, input_: Annotated[AddProviderInput, strawberry.argument(name="input", description="The endpoint.")]
) -> ProviderView:
    """Adds an endpoint."""
    context = info.context
    provider = await context.services.provider_administration.add(
        context.require_viewer(),
        provider_id=input_.id,
        name=input_.name,
        base_url=input_.base_url,
        change=ProviderChange(
            models=_models_of(input_.models),
            default_model=input_.default_model,
            requires_key=input_.requires_key,
            model_overrides=_overrides_of(input_.model_overrides),
            is_active=input_.is_active,
        ),
        client=context.client,
    )
    return view_of(provider)


async def update_provider(
    info: Info, input_: Annotated[UpdateProviderInput, strawberry.argument(name="input", description="The change.")]
) -> ProviderView:
    """Changes a provider."""
    context = info.context
    change = ProviderChange(
        name=_given(input_.name),
        base_url=_given(input_.base_url),
        models=UNCHANGED if not _is_given(input_.models) else _models_of(input_.models or ()),
        default_model=UNCHANGED if input_.default_model is UNSET else input_.default_model,
        requires_key=_given(input_.requires_key),
        model_overrides=_overrides_of(input_.model_overrides or ()) if _is_given(input_.model_overrides) else UNCHANGED,
        is_active=_given(input_.is_active),
    )
    provider = await context.services.provider_administration.update(
        context.require_viewer(), input_.id, change, client=context.client
    )
    return view_of(provider)


async def remove_provider(
    info: Info, input_: Annotated[RemoveProviderInput, strawberry.argument(name="input", description="The endpoint.")]
) -> strawberry.ID:
    """Removes an endpoint."""
    context = info.context
    viewer = context.require_viewer()
    removed = await context.services.provider_administration.remove(viewer, input_.id, client=context.client)
    return strawberry.ID(removed)


async def provider_of(
    info: Info, root: strawberry.Parent[Generation | ProviderAttempt | ModelRef | ApiKey]
) -> ProviderView:
    """The provider that something belongs to."""
    found = await info.context.loaders.providers.load(root.provider_id)
    return ProviderView(id=root.provider_id, name=root.provider_id) if found is None else view_of(found)


async def is_available(info: Info, root: strawberry.Parent[ProviderView]) -> bool:
    """Whether the viewer can use it."""
    offer = await _offer(info, root)
    return offer is not None and offer.is_available


async def unavailable_reason(info: Info, root: strawberry.Parent[ProviderView]) -> str | None:
    """Why not."""
    offer = await _offer(info, root)
    return _NOT_OFFERED if offer is None else offer.unavailable_reason


async def models(info: Info, root: strawberry.Parent[ProviderView]) -> Sequence[Model]:
    """What it offers."""
    offer = await _offer(info, root)
    return () if offer is None else offer.models


def requires_key(root: strawberry.Parent[ProviderView]) -> bool:
    """Whether nobody gets in without a key."""
    return root.provider is None or (root.provider.kind is not ProviderKind.DEMO and root.provider.requires_key)


def default_model(root: strawberry.Parent[ProviderView]) -> strawberry.ID | None:
    """The model of a request that names none."""
    chosen = None if root.provider is None else root.provider.default_model
    return None if chosen is None else strawberry.ID(chosen)


def administration(root: strawberry.Parent[ProviderView]) -> Provider | None:
    """How it is set up."""
    return root.provider


def is_built_in(root: strawberry.Parent[Provider]) -> bool:
    """Whether it is part of the product."""
    return root.kind is not ProviderKind.COMPATIBLE


def base_url(root: strawberry.Parent[Provider]) -> str | None:
    """Where it is."""
    return root.api_endpoint


def model_overrides(root: strawberry.Parent[Provider]) -> Sequence[ModelOverride]:
    """What an administrator has said of single models."""
    return overrides_of(root)


def overridden_parameters(root: strawberry.Parent[ModelOverride]) -> Sequence[ModelParameter] | None:
    """What it takes by the administrator's word, in a fixed order."""
    return None if root.parameters is None else [each for each in ModelParameter if each in root.parameters]


async def model_of(info: Info, root: strawberry.Parent[Generation | ProviderAttempt | ModelRef]) -> Model:
    """The model that something was asked of."""
    provider = await info.context.loaders.providers.load(root.provider_id)
    if provider is None:
        return Model(id=root.model, name=root.model)
    return info.context.services.providers.describe(provider, root.model)


def parameters_of(root: strawberry.Parent[Model]) -> Sequence[ModelParameter]:
    """The knobs of a model, in a fixed order."""
    return [parameter for parameter in ModelParameter if parameter in root.parameters]


def _models_of(models: Sequence[ModelInput]) -> tuple[Model, ...]:
    return tuple(
        Model(
            id=model.id,
            name=model.name or model.id,
            context_window=model.context_window,
            max_output_tokens=model.max_output_tokens,
            parameters=frozenset(model.parameters),
        )
        for model in models
    )


def _overrides_of(overrides: Sequence[ModelOverrideInput]) -> tuple[ModelOverrideChange, ...]:
    return tuple(
        ModelOverrideChange(
            model_id=each.model,
            price=_price_of(each.price),
            parameters=UNCHANGED if each.parameters is UNSET else _tuple_of(each.parameters),
        )
        for each in overrides
    )


def _price_of(price: ModelPriceInput | None) -> PriceChange | UnsetType | None:
    if price is UNSET:
        return UNCHANGED
    if price is None:
        return None
    return PriceChange(
        input=price.input, output=price.output, cached_input=price.cached_input, cache_write=price.cache_write
    )


def _tuple_of(parameters: Sequence[ModelParameter] | None) -> tuple[ModelParameter, ...] | None:
    return None if parameters is None else tuple(parameters)


def _is_given(value: object) -> bool:
    return value is not UNSET and value is not None


def _given(value: T | None) -> T | UnsetType:
    """The value; for what cannot be nothing, null is the same as nothing said."""
    return UNCHANGED if value is None or value is UNSET else value


async def _offer(info: Info, view: ProviderView) -> OfferedProvider | None:
    return view.offer or await info.context.loaders.offers.load(view.id)
