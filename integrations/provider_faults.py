"""What a fault of an AI provider means for the person who waits: one table of reasons and sentences for all of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import urlsplit

from domain.errors import ProviderFailed, ProviderFailureReason
from domain.secret import Secret

Reason = ProviderFailureReason

MAX_WORDS_CHARS: Final = 300
MAX_RETRY_AFTER_SECONDS: Final = 24 * 60 * 60
_RETRYABLE: Final = frozenset(
    {Reason.RATE_LIMITED, Reason.OVERLOADED, Reason.TIMEOUT, Reason.TRUNCATED, Reason.MALFORMED, Reason.UNREACHABLE}
)
# Codes and types as OpenAI, DeepSeek and Anthropic use them, in answers and inside streams.
_KINDS: Final[Mapping[Reason, frozenset[str]]] = {
    Reason.NO_BALANCE: frozenset(
        {"insufficient_quota", "billing_error", "billing_hard_limit_reached", "billing_not_active"}
        | {"contract_spend_limit_reached", "enforced_spend_limit_reached", "linked_organization_spend_limit_reached"}
        | {"linked_organization_billing_unavailable"}
    ),
    Reason.CONTEXT_TOO_LONG: frozenset({"context_length_exceeded", "string_above_max_length", "request_too_large"}),
    Reason.REFUSED: frozenset(
        {"invalid_prompt", "content_filter", "content_policy_violation", "bio_policy"}
        | {"misalignment_policy_violation"}
    ),
    Reason.AUTHENTICATION: frozenset({"authentication_error", "invalid_api_key", "permission_error"}),
    Reason.RATE_LIMITED: frozenset({"rate_limit_error", "rate_limit_exceeded", "rate_limit_reached"}),
    Reason.TIMEOUT: frozenset({"timeout_error"}),
    Reason.OVERLOADED: frozenset(
        {"overloaded_error", "server_error", "api_error", "internal_error", "server_is_overloaded", "slow_down"}
        | {"service_unavailable", "service_unavailable_error", "conflict_error"}
    ),
    Reason.REJECTED: frozenset({"invalid_request_error", "not_found_error", "model_not_found"}),
}
_STATUSES: Final[Mapping[int, Reason]] = {
    401: Reason.AUTHENTICATION,
    402: Reason.NO_BALANCE,
    403: Reason.AUTHENTICATION,
    408: Reason.TIMEOUT,
    409: Reason.OVERLOADED,
    413: Reason.CONTEXT_TOO_LONG,
    429: Reason.RATE_LIMITED,
    504: Reason.TIMEOUT,
}
# Where a provider has no code for it, or gives one code to everything.
_TELLING_WORDS: Final = (
    (Reason.NO_BALANCE, re.compile(r"credit balance|insufficient balance", re.IGNORECASE)),
    (Reason.CONTEXT_TOO_LONG, re.compile(r"prompt is too long|context (length|window|limit)", re.IGNORECASE)),
    (Reason.REFUSED, re.compile(r"content exists risk", re.IGNORECASE)),
)
_KEY_LIKE: Final = re.compile(r"\b(?:sk|pk|rk)-[\w*.…-]+|\*{2,}\w*|\bBearer\s+\S+", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedFault:
    """What a provider says: `status` is None inside a stream, `kinds` are its codes and types, `words` its message."""

    status: int | None
    kinds: frozenset[str]
    words: str
    retry_after_seconds: int | None = None


def reported(name: str, fault: ReportedFault, *, key: Secret | None) -> ProviderFailed:
    """The failure that the provider `name` reports; `key` is what must not be repeated from its words."""
    reason = _reason_of(fault)
    words = "" if fault.status == 401 else clean_words(fault.words, key=key)
    return ProviderFailed(
        _sentence(name, reason, fault, words),
        reason=reason,
        retryable=reason in _RETRYABLE,
        retry_after_seconds=fault.retry_after_seconds,
    )


def failed(reason: Reason, message: str) -> ProviderFailed:
    """A failure of which the provider itself says nothing."""
    return ProviderFailed(message, reason=reason, retryable=reason in _RETRYABLE)


def unreachable(name: str) -> ProviderFailed:
    """No connection, or one that broke before an answer came."""
    return failed(
        Reason.UNREACHABLE,
        f"{name} cannot be reached. Check this server's network and the provider's API endpoint, then try again.",
    )


def refused(name: str, sentence: str) -> ProviderFailed:
    """This server itself does not talk to the endpoint, or not any further."""
    return ProviderFailed(f"{name} is not asked. {sentence}", reason=Reason.UNREACHABLE, retryable=False)


def broken_off(name: str) -> ProviderFailed:
    """The connection was lost in the middle of the answer."""
    return failed(Reason.TRUNCATED, f"The connection to {name} broke off before the answer was whole. Try again.")


def truncated(name: str) -> ProviderFailed:
    """The stream ended in good order, but without the provider's word that the answer is whole."""
    return failed(Reason.TRUNCATED, f"{name} ended the answer before it was whole. Try again.")


