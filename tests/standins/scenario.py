"""What a stand-in AI provider does with one request: the answer it writes and the way it fails."""

import asyncio
from dataclasses import dataclass, field, replace
from enum import StrEnum

# Every kind of block a reader of an answer meets. The pieces are cut without regard to words, as tokens are.
DEFAULT_ANSWER = """\
# A short answer 🚀

Here is what you asked for, in **three** steps:

- read the question
- think about it *for a moment* 🤔
- write the answer down

```python
def greet(name: str) -> str:
    return f"Hello, {name}!"
```

| Step | Minutes |
| ---- | ------: |
| Read | 1 |
| Write | 2 |

> It is only a stand-in, naïve but quick ✅

See [the notes](https://example.com/notes) for more.
"""
DEFAULT_PIECE_LENGTH = 10
DEFAULT_REASONING = ("The user wants ", "an answer. ", "I will keep it ", "short.")


def cut(text: str, length: int = DEFAULT_PIECE_LENGTH) -> tuple[str, ...]:
    """Cuts a text into pieces of so many characters."""
    return tuple(text[start : start + length] for start in range(0, len(text), length))


DEFAULT_TEXT = cut(DEFAULT_ANSWER)


class Gate:
    """
    Lets the pieces of answers pass when a test says so, in place of a pace that a busy machine would not keep.

    Any thread may open it.
    """

    _POLL_SECONDS = 0.005

    def __init__(self, pieces: int = 0) -> None:
        self._left: float = pieces

    def open(self, pieces: int | None = None) -> None:
        """Lets so many more pieces pass, or all there will ever be."""
        self._left += float("inf") if pieces is None else pieces

    async def passed(self) -> None:
        """Returns when one more piece may pass."""
        while self._left < 1:  # noqa: ASYNC110  (an Event belongs to one loop)
            await asyncio.sleep(self._POLL_SECONDS)
        self._left -= 1


class Failure(StrEnum):
    """An error a provider reports; each stand-in words it as its provider does."""

    BAD_REQUEST = "bad-request"
    CONTEXT_TOO_LONG = "context-too-long"
    INVALID_KEY = "invalid-key"
    OUT_OF_CREDIT = "out-of-credit"
    FORBIDDEN = "forbidden"
    UNKNOWN_MODEL = "unknown-model"
    RATE_LIMITED = "rate-limited"
    SERVER_ERROR = "server-error"
    UNAVAILABLE = "unavailable"
    OVERLOADED = "overloaded"
    # 502 with a page of HTML: written by something between us and the provider.
    BAD_GATEWAY = "bad-gateway"


class Finish(StrEnum):
    """Why a complete answer ends."""

    STOP = "stop"
    LENGTH = "length"
    REFUSAL = "refusal"
    FILTERED = "filtered"
    # DeepSeek's insufficient_system_resource, Anthropic's pause_turn.
    INTERRUPTED = "interrupted"
    # Anthropic's model_context_window_exceeded.
    CONTEXT_FULL = "context-full"


class Fault(StrEnum):
    """A way in which a stream goes wrong after `fault_after` pieces of text (0: before the first one)."""

    # Not even response headers arrive.
    HANG = "hang"
    # 200, but the body is a page of HTML.
    NOT_A_STREAM = "not-a-stream"
    # Nothing more arrives, the connection stays open.
    STALL = "stall"
    # As STALL, but comments or pings go on: no read timeout notices.
    STALL_ALIVE = "stall-alive"
    # The connection closes in the middle of the body.
    DISCONNECT = "disconnect"
    # As DISCONNECT, by a TCP reset.
    RESET = "reset"
    # The body ends in good order, but without the events that end an answer.
    TRUNCATE = "truncate"
    # An event whose data is not JSON; the stream goes on after it.
    BAD_JSON = "bad-json"
    # An error event as it is seen on the wire, then the end. `failure` says which error.
    ERROR_EVENT = "error-event"
    # The same with the shape OpenAI documents for the Responses API; elsewhere it equals ERROR_EVENT.
    DOCUMENTED_ERROR_EVENT = "documented-error-event"
    # The Responses API's response.failed; elsewhere it equals ERROR_EVENT.
    RESPONSE_FAILED = "response-failed"


