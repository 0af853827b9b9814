"""DeepSeek, by its Chat Completions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from domain.provider import Model, Provider, ProviderRequest, ReasoningEffort, StreamEvent
from domain.secret import Secret
from domain.stream_timeouts import StreamTimeouts
from integrations import provider_faults as faults
from integrations.openai import OpenAIConnection, chat_body, chat_stream, described
from integrations.provider_stream import parameters_in

BASE_URL: Final = "https://api.deepseek.com"


class DeepSeekAdapter:
    """DeepSeek's models, which think unless told not to."""

    def __init__(self, base_url: str | None, timeouts: StreamTimeouts) -> None:
        self._connection = OpenAIConnection(base_url=base_url or BASE_URL, timeouts=timeouts)

    async def warm_up(self) -> None:
        """See OpenAIConnection."""
        await self._connection.warm_up()

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._connection.aclose()

    async def models(self, provider: Provider, key: Secret | None) -> tuple[Model, ...]:
        """All that is listed: DeepSeek offers nothing but text models."""
        ids = await self._connection.list_model_ids(provider, faults.checked_key(provider.name, key))
        return described(ids, provider.models)

    @asynccontextmanager
    async def stream(
        self, provider: Provider, key: Secret | None, request: ProviderRequest
    ) -> AsyncIterator[AsyncIterator[StreamEvent]]:
        """A chat of one question."""
        key = faults.checked_key(provider.name, key)
        body = _chat_body(request)
        request.on_sent(parameters_in(body))
        async with chat_stream(self._connection, provider, key, body) as events:
            yield events


def _chat_body(request: ProviderRequest) -> dict[str, Any]:
    """The request's JSON, as keyword arguments of the SDK (hence Any). What is not given is not sent."""
    parameters = request.parameters
    body = chat_body(request)
    match parameters.reasoning_effort:
        case None:
            pass
        case ReasoningEffort.NONE:
            body["extra_body"] = {"thinking": {"type": "disabled"}}
        case effort:
            body["extra_body"] = {"thinking": {"type": "enabled"}}
            body["reasoning_effort"] = effort.value
    return body
