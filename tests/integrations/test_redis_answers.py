"""Kept answers on a real Valkey: one that is gone, slow or nonsense has no answer, and nobody is told of an error."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from redis.asyncio import Redis

from domain.answer_cache import AnswerCache, CachedAnswer
from domain.secret import Secret
from integrations.redis import RedisAnswerCache
from tests.standins.valkey import Valkey, line_to, running_valkey

KEY = bytes(range(32))
NAME = f"test:answer:{KEY.hex()}"
ANSWER = CachedAnswer(generation_id=UUID(int=3), content="Because ☀.", reasoning="Hm.")


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    with running_valkey() as server:
        yield server


def cache_at(url: str, *, pause_seconds: float = 0.05, timeout_seconds: float = 60) -> RedisAnswerCache:
    """As patient with a busy machine as it is not told otherwise."""
    return RedisAnswerCache(
        Secret(url),
        namespace="test",
        ttl=timedelta(minutes=1),
        pause_seconds=pause_seconds,
        timeout_seconds=timeout_seconds,
    )


async def test_an_answer_is_kept_for_all_instances_and_expires(valkey: Valkey) -> None:
    first, second = cache_at(valkey.url), cache_at(valkey.url)
    as_port: AnswerCache = first
    await as_port.put(KEY, ANSWER)
    assert await second.find(KEY) == ANSWER
    assert await second.find(bytes(32)) is None
    client = Redis.from_url(valkey.url)
    assert 0 < await client.ttl(NAME) <= 60
    await client.aclose()
    for cache in (first, second):
        await cache.aclose()


async def test_what_is_too_long_or_nobodys_is_not_taken(valkey: Valkey) -> None:
    cache = cache_at(valkey.url)
    await cache.put(KEY, replace(ANSWER, content="x" * 1_000_001))
    client = Redis.from_url(valkey.url)
    assert await client.exists(NAME) == 0
    for nonsense in (b"", b"\xff", b"{}", b'["only one"]', b"[1, 2, 3]", b'["no id", "a", "b"]'):
        await client.set(NAME, nonsense)
        assert await cache.find(KEY) is None
    await client.aclose()
    await cache.aclose()


async def test_a_redis_that_is_gone_has_nothing_and_takes_nothing(valkey: Valkey) -> None:
    cache = cache_at(valkey.url)
    await cache.put(KEY, ANSWER)
    valkey.kill()
    await cache.put(KEY, ANSWER)
    assert await cache.find(KEY) is None
    await cache.aclose()


async def test_what_is_to_be_forgotten_is_gone_for_all(valkey: Valkey) -> None:
    first, second = cache_at(valkey.url), cache_at(valkey.url)
    for key in (KEY, bytes(32)):
        await first.put(key, ANSWER)
    await second.remove([])
    await second.remove([KEY, bytes(reversed(KEY))])
    assert [await first.find(key) for key in (KEY, bytes(32))] == [None, ANSWER]
    for cache in (first, second):
        await cache.aclose()


async def test_a_slow_one_is_not_waited_for_and_its_late_answers_are_nobodys(valkey: Valkey) -> None:
    other_key, other = bytes(32), replace(ANSWER, content="Of something else.")
    async with line_to(valkey.port) as line:
        cache = cache_at(f"redis://127.0.0.1:{line.port}/0", pause_seconds=2, timeout_seconds=1)
        await cache.put(KEY, ANSWER)
        await cache.put(other_key, other)
        assert await cache.find(KEY) == ANSWER
        # Longer than any test lasts: whoever waited for it would not come back.
        line.slow_down(3_600)
        async with asyncio.timeout(60):
            assert await cache.find(KEY) is None
            asked = line.bytes_asked
            assert await cache.find(KEY) is None
            await cache.put(KEY, ANSWER)
            await cache.remove([KEY])
        assert line.bytes_asked == asked, "for a moment it is not even asked"

        line.speed_up()
        async with asyncio.timeout(60):
            while (found := await cache.find(other_key)) is None:  # noqa: ASYNC110  (polled)
                await asyncio.sleep(0.02)
        assert found == other
        await cache.aclose()
