"""Anthropic's Messages protocol: the event stream of one message."""

from collections.abc import Iterator, Mapping
from typing import Any

from tests.standins.answer import Answer
from tests.standins.scenario import Failure, Fault, Finish
from tests.standins.stream import BROKEN_JSON, Dialect, Event, JsonObject, Kind, sse

STOP_REASONS = {
    Finish.STOP: "end_turn",
    Finish.LENGTH: "max_tokens",
    Finish.REFUSAL: "refusal",
    Finish.FILTERED: "refusal",
    Finish.INTERRUPTED: "pause_turn",
    Finish.CONTEXT_FULL: "model_context_window_exceeded",
}
SIGNATURE = "EqQBCgIYAhIMc3RhbmQtaW4gc2lnbmF0dXJl"


class MessageStream(Dialect):
    """message_start to message_stop: a thinking block where the model thinks, then a block of text."""

    def __init__(
        self, answer: Answer, *, headers: Mapping[str, str], failures: Mapping[Failure, tuple[int, str, str]]
    ) -> None:
        self.headers = headers
        self._answer = answer
        self._failures = failures

    def events(self) -> Iterator[Event]:
        yield self._event("message_start", message=self._message())
        index = 0
        if self._answer.thinks:
            yield from self._thinking()
            index = 1
        yield self._event("content_block_start", index=index, content_block={"type": "text", "text": ""})
        yield self._event("ping")
        for piece in self._answer.text:
            yield self._delta(index, Kind.PIECE, {"type": "text_delta", "text": piece})
        yield self._event("content_block_stop", Kind.CLOSING, index=index)
        yield self._event("message_delta", Kind.CLOSING, delta=self._stop(), usage=self._final_usage())
        yield self._event("message_stop", Kind.CLOSING)

    def _thinking(self) -> Iterator[Event]:
        block = {"type": "thinking", "thinking": "", "signature": ""}
        yield self._event("content_block_start", index=0, content_block=block)
        if self._answer.shows_thoughts:
            for thought in self._answer.thoughts:
                yield self._delta(0, Kind.THOUGHT, {"type": "thinking_delta", "thinking": thought})
        # Also where the text is omitted: the signature stands for it in the next request.
        yield self._delta(0, Kind.OPENING, {"type": "signature_delta", "signature": SIGNATURE})
        yield self._event("content_block_stop", index=0)

    def _delta(self, index: int, kind: Kind, delta: JsonObject) -> Event:
        return self._event("content_block_delta", kind, index=index, delta=delta)

    def _event(self, name: str, kind: Kind = Kind.OPENING, **data: Any) -> Event:
        return Event(kind, sse({"type": name} | data, event=name))

    def _message(self) -> JsonObject:
        counted = self._answer.usage
        usage: JsonObject = {"input_tokens": 0, "output_tokens": 0}
        if counted is not None:
            asked = counted.asked
            usage = {
                "input_tokens": asked.input_tokens - asked.cached_tokens - asked.cache_write_tokens,
                "cache_creation_input_tokens": asked.cache_write_tokens,
                "cache_read_input_tokens": asked.cached_tokens,
                "cache_creation": {
                    "ephemeral_5m_input_tokens": asked.cache_write_tokens,
                    "ephemeral_1h_input_tokens": 0,
                },
                "output_tokens": min(counted.output, 1),
                "service_tier": "standard",
                "inference_geo": "global",
            }
        return {
            "id": f"msg_standin{self._answer.request_number:06}",
            "type": "message",
            "role": "assistant",
            "model": self._answer.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "stop_details": None,
            "usage": usage,
        }

    def _stop(self) -> JsonObject:
        finish = self._answer.finish
        details = None
        if STOP_REASONS[finish] == "refusal":
            category = "cyber" if finish is Finish.FILTERED else None
            details = {"type": "refusal", "category": category, "explanation": None}
        return {"stop_reason": STOP_REASONS[finish], "stop_sequence": None, "stop_details": details}

    def _final_usage(self) -> JsonObject:
        counted = self._answer.usage
        if counted is None:
            return {"output_tokens": 0}
        # Totals of the whole message, not what was added since message_start.
        return {
            "output_tokens": counted.output,
            "output_tokens_details": {"thinking_tokens": counted.reasoning},
        }

    def heartbeat(self) -> bytes:
        return sse({"type": "ping"}, event="ping")

    def broken(self) -> bytes:
        return sse(BROKEN_JSON, event="content_block_delta")

    def error(self, fault: Fault, failure: Failure) -> bytes:
        _, type_, message = self._failures[failure]
        return sse({"type": "error", "error": {"type": type_, "message": message, "details": None}}, event="error")
