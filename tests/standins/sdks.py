"""The providers' real SDKs as clients of the stand-ins: one way to ask and to read for all protocols."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import anthropic
import httpx2
import openai
from pydantic import BaseModel, TypeAdapter

from tests.standins.anthropic import AnthropicStandin
from tests.standins.deepseek import DeepSeekStandin
from tests.standins.openai import OpenAIStandin
from tests.standins.server import Standin, running

READ_TIMEOUT_SECONDS = 60.0
PROMPT = "Say hello"
STATUS_ERRORS: tuple[type[openai.APIStatusError] | type[anthropic.APIStatusError], ...] = (
    openai.APIStatusError,
    anthropic.APIStatusError,
)
# Each SDK and each method has types of its own: what they share is read by name.
Events: TypeAlias = list[Any]


class Broken(Exception):
    """A stream that raised, with what came before."""

    def __init__(self, events: Events) -> None:
        super().__init__()
        self.events = events


async def collect(stream: AsyncIterator[Any]) -> Events:
    events: Events = []
    try:
        async for event in stream:
            events.append(event)
    except Exception as error:
        raise Broken(events) from error
    return events


class Conversation:
    """One protocol of one provider: how to ask, and how to read the answer's text."""

    def __init__(self, standin: Standin, client: Any) -> None:
        self.standin = standin
        self.client = client

    async def open(self, **more: Any) -> AsyncIterator[Any]:
        raise NotImplementedError

    def text(self, events: Iterable[Any]) -> str:
        raise NotImplementedError

    async def ask(self, **more: Any) -> Events:
        return await collect(await self.open(**more))


class Responses(Conversation):
    async def open(self, **more: Any) -> AsyncIterator[Any]:
        arguments = {"model": "gpt-6.2-sol", "input": PROMPT, "store": False} | more
        stream: AsyncIterator[Any] = await self.client.responses.create(stream=True, **arguments)
        return stream

    def text(self, events: Iterable[Any]) -> str:
        return "".join(event.delta for event in events if event.type == "response.output_text.delta")


class Chat(Conversation):
    model = "gpt-6.2-sol"

    async def open(self, **more: Any) -> AsyncIterator[Any]:
        arguments = {"model": self.model, "messages": [{"role": "user", "content": PROMPT}]} | more
        stream: AsyncIterator[Any] = await self.client.chat.completions.create(stream=True, **arguments)
        return stream

    def text(self, events: Iterable[Any]) -> str:
        return "".join(chunk.choices[0].delta.content or "" for chunk in events if chunk.choices)


class DeepSeek(Chat):
    model = "deepseek-flash"


class Messages(Conversation):
    async def open(self, **more: Any) -> AsyncIterator[Any]:
        arguments = {
            "model": "claude-sonnet-5-5",
            "max_tokens": 1000,
            "messages": [{"role": "user", "content": PROMPT}],
        } | more
        stream: AsyncIterator[Any] = await self.client.messages.create(stream=True, **arguments)
        return stream

    def text(self, events: Iterable[Any]) -> str:
        deltas = [event.delta for event in events if event.type == "content_block_delta"]
        return "".join(delta.text for delta in deltas if delta.type == "text_delta")


PROTOCOLS: dict[str, tuple[type[Standin], type[Conversation]]] = {
    "responses": (OpenAIStandin, Responses),
    "chat": (OpenAIStandin, Chat),
    "deepseek": (DeepSeekStandin, DeepSeek),
    "messages": (AnthropicStandin, Messages),
}
OPENAI_SDK = ("responses", "chat", "deepseek")


def make_client(
    standin: Standin,
    base_url: str,
    *,
    api_key: str = "sk-standin",
    read_timeout_seconds: float = READ_TIMEOUT_SECONDS,
) -> Any:
    """The provider's own SDK, without retries."""
    client = anthropic.AsyncAnthropic if isinstance(standin, AnthropicStandin) else openai.AsyncOpenAI
    timeout = httpx2.Timeout(READ_TIMEOUT_SECONDS, read=read_timeout_seconds)
    return client(api_key=api_key, base_url=base_url, max_retries=0, timeout=timeout)


@asynccontextmanager
async def conversation(name: str, *, read_timeout_seconds: float = READ_TIMEOUT_SECONDS) -> AsyncIterator[Conversation]:
    """A stand-in of its own, and the SDK that talks to it."""
    standin_type, protocol_type = PROTOCOLS[name]
    standin = standin_type()
    async with (
        running(standin) as base_url,
        make_client(standin, base_url, read_timeout_seconds=read_timeout_seconds) as client,
    ):
        yield protocol_type(standin, client)


def assert_valid(events: Iterable[BaseModel], shape: Any) -> None:
    """The SDKs build events without validation: here every field they require must be there, of its type."""
    adapter = TypeAdapter[Any](shape)
    for event in events:
        adapter.validate_python(event.to_dict() if hasattr(event, "to_dict") else event)
