"""Anthropic, by its Messages API: all that uses the SDK anthropic."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from domain.errors import ProviderFailed
from domain.provider import (
    Finish,
    FinishReason,
    Model,
    ModelParameter,
    Provider,
    ProviderRequest,
    ReasoningDelta,
    ReasoningEffort,
    StreamEvent,
    TextDelta,
    Usage,
    UsageReport,
)
from domain.secret import Secret
from domain.stream_timeouts import StreamTimeouts
from integrations import provider_faults as faults
from integrations.event_stream import EventData
from integrations.provider_stream import Deadlines, Door, parameters_in, playing

if TYPE_CHECKING:
    import anthropic
    from anthropic.types import ModelInfo, RawMessageStreamEvent

BASE_URL: Final = "https://api.anthropic.com"
# The API insists on a limit. This one is more than a long article with its reasoning; a model's own, where it is known,
# may be four times as much, and whoever wants that asks for it.
DEFAULT_MAX_TOKENS: Final = 32_000
MAX_LISTED_MODELS: Final = 1000
# From its fifth generation on Claude thinks unless told not to, and keeps its thoughts to itself unless asked.
_GENERATION: Final = re.compile(r"claude-[a-z]+-(\d+)")
_THINKS_FROM_GENERATION: Final = 5
_THINK_ALOUD: Final = {"type": "adaptive", "display": "summarized"}


class AnthropicAdapter:
    """Anthropic's models."""

    def __init__(self, base_url: str | None, timeouts: StreamTimeouts) -> None:
        self._base_url = base_url or BASE_URL
        self._timeouts = timeouts
        self._client: anthropic.AsyncAnthropic | None = None
        self._loading = asyncio.Lock()

    async def warm_up(self) -> None:
        """Imports the SDK, which takes seconds, in a thread; otherwise the first request does so."""
        await self._root()

    async def aclose(self) -> None:
        """Closes the connections."""
        if self._client is not None:
            await self._client.close()

    async def models(self, provider: Provider, key: Secret | None) -> tuple[Model, ...]:
        """What can still be used, newest first, with the limits and capabilities that Anthropic tells."""
        key = faults.checked_key(provider.name, key)
        client = await self._connect(provider, key)
        listing = _door(provider.name, key).through(_awaited(client.models.list(limit=MAX_LISTED_MODELS)))
        known = {model.id: model for model in provider.models}
        try:
            page = await Deadlines(provider.name, self._timeouts).wait(listing)
            return tuple(_described(info, known.get(info.id)) for info in page.data if info.lifecycle != "retired")
        except (AttributeError, TypeError) as error:
            raise faults.malformed(provider.name) from error

    @asynccontextmanager
    async def stream(
        self, provider: Provider, key: Secret | None, request: ProviderRequest
    ) -> AsyncIterator[AsyncIterator[StreamEvent]]:
        """A message in answer to one of the user's."""
        key = faults.checked_key(provider.name, key)
        if request.parameters.temperature is not None:
            raise faults.untakeable(provider.name, "temperature")
        client = await self._connect(provider, key)
        reader = _MessageReader(provider.name, key)
        async with playing(
            lambda: _begin(client, request),
            read=reader.read,
            door=_door(provider.name, key),
            timeouts=self._timeouts,
        ) as events:
            yield events

    async def _connect(self, provider: Provider, key: Secret) -> anthropic.AsyncAnthropic:
        """A client with this key and the provider's own endpoint, on the shared pool of connections."""
        base_url = faults.checked_endpoint(provider.name, provider.api_endpoint or self._base_url)
        client = (await self._root()).with_options(api_key=key.reveal(), base_url=base_url)
        # The SDK reads these from an environment variable of its own, whosever key it is and whatever the server.
        client._custom_headers = {}
        return client

    async def _root(self) -> anthropic.AsyncAnthropic:
        async with self._loading:
            if self._client is None:
                self._client = await asyncio.to_thread(self._load)
            return self._client

    def _load(self) -> anthropic.AsyncAnthropic:
        # Here and not at the top: the import takes 1-3 s of CPU, and not every server has a key for this provider.
        import anthropic  # noqa: PLC0415  (see above)

        # At DEBUG it would log whole requests, with their prompts.
        logging.getLogger("anthropic").setLevel(logging.WARNING)
        timeout = anthropic.Timeout(
            # Silence is measured in tokens by provider_stream.Deadlines, not in bytes here.
            None,
            connect=self._timeouts.connect_seconds,
            pool=self._timeouts.connect_seconds,
            write=self._timeouts.first_token_seconds,
        )
        client = anthropic.AsyncAnthropic(
            api_key="each request brings its own",
            base_url=self._base_url,
            timeout=timeout,
            max_retries=0,
            open_telemetry=False,
            http_client=anthropic.DefaultAsyncHttpxClient(timeout=timeout, follow_redirects=False),
        )
        # The SDK imports its resources when they are first touched.
        _ = client.messages, client.models
        return client


