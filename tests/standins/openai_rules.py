"""What OpenAI refuses in a request, and in which words."""

from collections.abc import Collection, Iterable
from typing import Never

from tests.standins.chat import OpenAIError
from tests.standins.stream import JsonObject

RESPONSE_PARAMETERS = frozenset(
    [
        "access_programs",
        "background",
        "background_options",
        "context_management",
        "conversation",
        "image",
        "include",
        "input",
        "instructions",
        "max_output_tokens",
        "max_tool_calls",
        "metadata",
        "model",
        "moderation",
        "parallel_tool_calls",
        "previous_response_id",
        "prompt",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "reasoning",
        "safety_identifier",
        "service_tier",
        "store",
        "stream",
        "stream_options",
        "temperature",
        "text",
        "tool_choice",
        "tools",
        "top_logprobs",
        "top_p",
        "truncation",
        "user",
    ]
)
CHAT_PARAMETERS = frozenset(
    [
        "audio",
        "frequency_penalty",
        "function_call",
        "functions",
        "logit_bias",
        "logprobs",
        "max_completion_tokens",
        "max_tokens",
        "messages",
        "metadata",
        "modalities",
        "model",
        "moderation",
        "n",
        "parallel_tool_calls",
        "prediction",
        "presence_penalty",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "reasoning_effort",
        "response_format",
        "safety_identifier",
        "seed",
        "service_tier",
        "stop",
        "store",
        "stream",
        "stream_options",
        "temperature",
        "tool_choice",
        "tools",
        "top_logprobs",
        "top_p",
        "user",
        "verbosity",
        "web_search_options",
    ]
)
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
_NESTED_RESPONSE_PARAMETERS = {
    "reasoning": frozenset({"context", "effort", "generate_summary", "mode", "summary"}),
    "text": frozenset({"format", "verbosity"}),
    "stream_options": frozenset({"include_obfuscation"}),
}
_SAMPLING = ("temperature", "top_p")
_RESPONSE_CONTENT = {
    "assistant": ("output_text", "refusal"),
    "user": ("input_text", "input_image", "input_file"),
    "system": ("input_text", "input_image", "input_file"),
    "developer": ("input_text", "input_image", "input_file"),
}
_CHAT_ROLES = ("system", "assistant", "user", "function", "tool", "developer")
_MIN_OUTPUT_TOKENS = 16


def is_reasoning_model(model: str) -> bool:
    """Whether the model thinks, and so refuses sampling parameters."""
    return not model.startswith(("gpt-4", "chatgpt-4"))


def check_response(body: JsonObject, models: Collection[str]) -> None:
    """Raises the error a bad request to /v1/responses gets."""
    _known(body, RESPONSE_PARAMETERS)
    for name, known in _NESTED_RESPONSE_PARAMETERS.items():
        _known(body.get(name) or {}, known, prefix=f"{name}.")
    _required(body, "model", "input")
    _model(body, models)
    _streamed(body)
    if "stream_options" in body and not body.get("stream"):
        _refuse("The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options")
    _input(body["input"])
    _limit(body, "max_output_tokens", _MIN_OUTPUT_TOKENS)
    reasoning = body.get("reasoning") or {}
    _one_of(reasoning.get("effort"), EFFORTS, "reasoning.effort")
    _one_of(reasoning.get("summary"), ("auto", "concise", "detailed"), "reasoning.summary")
    if not is_reasoning_model(body["model"]):
        for name in reasoning:
            _unsupported(f"reasoning.{name}")
    elif reasoning.get("effort") != "none":
        for name in _SAMPLING:
            if body.get(name) is not None:
                _unsupported(name)
    _sampling(body)


