"""A stand-in for DeepSeek: Chat Completions with reasoning_content, and the list of models."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import ClassVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.standins.answer import Answer
from tests.standins.chat import ChatStream, OpenAIError
from tests.standins.scenario import Failure, Finish, Scenario
from tests.standins.server import ApiError, RecordedRequest, Standin
from tests.standins.stream import Event, JsonObject, Kind

DEFAULT_MODELS = ("deepseek-flash", "deepseek-v4-pro")
CONTEXT_TOKENS = 1_048_576
MAX_OUTPUT_TOKENS = 393_216
PARAMETERS = frozenset(
    [
        "frequency_penalty",
        "logprobs",
        "max_tokens",
        "messages",
        "model",
        "presence_penalty",
        "reasoning_effort",
        "response_format",
        "stop",
        "stream",
        "stream_options",
        "temperature",
        "thinking",
        "tool_choice",
        "tools",
        "top_logprobs",
        "top_p",
        "user_id",
    ]
)
# The service gives all its errors this code.
_CODE = "invalid_request_error"
FAILURES: Mapping[Failure, OpenAIError] = {
    Failure.BAD_REQUEST: OpenAIError(status=400, message="Invalid request body", code=_CODE),
    Failure.CONTEXT_TOO_LONG: OpenAIError(
        status=400,
        message=f"This model's maximum context length is {CONTEXT_TOKENS} tokens. However, you requested 1048638 "
        "tokens (1040446 in the messages, 8192 in the completion). Please reduce the length of the messages or "
        "completion.",
        code=_CODE,
    ),
    Failure.INVALID_KEY: OpenAIError(
        status=401,
        message="Authentication Fails, Your api key: ****wxyz is invalid",
        type="authentication_error",
        code=_CODE,
    ),
    Failure.OUT_OF_CREDIT: OpenAIError(status=402, message="Insufficient Balance", type="unknown_error", code=_CODE),
    Failure.FORBIDDEN: OpenAIError(status=403, message="Forbidden", type="permission_error", code=_CODE),
    Failure.UNKNOWN_MODEL: OpenAIError(status=400, message="Model Not Exist", code=_CODE),
    Failure.RATE_LIMITED: OpenAIError(
        status=429, message="Rate limit reached", type="rate_limit_error", code="rate_limit_reached"
    ),
    Failure.SERVER_ERROR: OpenAIError(
        status=500, message="Internal Server Error", type="internal_error", code="internal_error"
    ),
    Failure.UNAVAILABLE: OpenAIError(
        status=503,
        message="Service is too busy. Please retry your request after a brief wait.",
        type="service_unavailable_error",
        code="service_unavailable",
    ),
    Failure.OVERLOADED: OpenAIError(
        status=503, message="Server overloaded", type="service_unavailable_error", code="service_unavailable"
    ),
    Failure.BAD_GATEWAY: OpenAIError(status=502, message="Bad gateway", type="internal_error"),
}


class DeepSeekStream(ChatStream):
    """Chunks as DeepSeek writes them: comments while the request waits, thoughts beside the content."""

    finish_reasons: ClassVar[Mapping[Finish, str]] = {
        Finish.STOP: "stop",
        Finish.LENGTH: "length",
        # The model refuses in plain text; what the service blocks is content_filter.
        Finish.REFUSAL: "stop",
        Finish.FILTERED: "content_filter",
        Finish.INTERRUPTED: "insufficient_system_resource",
    }

    def __init__(self, answer: Answer, *, include_usage: bool) -> None:
        super().__init__(answer, include_usage=include_usage, failures=FAILURES)
        self.headers = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}

    def events(self) -> Iterator[Event]:
        yield Event(Kind.OPENING, self.heartbeat() * 2)
        yield from super().events()

    def closing(self) -> Iterator[Event]:
        if self.include_usage:
            yield from super().closing()
            return
        # Not asked for, usage comes all the same: with the finish reason.
        usage = self.usage()
        more = {} if usage is None else {"usage": usage}
        finish = self.finish_reasons[self.answer.finish]
        yield Event(Kind.CLOSING, self.chunk(self.last_delta(), finish=finish, **more))

    def envelope(self) -> JsonObject:
        return super().envelope() | {"system_fingerprint": "fp_standin"}

    def first_delta(self) -> JsonObject:
        if self.answer.shows_thoughts:
            return {"role": "assistant", "content": None, "reasoning_content": ""}
        return super().first_delta()

    def thought_delta(self, thought: str) -> JsonObject:
        return {"content": None, "reasoning_content": thought}

    def text_delta(self, piece: str) -> JsonObject:
        return {"content": piece} | ({"reasoning_content": None} if self.answer.shows_thoughts else {})

    def last_delta(self) -> JsonObject:
        return self.text_delta("")

    def usage(self) -> JsonObject | None:
        usage = super().usage()
        counted = self.answer.usage
        if usage is None or counted is None:
            return None
        hit = counted.asked.cached_tokens
        return usage | {
            "prompt_cache_hit_tokens": hit,
            "prompt_cache_miss_tokens": counted.asked.input_tokens - hit,
        }


class DeepSeekStandin(Standin):
    """
    DeepSeek on loopback, on its paths with and without /v1.

    It is stricter than the service, which ignores parameters it does not know: a limit sent under a name that has no
    effect is a mistake of ours.
    """

    name = "deepseek"
    finishes: ClassVar = frozenset(DeepSeekStream.finish_reasons)

    def __init__(
        self,
        *,
        default: Scenario | None = None,
        api_key: str | None = None,
        models: tuple[str, ...] = DEFAULT_MODELS,
    ) -> None:
        self.models = models
        super().__init__(default=default, api_key=api_key)

    def routes(self) -> list[Route]:
        return [
            route
            for prefix in ("", "/v1")
            for route in (
                self.route(f"{prefix}/chat/completions", self._chat, "POST"),
                self.route(f"{prefix}/models", self._models, "GET"),
            )
        ]

    def failed(self, failure: Failure) -> ApiError:
        if failure is Failure.BAD_GATEWAY:
            return ApiError(502, None)
        return FAILURES[failure].refusal()

    def not_found(self, _request: Request) -> ApiError:
        return OpenAIError(status=404, message="Not Found", code=_CODE).refusal()

    async def _chat(self, _request: Request, record: RecordedRequest) -> Response:
        self._authorize(record)
        body = record.body or {}
        self._check(body)
        scenario = self.next_scenario(record)
        thinks = (body.get("thinking") or {}).get("type") != "disabled"
        answer = Answer(
            scenario=scenario,
            model=body["model"],
            thinks=thinks,
            shows_thoughts=thinks,
            max_tokens=body.get("max_tokens"),
            request_number=len(self.requests),
        )
        include_usage = bool((body.get("stream_options") or {}).get("include_usage"))
        return self.play(scenario, DeepSeekStream(answer, include_usage=include_usage))

    async def _models(self, _request: Request, record: RecordedRequest) -> Response:
        self._authorize(record)
        models = [{"id": id_, "object": "model", "owned_by": "deepseek"} for id_ in self.models]
        return JSONResponse({"object": "list", "data": models})

    def _authorize(self, record: RecordedRequest) -> None:
        scheme, _, key = record.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or not key:
            message = "Authentication Fails (auth header format should be Bearer sk-...)"
            raise OpenAIError(status=401, message=message, type="authentication_error", code=_CODE).refusal()
        if not self.accepts(key):
            # The service repeats the end of the key it was given.
            message = f"Authentication Fails, Your api key: ****{key[-4:]} is invalid"
            raise replace(FAILURES[Failure.INVALID_KEY], message=message).refusal()

    def _check(self, body: JsonObject) -> None:
        problem: str | None = None
        status = 400
        limit = body.get("max_tokens")
        thinking = (body.get("thinking") or {}).get("type", "enabled")
        if unknown := sorted(body.keys() - PARAMETERS):
            problem, status = f"unknown field `{unknown[0]}`", 422
        elif missing := [name for name in ("messages", "model") if not body.get(name)]:
            problem, status = f"missing field `{missing[0]}`", 422
        elif thinking not in ("enabled", "disabled"):
            problem, status = f"thinking.type: unknown variant `{thinking}`, expected `enabled` or `disabled`", 422
        elif body["model"] not in self.models:
            raise FAILURES[Failure.UNKNOWN_MODEL].refusal()
        elif limit is not None and not 1 <= limit <= MAX_OUTPUT_TOKENS:
            problem = f"Invalid max_tokens value, the valid range of max_tokens is [1, {MAX_OUTPUT_TOKENS}]"
        elif not body.get("stream"):
            problem, status = "The stand-in only answers requests with stream: true.", 501
        if problem is not None:
            if status == 422:
                problem = f"Failed to deserialize the JSON body into the target type: {problem}"
            raise OpenAIError(status=status, message=problem, code=_CODE).refusal()
