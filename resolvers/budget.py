"""Budgets: shown to their owners, set by administrators; and what a request would cost."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated

import strawberry

from domain.account import Role, User
from domain.budget import Budget, BudgetPeriod
from domain.budget_service import BudgetChange, EffectiveLimit, tightest
from domain.estimate import Estimate, JudgedEstimate
from domain.generation_service import GenerateContent
from domain.provider import Model, Parameters
from resolvers import ids
from resolvers.context import Info
from resolvers.generation import FallbackInput, GenerationParametersInput
from resolvers.provider import ProviderView


@strawberry.input(description="A budget to set, for exactly one user or one role.")
class SetBudgetInput:
    user: strawberry.ID | None = strawberry.field(default=None, description="The user who gets it.")
    role: Role | None = strawberry.field(
        default=None, description="Everybody of this role gets it: each of them may spend so much."
    )
    period: BudgetPeriod = strawberry.field(description="The day's or the month's.")
    limit: Decimal | None = strawberry.field(
        default=None,
        description="What may be spent, in USD; null takes an earlier setting back, so that the role's counts, and "
        "after it the server's configuration.",
    )
    is_unlimited: bool = strawberry.field(
        default=False, description="No limit, whatever the role or the server's configuration says."
    )


@strawberry.input(description="A request whose cost is wanted; the same fields as in generateContent.")
class EstimateInput:
    prompt: str = strawberry.field(description="What would be asked.")
    provider: strawberry.ID | None = strawberry.field(
        default=None, description="The provider; else the settings' default, else the first that can be used."
    )
    model: str | None = strawberry.field(default=None, description="The model; else the provider's default.")
    system_prompt: str | None = strawberry.field(
        default=None, description="Instructions that come before the prompt; else the settings'."
    )
    parameters: GenerationParametersInput | None = strawberry.field(
        default=None, description="How the model would write."
    )
    fallback: list[FallbackInput] | None = strawberry.field(
        default=None,
        description="Up to four models that would be asked when the provider is out of order; an empty list is none; "
        "else the settings'.",
    )


async def budget_of(info: Info, root: strawberry.Parent[User]) -> Budget:
    """The budget that a user will come up against first."""
    return tightest(await info.context.services.budgets.budgets_of(root))


async def budgets_of(info: Info, root: strawberry.Parent[User]) -> Sequence[Budget]:
    """A user's budgets, the day's first."""
    return await info.context.services.budgets.budgets_of(root)


async def role_budgets(info: Info) -> Sequence[EffectiveLimit]:
    """What counts for those who have no budget of their own."""
    return await info.context.services.budgets.list_role_limits()


async def set_budget(
    info: Info, input_: Annotated[SetBudgetInput, strawberry.argument(name="input", description="The budget to set.")]
) -> EffectiveLimit:
    """Sets a user's or a role's budget."""
    context = info.context
    viewer = context.require_viewer()
    user_id = None if input_.user is None else ids.decode_as(ids.NodeType.USER, input_.user, field=("user",))
    change = BudgetChange(
        user_id=user_id,
        role=input_.role,
        period=input_.period,
        limit=input_.limit,
        is_unlimited=input_.is_unlimited,
    )
    return await context.services.budgets.set(viewer, change, client=context.client)


async def estimate(
    info: Info, input_: Annotated[EstimateInput, strawberry.argument(name="input", description="The request.")]
) -> JudgedEstimate:
    """What a request would cost; nothing is sent to anybody."""
    request = GenerateContent(
        prompt=input_.prompt,
        provider_id=input_.provider,
        model=input_.model,
        system_prompt=input_.system_prompt,
        parameters=Parameters() if input_.parameters is None else input_.parameters.to_domain(),
        fallback=None if input_.fallback is None else tuple(each.to_domain() for each in input_.fallback),
    )
    return await info.context.services.generations.estimate(info.context.require_viewer(), request)


def estimates_of(root: strawberry.Parent[JudgedEstimate]) -> Sequence[Estimate]:
    """That of each model that can come to answer."""
    return root.estimates


def estimated_provider(root: strawberry.Parent[JudgedEstimate | Estimate]) -> ProviderView:
    """Who would write it."""
    provider = _one(root).provider
    return ProviderView(id=provider.id, name=provider.name)


def estimated_model(root: strawberry.Parent[JudgedEstimate | Estimate]) -> Model:
    """The model that would write it."""
    return _one(root).model


def input_tokens(root: strawberry.Parent[JudgedEstimate | Estimate]) -> int:
    """Tokens of the prompt."""
    return _one(root).input_tokens


def max_output_tokens(root: strawberry.Parent[JudgedEstimate | Estimate]) -> int | None:
    """Tokens of the longest answer."""
    return _one(root).max_output_tokens


def _one(estimate: JudgedEstimate | Estimate) -> Estimate:
    return estimate.first if isinstance(estimate, JudgedEstimate) else estimate