def malformed(name: str) -> ProviderFailed:
    """What came is not what the protocol says."""
    return failed(
        Reason.MALFORMED,
        f"{name} answered with something that this server cannot read. Check its API endpoint, or try again.",
    )


def untakeable(name: str, what: str) -> ProviderFailed:
    """The request holds what this provider's protocol has no place for."""
    return failed(Reason.REJECTED, f"{name} takes no {what}. Leave it out, or choose another provider.")


def checked_key(name: str, key: Secret | None) -> Secret:
    """The key. Raises ProviderFailed for none, and for one that cannot even be sent (it would show in the error)."""
    if key is None:
        raise failed(Reason.AUTHENTICATION, f"{name} needs an API key.")
    if not re.fullmatch(r"[\x21-\x7e]+", key.reveal()):
        raise failed(
            Reason.AUTHENTICATION,
            f"This API key holds spaces or characters that no key has. Copy it from {name} again.",
        )
    return key


def checked_endpoint(name: str, url: str) -> str:
    """The address. Raises ProviderFailed when it is none that HTTP could reach."""
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_address = False
    if not is_address:
        raise no_address(name)
    return url


def no_address(name: str) -> ProviderFailed:
    """What an administrator has typed in is nothing that a request can be sent to."""
    return ProviderFailed(
        f"The API endpoint of {name} is not a web address. An administrator can correct it.",
        reason=Reason.UNREACHABLE,
        retryable=False,
    )


def retry_after_seconds(headers: Mapping[str, str]) -> int | None:
    """Retry-After as seconds or as a date (RFC 9110, 10.2.3), bounded; None when there is none to understand."""
    value = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d+)?", value):
        seconds = float(value)
    else:
        try:
            now = parsedate_to_datetime(headers["date"]) if "date" in headers else datetime.now(UTC)
            seconds = (parsedate_to_datetime(value) - now).total_seconds()
        except (ValueError, TypeError):  # not a date; or one with and one without a time zone
            return None
    return max(0, min(MAX_RETRY_AFTER_SECONDS, -int(-seconds // 1)))


def clean_words(words: str, *, key: Secret | None) -> str:
    """A provider's message as one short line without the key, or anything that looks like one."""
    if key is not None and key.reveal():
        words = words.replace(key.reveal(), "***")
    words = _KEY_LIKE.sub("***", words)
    line = " ".join("".join(char if char.isprintable() else " " for char in words).split())
    return line if len(line) <= MAX_WORDS_CHARS else line[: MAX_WORDS_CHARS - 1] + "…"


def _reason_of(fault: ReportedFault) -> Reason:
    by_kind = next((reason for reason, kinds in _KINDS.items() if kinds & fault.kinds), None)
    if by_kind in (Reason.NO_BALANCE, Reason.CONTEXT_TOO_LONG, Reason.REFUSED):
        return by_kind
    if fault.status in (None, 400, 422):
        for reason, words in _TELLING_WORDS:
            if words.search(fault.words):
                return reason
    if fault.status is None:
        # In the middle of an answer, what is not named otherwise is a breakdown on the provider's side.
        return by_kind or Reason.OVERLOADED
    if fault.status in _STATUSES:
        return _STATUSES[fault.status]
    return Reason.OVERLOADED if fault.status >= 500 else Reason.REJECTED


def _sentence(name: str, reason: Reason, fault: ReportedFault, words: str) -> str:
    told = f" {name} says: {words}" if words else ""
    status = f" (HTTP {fault.status})" if fault.status else ""
    match reason:
        case Reason.AUTHENTICATION if fault.status == 403 or "permission_error" in fault.kinds:
            return f"{name} does not allow this request with this API key.{told}"
        case Reason.AUTHENTICATION:
            return (
                f"{name} does not accept this API key. Check that it is complete, still active, and meant for {name}."
            )
        case Reason.NO_BALANCE:
            return (
                f"The account at {name} has no balance left, or has reached its limit. Top it up, or use another key."
            )
        case Reason.RATE_LIMITED:
            wait = fault.retry_after_seconds
            when = f"in {wait} s" if wait else "in a little while"
            return f"{name} receives too many requests with this API key. Try again {when}."
        case Reason.OVERLOADED | Reason.TIMEOUT:
            return f"{name} is overloaded or has a fault of its own{status}. Try again in a little while."
        case Reason.CONTEXT_TOO_LONG:
            return f"The prompt is too long for this model. Shorten it, or choose another model.{told}"
        case Reason.REFUSED:
            return f"{name} refuses this prompt.{told}"
        case _ if fault.status is not None and 300 <= fault.status < 400:
            return f"{name} sends this server elsewhere{status}, where it does not go. Correct the provider's endpoint."
        case _ if fault.status == 404 and words:
            return f"{name} does not know this model, or this API key may not use it.{told}"
        case _ if fault.status == 404:
            return f"{name} has nothing at this address. Check the provider's API endpoint."
        case _:
            return f"{name} did not accept the request{status}.{told}"
