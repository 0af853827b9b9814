"""A stand-in for OpenAI: Responses, Chat Completions and the list of models."""

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.standins.answer import Answer
from tests.standins.chat import CREATED, ChatStream, OpenAIError
from tests.standins.openai_rules import check_chat, check_response, is_reasoning_model
from tests.standins.responses import ResponsesStream
from tests.standins.scenario import Failure, Finish, Scenario
from tests.standins.server import ApiError, RecordedRequest, Standin
from tests.standins.stream import JsonObject

# The real list holds everything an account may use, in no order, not only models that write text.
DEFAULT_MODELS = (
    "gpt-4.1",
    "gpt-4o-mini",
    "gpt-5.5",
    "gpt-5-mini",
    "gpt-6-luna",
    "gpt-6.1-sol",
    "gpt-6.1-terra",
    "gpt-6.2-astra",
    "gpt-6.2-sol",
    "gpt-image-2",
    "gpt-realtime",
    "omni-moderation-latest",
    "text-embedding-3-large",
    "tts-1",
    "whisper-1",
)
_MASKED_KEY = "sk-proj-********wxyz"
FAILURES: Mapping[Failure, OpenAIError] = {
    Failure.BAD_REQUEST: OpenAIError(
        status=400, message="Invalid prompt: we could not process your request.", code="invalid_prompt"
    ),
    Failure.CONTEXT_TOO_LONG: OpenAIError(
        status=400,
        message="Your input exceeds the context window of this model. Please adjust your input and try again.",
        param="input",
        code="context_length_exceeded",
    ),
    Failure.INVALID_KEY: OpenAIError(
        status=401,
        message=f"Incorrect API key provided: {_MASKED_KEY}. You can find your API key at "
        "https://platform.openai.com/account/api-keys.",
        code="invalid_api_key",
    ),
    Failure.OUT_OF_CREDIT: OpenAIError(
        status=429,
        message="You exceeded your current quota, please check your plan and billing details. For more information on "
        "this error, read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors.",
        type="insufficient_quota",
        code="insufficient_quota",
    ),
    Failure.FORBIDDEN: OpenAIError(
        status=403,
        message="Country, region, or territory not supported",
        type="request_forbidden",
        code="unsupported_country_region_territory",
    ),
    Failure.UNKNOWN_MODEL: OpenAIError(
        status=404, message="The model `gpt-0` does not exist or you do not have access to it.", code="model_not_found"
    ),
    Failure.RATE_LIMITED: OpenAIError(
        status=429,
        message="Rate limit reached for gpt-6.2-sol in organization org-standin on tokens per min (TPM): Limit 30000, "
        "Used 29000, Requested 2000. Please try again in 2s. Visit "
        "https://platform.openai.com/account/rate-limits to learn more.",
        type="tokens",
        code="rate_limit_exceeded",
    ),
    Failure.SERVER_ERROR: OpenAIError(
        status=500,
        message="The server had an error while processing your request. Sorry about that!",
        type="server_error",
        code="server_error",
    ),
    Failure.UNAVAILABLE: OpenAIError(
        status=503,
        message="Our servers are currently overloaded. Please try again later.",
        type="service_unavailable_error",
        code="server_is_overloaded",
    ),
    Failure.OVERLOADED: OpenAIError(
        status=503, message="Slow down", type="service_unavailable_error", code="slow_down"
    ),
    Failure.BAD_GATEWAY: OpenAIError(status=502, message="Bad gateway", type="server_error"),
}
_INVALID_KEY = FAILURES[Failure.INVALID_KEY]


class OpenAIChatStream(ChatStream):
    """Chat chunks as OpenAI writes them: a refusal is a delta of its own."""

    finish_reasons: ClassVar[Mapping[Finish, str]] = {
        Finish.STOP: "stop",
        Finish.REFUSAL: "stop",
        Finish.LENGTH: "length",
        Finish.FILTERED: "content_filter",
    }

    def __init__(self, answer: Answer, *, include_usage: bool, headers: Mapping[str, str]) -> None:
        super().__init__(answer, include_usage=include_usage, failures=FAILURES)
        self.headers = headers

    def envelope(self) -> JsonObject:
        return super().envelope() | {"service_tier": "default"}

    def first_delta(self) -> JsonObject:
        return {"role": "assistant", "content": "", "refusal": None}

    def text_delta(self, piece: str) -> JsonObject:
        return {"refusal": piece} if self.answer.finish is Finish.REFUSAL else {"content": piece}


