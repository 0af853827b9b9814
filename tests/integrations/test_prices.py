"""Costs follow the bundled price list, and what it does not know has no cost."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import pytest

from domain.provider import Prices, Usage
from integrations.prices import BundledPrices

AT = datetime(2026, 11, 20, tzinfo=UTC)
PRICES: Prices = BundledPrices(now=lambda: AT)
MILLION = 1_000_000
ROOT = Path(__file__).parents[2]


def test_a_million_tokens_cost_what_the_list_says() -> None:
    usage = Usage(input_tokens=MILLION, output_tokens=MILLION)
    input_price, output_price = PRICES.price_of("anthropic", "claude-sonnet-5-5")

    assert (input_price, output_price) == (Decimal(2), Decimal(10))
    assert PRICES.cost("anthropic", "claude-sonnet-5-5", usage, at=AT) == Decimal(12)


def test_cached_tokens_cost_less_and_written_ones_more() -> None:
    plain = Usage(input_tokens=MILLION, output_tokens=0)
    read = Usage(input_tokens=MILLION, cached_input_tokens=MILLION, output_tokens=0)
    written = Usage(input_tokens=MILLION, cache_write_tokens=MILLION, output_tokens=0)

    costs = [PRICES.cost("anthropic", "claude-sonnet-5-5", usage, at=AT) for usage in (read, plain, written)]

    assert costs == [Decimal("0.1"), Decimal(2), Decimal("2.5")]


def test_only_the_cached_part_is_cheap() -> None:
    half = Usage(input_tokens=MILLION, cached_input_tokens=MILLION // 2, output_tokens=0)

    assert PRICES.cost("deepseek", "deepseek-flash", half, at=AT) == Decimal("0.0765")


MONDAY, FRIDAY, SATURDAY, SUNDAY = (datetime(2026, 11, day, tzinfo=UTC) for day in (16, 20, 21, 22))
DEEPSEEK_USAGE = Usage(input_tokens=2 * MILLION, cached_input_tokens=MILLION, output_tokens=MILLION)
FLASH = Decimal("0.15") + Decimal("0.003") + Decimal("0.6")
PRO = Decimal("0.66") + Decimal("0.022") + Decimal("1.98")


@pytest.mark.parametrize(("model", "off_peak"), [("deepseek-flash", FLASH), ("deepseek-v4-pro", PRO)])
@pytest.mark.parametrize(
    ("day", "hour", "minute", "times"),
    [
        (MONDAY, 0, 59, 1),
        (MONDAY, 1, 0, 2),
        (MONDAY, 3, 59, 2),
        (MONDAY, 4, 0, 1),
        (MONDAY, 5, 59, 1),
        (FRIDAY, 6, 0, 2),
        (FRIDAY, 9, 59, 2),
        (FRIDAY, 10, 0, 1),
        (FRIDAY, 23, 0, 1),
        (SATURDAY, 2, 0, 1),
        (SUNDAY, 9, 59, 1),
    ],
)
def test_deepseek_costs_twice_as_much_in_its_peak_hours_from_monday_to_friday(
    model: str, off_peak: Decimal, day: datetime, hour: int, minute: int, times: int
) -> None:
    at = day.replace(hour=hour, minute=minute)

    assert PRICES.cost("deepseek", model, DEEPSEEK_USAGE, at=at) == times * off_peak
    # The same moment, told by a clock in Beijing.
    there = at.astimezone(timezone(timedelta(hours=8)))
    assert PRICES.cost("deepseek", model, DEEPSEEK_USAGE, at=there) == times * off_peak


def test_deepseek_had_no_weekends_before_it_introduced_them() -> None:
    usage = Usage(input_tokens=0, output_tokens=MILLION)
    first = datetime(2026, 8, 23, 2, tzinfo=UTC)

    assert PRICES.cost("deepseek", "deepseek-v4-pro", usage, at=first) == Decimal("1.98")
    assert PRICES.cost("deepseek", "deepseek-v4-pro", usage, at=first - timedelta(days=1)) == Decimal("3.96")


def test_the_shown_price_of_deepseek_is_that_of_the_moment() -> None:
    def shown(at: datetime) -> tuple[Decimal | None, Decimal | None]:
        return BundledPrices(now=lambda: at).price_of("deepseek", "deepseek-flash")

    assert shown(MONDAY.replace(hour=2)) == (Decimal("0.3"), Decimal("1.2"))
    assert shown(MONDAY.replace(hour=12)) == shown(SUNDAY.replace(hour=2)) == (Decimal("0.15"), Decimal("0.6"))


def test_nobody_else_has_weekends() -> None:
    usage = Usage(input_tokens=MILLION, output_tokens=0)
    costs = {PRICES.cost("anthropic", "claude-sonnet-5-5", usage, at=day.replace(hour=2)) for day in (MONDAY, SATURDAY)}

    assert costs == {Decimal(2)}


def test_reasoning_is_part_of_the_output() -> None:
    usage = Usage(input_tokens=0, output_tokens=MILLION, reasoning_tokens=MILLION // 2)

    assert PRICES.cost("openai", "gpt-5.6-sol", usage, at=AT) == Decimal(20)


def test_a_dated_snapshot_costs_what_its_model_costs() -> None:
    assert PRICES.price_of("openai", "gpt-5.5-2026-04-23") == PRICES.price_of("openai", "gpt-5.5")
    assert PRICES.price_of("openai", "gpt-5.5")[0] is not None


def test_prices_in_tiers_are_shown_by_their_first() -> None:
    input_price, output_price = PRICES.price_of("openai", "gpt-6-astra")

    assert (input_price, output_price) == (Decimal(10), Decimal(50))


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "no-such-model"),
        ("nobody", "gpt-5.5"),
        ("my-openai", "gpt-5.5"),
        ("openai", ""),
        ("", "gpt-5.5"),
    ],
)
def test_the_unknown_has_no_price(provider: str, model: str) -> None:
    assert PRICES.cost(provider, model, Usage(input_tokens=1, output_tokens=1), at=AT) is None
    assert PRICES.price_of(provider, model) == (None, None)


def test_counts_that_contradict_each_other_have_no_cost() -> None:
    impossible = Usage(input_tokens=1, cached_input_tokens=100, output_tokens=1)

    assert PRICES.cost("anthropic", "claude-sonnet-5-5", impossible, at=AT) is None


def test_the_demo_is_free() -> None:
    cost = PRICES.cost("demo", "demo", Usage(input_tokens=9, output_tokens=9), at=AT)

    assert cost == Decimal(0)
    assert cost is not None
    assert PRICES.price_of("demo", "demo") == (Decimal(0), Decimal(0))


def test_prices_of_the_time_count() -> None:
    usage = Usage(input_tokens=MILLION, output_tokens=0)
    then = PRICES.cost("openai", "o3", usage, at=datetime(2025, 5, 1, tzinfo=UTC))
    now = PRICES.cost("openai", "o3", usage, at=AT)

    assert (then, now) == (Decimal(10), Decimal(2))


def test_the_version_names_the_list() -> None:
    name, _, version = PRICES.version.partition(" ")

    assert name == "genai-prices"
    assert version[0].isdigit()


def test_the_list_is_loaded_on_first_use_and_without_the_network() -> None:
    program = (
        "import socket, sys\n"
        "socket.socket.connect = socket.getaddrinfo = None\n"
        "from integrations.prices import BundledPrices\n"
        "assert 'genai_prices' not in sys.modules\n"
        "prices = BundledPrices()\n"
        "assert prices.version and 'genai_prices' not in sys.modules\n"
        "prices.warm_up()\n"
        "assert 'genai_prices.data' in sys.modules\n"
        "assert prices.price_of('openai', 'gpt-5.5')[0]\n"
    )

    subprocess.run([sys.executable, "-c", program], check=True, timeout=240, cwd=ROOT)
