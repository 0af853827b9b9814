"""What a request is likely to cost, worked out before it runs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from domain.budget import Budget
from domain.pricing import Pricing
from domain.provider import Model, Parameters, Provider, Usage
from domain.token_estimate import estimated_input_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Tokens, and costs in USD; None is what is not known.

    `min_cost` is that of the prompt alone, `max_cost` that with the longest answer there can be, `reserved` what a
    budget sets aside while the request has not ended.
    """

    provider: Provider
    model: Model
    input_tokens: int
    max_output_tokens: int | None
    min_cost: Decimal | None
    max_cost: Decimal | None
    reserved: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedEstimate:
    """An estimate, and whether the budgets, as they stand, would let the request run."""

    estimate: Estimate
    is_within_budget: bool
    budgets: tuple[Budget, ...]


def estimated(
    pricing: Pricing,
    provider: Provider,
    model: Model,
    *,
    prompt: str,
    system_prompt: str | None,
    parameters: Parameters,
    reserved_output_tokens: int,
    at: datetime,
) -> Estimate:
    """The estimate of one request; an answer whose length nobody bounds is reserved for with that many tokens."""
    input_tokens = estimated_input_tokens(prompt, system_prompt)

    def cost(output_tokens: int) -> Decimal | None:
        usage = Usage(input_tokens=input_tokens, output_tokens=output_tokens)
        found = pricing.cost(provider, model.id, usage, at=at)
        return None if found is None else found.usd

    longest = parameters.max_output_tokens or model.max_output_tokens
    expected = parameters.max_output_tokens or min(reserved_output_tokens, longest or reserved_output_tokens)
    return Estimate(
        provider=provider,
        model=model,
        input_tokens=input_tokens,
        max_output_tokens=longest,
        min_cost=cost(0),
        max_cost=None if longest is None else cost(longest),
        reserved=cost(expected),
    )