class OpenAIStandin(Standin):
    """OpenAI on loopback. `models` are the ones the key may use; any other is unknown."""

    name = "openai"
    base_path = "/v1"
    finishes: ClassVar = frozenset({Finish.STOP, Finish.LENGTH, Finish.REFUSAL, Finish.FILTERED})

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
            self.route("/v1/responses", self._responses, "POST"),
            self.route("/v1/chat/completions", self._chat, "POST"),
            self.route("/v1/models", self._models, "GET"),
        ]

    def failed(self, failure: Failure) -> ApiError:
        if failure is Failure.BAD_GATEWAY:
            return ApiError(502, None)
        return FAILURES[failure].refusal()

    def not_found(self, request: Request) -> ApiError:
        return OpenAIError(status=404, message=f"Invalid URL ({request.method} {request.url.path})").refusal()

    async def _responses(self, _request: Request, record: RecordedRequest) -> Response:
        body = self._authorized_body(record)
        check_response(body, self.models)
        scenario = self.next_scenario(record)
        reasoning = body.get("reasoning") or {}
        answer = Answer(
            scenario=scenario,
            model=body["model"],
            thinks=is_reasoning_model(body["model"]) and reasoning.get("effort") != "none",
            shows_thoughts=bool(reasoning.get("summary")),
            max_tokens=body.get("max_output_tokens"),
            request_number=len(self.requests),
        )
        stream = ResponsesStream(answer, request=body, headers=self._stream_headers(), failures=FAILURES)
        return self.play(scenario, stream)

    async def _chat(self, _request: Request, record: RecordedRequest) -> Response:
        body = self._authorized_body(record)
        check_chat(body, self.models)
        scenario = self.next_scenario(record)
        answer = Answer(
            scenario=scenario,
            model=body["model"],
            thinks=is_reasoning_model(body["model"]) and body.get("reasoning_effort") != "none",
            shows_thoughts=False,
            max_tokens=body.get("max_completion_tokens", body.get("max_tokens")),
            request_number=len(self.requests),
        )
        include_usage = bool((body.get("stream_options") or {}).get("include_usage"))
        stream = OpenAIChatStream(answer, include_usage=include_usage, headers=self._stream_headers())
        return self.play(scenario, stream)

    async def _models(self, _request: Request, record: RecordedRequest) -> Response:
        self._authorize(record)
        models = [{"id": id_, "object": "model", "created": CREATED, "owned_by": "system"} for id_ in self.models]
        return JSONResponse({"object": "list", "data": models})

    def _authorized_body(self, record: RecordedRequest) -> JsonObject:
        self._authorize(record)
        if record.body is None:
            message = "We could not parse the JSON body of your request."
            raise OpenAIError(status=400, message=message).refusal()
        return record.body

    def _authorize(self, record: RecordedRequest) -> None:
        scheme, _, key = record.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or not key:
            message = (
                "You didn't provide an API key. You need to provide your API key in an Authorization header using "
            )
            raise OpenAIError(status=401, message=f"{message}Bearer auth.").refusal()
        if not self.accepts(key):
            # The service repeats both ends of the key it was given.
            masked = f"{key[:8]}{'*' * 8}{key[-4:]}"
            raise replace(_INVALID_KEY, message=_INVALID_KEY.message.replace(_MASKED_KEY, masked)).refusal()

    def _stream_headers(self) -> dict[str, str]:
        return {
            "content-type": "text/event-stream; charset=utf-8",
            "x-request-id": f"req_standin{len(self.requests):06}",
            "openai-version": "2020-10-01",
        }
