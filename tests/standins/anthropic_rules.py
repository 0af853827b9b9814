"""What Anthropic refuses in a request for a message, and in which words."""

from collections.abc import Collection
from typing import Any

from tests.standins.stream import JsonObject

PARAMETERS = frozenset(
    [
        "cache_control",
        "container",
        "diagnostics",
        "inference_geo",
        "max_tokens",
        "messages",
        "metadata",
        "model",
        "output_config",
        "service_tier",
        "speed",
        "stop_sequences",
        "stream",
        "system",
        "thinking",
        "tool_choice",
        "tools",
        "user_profile_id",
    ]
)
SAMPLING = ("temperature", "top_p", "top_k")
_ROLES = ("user", "assistant", "system")
_EFFORTS = ("low", "medium", "high", "xhigh", "max")
_THINKING_KEYS = {
    "adaptive": frozenset({"type", "display"}),
    "between_tools": frozenset({"type"}),
    "disabled": frozenset({"type"}),
    "enabled": frozenset({"type", "budget_tokens", "display"}),
}


class InvalidMessage(Exception):
    """The request is refused with this message."""


def check_message(body: JsonObject, *, max_tokens: int | None, thinking: Collection[str], samples: bool) -> None:
    """
    Raises InvalidMessage.

    `max_tokens` and `thinking` are what the model allows; `samples` tells the API version that still knows temperature
    (which the current models refuse all the same).
    """
    for name in body:
        if name in SAMPLING and samples:
            raise InvalidMessage(f"`{name}` is deprecated for this model.")
        if name not in PARAMETERS:
            raise InvalidMessage(f"{name}: Extra inputs are not permitted")
    for name in ("model", "max_tokens", "messages"):
        if body.get(name) is None:
            raise InvalidMessage(f"{name}: Field required")
    _check_max_tokens(body, max_tokens)
    _check_messages(body["messages"])
    _check_system(body.get("system"))
    _check_thinking(body.get("thinking"), thinking)
    _check_output_config(body.get("output_config") or {})


def _check_max_tokens(body: JsonObject, limit: int | None) -> None:
    given = body["max_tokens"]
    if not isinstance(given, int) or isinstance(given, bool):
        raise InvalidMessage("max_tokens: Input should be a valid integer")
    if given < 0:
        raise InvalidMessage("max_tokens: Input should be greater than or equal to 0")
    if limit is not None and given > limit:
        raise InvalidMessage(
            f"max_tokens: {given} > {limit}, which is the maximum allowed number of output tokens for {body['model']}"
        )


def _check_messages(messages: list[JsonObject]) -> None:
    if not messages:
        raise InvalidMessage("messages: at least one message is required")
    for index, message in enumerate(messages):
        for name in message.keys() - {"role", "content"}:
            raise InvalidMessage(f"messages.{index}.{name}: Extra inputs are not permitted")
        if message.get("role") not in _ROLES:
            raise InvalidMessage(f"messages.{index}.role: Input should be 'user', 'assistant' or 'system'")
        content = message.get("content")
        if not isinstance(content, (str, list)):
            raise InvalidMessage(f"messages.{index}.content: Field required")
        if not content:
            raise InvalidMessage(f"messages.{index}: {message['role']} messages must have non-empty content")
        _check_blocks(content, f"messages.{index}.content")
    if messages[-1]["role"] == "assistant":
        raise InvalidMessage(
            "This model does not support assistant message prefill. The conversation must end with a user message."
        )


def _check_system(system: Any) -> None:
    if system is not None and not isinstance(system, (str, list)):
        raise InvalidMessage("system: Input should be a valid list")
    _check_blocks(system, "system")


def _check_blocks(content: Any, where: str) -> None:
    if isinstance(content, str):
        if content and not content.strip():
            raise InvalidMessage(
                f"{where.replace('.content', '')}: text content blocks must contain non-whitespace text"
            )
        return
    for position, block in enumerate(content or []):
        if not isinstance(block, dict) or "type" not in block:
            raise InvalidMessage(f"{where}.{position}.type: Field required")
        if block["type"] == "text" and not block.get("text"):
            raise InvalidMessage(f"{where}: text content blocks must be non-empty")


def _check_thinking(config: JsonObject | None, allowed: Collection[str]) -> None:
    if config is None:
        return
    kind = config.get("type")
    if kind not in _THINKING_KEYS:
        raise InvalidMessage(
            f"thinking: Input tag '{kind}' found using 'type' does not match any of the expected tags: "
            "'adaptive', 'between_tools', 'disabled', 'enabled'"
        )
    if kind not in allowed:
        raise InvalidMessage(
            f'"thinking.type.{kind}" is not supported for this model. Use "thinking.type.adaptive" and '
            '"output_config.effort" to control thinking behavior.'
        )
    for name in config.keys() - _THINKING_KEYS[kind]:
        raise InvalidMessage(f"thinking.{kind}.{name}: Extra inputs are not permitted")


def _check_output_config(config: JsonObject) -> None:
    for name in config.keys() - {"effort", "format"}:
        raise InvalidMessage(f"output_config.{name}: Extra inputs are not permitted")
    if config.get("effort") not in (None, *_EFFORTS):
        raise InvalidMessage("output_config.effort: Input should be 'low', 'medium', 'high', 'xhigh' or 'max'")
