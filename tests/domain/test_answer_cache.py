"""Kept answers: what tells requests apart, and that the memory for them is bounded."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from domain.answer_cache import CachedAnswer, MemoryAnswerCache, answer_key
from domain.provider import Model, Parameters, Provider, ProviderKind

NOW = datetime(2026, 11, 20, tzinfo=UTC)
TTL = timedelta(minutes=1)
PROVIDER = Provider(
    id="openai", kind=ProviderKind.OPENAI, name="OpenAI", api_endpoint=None, models=(), config={}, is_active=True
)
MODEL = Model(id="m", name="M")
ADA, BOB = UUID(int=1), UUID(int=2)


def answer_of(size: int) -> CachedAnswer:
    """An answer of so many characters."""
    return CachedAnswer(generation_id=UUID(int=3), content="x" * size, reasoning="")


def test_whatever_an_answer_depends_on_is_in_the_key() -> None:
    def key(
        provider: Provider = PROVIDER,
        model: str = "m",
        user_id: UUID | None = ADA,
        prompt: str = "Hello.",
        system_prompt: str | None = None,
        parameters: Parameters | None = None,
    ) -> bytes:
        return answer_key(
            provider,
            replace(MODEL, id=model),
            user_id=user_id,
            prompt=prompt,
            system_prompt=system_prompt,
            parameters=parameters or Parameters(),
        )

    keys = [
        key(),
        key(provider=replace(PROVIDER, id="other")),
        key(provider=replace(PROVIDER, api_endpoint="https://elsewhere.example")),
        key(model="m2"),
        key(user_id=BOB),
        key(user_id=None),
        key(prompt="Hello!"),
        key(system_prompt=""),
        key(system_prompt="Be brief."),
        key(parameters=Parameters(max_output_tokens=1)),
        key(parameters=Parameters(temperature=0.5)),
        key(parameters=Parameters(stop_sequences=("a",))),
    ]
    assert len(set(keys)) == len(keys)
    assert {len(each) for each in keys} == {32}
    assert key() == key(provider=replace(PROVIDER, name="Renamed"))


async def test_an_answer_is_kept_for_a_while() -> None:
    now = NOW
    cache = MemoryAnswerCache(max_bytes=1_000_000, ttl=TTL, clock=lambda: now)
    answer = CachedAnswer(generation_id=UUID(int=3), content="Because.", reasoning="Hm.")
    await cache.put(b"k", answer)
    assert await cache.find(b"k") == answer
    assert await cache.find(b"other") is None
    now = NOW + TTL
    assert await cache.find(b"k") is None
    assert cache.size_bytes == 0


async def test_what_is_to_be_forgotten_is_gone_with_its_size() -> None:
    cache = MemoryAnswerCache(max_bytes=1_000_000, ttl=TTL, clock=lambda: NOW)
    assert cache.ttl == TTL
    for key in (b"a", b"b", b"c"):
        await cache.put(key, answer_of(10))
    await cache.remove([b"a", b"c", b"never kept"])
    assert [await cache.find(key) for key in (b"a", b"b", b"c")] == [None, answer_of(10), None]
    assert cache.size_bytes == answer_of(10).size_bytes


async def test_one_that_takes_too_much_is_not_kept() -> None:
    cache = MemoryAnswerCache(max_bytes=10_000, ttl=TTL, clock=lambda: NOW)
    await cache.put(b"k", answer_of(1_000))
    assert (await cache.find(b"k"), cache.size_bytes) == (None, 0)


async def test_what_was_not_asked_for_the_longest_goes_first() -> None:
    cache = MemoryAnswerCache(max_bytes=7_560, ttl=TTL, clock=lambda: NOW)
    answer = answer_of(500)
    assert answer.size_bytes == 756
    for number in range(10):
        await cache.put(bytes([number]), answer)
    await cache.find(bytes([0]))
    await cache.put(b"new", answer)
    assert await cache.find(bytes([0])) == answer
    assert await cache.find(bytes([1])) is None


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 900)), max_size=60))
async def test_it_never_grows_beyond_its_bound_and_knows_its_size(puts: list[tuple[int, int]]) -> None:
    cache = MemoryAnswerCache(max_bytes=4_000, ttl=TTL, clock=lambda: NOW)
    for number, size in puts:
        await cache.put(bytes([number]), answer_of(size))
        assert cache.size_bytes <= 4_000
    kept = [await cache.find(bytes([number])) for number in range(6)]
    assert cache.size_bytes == sum(each.size_bytes for each in kept if each is not None)
