"""The Chat Completions protocol, as OpenAI speaks it and as DeepSeek does."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from tests.standins.answer import Answer
from tests.standins.scenario import Failure, Fault, Finish
from tests.standins.server import ApiError
from tests.standins.stream import BROKEN_JSON, Dialect, Event, JsonObject, Kind, sse

CREATED = 1_793_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAIError:
    """An error in OpenAI's shape, which DeepSeek shares."""

    status: int
    message: str
    type: str = "invalid_request_error"
    param: str | None = None
    code: str | None = None

    def body(self) -> JsonObject:
        return {"message": self.message, "type": self.type, "param": self.param, "code": self.code}

    def refusal(self, headers: Mapping[str, str] | None = None) -> ApiError:
        return ApiError(self.status, {"error": self.body()}, headers)


class ChatStream(Dialect):
    """A stream of chat.completion.chunk objects, closed by [DONE]."""

    finish_reasons: ClassVar[Mapping[Finish, str]]

    def __init__(self, answer: Answer, *, include_usage: bool, failures: Mapping[Failure, OpenAIError]) -> None:
        self.answer = answer
        self.include_usage = include_usage
        self._failures = failures

    def events(self) -> Iterator[Event]:
        yield Event(Kind.OPENING, self.chunk(self.first_delta()))
        if self.answer.shows_thoughts:
            for thought in self.answer.thoughts:
                yield Event(Kind.THOUGHT, self.chunk(self.thought_delta(thought)))
        for piece in self.answer.text:
            yield Event(Kind.PIECE, self.chunk(self.text_delta(piece)))
        yield from self.closing()
        yield Event(Kind.CLOSING, sse("[DONE]"))

    def closing(self) -> Iterator[Event]:
        """The last chunks: finish reason, then usage where it is asked for, in a chunk without choices."""
        yield Event(Kind.CLOSING, self.chunk(self.last_delta(), finish=self.finish_reasons[self.answer.finish]))
        if self.include_usage and (usage := self.usage()) is not None:
            yield Event(Kind.CLOSING, sse(self.envelope() | {"choices": [], "usage": usage}))

    def chunk(self, delta: JsonObject, *, finish: str | None = None, **more: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        usage = {"usage": None} if self.include_usage else {}
        return sse(self.envelope() | {"choices": [choice]} | usage | more)

    def envelope(self) -> JsonObject:
        return {
            "id": f"chatcmpl-standin{self.answer.request_number:06}",
            "object": "chat.completion.chunk",
            "created": CREATED,
            "model": self.answer.model,
            "system_fingerprint": None,
        }

    def first_delta(self) -> JsonObject:
        return {"role": "assistant", "content": ""}

    def thought_delta(self, thought: str) -> JsonObject:
        raise NotImplementedError

    def text_delta(self, piece: str) -> JsonObject:
        return {"content": piece}

    def last_delta(self) -> JsonObject:
        return {}

    def usage(self) -> JsonObject | None:
        counted = self.answer.usage
        if counted is None:
            return None
        return {
            "prompt_tokens": counted.asked.input_tokens,
            "completion_tokens": counted.output,
            "total_tokens": counted.total,
            "prompt_tokens_details": {"cached_tokens": counted.asked.cached_tokens},
            "completion_tokens_details": {"reasoning_tokens": counted.reasoning},
        }

    def heartbeat(self) -> bytes:
        return b": keep-alive\n\n"

    def broken(self) -> bytes:
        return sse(BROKEN_JSON)

    def error(self, fault: Fault, failure: Failure) -> bytes:
        return sse({"error": self._failures[failure].body()})