def check_chat(body: JsonObject, models: Collection[str]) -> None:
    """Raises the error a bad request to /v1/chat/completions gets."""
    _known(body, CHAT_PARAMETERS)
    _known(body.get("stream_options") or {}, {"include_usage", "include_obfuscation"}, prefix="stream_options.")
    _required(body, "messages", "model")
    _model(body, models)
    _streamed(body)
    if not body["messages"]:
        _refuse("Invalid 'messages': empty array. Expected an array with minimum length 1.", "messages", "empty_array")
    for index, message in enumerate(body["messages"]):
        _one_of(message.get("role"), _CHAT_ROLES, f"messages[{index}].role")
        if not isinstance(message.get("content"), (str, list)):
            _refuse("Invalid value for 'content': expected a string, got null.", f"messages.[{index}].content")
    _limit(body, "max_completion_tokens", 1)
    _one_of(body.get("reasoning_effort"), EFFORTS, "reasoning_effort")
    if is_reasoning_model(body["model"]):
        if body.get("max_tokens") is not None:
            _unsupported("max_tokens", " Use 'max_completion_tokens' instead.")
        for name in _SAMPLING:
            if body.get("reasoning_effort") != "none" and body.get(name) not in (None, 1):
                message = (
                    f"Unsupported value: '{name}' does not support {body[name]} with this model. "
                    "Only the default (1) value is supported."
                )
                _refuse(message, name, "unsupported_value")
    elif body.get("reasoning_effort") is not None:
        _refuse("Unrecognized request argument supplied: reasoning_effort", None)
    _sampling(body)


def _refuse(message: str, param: str | None, code: str | None = None, status: int = 400) -> Never:
    raise OpenAIError(status=status, message=message, param=param, code=code).refusal()


def _unsupported(name: str, hint: str = "") -> Never:
    message = f"Unsupported parameter: '{name}' is not supported with this model.{hint}"
    _refuse(message, name, "unsupported_parameter")


def _known(given: Iterable[str], known: Collection[str], prefix: str = "") -> None:
    for name in given:
        if name not in known:
            _refuse(f"Unknown parameter: '{prefix}{name}'.", prefix + name, "unknown_parameter")


def _required(body: JsonObject, *names: str) -> None:
    for name in names:
        if body.get(name) is None:
            _refuse(f"Missing required parameter: '{name}'.", name, "missing_required_parameter")


def _model(body: JsonObject, models: Collection[str]) -> None:
    model = body["model"]
    if model not in models:
        message = f"The model `{model}` does not exist or you do not have access to it."
        _refuse(message, None, "model_not_found", status=404)


def _streamed(body: JsonObject) -> None:
    if not body.get("stream"):
        _refuse("The stand-in only answers requests with stream: true.", "stream", status=501)


def _one_of(value: object, supported: tuple[str, ...], name: str) -> None:
    if value is not None and value not in supported:
        *most, last = [f"'{choice}'" for choice in supported]
        listed = f"{', '.join(most)}, and {last}" if len(most) > 1 else f"{most[0]} and {last}"
        _refuse(f"Invalid value: '{value}'. Supported values are: {listed}.", name, "invalid_value")


def _limit(body: JsonObject, name: str, minimum: int) -> None:
    value = body.get(name)
    if value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool):
        _refuse(f"Invalid type for '{name}': expected an integer.", name, "invalid_type")
    if value < minimum:
        message = (
            f"Invalid '{name}': integer below minimum value. Expected a value >= {minimum}, but got {value} instead."
        )
        _refuse(message, name, "integer_below_min_value")


def _sampling(body: JsonObject) -> None:
    for name, maximum in (("temperature", 2), ("top_p", 1)):
        value = body.get(name)
        if value is not None and not 0 <= value <= maximum:
            side, sign, bound = ("below minimum", ">=", 0) if value < 0 else ("above maximum", "<=", maximum)
            message = (
                f"Invalid '{name}': decimal {side} value. Expected a value {sign} {bound}, but got {value} instead."
            )
            _refuse(message, name, f"decimal_{side.replace('imum', '').replace(' ', '_')}_value")


def _input(given: object) -> None:
    if isinstance(given, str):
        return
    if not isinstance(given, list):
        _refuse("Invalid type for 'input': expected one of an array of objects or a string.", "input", "invalid_type")
    for index, item in enumerate(given):
        if item.get("type", "message") != "message":
            continue
        _one_of(item.get("role"), tuple(_RESPONSE_CONTENT), f"input[{index}].role")
        content = item.get("content")
        if isinstance(content, list):
            for position, part in enumerate(content):
                where = f"input[{index}].content[{position}].type"
                _one_of(part.get("type"), _RESPONSE_CONTENT[item["role"]], where)
        elif not isinstance(content, str):
            where = f"input[{index}].content"
            _refuse(f"Missing required parameter: '{where}'.", where, "missing_required_parameter")
