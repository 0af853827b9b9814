"""What the streams of all providers share: deadlines, whole characters, and an end that the provider itself tells."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias, TypeVar, assert_never

from domain.errors import ProviderFailed, ProviderFailureReason
from domain.provider import Finish, ReasoningDelta, StreamEvent, TextDelta, Usage, UsageReport
from domain.stream_timeouts import StreamTimeouts
from integrations.event_stream import EventData, EventReader
from integrations.provider_faults import failed, malformed, truncated

T = TypeVar("T")

Read: TypeAlias = Callable[[EventData], Iterable[StreamEvent]]

# After the provider's last word only usage and the end of the connection's turn can follow.
TAIL_SECONDS: Final = 2.0
CLOSE_SECONDS: Final = 5.0
# More than any model reads or writes, and little enough for whatever adds up, stores or shows it.
MAX_TOKENS: Final = 100_000_000
# What code that reads a provider's data raises when it is not what it should be: the SDKs check nothing of it.
_NONSENSE: Final = (AssertionError, AttributeError, IndexError, KeyError, TypeError, ValueError)
_NOT_PARAMETERS: Final = frozenset({"model", "input", "instructions", "messages", "system"})
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


class HttpResponse(Protocol):
    """As much of an HTTP response as is looked at."""

    @property
    def headers(self) -> Mapping[str, str]: ...
    def aiter_bytes(self) -> AsyncIterator[bytes]: ...


class Source(Protocol):
    """A stream as the SDKs offer it, on their own transport; the events in it are read here (see event_stream)."""

    @property
    def response(self) -> HttpResponse: ...
    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """Where an SDK's errors become ours.

    `translate` gets the error and whether the answer had begun; it returns None for what is no fault of the provider.
    The failure is raised without a chain: the SDK's error holds the request with its key and prompt, and the provider's
    own words. Its type and the request's id are kept as a note, for the log.
    """

    name: str
    translate: Callable[[Exception, bool], ProviderFailed | None]

    async def through(self, awaitable: Awaitable[T], *, is_streaming: bool = False) -> T:
        """What is awaited. Raises ProviderFailed."""
        try:
            return await awaitable
        except Exception as error:
            failure = self.translate(error, is_streaming)
            if failure is None and is_streaming and isinstance(error, _NONSENSE):
                failure = malformed(self.name)
            if failure is None:
                raise
            failure.add_note(_trace_of(error))
        # Outside the handler, so that it has no __context__ either.
        raise failure


def parameters_in(body: Mapping[str, object]) -> dict[str, object]:
    """What a request's JSON holds besides model and texts; `extra_body` is how an SDK sends what it does not know."""
    named = {name: value for name, value in body.items() if name not in _NOT_PARAMETERS}
    extra = named.pop("extra_body", None)
    return {**named, **extra} if isinstance(extra, Mapping) else named


class Deadlines:
    """The deadlines of one request to the provider `name`, running from now on."""

    def __init__(self, name: str, timeouts: StreamTimeouts) -> None:
        self._name = name
        self._timeouts = timeouts
        self._end = asyncio.get_running_loop().time() + timeouts.total_seconds
        self._allowed_seconds: float | None = timeouts.first_token_seconds
        self._next = self._end
        self._missed = f"{name} did not begin to answer within {timeouts.first_token_seconds:g} s. Try again."

    async def wait(self, awaitable: Awaitable[T]) -> T:
        """What is awaited. Raises ProviderFailed at the deadline that comes first."""
        if self._allowed_seconds is not None:
            self._next = asyncio.get_running_loop().time() + self._allowed_seconds
            self._allowed_seconds = None
        deadline = asyncio.timeout_at(min(self._next, self._end))
        try:
            async with deadline:
                return await awaitable
        except TimeoutError:
            if not deadline.expired():
                raise
        raise failed(ProviderFailureReason.TIMEOUT, self._missed if self._next <= self._end else self._too_long())

    def token(self) -> None:
        """Characters have come; the next ones are due so long after the next `wait` begins."""
        self._allowed_seconds = self._timeouts.idle_seconds
        self._missed = (
            f"{self._name} fell silent for {self._timeouts.idle_seconds:g} s in the middle of the answer. Try again."
        )

    def tail(self) -> None:
        """The answer is whole."""
        self._allowed_seconds = TAIL_SECONDS

    def _too_long(self) -> str:
        return (
            f"The answer was not whole after {self._timeouts.total_seconds:g} s. Ask for a shorter one, or try again."
        )


