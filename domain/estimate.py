"""What a request is likely to cost, worked out before it runs."""

from __future__ import annotations

from collections.abc import Sequence
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
    """A request's estimates, one for each model that can come to answer, and whether the budgets would let it run now.

    The model that is asked first comes first. That calls fail before their first word, and what such a call may cost,
    is in none of them.
    """

    estimates: tuple[Estimate, ...]
    is_within_budget: bool
    budgets: tuple[Budget, ...]

    @property
    def first(self) -> Estimate:
        """That of the model that is asked first."""
        return self.estimates[0]

    @property
    def min_cost(self) -> Decimal | None:
        """The least, in USD, whoever answers; None when that of any is not known."""
        known = [each.min_cost for each in self.estimates if each.min_cost is not None]
        return min(known) if len(known) == len(self.estimates) else None

    @property
    def max_cost(self) -> Decimal | None:
        """The most, in USD, whoever answers; None when that of any is not known."""
        known = [each.max_cost for each in self.estimates if each.max_cost is not None]
        return max(known) if len(known) == len(self.estimates) else None

    @property
    def reserved(self) -> Decimal | None:
        """What a budget sets aside; see `to_reserve`."""
        return to_reserve(self.estimates)


def to_reserve(estimates: Sequence[Estimate]) -> Decimal | None:
    """As much as the dearest of the models may take that can come to answer; None when no price is known."""
    return max((each.reserved for each in estimates if each.reserved is not None), default=None)


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
