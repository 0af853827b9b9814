"""What tokens cost: at the administrator's own prices where there are some, else at those of the price list."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Self

from domain.errors import InvalidInput
from domain.provider import Prices, Provider, Usage

_MILLION = Decimal(1_000_000)
_MAX_PRICE = Decimal(1_000_000)
PRICES = "prices"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """An amount in USD, and the price list by which it was worked out."""

    usd: Decimal
    price_version: str


# At whatever prices.
_NOTHING = Cost(usd=Decimal(0), price_version="nothing billed")


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnPrice:
    """What an administrator has set for a model, in USD per million tokens."""

    input: Decimal
    cached_input: Decimal
    cache_write: Decimal
    output: Decimal

    @classmethod
    def read(cls, entry: object) -> Self:
        """Reads `{"input": "2.50", "output": "15"}`; the prices of cached and of written input are as plain input's.

        Raises ValueError, whose text says what is expected.
        """
        if not isinstance(entry, Mapping) or not {"input", "output"} <= entry.keys() <= set(cls.__slots__):
            raise ValueError("an object of input, output and, if they differ from input, cached_input and cache_write")
        prices = {name: _amount(value) for name, value in entry.items()}
        plain = prices["input"]
        return cls(**{"cached_input": plain, "cache_write": plain, **prices})

    @property
    def version(self) -> str:
        """The price itself, so that a bill can be checked when the setting is long gone."""
        return (
            f"own: input {self.input}, cached {self.cached_input}, written {self.cache_write}, output {self.output}"
            " USD per million tokens"
        )

    def cost(self, usage: Usage) -> Decimal | None:
        """In USD; None for counts that contradict each other."""
        plain = usage.input_tokens - usage.cached_input_tokens - usage.cache_write_tokens
        if plain < 0:
            return None
        return (
            plain * self.input
            + usage.cached_input_tokens * self.cached_input
            + usage.cache_write_tokens * self.cache_write
            + usage.output_tokens * self.output
        ) / _MILLION


class Pricing:
    """The prices by which requests are estimated and billed.

    An administrator's own are in the provider's `config`: `{"prices": {"gpt-6.2-sol": {"input": "2.50", ...}}}`.
    """

    def __init__(self, prices: Prices) -> None:
        self._prices = prices

    def cost(self, provider: Provider, model: str, usage: Usage, *, at: datetime) -> Cost | None:
        """At the prices of that time; None when they are not known."""
        if usage.input_tokens == usage.output_tokens == 0:
            return _NOTHING
        own = own_price(provider, model)
        if own is not None:
            usd, version = own.cost(usage), own.version
        else:
            usd, version = self._prices.cost(provider.id, model, usage, at=at), self._prices.version
        return None if usd is None else Cost(usd=usd, price_version=version)

    def price_of(self, provider: Provider, model: str) -> tuple[Decimal | None, Decimal | None]:
        """USD per million input and output tokens, as far as known."""
        own = own_price(provider, model)
        return self._prices.price_of(provider.id, model) if own is None else (own.input, own.output)


def own_price(provider: Provider, model: str) -> OwnPrice | None:
    """What the administrator has set; an entry that makes no sense counts as none, for a wrong bill is worse."""
    entries = provider.config.get(PRICES)
    if not isinstance(entries, Mapping) or model not in entries:
        return None
    try:
        return OwnPrice.read(entries[model])
    except ValueError:
        return None


def check_own_prices(config: Mapping[str, object], *, field: tuple[str, ...]) -> None:
    """For whoever stores a provider's `config`. Raises InvalidInput for prices that would not be understood."""
    entries = config.get(PRICES, {})
    if not isinstance(entries, Mapping):
        raise InvalidInput("`prices` is an object: a price for each model.", field=field)
    for model, entry in entries.items():
        try:
            OwnPrice.read(entry)
        except ValueError as error:
            raise InvalidInput(f"The price of {model} must be {error}.", field=field) from error


def _amount(value: object) -> Decimal:
    # A float is taken at its word: 0.1 means a tenth, and not the binary fraction next to it.
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        try:
            amount = Decimal(str(value))
        except InvalidOperation:
            amount = Decimal(-1)
        if amount.is_finite() and 0 <= amount <= _MAX_PRICE:
            return amount
    raise ValueError(f'made of amounts such as "2.50", in USD per million tokens, up to {_MAX_PRICE:,}')
