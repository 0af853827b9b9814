"""OpenAI, by its Responses API, and the Chat Completions that others speak too: all that uses the SDK openai."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import urlsplit

from domain.errors import ProviderFailed, ProviderFailureReason
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
from integrations.endpoint_guard import EndpointRefused
from integrations.event_stream import EventData
from integrations.provider_stream import Deadlines, Door, parameters_in, playing

if TYPE_CHECKING:
    import httpx2
    import openai
    from openai.types.responses import ResponseStreamEvent

NewHttpClient: TypeAlias = "Callable[[openai.Timeout], httpx2.AsyncClient]"

BASE_URL: Final = "https://api.openai.com/v1"
_NO_KEY: Final = "each request brings its own"
_MAX_WRAPPINGS: Final = 8
_NOTHING: Final[EventData] = {}
# The list of models names everything that an account may use. These families write text in the Responses API ...
_WRITES: Final = re.compile(r"(ft:)?(gpt-\d|chatgpt-|codex-|o\d)")
# ... except for these relatives of theirs, which hear, speak, draw, search or rank, or know only older protocols.
_WRITES_NOT: Final = re.compile(
    r"audio|realtime|transcribe|translate|whisper|tts|image|dall-e|sora|video|live|embedding|moderation"
    r"|search|deep-research|computer-use|instruct|babbage|davinci|rerank"
)
_SNAPSHOT_DATE: Final = re.compile(r"-20\d\d-\d\d-\d\d$")


class OpenAIConnection:
    """The SDK with one pool of connections, for every provider that speaks one of OpenAI's protocols."""

    def __init__(
        self, *, base_url: str, timeouts: StreamTimeouts, new_http_client: NewHttpClient | None = None
    ) -> None:
        self.timeouts: Final = timeouts
        self._base_url = base_url
        self._new_http_client = new_http_client
        self._client: openai.AsyncOpenAI | None = None
        self._loading = asyncio.Lock()

    async def warm_up(self) -> None:
        """Imports the SDK, which takes seconds, in a thread; otherwise the first request does so."""
        await self._root()

    async def aclose(self) -> None:
        """Closes the connections."""
        if self._client is not None:
            await self._client.close()

    async def client(self, provider: Provider, key: Secret | None) -> openai.AsyncOpenAI:
        """A client with this key and the provider's own endpoint, on the shared pool. See `_headers_for`."""
        import httpx2  # noqa: PLC0415  (the SDK's transport)

        base_url = faults.checked_endpoint(provider.name, provider.api_endpoint or self._base_url)
        root = await self._root()
        try:
            client = root.with_options(api_key=_NO_KEY if key is None else key.reveal(), base_url=base_url)
        except httpx2.InvalidURL:
            # Such as https://0177.0.0.1, which other programs take for an address.
            raise faults.no_address(provider.name) from None
        # The SDK reads these from its own environment variables, whosever key it is and whatever server it talks to.
        client.organization = client.project = None
        client._custom_headers = {}
        return client

    def door(self, provider: Provider, key: Secret | None) -> Door:
        """Where the SDK's errors become ProviderFailed."""
        return Door(
            name=provider.name,
            translate=lambda error, is_streaming: _translate(
                error, name=provider.name, key=key, is_streaming=is_streaming
            ),
        )

    async def list_model_ids(self, provider: Provider, key: Secret | None) -> list[str]:
        """What the provider's endpoint lists, newest first where it tells."""
        client = await self.client(provider, key)
        listing = self.door(provider, key).through(_awaited(client.models.list(extra_headers=_headers_for(key))))
        try:
            page = await Deadlines(provider.name, self.timeouts).wait(listing)
            models = sorted(page.data, key=lambda model: getattr(model, "created", None) or 0, reverse=True)
            return [model.id for model in models if isinstance(model.id, str)]
        except (AttributeError, TypeError) as error:
            raise faults.malformed(provider.name) from error

    async def _root(self) -> openai.AsyncOpenAI:
        async with self._loading:
            if self._client is None:
                self._client = await asyncio.to_thread(self._load)
            return self._client

    def _load(self) -> openai.AsyncOpenAI:
        # Here and not at the top: the import takes 0.5-1.6 s of CPU, and not every server has a key for this provider.
        import openai  # noqa: PLC0415  (see above)

        # At DEBUG it would log more of a request than anybody should read.
        logging.getLogger("openai").setLevel(logging.WARNING)
        timeout = openai.Timeout(
            # Silence is measured in tokens by provider_stream.Deadlines, not in bytes here.
            None,
            connect=self.timeouts.connect_seconds,
            pool=self.timeouts.connect_seconds,
            write=self.timeouts.first_token_seconds,
        )
        client = openai.AsyncOpenAI(
            api_key=_NO_KEY,
            base_url=self._base_url,
            timeout=timeout,
            max_retries=0,
            http_client=(self._new_http_client or _default_http_client)(timeout),
        )
        # The SDK imports its resources when they are first touched.
        _ = client.responses, client.chat.completions, client.models
        return client


