"""What an event of a provider's stream costs: by the adapter, by the SDK alone, and by the bare bytes of its transport.

All three read the same streams in the same run, by turns, from a server in another process; what counts is the CPU time
of this one. `make bench` prints microseconds and ratios; only the ratios mean something on another machine.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import anthropic
import openai

from bench.stream_server import MODEL, STREAMS, streaming
from domain.provider import Model, Provider, ProviderKind, ProviderRequest, TextDelta
from domain.secret import Secret
from domain.stream_timeouts import StreamTimeouts
from integrations.anthropic import AnthropicAdapter
from integrations.deepseek import DeepSeekAdapter
from integrations.event_stream import EventReader
from integrations.openai import OpenAIAdapter

KEY: Final = "sk-bench-0123456789"
PROMPT: Final = "Hello"
TIMEOUTS: Final = StreamTimeouts(first_token_seconds=60, idle_seconds=60, total_seconds=600)
_Reading = Callable[[str], Awaitable[int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """CPU time of one event, in microseconds."""

    adapter: float
    sdk: float
    raw: float

    @property
    def to_sdk(self) -> float:
        """The adapter's as a multiple of the SDK's."""
        return self.adapter / self.sdk

    @property
    def to_raw(self) -> float:
        """The adapter's as a multiple of reading and parsing alone."""
        return self.adapter / self.raw


def measure(kind: ProviderKind, *, events: int, rounds: int) -> Cost:
    """The middle of several rounds, after one that warms up."""
    return asyncio.run(_measure(kind, events, rounds))


async def _measure(kind: ProviderKind, events: int, rounds: int) -> Cost:
    with streaming(STREAMS[kind], events) as base_url:
        async with _ADAPTERS[kind](base_url) as adapter, _SDKS[kind](base_url) as (sdk, raw):
            readings = {"adapter": adapter, "sdk": sdk, "raw": raw}
            seconds: dict[str, list[float]] = {name: [] for name in readings}
            for _ in range(rounds + 1):
                for name, reading in readings.items():
                    began = time.process_time()
                    words = await reading(base_url)
                    seconds[name].append(time.process_time() - began)
                    if words != events:
                        raise RuntimeError(f"{name} has read {words} of {events} words")
    middle = {name: statistics.median(each[1:]) / events * 1e6 for name, each in seconds.items()}
    return Cost(**middle)


# --- the adapters


def _adapter(new: Callable[[str, StreamTimeouts], Any], kind: ProviderKind) -> Any:
    @asynccontextmanager
    async def reading(base_url: str) -> AsyncIterator[_Reading]:
        adapter = new(base_url, TIMEOUTS)
        provider = Provider(
            id=kind.value, kind=kind, name="It", api_endpoint=None, models=(), config={}, is_active=True
        )
        request = ProviderRequest(model=Model(id=MODEL, name=MODEL), prompt=PROMPT)

        async def read(_: str) -> int:
            async with adapter.stream(provider, Secret(KEY), request) as events:
                return sum([isinstance(event, TextDelta) async for event in events])

        try:
            yield read
        finally:
            await adapter.aclose()

    return reading


_ADAPTERS: Final[Mapping[ProviderKind, Any]] = {
    ProviderKind.OPENAI: _adapter(OpenAIAdapter, ProviderKind.OPENAI),
    ProviderKind.ANTHROPIC: _adapter(AnthropicAdapter, ProviderKind.ANTHROPIC),
    ProviderKind.DEEPSEEK: _adapter(DeepSeekAdapter, ProviderKind.DEEPSEEK),
}


# --- the SDKs, as their own documentation uses them, and their transport without their objects


async def _raw_words(stream: Any, is_word: Callable[[Mapping[str, Any]], bool]) -> int:
    reader, words = EventReader(), 0
    async for part in stream.response.aiter_bytes():
        words += sum(is_word(event) for event in reader.feed(part))
    await stream.close()
    return words


@asynccontextmanager
async def _openai(base_url: str) -> AsyncIterator[tuple[_Reading, _Reading]]:
    client = openai.AsyncOpenAI(api_key=KEY, base_url=base_url, max_retries=0)

    async def sdk(_: str) -> int:
        stream = await client.responses.create(model=MODEL, input=PROMPT, stream=True)
        return sum([event.type == "response.output_text.delta" async for event in stream])

    async def raw(_: str) -> int:
        stream = await client.responses.create(model=MODEL, input=PROMPT, stream=True)
        return await _raw_words(stream, lambda event: event["type"] == "response.output_text.delta")

    async with client:
        yield sdk, raw


@asynccontextmanager
async def _deepseek(base_url: str) -> AsyncIterator[tuple[_Reading, _Reading]]:
    client = openai.AsyncOpenAI(api_key=KEY, base_url=base_url, max_retries=0)
    messages: Any = [{"role": "user", "content": PROMPT}]

    async def sdk(_: str) -> int:
        stream = await client.chat.completions.create(model=MODEL, messages=messages, stream=True)
        return sum([bool(chunk.choices and chunk.choices[0].delta.content) async for chunk in stream])

    async def raw(_: str) -> int:
        stream = await client.chat.completions.create(model=MODEL, messages=messages, stream=True)
        return await _raw_words(stream, lambda chunk: bool(chunk["choices"][0]["delta"].get("content")))

    async with client:
        yield sdk, raw


@asynccontextmanager
async def _anthropic(base_url: str) -> AsyncIterator[tuple[_Reading, _Reading]]:
    client = anthropic.AsyncAnthropic(api_key=KEY, base_url=base_url, max_retries=0)
    messages: Any = [{"role": "user", "content": PROMPT}]

    async def sdk(_: str) -> int:
        stream = await client.messages.create(model=MODEL, max_tokens=100, messages=messages, stream=True)
        return sum([event.type == "content_block_delta" async for event in stream])

    async def raw(_: str) -> int:
        stream = await client.messages.create(model=MODEL, max_tokens=100, messages=messages, stream=True)
        return await _raw_words(stream, lambda event: event["type"] == "content_block_delta")

    async with client:
        yield sdk, raw


_SDKS: Final[Mapping[ProviderKind, Any]] = {
    ProviderKind.OPENAI: _openai,
    ProviderKind.ANTHROPIC: _anthropic,
    ProviderKind.DEEPSEEK: _deepseek,
}


def main() -> None:
    """Prints the table."""
    events, rounds = 5_000, 5
    print(f"CPU time of one event, the middle of {rounds} rounds of {events:,} events, in microseconds\n")
    print(f"{'':<10} {'adapter':>9} {'SDK':>9} {'bytes':>9}   adapter/SDK   adapter/bytes")
    for kind in STREAMS:
        cost = measure(kind, events=events, rounds=rounds)
        print(
            f"{kind.value:<10} {cost.adapter:>9.1f} {cost.sdk:>9.1f} {cost.raw:>9.1f}"
            f"   {cost.to_sdk:>11.2f}   {cost.to_raw:>13.2f}"
        )
        sys.stdout.flush()


if __name__ == "__main__":
    main()
