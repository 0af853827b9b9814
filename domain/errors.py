"""The one tree of expected failures, each with the code that clients see.

AssistantError
├── InvalidInput        INVALID_INPUT      the input breaks a rule; `field` is its path
├── Unauthenticated     UNAUTHENTICATED    nobody, or not any more, is signed in
├── Forbidden           FORBIDDEN          signed in, but not allowed
├── NotFound            NOT_FOUND          does not exist, or is somebody else's: the two look alike
├── Conflict            CONFLICT           the state of things does not admit it
├── RateLimited         RATE_LIMITED       too fast; `retry_after_seconds` says when
├── QuotaExceeded       QUOTA_EXCEEDED     a budget is used up; `resets_at` says when it begins anew
├── ProviderFailed      PROVIDER_FAILED    the AI provider failed; `reason` says how
├── NotionFailed        NOTION_FAILED      Notion failed; `reason` says how
└── Unavailable         UNAVAILABLE        this server cannot do it now

Foreign exceptions are translated into these at the door of integrations/ and persistence/. What is not an
AssistantError is a fault of the server and is masked as INTERNAL.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import ClassVar


class ErrorCode(StrEnum):
    """The stable name of a failure, as clients see it."""

    INVALID_INPUT = "INVALID_INPUT"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    FORBIDDEN = "FORBIDDEN"
    NOT_FOUND = "NOT_FOUND"
    CONFLICT = "CONFLICT"
    RATE_LIMITED = "RATE_LIMITED"
    QUOTA_EXCEEDED = "QUOTA_EXCEEDED"
    PROVIDER_FAILED = "PROVIDER_FAILED"
    NOTION_FAILED = "NOTION_FAILED"
    UNAVAILABLE = "UNAVAILABLE"
    INTERNAL = "INTERNAL"


class AssistantError(Exception):
    """An expected failure: `message` is written for the person who meets it and holds no secret."""

    code: ClassVar[ErrorCode]

    def __init__(
        self,
        message: str,
        *,
        field: tuple[str, ...] | None = None,
        retry_after_seconds: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.retry_after_seconds = retry_after_seconds


class InvalidInput(AssistantError):
    """The input breaks a rule; nothing was changed."""

    code = ErrorCode.INVALID_INPUT


class Unauthenticated(AssistantError):
    """Nobody is signed in.

    `expired` tells a token that was genuine but has run out (asking again with a fresh one helps) from one that is
    forged, revoked or missing (asking again does not).
    """

    code = ErrorCode.UNAUTHENTICATED

    def __init__(self, message: str, *, field: tuple[str, ...] | None = None, expired: bool = False) -> None:
        super().__init__(message, field=field)
        self.expired = expired


class Forbidden(AssistantError):
    """The viewer may not do this."""

    code = ErrorCode.FORBIDDEN


class NotFound(AssistantError):
    """It does not exist for this viewer."""

    code = ErrorCode.NOT_FOUND


class Conflict(AssistantError):
    """The present state does not admit the change."""

    code = ErrorCode.CONFLICT


class RateLimited(AssistantError):
    """Asked too often."""

    code = ErrorCode.RATE_LIMITED


class QuotaExceeded(AssistantError):
    """A budget is used up; `resets_at` is when it begins anew, if waiting helps."""

    code = ErrorCode.QUOTA_EXCEEDED

    def __init__(
        self,
        message: str,
        *,
        field: tuple[str, ...] | None = None,
        retry_after_seconds: int | None = None,
        resets_at: datetime | None = None,
    ) -> None:
        super().__init__(message, field=field, retry_after_seconds=retry_after_seconds)
        self.resets_at = resets_at


class ProviderFailureReason(StrEnum):
    """What an AI provider's failure means for the person who reads of it."""

    AUTHENTICATION = "AUTHENTICATION"
    NO_BALANCE = "NO_BALANCE"
    RATE_LIMITED = "RATE_LIMITED"
    OVERLOADED = "OVERLOADED"
    CONTEXT_TOO_LONG = "CONTEXT_TOO_LONG"
    REFUSED = "REFUSED"
    REJECTED = "REJECTED"
    TIMEOUT = "TIMEOUT"
    TRUNCATED = "TRUNCATED"
    MALFORMED = "MALFORMED"
    UNREACHABLE = "UNREACHABLE"
    CIRCUIT_OPEN = "CIRCUIT_OPEN"  # this server does not ask it for a while


class ProviderFailed(AssistantError):
    """The AI provider did not do its part; `retryable` says whether the same request may succeed later."""

    code = ErrorCode.PROVIDER_FAILED

    def __init__(
        self,
        message: str,
        *,
        reason: ProviderFailureReason,
        retryable: bool,
        retry_after_seconds: int | None = None,
    ) -> None:
        super().__init__(message, retry_after_seconds=retry_after_seconds)
        self.reason = reason
        self.retryable = retryable


class NotionFailureReason(StrEnum):
    """What Notion's failure means for the person who reads of it."""

    AUTHENTICATION = "AUTHENTICATION"
    NOT_SHARED = "NOT_SHARED"
    RESTRICTED = "RESTRICTED"
    REJECTED = "REJECTED"
    CONFLICT = "CONFLICT"
    RATE_LIMITED = "RATE_LIMITED"
    OVERLOADED = "OVERLOADED"
    TIMEOUT = "TIMEOUT"
    MALFORMED = "MALFORMED"
    UNREACHABLE = "UNREACHABLE"


class NotionFailed(AssistantError):
    """Notion did not do its part.

    `retryable`: the same request may succeed later. `ambiguous`: the request may have taken effect all the same, so it
    must be looked for before it is repeated. `committed_ids`: what Notion itself says it has made.
    """

    code = ErrorCode.NOTION_FAILED

    def __init__(
        self,
        message: str,
        *,
        reason: NotionFailureReason,
        retryable: bool,
        ambiguous: bool = False,
        committed_ids: tuple[str, ...] = (),
        retry_after_seconds: int | None = None,
        field: tuple[str, ...] | None = None,
    ) -> None:
        super().__init__(message, field=field, retry_after_seconds=retry_after_seconds)
        self.reason = reason
        self.retryable = retryable
        self.ambiguous = ambiguous
        self.committed_ids = committed_ids


class Unavailable(AssistantError):
    """This server cannot do it at the moment."""

    code = ErrorCode.UNAVAILABLE