def _headers_for(key: Secret | None) -> Mapping[str, str | openai.Omit] | None:
    """What a request needs beside the client's own headers: without a key, that it claims none."""
    import openai  # noqa: PLC0415  (loaded by now, see OpenAIConnection)

    return {"Authorization": openai.Omit()} if key is None else None


def _default_http_client(timeout: openai.Timeout) -> httpx2.AsyncClient:
    import openai  # noqa: PLC0415  (loaded by now, see OpenAIConnection)

    return openai.DefaultAsyncHttpxClient(timeout=timeout, follow_redirects=False)


def _translate(error: Exception, *, name: str, key: Secret | None, is_streaming: bool) -> ProviderFailed | None:
    import httpx2  # noqa: PLC0415  (the SDK's transport, from which the stream is read)
    import openai  # noqa: PLC0415  (loaded by now, see OpenAIConnection)

    if (refused := _refusal_behind(error)) is not None:
        return faults.refused(name, str(refused))
    match error:
        case openai.APIStatusError():
            fault = _fault_of(error.body, status=error.status_code, headers=error.response.headers)
            return faults.reported(name, fault, key=key)
        case openai.APIConnectionError() | httpx2.HTTPError() | httpx2.StreamError():
            return faults.broken_off(name) if is_streaming else faults.unreachable(name)
        case openai.APIResponseValidationError() | json.JSONDecodeError() | UnicodeDecodeError():
            return faults.malformed(name)
        case _:
            return None


def _refusal_behind(error: BaseException | None) -> EndpointRefused | None:
    """The guard's word, under what the transport and the SDK have wrapped around it."""
    for _ in range(_MAX_WRAPPINGS):
        if error is None or isinstance(error, EndpointRefused):
            return error
        error = error.__cause__
    return None


class OpenAIAdapter:
    """OpenAI's own models, and servers that offer its Responses API."""

    def __init__(self, base_url: str | None, timeouts: StreamTimeouts) -> None:
        self._base_url = base_url or BASE_URL
        self._connection = OpenAIConnection(base_url=self._base_url, timeouts=timeouts)

    async def warm_up(self) -> None:
        """See OpenAIConnection."""
        await self._connection.warm_up()

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._connection.aclose()

    async def models(self, provider: Provider, key: Secret | None) -> tuple[Model, ...]:
        """The text models; at OpenAI itself only the families that are known to be some."""
        ids = await self._connection.list_model_ids(provider, faults.checked_key(provider.name, key))
        host = urlsplit(provider.api_endpoint or self._base_url).hostname or ""
        return described(
            [id_ for id_ in ids if writes_text(id_, at_openai=host.endswith(".openai.com"))], provider.models
        )

    @asynccontextmanager
    async def stream(
        self, provider: Provider, key: Secret | None, request: ProviderRequest
    ) -> AsyncIterator[AsyncIterator[StreamEvent]]:
        """A response that OpenAI does not store."""
        key = faults.checked_key(provider.name, key)
        if request.parameters.stop_sequences:
            raise faults.untakeable(provider.name, "stop sequences")
        client = await self._connection.client(provider, key)
        reader = _ResponseReader(provider.name, key)
        async with playing(
            lambda: _begin_response(client, request),
            read=reader.read,
            door=self._connection.door(provider, key),
            timeouts=self._connection.timeouts,
        ) as events:
            yield events


def writes_text(model_id: str, *, at_openai: bool) -> bool:
    """Whether the model answers with text; other servers give their models names of their own."""
    return not _WRITES_NOT.search(model_id) and (not at_openai or _WRITES.match(model_id) is not None)


def described(model_ids: list[str], known: tuple[Model, ...]) -> tuple[Model, ...]:
    """The listed models: those that are known first, in their order, with all that is known of them.

    A dated snapshot is described as the model that it is a snapshot of.
    """
    by_id = {model.id: model for model in known}
    rank = {model.id: number for number, model in enumerate(known)}
    models = [
        replace(by_id[family], id=model_id, name=by_id[family].name if family == model_id else model_id)
        if (family := model_id if model_id in by_id else _SNAPSHOT_DATE.sub("", model_id)) in by_id
        else Model(id=model_id, name=model_id)
        for model_id in dict.fromkeys(model_ids)
    ]
    return tuple(sorted(models, key=lambda model: rank.get(model.id, len(rank))))