async def _begin(
    client: anthropic.AsyncAnthropic, request: ProviderRequest
) -> anthropic.AsyncStream[RawMessageStreamEvent]:
    import anthropic  # noqa: PLC0415  (loaded by now, see AnthropicAdapter)

    stream: anthropic.AsyncStream[RawMessageStreamEvent]
    body = _message_body(request)
    request.on_sent(parameters_in(body))
    try:
        stream = await client.messages.create(stream=True, **body)
    except anthropic.BadRequestError as error:
        # Some models have another word for not thinking before they answer.
        if body.get("thinking") != {"type": "disabled"} or "thinking.type" not in (error.api_message or ""):
            raise
        body["thinking"] = {"type": "between_tools"}
        request.on_sent(parameters_in(body))
        stream = await client.messages.create(stream=True, **body)
    return stream


def _message_body(request: ProviderRequest) -> dict[str, Any]:
    """The request's JSON, as keyword arguments of the SDK (hence Any). What is not given is not sent."""
    parameters = request.parameters
    body: dict[str, Any] = {
        "model": request.model.id,
        "max_tokens": parameters.max_output_tokens
        or min(request.model.max_output_tokens or DEFAULT_MAX_TOKENS, DEFAULT_MAX_TOKENS),
        "messages": [{"role": "user", "content": request.prompt}],
    }
    if request.system_prompt and not request.system_prompt.isspace():
        body["system"] = request.system_prompt
    if parameters.stop_sequences:
        body["stop_sequences"] = list(parameters.stop_sequences)
    match parameters.reasoning_effort:
        case None:
            if _thinks_unasked(request.model.id):
                body["thinking"] = _THINK_ALOUD
        case ReasoningEffort.NONE:
            body["thinking"] = {"type": "disabled"}
        case effort:
            body["thinking"] = _THINK_ALOUD
            body["output_config"] = {"effort": effort.value}
    return body


def _thinks_unasked(model_id: str) -> bool:
    generation = _GENERATION.match(model_id)
    return generation is not None and int(generation[1]) >= _THINKS_FROM_GENERATION


