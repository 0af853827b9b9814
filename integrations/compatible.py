"""Endpoints that administrators add, which speak OpenAI's Chat Completions: Ollama, vLLM, LM Studio, OpenRouter ..."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from domain.provider import Model, Provider, ProviderRequest, StreamEvent
from domain.secret import Secret
from domain.stream_timeouts import StreamTimeouts
from integrations import provider_faults as faults
from integrations.endpoint_guard import EndpointGuard
from integrations.openai import OpenAIConnection, chat_body, chat_stream, described, writes_text
from integrations.provider_stream import parameters_in

if TYPE_CHECKING:
    import httpx2

# Every such provider has an address of its own; this one is nobody's (RFC 6761).
_NOWHERE: Final = "https://endpoint.invalid"


class CompatibleAdapter:
    """Talks to any of them, with a key or without, and only where the guard allows."""

    def __init__(self, guard: EndpointGuard, timeouts: StreamTimeouts) -> None:
        self._guard = guard
        self._connection = OpenAIConnection(base_url=_NOWHERE, timeouts=timeouts, new_http_client=self._new_http_client)

    async def warm_up(self) -> None:
        """See OpenAIConnection."""
        await self._connection.warm_up()

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._connection.aclose()

    async def models(self, provider: Provider, key: Secret | None) -> tuple[Model, ...]:
        """What is listed, but for what does not write."""
        ids = await self._connection.list_model_ids(provider, _checked_key(provider, key))
        return described([id_ for id_ in ids if writes_text(id_, at_openai=False)], provider.models)

    @asynccontextmanager
    async def stream(
        self, provider: Provider, key: Secret | None, request: ProviderRequest
    ) -> AsyncIterator[AsyncIterator[StreamEvent]]:
        """A chat of one question."""
        key = _checked_key(provider, key)
        body = _body(request)
        request.on_sent(parameters_in(body))
        async with chat_stream(self._connection, provider, key, body) as events:
            yield events

    def _new_http_client(self, timeout: httpx2.Timeout) -> httpx2.AsyncClient:
        # Here and not at the top: it imports the SDK's transport.
        from integrations.guarded_http import guarded_client  # noqa: PLC0415  (see above)

        return guarded_client(self._guard, timeout=timeout)


def _checked_key(provider: Provider, key: Secret | None) -> Secret | None:
    return None if key is None and not provider.requires_key else faults.checked_key(provider.name, key)


def _body(request: ProviderRequest) -> dict[str, Any]:
    """The request's JSON, as keyword arguments of the SDK (hence Any)."""
    body = chat_body(request)
    if request.parameters.reasoning_effort is not None:
        body["reasoning_effort"] = request.parameters.reasoning_effort.value
    return body