@asynccontextmanager
async def chat_stream(
    connection: OpenAIConnection, provider: Provider, key: Secret | None, body: Mapping[str, Any]
) -> AsyncIterator[AsyncIterator[StreamEvent]]:
    """The answer to a request for a chat completion; `body` is its JSON without what makes it a stream."""
    client = await connection.client(provider, key)
    reader = _ChatReader(provider.name, key)
    async with playing(
        lambda: client.chat.completions.create(
            stream=True, stream_options={"include_usage": True}, extra_headers=_headers_for(key), **body
        ),
        read=reader.read,
        door=connection.door(provider, key),
        timeouts=connection.timeouts,
    ) as events:
        yield events


def chat_body(request: ProviderRequest) -> dict[str, Any]:
    """What all that speak Chat Completions understand, as keyword arguments of the SDK (hence Any)."""
    parameters = request.parameters
    messages = [{"role": "user", "content": request.prompt}]
    if request.system_prompt:
        messages.insert(0, {"role": "system", "content": request.system_prompt})
    body: dict[str, Any] = {"model": request.model.id, "messages": messages}
    if parameters.max_output_tokens is not None:
        body["max_tokens"] = parameters.max_output_tokens
    if parameters.temperature is not None:
        body["temperature"] = parameters.temperature
    if parameters.stop_sequences:
        body["stop"] = list(parameters.stop_sequences)
    return body


def _response_body(request: ProviderRequest) -> dict[str, Any]:
    """The request's JSON: any that the SDK takes as keyword arguments (hence Any). What is not given is not sent."""
    parameters = request.parameters
    body: dict[str, Any] = {"model": request.model.id, "input": request.prompt, "store": False}
    if request.system_prompt:
        body["instructions"] = request.system_prompt
    if parameters.max_output_tokens is not None:
        body["max_output_tokens"] = parameters.max_output_tokens
    if parameters.temperature is not None:
        body["temperature"] = parameters.temperature
    reasoning: dict[str, str] = {}
    if parameters.reasoning_effort is not None:
        reasoning["effort"] = parameters.reasoning_effort.value
    thinks = parameters.reasoning_effort or ModelParameter.REASONING_EFFORT in request.model.parameters
    if thinks and parameters.reasoning_effort is not ReasoningEffort.NONE:
        reasoning["summary"] = "auto"
    if reasoning:
        body["reasoning"] = reasoning
    return body


async def _begin_response(
    client: openai.AsyncOpenAI, request: ProviderRequest
) -> openai.AsyncStream[ResponseStreamEvent]:
    import openai  # noqa: PLC0415  (loaded by now, see OpenAIConnection)

    stream: openai.AsyncStream[ResponseStreamEvent]
    body = _response_body(request)
    request.on_sent(parameters_in(body))
    try:
        stream = await client.responses.create(stream=True, **body)
    except openai.BadRequestError as error:
        # Summaries are for organisations that have shown who they are; the answer is for all.
        if error.param != "reasoning.summary" or "summary" not in body.get("reasoning", {}):
            raise
        effort = {name: value for name, value in body["reasoning"].items() if name != "summary"}
        body = {name: value for name, value in body.items() if name != "reasoning"}
        if effort:
            body["reasoning"] = effort
        request.on_sent(parameters_in(body))
        stream = await client.responses.create(stream=True, **body)
    return stream


class _ResponseReader:
    """Reads the events of one response."""

    def __init__(self, name: str, key: Secret) -> None:
        self._name = name
        self._key = key
        self._is_refused = False

    def read(self, event: EventData) -> Iterator[StreamEvent]:
        match event["type"]:
            case "response.output_text.delta":
                yield TextDelta(event["delta"])
            case "response.refusal.delta":
                self._is_refused = True
                yield TextDelta(event["delta"])
            case "response.reasoning_summary_text.delta" | "response.reasoning_text.delta":
                yield ReasoningDelta(event["delta"])
            case "response.reasoning_summary_part.added":
                if event["summary_index"]:
                    yield ReasoningDelta("\n\n")
            case "response.completed":
                yield from _response_usage(event["response"])
                yield Finish(FinishReason.REFUSAL if self._is_refused else FinishReason.STOP)
            case "response.incomplete":
                yield from _response_usage(event["response"])
                yield Finish(self._incomplete(event["response"]))
            case "response.failed":
                yield from _response_usage(event["response"])
                raise _failed_inside(self._name, event["response"].get("error"), key=self._key)
            case "error":
                raise _failed_inside(self._name, event.get("error") or event, key=self._key)

    def _incomplete(self, response: EventData) -> FinishReason:
        match (response.get("incomplete_details") or {}).get("reason"):
            case "max_output_tokens":
                return FinishReason.LENGTH
            case "content_filter":
                return FinishReason.REFUSAL
            case _:
                raise faults.truncated(self._name)


