"""The buckets, in memory and in a real Valkey that may be slow, or gone."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from domain.rate_limit import Allowance
from domain.secret import Secret
from integrations import rate_counters
from integrations.rate_counters import LimitsRateCounters
from tests.standins.valkey import Valkey, running_valkey

# So long that no window ends while a test runs.
_TEN = Allowance(points=10, period=timedelta(days=30))


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    with running_valkey() as server:
        yield server


def _counters(url: str | None, *, pause_seconds: float = 3600, timeout_seconds: float = 60) -> LimitsRateCounters:
    return LimitsRateCounters(
        None if url is None else Secret(url),
        namespace="test",
        pause_seconds=pause_seconds,
        timeout_seconds=timeout_seconds,
    )


async def _is_right(counters: LimitsRateCounters) -> None:
    before = datetime.now(UTC)
    assert await counters.take("a", _TEN, points=7)
    assert not await counters.take("a", _TEN, points=4)
    assert await counters.take("a", _TEN, points=3)
    assert not await counters.take("a", _TEN, points=1)
    assert await counters.take("b", _TEN, points=1)
    standing = await counters.standing("a", _TEN)
    assert (standing.limit, standing.remaining) == (10, 0)
    assert before < standing.resets_at <= datetime.now(UTC) + 2 * _TEN.period
    untouched = await counters.standing("c", _TEN)
    assert untouched.remaining == 10


async def test_in_memory() -> None:
    await _is_right(_counters(None))


async def test_in_redis_for_all_instances(valkey: Valkey) -> None:
    one, other = _counters(valkey.url), _counters(valkey.unix_url)
    await _is_right(one)
    assert not await other.take("a", _TEN, points=1)
    assert (await other.standing("b", _TEN)).remaining == 9
    await one.aclose()
    await other.aclose()


@pytest.mark.parametrize("way", ["kill", "pause"])
async def test_without_redis_each_instance_counts_for_itself(valkey: Valkey, way: str) -> None:
    # What pauses does not even say no.
    counters = _counters(valkey.url, timeout_seconds=1)
    assert await counters.take("a", _TEN, points=10)
    getattr(valkey, way)()
    await _is_right(counters)
    valkey.kill()
    await counters.aclose()


async def test_redis_counts_again_when_it_is_back(valkey: Valkey) -> None:
    counters = _counters(valkey.url, pause_seconds=0)
    assert await counters.take("a", _TEN, points=10)
    valkey.kill()
    assert await counters.take("a", _TEN, points=10)
    valkey.start()  # empty, as it keeps nothing
    assert await counters.take("a", _TEN, points=9)
    other = _counters(valkey.url)
    assert (await other.standing("a", _TEN)).remaining == 1
    await counters.aclose()
    await other.aclose()


async def test_the_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_counters, "_MAX_COUNTERS", 5)
    counters = _counters(None)
    for number in range(50):
        assert await counters.take(f"bucket {number}", _TEN, points=10)
    assert (await counters.standing("bucket 0", _TEN)).remaining == 10
    assert (await counters.standing("bucket 49", _TEN)).remaining == 0
