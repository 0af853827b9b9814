"""Kept answers on a real Valkey: one that is gone, slow or nonsense has no answer, and nobody is told of an error."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from redis.asyncio import Redis

from domain.answer_cache import AnswerCache, CachedAnswer
from domain.secret import Secret
from integrations.redis import RedisAnswerCache
from tests.standins.valkey import Valkey, running_valkey

KEY = bytes(range(32))
NAME = f"test:answer:{KEY.hex()}"
ANSWER = CachedAnswer(content="Because ☀.", reasoning="Hm.")


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    with running_valkey() as server:
        yield server


def cache_at(url: str) -> RedisAnswerCache:
    return RedisAnswerCache(Secret(url), namespace="test", ttl=timedelta(minutes=1), pause_seconds=0.05)


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
    await cache.put(KEY, CachedAnswer(content="x" * 1_000_001, reasoning=""))
    client = Redis.from_url(valkey.url)
    assert await client.exists(NAME) == 0
    for nonsense in (b"", b"\xff", b"{}", b'["only one"]', b"[1, 2]"):
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