class _ChatReader:
    """Reads the chunks of one chat completion. Thinking is no part of OpenAI's protocol, and has several names."""

    def __init__(self, name: str, key: Secret | None) -> None:
        self._name = name
        self._key = key
        self._is_refused = False

    def read(self, chunk: EventData) -> Iterator[StreamEvent]:
        if error := chunk.get("error"):
            raise _failed_inside(self._name, error, key=self._key)
        if usage := chunk.get("usage"):
            yield UsageReport(_chat_usage(usage))
        # The last chunk has none (or null, from some servers); a second choice is never asked for.
        for choice in (chunk.get("choices") or ())[:1]:
            delta = choice.get("delta") or _NOTHING
            if reasoning := delta.get("reasoning_content") or delta.get("reasoning"):
                yield ReasoningDelta(reasoning)
            if refusal := delta.get("refusal"):
                self._is_refused = True
                yield TextDelta(refusal)
            if content := delta.get("content"):
                yield TextDelta(content)
            if reason := choice.get("finish_reason"):
                yield Finish(self._finish(reason))

    def _finish(self, reason: str) -> FinishReason:
        match reason:
            case "stop":
                return FinishReason.REFUSAL if self._is_refused else FinishReason.STOP
            case "length":
                return FinishReason.LENGTH
            case "content_filter":
                return FinishReason.REFUSAL
            case "insufficient_system_resource":
                raise faults.failed(
                    ProviderFailureReason.OVERLOADED,
                    f"{self._name} ran out of capacity in the middle of the answer. Try again in a little while.",
                )
            case _:
                raise faults.truncated(self._name)


def _response_usage(response: EventData) -> Iterator[StreamEvent]:
    if usage := response.get("usage"):
        cached, reasoning = usage.get("input_tokens_details"), usage.get("output_tokens_details")
        yield UsageReport(
            Usage(
                input_tokens=_count(usage, "input_tokens"),
                cached_input_tokens=_count(cached, "cached_tokens"),
                cache_write_tokens=_count(cached, "cache_write_tokens"),
                output_tokens=_count(usage, "output_tokens"),
                reasoning_tokens=_count(reasoning, "reasoning_tokens"),
            )
        )


def _chat_usage(usage: EventData) -> Usage:
    cached = _count(usage, "prompt_cache_hit_tokens") or _count(usage.get("prompt_tokens_details"), "cached_tokens")
    return Usage(
        input_tokens=_count(usage, "prompt_tokens"),
        cached_input_tokens=cached,
        output_tokens=_count(usage, "completion_tokens"),
        reasoning_tokens=_count(usage.get("completion_tokens_details"), "reasoning_tokens"),
    )


def _count(usage: EventData | None, name: str) -> int:
    """A count of tokens that may be missing: compatible servers leave much of it out."""
    count = (usage or _NOTHING).get(name)
    return count if isinstance(count, int) and count > 0 else 0


def _failed_inside(name: str, error: object, *, key: Secret | None) -> ProviderFailed:
    """An error in the middle of a stream."""
    return faults.reported(name, _fault_of(error, status=None, headers={}), key=key)


async def _awaited(page: Any) -> Any:
    """The SDK's paginator is awaitable without being typed as a coroutine (hence Any)."""
    return await page


def _fault_of(body: object, *, status: int | None, headers: Mapping[str, str]) -> faults.ReportedFault:
    """An error object of OpenAI's shape; a page of HTML tells nothing."""
    told = body if isinstance(body, Mapping) else {}
    words = told.get("message")
    return faults.ReportedFault(
        status=status,
        kinds=frozenset(kind for name in ("code", "type") if isinstance(kind := told.get(name), str)),
        words=words if isinstance(words, str) else "",
        retry_after_seconds=faults.retry_after_seconds(headers),
    )