_BEFORE_STREAM = frozenset({Fault.HANG, Fault.NOT_A_STREAM})


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens to report. `input_tokens` is the total including cache; None counts one token a piece."""

    input_tokens: int = 25
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int | None = None
    reasoning_tokens: int | None = None

    def __post_init__(self) -> None:
        if self.cached_tokens + self.cache_write_tokens > self.input_tokens:
            raise ValueError("cached tokens are part of input_tokens")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """
    One request's fate.

    - `failure` without `fault`: the request is answered by that error (with `retry_after` as its Retry-After).
    - `fault`: the stream starts and goes wrong; with the error events, `failure` says which error they carry.
    - neither: the answer is written to its end, for the reason `finish`.

    Reasoning is sent only where the provider would send it: when the request asks for it (or, for DeepSeek, does not
    switch it off). `usage=None` reports no usage at all.
    """

    text: tuple[str, ...] = DEFAULT_TEXT
    reasoning: tuple[str, ...] = DEFAULT_REASONING
    finish: Finish = Finish.STOP
    usage: Usage | None = field(default_factory=Usage)
    piece_delay_seconds: float = 0.0
    heartbeat_seconds: float = 0.05
    # One byte a write, so that characters and events arrive in parts.
    bytewise: bool = False
    fault: Fault | None = None
    fault_after: int = 0
    failure: Failure | None = None
    retry_after: str | None = None
    # What each piece of text waits for.
    gate: Gate | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.fault_after <= len(self.text):
            raise ValueError(f"fault_after={self.fault_after}, but the answer has {len(self.text)} pieces")
        if self.fault in _BEFORE_STREAM and self.fault_after:
            raise ValueError(f"{self.fault} happens before any piece")
        if self.retry_after is not None and self.failure is None:
            raise ValueError("retry_after goes with a failure")

    @property
    def answer(self) -> str:
        """The whole text."""
        return "".join(self.text)


def by_name(*, piece_delay_seconds: float = 0.0) -> dict[str, Scenario]:
    """Scenarios a prompt can ask for by `standin:NAME`, for trials by hand and for tests with concurrent requests."""
    delay = piece_delay_seconds
    named = {
        "slow": Scenario(piece_delay_seconds=max(delay * 10, 0.2)),
        "bytewise": Scenario(bytewise=True, piece_delay_seconds=delay),
        "long": Scenario(text=cut(DEFAULT_ANSWER * 50), piece_delay_seconds=delay),
        "no-usage": Scenario(usage=None, piece_delay_seconds=delay),
        "rate-limited-for-long": Scenario(failure=Failure.RATE_LIMITED, retry_after="3600"),
        "rate-limited-at-once": Scenario(failure=Failure.RATE_LIMITED),
        "endless": Scenario(text=("word ",) * 10_000, piece_delay_seconds=max(delay, 0.05)),
    }
    for fault in Fault:
        # Before any token: nothing of the answer, and nothing of the thinking.
        named[f"early-{fault.value}"] = Scenario(fault=fault, reasoning=())
    for finish in Finish:
        named[finish.value] = Scenario(finish=finish, piece_delay_seconds=delay)
    for fault in Fault:
        after = 0 if fault in _BEFORE_STREAM else 10
        named[fault.value] = Scenario(fault=fault, fault_after=after, piece_delay_seconds=delay)
    # Often enough for whoever asks by name, and next to nothing to do where many are asked for at a time.
    for name in ("stall-alive", "early-stall-alive"):
        named[name] = replace(named[name], heartbeat_seconds=1.0)
    for failure in Failure:
        retry_after = "3" if failure is Failure.RATE_LIMITED else None
        named[failure.value] = Scenario(failure=failure, retry_after=retry_after)
    return named