@asynccontextmanager
async def playing(
    begin: Callable[[], Awaitable[Source]],
    *,
    read: Read,
    door: Door,
    timeouts: StreamTimeouts,
) -> AsyncIterator[AsyncIterator[StreamEvent]]:
    """Sends the request (`begin`), and yields the events that `read` makes of the provider's.

    Leaving the context closes the provider's stream, whatever the reason.
    """
    deadlines = Deadlines(door.name, timeouts)
    source = await deadlines.wait(door.through(begin()))
    try:
        async with aclosing(_events(source, read=read, door=door, deadlines=deadlines)) as events:
            yield events
    finally:
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await source.close()


async def _events(source: Source, *, read: Read, door: Door, deadlines: Deadlines) -> AsyncGenerator[StreamEvent, None]:
    if source.response.headers.get("content-type", "").partition(";")[0].strip().lower() != "text/event-stream":
        raise malformed(door.name)
    text, reasoning = _WholeCharacters(), _WholeCharacters()
    finish: Finish | None = None
    reader = EventReader()
    parts = aiter(source.response.aiter_bytes())
    try:
        while (part := await deadlines.wait(door.through(anext(parts, None), is_streaming=True))) is not None:
            for item in _read(reader.feed(part), read, door.name):
                if isinstance(item, Finish):
                    finish = item
                    deadlines.tail()
                elif (shown := _shown(item, text, reasoning)) is not None:
                    if not isinstance(shown, UsageReport):
                        deadlines.token()
                    yield shown
            if reader.is_done and finish is None:
                break
    except ProviderFailed:
        # What goes wrong after the provider's word that the answer is whole takes nothing away from it.
        if finish is None:
            raise
    if finish is None:
        raise truncated(door.name) if reader.has_begun else malformed(door.name)
    if rest := text.rest():
        yield TextDelta(rest)
    yield finish


def _shown(
    item: TextDelta | ReasoningDelta | UsageReport, text: _WholeCharacters, reasoning: _WholeCharacters
) -> StreamEvent | None:
    """The event as the reader gets it; None for one that says nothing."""
    match item:
        case TextDelta(delta):
            whole = text.take(delta)
            return TextDelta(whole) if whole else None
        case ReasoningDelta(delta):
            whole = reasoning.take(delta)
            return ReasoningDelta(whole) if whole else None
        case UsageReport(usage):
            return item if _is_counted(usage) else None
        case _:
            assert_never(item)


def _is_counted(usage: Usage) -> bool:
    """No answer is made of no tokens, or of more than any model can have taken: then nothing is known of them."""
    counted = max(usage.input_tokens, usage.output_tokens)
    parts = max(usage.cached_input_tokens, usage.cache_write_tokens, usage.reasoning_tokens)
    return counted > 0 and max(counted, parts) <= MAX_TOKENS


def _read(events: Iterable[EventData], read: Read, name: str) -> Iterator[StreamEvent]:
    try:
        for event in events:
            for item in read(event):
                if isinstance(item, TextDelta | ReasoningDelta) and not isinstance(item.text, str):
                    raise TypeError("a text that is none")
                yield item
        return
    except _NONSENSE:
        pass
    # Outside the handler: what could not be read may hold words of the answer.
    raise malformed(name)


class _WholeCharacters:
    """Joins the halves of a surrogate pair: JSON may write a character as two escapes, and split it between deltas."""

    def __init__(self) -> None:
        self._held = ""

    def take(self, text: str) -> str:
        """What is whole of the text so far and was not taken yet; a half without its other half becomes U+FFFD."""
        text = self._held + text
        self._held = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
        return _paired(text.removesuffix(self._held))

    def rest(self) -> str:
        """What will not become whole any more."""
        return _paired(self._held)


def _paired(text: str) -> str:
    if not _SURROGATE.search(text):
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _trace_of(error: Exception) -> str:
    status, request_id = getattr(error, "status_code", None), getattr(error, "request_id", None)
    return f"{type(error).__name__}, HTTP status {status}, request id {request_id}"
