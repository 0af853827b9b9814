"""What tokens cost, at whose prices, and how many a text is likely to have."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from domain.errors import InvalidInput
from domain.pricing import Cost, Pricing, check_own_prices
from domain.provider import Provider, ProviderKind, Usage
from domain.token_estimate import completed_usage, estimated_input_tokens, estimated_tokens

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
USAGE = Usage(input_tokens=1_000_000, cached_input_tokens=400_000, cache_write_tokens=100_000, output_tokens=2_000)


class ListedPrices:
    """A list on which everything costs a cent for a token of answer."""

    version = "list 1"

    def cost(self, provider_id: str, model: str, usage: Usage, *, at: datetime) -> Decimal | None:
        return None if model == "unknown" else usage.output_tokens * Decimal("0.01")

    def price_of(self, provider_id: str, model: str) -> tuple[Decimal | None, Decimal | None]:
        return Decimal(0), Decimal(10_000)


def provider(**prices: object) -> Provider:
    """A provider with prices of its administrator's."""
    return Provider(
        id="openai",
        kind=ProviderKind.OPENAI,
        name="OpenAI",
        api_endpoint=None,
        models=(),
        config={"prices": prices} if prices else {},
        is_active=True,
    )


PRICING = Pricing(ListedPrices())


def test_without_own_prices_the_list_counts() -> None:
    assert PRICING.cost(provider(), "m", USAGE, at=AT) == Cost(usd=Decimal(20), price_version="list 1")
    assert PRICING.cost(provider(), "unknown", USAGE, at=AT) is None


def test_own_prices_come_first_and_tell_themselves() -> None:
    own = provider(unknown={"input": "2.50", "cached_input": 0.25, "cache_write": "3", "output": 15})

    found = PRICING.cost(own, "unknown", USAGE, at=AT)

    assert found is not None
    # half a million plain, 0.4 cached, 0.1 written, and the answer
    assert found.usd == Decimal("1.25") + Decimal("0.1") + Decimal("0.3") + Decimal("0.03")
    assert "output 15 " in found.price_version
    assert PRICING.price_of(own, "unknown") == (Decimal("2.50"), Decimal(15))
    assert PRICING.price_of(own, "other") == (Decimal(0), Decimal(10_000))


def test_cached_and_written_tokens_cost_as_much_as_plain_ones_unless_told() -> None:
    own = provider(m={"input": "1", "output": "0"})

    assert PRICING.cost(own, "m", USAGE, at=AT) == Cost(
        usd=Decimal(1),
        price_version="own: input 1, cached 1, written 1, output 0 USD per million tokens",
    )
    impossible = Usage(input_tokens=1, cached_input_tokens=2, output_tokens=0)
    assert PRICING.cost(own, "m", impossible, at=AT) is None


@pytest.mark.parametrize(
    "entry",
    [
        "2.50",
        {"input": "1"},
        {"input": "1", "output": "1", "outputs": "1"},
        {"input": "-1", "output": "1"},
        {"input": "NaN", "output": "1"},
        {"input": "a", "output": "1"},
        {"input": True, "output": "1"},
        {"input": "1e9", "output": "1"},
    ],
)
def test_prices_that_make_no_sense_are_refused_and_never_used(entry: object) -> None:
    with pytest.raises(InvalidInput):
        check_own_prices({"prices": {"m": entry}}, field=("config",))
    assert PRICING.cost(provider(m=entry), "m", USAGE, at=AT) == Cost(usd=Decimal(20), price_version="list 1")


def test_a_config_without_prices_is_right_and_one_with_a_list_of_them_is_not() -> None:
    check_own_prices({}, field=("config",))
    check_own_prices({"prices": {"m": {"input": "1", "output": "1"}}}, field=("config",))
    with pytest.raises(InvalidInput):
        check_own_prices({"prices": []}, field=("config",))


def test_tokens_are_estimated_from_the_bytes_of_a_text() -> None:
    assert [estimated_tokens(text) for text in ("", "a", "abcd", "abcde", "天空", "\ud800")] == [0, 1, 1, 2, 2, 1]
    assert estimated_input_tokens("abcd", None) == 9
    assert estimated_input_tokens("abcd", "efgh") == 18


def test_what_a_provider_has_not_told_is_estimated_and_marked() -> None:
    def completed(reported: Usage | None, text: str = "x" * 40, reasoning: str = "y" * 20) -> Usage:
        return completed_usage(reported, prompt="abcd", system_prompt=None, text=text, reasoning=reasoning)

    assert completed(None) == Usage(input_tokens=9, output_tokens=15, reasoning_tokens=5, is_estimated=True)
    # the beginning of a message tells the input, and of the output only what there was by then
    begun = Usage(input_tokens=50, cached_input_tokens=20, output_tokens=1)
    assert completed(begun) == Usage(
        input_tokens=50, cached_input_tokens=20, output_tokens=15, reasoning_tokens=5, is_estimated=True
    )
    told = Usage(input_tokens=50, output_tokens=100, reasoning_tokens=80)
    assert completed(told) == told
    assert completed(Usage(input_tokens=50, output_tokens=0), "", "") == Usage(input_tokens=50, output_tokens=0)
