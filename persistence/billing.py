"""How tokens and their cost are kept in the columns of a generation or of a call to a provider."""

from __future__ import annotations

from decimal import Decimal
from typing import Protocol

from sqlalchemy import RowMapping

from domain.provider import Usage


class Billed(Protocol):
    """What has tokens and a cost."""

    @property
    def usage(self) -> Usage | None: ...
    @property
    def cost(self) -> Decimal | None: ...
    @property
    def price_version(self) -> str | None: ...


def usage_of(row: RowMapping) -> Usage | None:
    """The tokens that the row tells of."""
    if row["input_tokens"] is None:
        return None
    return Usage(
        input_tokens=row["input_tokens"],
        cached_input_tokens=row["cached_input_tokens"],
        cache_write_tokens=row["cache_write_tokens"],
        output_tokens=row["output_tokens"],
        reasoning_tokens=row["reasoning_tokens"],
        is_estimated=row["usage_is_estimated"],
    )


def billing_values(billed: Billed) -> dict[str, object]:
    """The columns that tell of it."""
    usage = billed.usage
    return {
        "input_tokens": None if usage is None else usage.input_tokens,
        "cached_input_tokens": None if usage is None else usage.cached_input_tokens,
        "cache_write_tokens": None if usage is None else usage.cache_write_tokens,
        "output_tokens": None if usage is None else usage.output_tokens,
        "reasoning_tokens": None if usage is None else usage.reasoning_tokens,
        "usage_is_estimated": usage is not None and usage.is_estimated,
        "cost_usd": billed.cost,
        "price_version": billed.price_version,
    }
