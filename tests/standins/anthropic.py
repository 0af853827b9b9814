"""A stand-in for Anthropic: Messages and the paged list of models."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.standins.answer import Answer
from tests.standins.anthropic_rules import InvalidMessage, check_message
from tests.standins.messages import STOP_REASONS, MessageStream
from tests.standins.scenario import Failure, Finish, Scenario
from tests.standins.server import ApiError, RecordedRequest, Standin
from tests.standins.stream import JsonObject

VERSIONS = ("2023-06-01", "2026-10-21")
_INVALID = "invalid_request_error"
# Status, type, message.
FAILURES: Mapping[Failure, tuple[int, str, str]] = {
    Failure.BAD_REQUEST: (400, _INVALID, "messages: Input should be a valid list"),
    Failure.CONTEXT_TOO_LONG: (400, _INVALID, "prompt is too long: 1000321 tokens > 1000000 maximum"),
    Failure.INVALID_KEY: (401, "authentication_error", "invalid x-api-key"),
    Failure.OUT_OF_CREDIT: (
        402,
        "billing_error",
        "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or "
        "purchase credits.",
    ),
    Failure.FORBIDDEN: (
        403,
        "permission_error",
        "Your API key does not have permission to use the specified resource.",
    ),
    Failure.UNKNOWN_MODEL: (404, "not_found_error", "model: claude-0"),
    Failure.RATE_LIMITED: (
        429,
        "rate_limit_error",
        "This request would exceed your organization's rate limit of 30,000 input tokens per minute.",
    ),
    Failure.SERVER_ERROR: (500, "api_error", "Internal server error"),
    Failure.UNAVAILABLE: (503, "api_error", "Service unavailable"),
    Failure.OVERLOADED: (529, "overloaded_error", "Overloaded"),
    Failure.BAD_GATEWAY: (502, "api_error", "Bad gateway"),
}
_RETRYABLE = frozenset({429, 500, 502, 503, 529})


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaudeModel:
    """A model of the list. `thinking` holds the types it accepts besides adaptive."""

    id: str
    display_name: str
    created_at: str
    thinking: tuple[str, ...] = ()
    max_input_tokens: int = 1_000_000
    max_tokens: int = 128_000
    lifecycle: str = "active"

    def body(self) -> JsonObject:
        yes, no = {"supported": True}, {"supported": False}
        efforts = dict.fromkeys(("low", "medium", "high", "xhigh", "max"), yes)
        types = {kind: yes if kind in self.thinking else no for kind in ("between_tools", "disabled", "enabled")}
        return {
            "type": "model",
            "id": self.id,
            "display_name": self.display_name,
            "created_at": self.created_at,
            "lifecycle": self.lifecycle,
            "deprecated_at": None if self.lifecycle == "active" else "2026-10-01T00:00:00Z",
            "retires_at": None,
            "line": self.id.split("-")[1],
            "max_input_tokens": self.max_input_tokens,
            "max_tokens": self.max_tokens,
            "capabilities": {
                "batch": yes,
                "citations": yes,
                "code_execution": yes,
                "context_management": yes,
                "effort": yes | efforts,
                "image_input": yes,
                "pdf_input": yes,
                "server_tools": yes | {"code_execution": yes, "web_search": yes},
                "structured_outputs": yes,
                "thinking": yes | {"types": {"adaptive": yes} | types},
            },
        }


# Newest first, as the list comes.
DEFAULT_MODELS = (
    ClaudeModel(id="claude-fable-5-2", display_name="Claude Fable 5.2", created_at="2026-11-05T00:00:00Z"),
    ClaudeModel(
        id="claude-haiku-5-5",
        display_name="Claude Haiku 5.5",
        created_at="2026-10-15T00:00:00Z",
        thinking=("disabled",),
    ),
    ClaudeModel(
        id="claude-sonnet-5-5",
        display_name="Claude Sonnet 5.5",
        created_at="2026-09-29T00:00:00Z",
        thinking=("between_tools",),
    ),
    ClaudeModel(id="claude-opus-5-5", display_name="Claude Opus 5.5", created_at="2026-09-10T00:00:00Z"),
    ClaudeModel(
        id="claude-opus-5",
        display_name="Claude Opus 5",
        created_at="2026-07-24T00:00:00Z",
        thinking=("disabled",),
    ),
    ClaudeModel(
        id="claude-sonnet-4-6",
        display_name="Claude Sonnet 4.6",
        created_at="2026-02-17T00:00:00Z",
        thinking=("disabled", "enabled"),
        max_tokens=64_000,
        lifecycle="deprecated",
    ),
)


class AnthropicStandin(Standin):
    """Anthropic on loopback. `models` come newest first; a model that is not among them is unknown."""

    name = "anthropic"
    finishes: ClassVar = frozenset[Finish](STOP_REASONS)

    def __init__(
        self,
        *,
        default: Scenario | None = None,
        api_key: str | None = None,
        models: tuple[ClaudeModel, ...] = DEFAULT_MODELS,
    ) -> None:
        self.models = models
        super().__init__(default=default, api_key=api_key)

    def routes(self) -> list[Route]:
        return [
            self.route("/v1/messages", self._messages, "POST"),
            self.route("/v1/models", self._list_models, "GET"),
            self.route("/v1/models/{model_id}", self._get_model, "GET"),
        ]

    def failed(self, failure: Failure) -> ApiError:
        if failure is Failure.BAD_GATEWAY:
            return ApiError(502, None)
        return self._error(*FAILURES[failure])

    def not_found(self, _request: Request) -> ApiError:
        return self._error(404, "not_found_error", "Not Found")

    async def _messages(self, _request: Request, record: RecordedRequest) -> Response:
        self._authorize(record)
        if record.body is None:
            raise self._error(400, _INVALID, "The request body is not valid JSON")
        body = record.body
        model = next((model for model in self.models if model.id == body.get("model")), None)
        try:
            check_message(
                body,
                max_tokens=model.max_tokens if model else None,
                thinking=("adaptive", *(model.thinking if model else ())),
                samples=record.headers["anthropic-version"] == VERSIONS[0],
            )
        except InvalidMessage as error:
            raise self._error(400, _INVALID, str(error)) from error
        if model is None:
            raise self._error(404, "not_found_error", f"model: {body['model']}")
        if not body.get("stream"):
            raise self._error(501, "api_error", "The stand-in only answers requests with stream: true.")
        scenario = self.next_scenario(record)
        thinking = body.get("thinking") or {"type": "adaptive"}
        answer = Answer(
            scenario=scenario,
            model=model.id,
            thinks=thinking["type"] in ("adaptive", "enabled"),
            # Omitted unless asked for, on all models since Opus 4.7.
            shows_thoughts=thinking.get("display") == "summarized",
            max_tokens=body["max_tokens"],
            request_number=len(self.requests),
        )
        headers = {
            "content-type": "text/event-stream; charset=utf-8",
            "cache-control": "no-cache",
            "request-id": self._request_id(),
        }
        return self.play(scenario, MessageStream(answer, headers=headers, failures=FAILURES))

    async def _list_models(self, request: Request, record: RecordedRequest) -> Response:
        self._authorize(record)
        query = request.query_params
        wanted = query.getlist("lifecycle[]") or ["active", "deprecated"]
        models = [model for model in self.models if model.lifecycle in wanted]
        ids = [model.id for model in models]
        try:
            limit = int(query.get("limit", "20"))
            start = ids.index(query["after_id"]) + 1 if "after_id" in query else 0
            end = ids.index(query["before_id"]) if "before_id" in query else start + limit
        except ValueError:
            raise self._error(400, _INVALID, "limit, after_id or before_id: invalid value") from None
        if not 1 <= limit <= 1000:
            raise self._error(400, _INVALID, "limit: Input should be between 1 and 1000")
        if "before_id" in query:
            start = max(end - limit, 0)
        page = models[start:end]
        return JSONResponse(
            {
                "data": [model.body() for model in page],
                "first_id": page[0].id if page else None,
                "last_id": page[-1].id if page else None,
                "has_more": start > 0 if "before_id" in query else end < len(models),
            },
            headers={"request-id": self._request_id()},
        )

    async def _get_model(self, request: Request, record: RecordedRequest) -> Response:
        self._authorize(record)
        for model in self.models:
            if model.id == request.path_params["model_id"]:
                return JSONResponse(model.body(), headers={"request-id": self._request_id()})
        raise self._error(404, "not_found_error", f"model: {request.path_params['model_id']}")

    def _authorize(self, record: RecordedRequest) -> None:
        headers = record.headers
        version = headers.get("anthropic-version")
        if version is None:
            raise self._error(400, _INVALID, "anthropic-version: header is required")
        if version not in VERSIONS:
            raise self._error(400, _INVALID, f"anthropic-version: {version} is not a valid version")
        # Keys come as x-api-key from older SDKs and as a bearer token from 2.0 on; the first wins.
        scheme, _, token = headers.get("authorization", "").partition(" ")
        key = headers.get("x-api-key") or (token if scheme == "Bearer" else "")
        if not key:
            raise self._error(401, "authentication_error", "x-api-key header is required")
        if not self.accepts(key):
            raise self.failed(Failure.INVALID_KEY)

    def _error(self, status: int, type_: str, message: str) -> ApiError:
        id_ = self._request_id()
        body = {"type": "error", "error": {"type": type_, "message": message, "details": None}, "request_id": id_}
        should_retry = "true" if status in _RETRYABLE else "false"
        return ApiError(status, body, {"request-id": id_, "x-should-retry": should_retry})

    def _request_id(self) -> str:
        return f"req_standin{len(self.requests):06}"