class _MessageReader:
    """Reads the events of one message. Its counts of tokens are totals, in two events that complete each other."""

    def __init__(self, name: str, key: Secret) -> None:
        self._name = name
        self._key = key
        self._counts: dict[str, int] = {}

    def read(self, event: EventData) -> Iterator[StreamEvent]:
        match event["type"]:
            case "message_start":
                yield self._count(event["message"].get("usage"))
            case "content_block_start":
                block = event["content_block"]
                if block["type"] == "text":
                    yield TextDelta(block["text"])
                elif block["type"] == "thinking":
                    # Thoughts come in blocks; the first one has nothing to be parted from.
                    yield ReasoningDelta(("\n\n" if event["index"] else "") + block["thinking"])
            case "content_block_delta":
                delta = event["delta"]
                if delta["type"] == "text_delta":
                    yield TextDelta(delta["text"])
                elif delta["type"] == "thinking_delta":
                    yield ReasoningDelta(delta["thinking"])
            case "message_delta":
                yield self._count(event.get("usage"))
                if (reason := event["delta"].get("stop_reason")) is not None:
                    yield Finish(self._finish(reason))
            case "error":
                raise faults.reported(self._name, _fault_in(event, status=None, headers={}), key=self._key)
            case _:
                pass

    def _count(self, usage: EventData | None) -> UsageReport:
        usage = usage or {}
        names = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "output_tokens")
        counted = {name: usage.get(name) for name in names}
        counted["thinking_tokens"] = (usage.get("output_tokens_details") or {}).get("thinking_tokens")
        self._counts |= {name: count for name, count in counted.items() if isinstance(count, int) and count >= 0}
        count = self._counts.get
        cached, written = count("cache_read_input_tokens", 0), count("cache_creation_input_tokens", 0)
        return UsageReport(
            Usage(
                input_tokens=count("input_tokens", 0) + cached + written,
                cached_input_tokens=cached,
                cache_write_tokens=written,
                output_tokens=count("output_tokens", 0),
                reasoning_tokens=count("thinking_tokens", 0),
            )
        )

    def _finish(self, reason: str) -> FinishReason:
        match reason:
            case "end_turn" | "stop_sequence":
                return FinishReason.STOP
            case "max_tokens" | "model_context_window_exceeded":
                return FinishReason.LENGTH
            case "refusal":
                return FinishReason.REFUSAL
            case _:
                # A pause, or a call of a tool that was not offered: the rest of the answer will not come.
                raise faults.truncated(self._name)


def _described(info: ModelInfo, known: Model | None) -> Model:
    model = known or Model(id=info.id, name=info.id)
    parameters = {ModelParameter.MAX_OUTPUT_TOKENS, ModelParameter.STOP_SEQUENCES}
    told = info.capabilities
    if told is None:
        parameters |= model.parameters
    elif told.effort.supported and told.thinking.types.adaptive.supported:
        parameters.add(ModelParameter.REASONING_EFFORT)
    return replace(
        model,
        name=info.display_name or model.name,
        context_window=info.max_input_tokens or model.context_window,
        max_output_tokens=info.max_tokens or model.max_output_tokens,
        parameters=frozenset(parameters),
    )


def _door(name: str, key: Secret) -> Door:
    return Door(
        name=name,
        translate=lambda error, is_streaming: _translate(error, name=name, key=key, is_streaming=is_streaming),
    )


def _translate(error: Exception, *, name: str, key: Secret, is_streaming: bool) -> ProviderFailed | None:
    import anthropic  # noqa: PLC0415  (loaded by now, see AnthropicAdapter)
    import httpx2  # noqa: PLC0415  (the SDK's transport, whose errors it lets through)

    match error:
        case anthropic.APIStatusError():
            fault = _fault_in(error.body, status=error.status_code, headers=error.response.headers)
            return faults.reported(name, fault, key=key)
        case anthropic.APIConnectionError() | httpx2.HTTPError() | httpx2.StreamError():
            return faults.broken_off(name) if is_streaming else faults.unreachable(name)
        case anthropic.APIResponseValidationError() | json.JSONDecodeError() | UnicodeDecodeError():
            return faults.malformed(name)
        case _:
            return None


def _fault_in(body: object, *, status: int | None, headers: Mapping[str, str]) -> faults.ReportedFault:
    """An error object of Anthropic's shape, as an answer or as an event; a page of HTML tells nothing."""
    told: Mapping[str, object] = {}
    if isinstance(body, Mapping) and isinstance(body.get("error"), Mapping):
        told = body["error"]
    words, details = told.get("message"), told.get("details")
    kinds = (told.get("type"), details.get("error_code") if isinstance(details, Mapping) else None)
    return faults.ReportedFault(
        status=status,
        kinds=frozenset(kind for kind in kinds if isinstance(kind, str)),
        words=words if isinstance(words, str) else "",
        retry_after_seconds=faults.retry_after_seconds(headers),
    )


async def _awaited(page: Any) -> Any:
    """The SDK's paginator is awaitable without being typed as a coroutine (hence Any)."""
    return await page
