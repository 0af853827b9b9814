"""OpenAI's Responses protocol: the event stream of one response."""

from collections.abc import Iterator, Mapping
from typing import Any

from tests.standins.answer import Answer
from tests.standins.chat import CREATED, OpenAIError
from tests.standins.scenario import Failure, Fault, Finish
from tests.standins.stream import BROKEN_JSON, Dialect, Event, JsonObject, Kind, sse

_INCOMPLETE_REASONS = {Finish.LENGTH: "max_output_tokens", Finish.FILTERED: "content_filter"}
# The codes of response.error; what is not here is a server_error.
_FAILED_CODES = {
    Failure.RATE_LIMITED: "rate_limit_exceeded",
    Failure.CONTEXT_TOO_LONG: "context_length_exceeded",
    Failure.OUT_OF_CREDIT: "insufficient_quota",
    Failure.BAD_REQUEST: "invalid_prompt",
}


class ResponsesStream(Dialect):
    """response.created to response.completed, numbered. There is no [DONE]."""

    def __init__(
        self,
        answer: Answer,
        *,
        request: JsonObject,
        headers: Mapping[str, str],
        failures: Mapping[Failure, OpenAIError],
    ) -> None:
        self.headers = headers
        self._answer = answer
        self._request = request
        self._failures = failures
        self._number = 0
        self._output: list[JsonObject] = []
        self._pads = (request.get("stream_options") or {}).get("include_obfuscation", True)

    def events(self) -> Iterator[Event]:
        yield self._event("response.created", response=self._response("in_progress"))
        yield self._event("response.in_progress", response=self._response("in_progress"))
        if self._answer.thinks:
            yield from self._reasoning()
        yield from self._message()
        match self._answer.finish:
            case Finish.STOP | Finish.REFUSAL:
                status, more = "completed", {}
            case finish:
                status, more = "incomplete", {"incomplete_details": {"reason": _INCOMPLETE_REASONS[finish]}}
        response = self._response(status) | {"usage": self._usage()} | more
        yield self._event(f"response.{status}", Kind.CLOSING, response=response)

    def _reasoning(self) -> Iterator[Event]:
        item: JsonObject = {"id": self._id("rs"), "type": "reasoning", "summary": []}
        at = {"item_id": item["id"], "output_index": 0, "summary_index": 0}
        yield self._event("response.output_item.added", output_index=0, item=item)
        if self._answer.shows_thoughts:
            text = "".join(self._answer.thoughts)
            part = {"type": "summary_text", "text": text}
            yield self._event("response.reasoning_summary_part.added", **at, part=part | {"text": ""})
            for thought in self._answer.thoughts:
                yield self._delta("response.reasoning_summary_text.delta", Kind.THOUGHT, at, thought)
            yield self._event("response.reasoning_summary_text.done", **at, text=text)
            yield self._event("response.reasoning_summary_part.done", **at, part=part)
            item = item | {"summary": [part]}
        self._output.append(item)
        yield self._event("response.output_item.done", output_index=0, item=item)

    def _message(self) -> Iterator[Event]:
        index = len(self._output)
        item: JsonObject = {"id": self._id("msg"), "type": "message", "role": "assistant", "phase": "final_answer"}
        at = {"item_id": item["id"], "output_index": index, "content_index": 0}
        opened = item | {"status": "in_progress", "content": []}
        yield self._event("response.output_item.added", output_index=index, item=opened)
        text = "".join(self._answer.text)
        part: JsonObject
        empty: JsonObject
        logprobs: JsonObject
        whole: JsonObject
        if self._answer.finish is Finish.REFUSAL:
            part, empty = {"type": "refusal", "refusal": text}, {"type": "refusal", "refusal": ""}
            name, logprobs, whole = "response.refusal", {}, {"refusal": text}
        else:
            part = {"type": "output_text", "annotations": [], "logprobs": [], "text": text}
            empty = part | {"text": ""}
            name, logprobs, whole = "response.output_text", {"logprobs": []}, {"text": text}
        yield self._event("response.content_part.added", **at, part=empty)
        for piece in self._answer.text:
            yield self._delta(f"{name}.delta", Kind.PIECE, at | logprobs, piece)
        yield self._event(f"{name}.done", Kind.CLOSING, **at, **logprobs, **whole)
        yield self._event("response.content_part.done", Kind.CLOSING, **at, part=part)
        status = "incomplete" if self._answer.finish in _INCOMPLETE_REASONS else "completed"
        item = item | {"status": status, "content": [part]}
        self._output.append(item)
        yield self._event("response.output_item.done", Kind.CLOSING, output_index=index, item=item)

    def _delta(self, name: str, kind: Kind, at: JsonObject, delta: str) -> Event:
        # Random characters on the real wire, to hide the sizes of tokens.
        padding = {"obfuscation": "x" * (16 - len(delta) % 16)} if self._pads else {}
        return self._event(name, kind, **at, delta=delta, **padding)

    def _event(self, name: str, kind: Kind = Kind.OPENING, **data: Any) -> Event:
        return Event(kind, self._frame(name, **data))

    def _frame(self, name: str, **data: Any) -> bytes:
        number = self._number
        self._number += 1
        return sse({"type": name, "sequence_number": number} | data, event=name)

    def _id(self, prefix: str) -> str:
        return f"{prefix}_standin{self._answer.request_number:06}"

    def _response(self, status: str) -> JsonObject:
        request = self._request
        reasoning = request.get("reasoning") or {}
        text = request.get("text") or {}
        return {
            "id": self._id("resp"),
            "object": "response",
            "created_at": CREATED,
            "completed_at": CREATED + 1 if status == "completed" else None,
            "status": status,
            "background": False,
            "error": None,
            "incomplete_details": None,
            "instructions": request.get("instructions"),
            "max_output_tokens": request.get("max_output_tokens"),
            "metadata": request.get("metadata") or {},
            "model": self._answer.model,
            "output": list(self._output),
            "parallel_tool_calls": True,
            "previous_response_id": None,
            "reasoning": {"effort": reasoning.get("effort"), "summary": reasoning.get("summary")},
            "service_tier": "default",
            "store": request.get("store", True),
            "temperature": request.get("temperature", 1.0),
            "text": {"format": {"type": "text"}, "verbosity": "medium"} | text,
            "tool_choice": "auto",
            "tools": [],
            "top_logprobs": 0,
            "top_p": request.get("top_p", 1.0),
            "truncation": "disabled",
            "usage": None,
            "user": None,
        }

    def _usage(self) -> JsonObject | None:
        counted = self._answer.usage
        if counted is None:
            return None
        return {
            "input_tokens": counted.asked.input_tokens,
            "input_tokens_details": {
                "cached_tokens": counted.asked.cached_tokens,
                "cache_write_tokens": counted.asked.cache_write_tokens,
            },
            "output_tokens": counted.output,
            "output_tokens_details": {"reasoning_tokens": counted.reasoning},
            "total_tokens": counted.total,
        }

    def heartbeat(self) -> bytes:
        # Not documented, but sent on long responses; SDKs pass it on as an event of an unknown type.
        return self._frame("keepalive")

    def broken(self) -> bytes:
        return sse(BROKEN_JSON, event="response.output_text.delta")

    def error(self, fault: Fault, failure: Failure) -> bytes:
        error = self._failures[failure]
        if fault is Fault.RESPONSE_FAILED:
            code = _FAILED_CODES.get(failure, "server_error")
            failed = self._response("failed") | {"error": {"code": code, "message": error.message}}
            return self._frame("response.failed", response=failed)
        if fault is Fault.DOCUMENTED_ERROR_EVENT:
            return self._frame("error", code=error.code, message=error.message, param=error.param)
        # The reference shows the fields at the top level; the service nests them.
        return self._frame("error", error=error.body())
