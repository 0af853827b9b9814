"""What tokens cost, from the price list that the package genai-prices carries; nothing is fetched.

DeepSeek's peak hours double its prices from Monday to Friday only. The list knows the hours and cannot say the days
(see the comments on its models), so a weekend's prices are worked out here, and the version says so. China's public
holidays, which are off-peak too, are nowhere listed: on those the peak hours' cost is an upper bound.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from domain.provider import DEMO_PROVIDER_ID, Usage

if TYPE_CHECKING:
    from genai_prices.data_snapshot import DataSnapshot
    from genai_prices.types import ModelInfo, Provider

_FREE = Decimal(0)
_DEEPSEEK = "deepseek"
# https://api-docs.deepseek.com/quick_start/pricing/: by the calendar of Beijing, since that day.
_BEIJING = timedelta(hours=8)
_DEEPSEEK_WEEKENDS_SINCE = date(2026, 8, 23)
_SATURDAY = 5
_HOURS_OF_A_DAY = 24


class BundledPrices:
    """The prices of the list; what it does not list has no known price, and the demo is free."""

    def __init__(self, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now

    @property
    def version(self) -> str:
        """The package and its version, by which its data is known, and what is done with it."""
        return f"genai-prices {importlib.metadata.version('genai-prices')}, DeepSeek off-peak at weekends"

    def warm_up(self) -> None:
        """Loads the list: some 0.2 s of work, best done in a thread before the first price is asked for."""
        _snapshot()

    def cost(self, provider_id: str, model: str, usage: Usage, *, at: datetime) -> Decimal | None:
        """In USD, at the prices of that time; None when the model, or a price that the usage needs, is not known."""
        if provider_id == DEMO_PROVIDER_ID:
            return _FREE
        found = _find(provider_id, model)
        if found is None:
            return None
        provider, info = found
        from genai_prices import Usage as PricedUsage  # noqa: PLC0415  (loaded by _find, see _snapshot)

        tokens = PricedUsage(
            input_tokens=usage.input_tokens,
            cache_read_tokens=usage.cached_input_tokens,
            cache_write_tokens=usage.cache_write_tokens,
            output_tokens=usage.output_tokens,
        )
        try:
            # Off-peak is the cheapest hour of the day, whichever hours the list has for that.
            return min(
                info.calc_price(tokens, provider, genai_request_timestamp=each).total_price
                for each in _hours_that_count(provider_id, at)
            )
        except ValueError:
            # Counts that contradict each other, such as more cached tokens than tokens.
            return None

    def price_of(self, provider_id: str, model: str) -> tuple[Decimal | None, Decimal | None]:
        """The base prices of today; a long prompt may cost more."""
        if provider_id == DEMO_PROVIDER_ID:
            return _FREE, _FREE
        found = _find(provider_id, model)
        if found is None:
            return None, None
        prices = [found[1].get_prices(each) for each in _hours_that_count(provider_id, self._now())]
        return _least([price.input_mtok for price in prices]), _least([price.output_mtok for price in prices])


def _hours_that_count(provider_id: str, at: datetime) -> tuple[datetime, ...]:
    """The moments of which the cheapest is the price: the one itself, or all of a day without peak hours."""
    at = at.astimezone(UTC)
    day = (at + _BEIJING).date()
    if provider_id != _DEEPSEEK or day < _DEEPSEEK_WEEKENDS_SINCE or day.weekday() < _SATURDAY:
        return (at,)
    return tuple(at.replace(hour=hour, minute=59) for hour in range(_HOURS_OF_A_DAY))


def _least(prices: Sequence[object]) -> Decimal | None:
    bases = [base for price in prices if (base := _base(price)) is not None]
    return min(bases, default=None)


def _base(price: object) -> Decimal | None:
    """A plain price, or what a tiered one begins with."""
    base = getattr(price, "base", price)
    return base if isinstance(base, Decimal) else None


@cache
def _snapshot() -> DataSnapshot:
    # Imported on first use: with its 30,000 lines of data and its HTTP client it takes 0.1-0.2 s.
    from genai_prices.data_snapshot import get_snapshot  # noqa: PLC0415  (see above)

    return get_snapshot()


@lru_cache(maxsize=1024)
def _find(provider_id: str, model: str) -> tuple[Provider, ModelInfo] | None:
    # Only by its exact id: the package would also take any name that merely contains one, such as that of a server
    # which speaks the same protocol at other prices.
    provider = next((known for known in _snapshot().providers if known.id == provider_id), None)
    info = provider and provider.find_model(model, all_providers=_snapshot().providers)
    return (provider, info) if provider and info else None
