"""What each way in which a request to Notion fails means: reason, whether to repeat it, whether it took effect.

The messages are for the person who publishes. They never quote what Notion says of the content, for it quotes the
content itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

from domain.errors import NotionFailed, NotionFailureReason
from domain.notion_pace import blocked

MAX_RETRY_AFTER_SECONDS: Final = 3600

_BLOCKED: Final = "public_api_request_blocked"
# What the endpoint of one kind says of an id of another kind.
_OTHER_KIND: Final = re.compile(r"Provided \S+ \S+ is an? [\w ]+, not an? ")
_IN_TRASH: Final = "Can't edit block that is archived"
# Where in the request, and what the rule is; what follows "instead was" quotes the content.
_BAD_CONTENT: Final = re.compile(
    r"body failed validation(?:\. Fix one)?:\s+body((?:\.\w+|\[\d+\])+) should be (.{1,80}?), instead was ", re.DOTALL
)
_BAD_PROPERTY: Final = re.compile(r"(.{1,100}?) is (?:not a property that exists|expected to be (\w+))\.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An answer other than 200: what Notion's error object says, as far as it could be read."""

    status: int
    code: str = ""
    message: str = ""
    additional_data: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def read(cls, status: int, body: str) -> Refusal:
        """From the body, which need be neither Notion's nor JSON: a gateway may have written it."""
        try:
            said: Any = json.loads(body)  # any JSON value: foreign
        except ValueError:
            return cls(status=status)
        if not isinstance(said, dict):
            return cls(status=status)
        more = said.get("additional_data")
        return cls(
            status=status,
            code=str(said.get("code") or said.get("error") or ""),
            message=str(said.get("message") or ""),
            additional_data=more if isinstance(more, dict) else {},
        )

    @property
    def committed_ids(self) -> tuple[str, ...]:
        """What Notion says it has made all the same: the blocks of an append, else the page."""
        children = self.additional_data.get("committed_child_ids")
        if isinstance(children, list):
            return tuple(str(child) for child in children)
        page = self.additional_data.get("committed_resource_id")
        return (page,) if isinstance(page, str) else ()


def refused(refusal: Refusal, *, retry_after: str | None, writes: bool) -> NotionFailed:
    """The failure that an answer means. `retry_after` is the header; `writes`: the request would change something."""
    wait = _seconds(retry_after) or _seconds(refusal.additional_data.get("retry_after"))
    match refusal.status:
        case 401:
            return NotionFailed(
                "Notion rejected the token: connect Notion again.",
                reason=NotionFailureReason.AUTHENTICATION,
                retryable=False,
            )
        case 403:
            return NotionFailed(
                "The integration may not do this: in its settings at Notion, allow it to read, update and insert.",
                reason=NotionFailureReason.RESTRICTED,
                retryable=False,
            )
        case 404:
            return not_shared()
        case 400 if _OTHER_KIND.match(refusal.message):
            return NotionFailed(
                "Notion has something else under this id: a page in place of a database, or the reverse.",
                reason=NotionFailureReason.NOT_SHARED,
                retryable=False,
            )
        case 409:
            return NotionFailed(
                "Somebody changed the page in Notion at the same moment.",
                reason=NotionFailureReason.CONFLICT,
                retryable=True,
                retry_after_seconds=wait,
            )
        case 429 if refusal.additional_data.get("rate_limit_reason") == _BLOCKED:
            return blocked()
        case 429:
            return NotionFailed(
                "Notion has had too many requests from this integration.",
                reason=NotionFailureReason.RATE_LIMITED,
                retryable=True,
                retry_after_seconds=wait,
            )
        case 529:
            return NotionFailed(
                "Notion is overloaded.",
                reason=NotionFailureReason.OVERLOADED,
                retryable=True,
                retry_after_seconds=wait,
            )
        case 408 | 504:
            return timed_out(ambiguous=writes)
        case status if status >= 500:
            return NotionFailed(
                f"Notion failed with an error of its own ({status}).",
                reason=NotionFailureReason.OVERLOADED,
                retryable=True,
                ambiguous=writes,
                committed_ids=refusal.committed_ids,
                retry_after_seconds=wait,
            )
        case status if status < 400:
            return malformed(ambiguous=writes)
        case _:
            return NotionFailed(_explained(refusal), reason=NotionFailureReason.REJECTED, retryable=False)


def not_shared() -> NotionFailed:
    """What is not shared and what does not exist look alike."""
    return NotionFailed(
        "This page is not shared with the integration: open it in Notion, ••• → Connections → add it.",
        reason=NotionFailureReason.NOT_SHARED,
        retryable=False,
    )


def in_trash() -> NotionFailed:
    """The page is there, but nothing can be written to it."""
    return NotionFailed(
        "The page is in Notion's trash: restore it there and publish again.",
        reason=NotionFailureReason.REJECTED,
        retryable=False,
    )


def changed_meanwhile() -> NotionFailed:
    """Blocks are not where they were put, so that nobody can tell any more where the rest belongs."""
    return NotionFailed(
        "Somebody rearranged the page in Notion before it was complete; the rest could not be placed.",
        reason=NotionFailureReason.CONFLICT,
        retryable=False,
    )


def timed_out(*, ambiguous: bool) -> NotionFailed:
    """No answer came in time."""
    return NotionFailed(
        "Notion did not answer in time.", reason=NotionFailureReason.TIMEOUT, retryable=True, ambiguous=ambiguous
    )


def unreachable(*, ambiguous: bool) -> NotionFailed:
    """There is no connection, or it broke; `ambiguous` when the request was under way."""
    return NotionFailed(
        "The connection to Notion failed.", reason=NotionFailureReason.UNREACHABLE, retryable=True, ambiguous=ambiguous
    )


def malformed(*, ambiguous: bool) -> NotionFailed:
    """An answer that cannot be read."""
    return NotionFailed(
        "Notion's answer could not be read.",
        reason=NotionFailureReason.MALFORMED,
        retryable=True,
        ambiguous=ambiguous,
    )


def unfit_text() -> NotionFailed:
    """Half a character (a lone surrogate), which cannot be sent at all."""
    return NotionFailed(
        "The text holds characters that cannot be sent to Notion.",
        reason=NotionFailureReason.REJECTED,
        retryable=False,
    )


def _explained(refusal: Refusal) -> str:
    """What can be told of a refusal without quoting content: names of properties, places in the request."""
    if refusal.message.startswith(_IN_TRASH):
        return in_trash().message
    properties = [
        f"“{name}” is missing" if kind is None else f"“{name}” is of type {kind} now"
        for name, kind in ((found[1].strip(), found[2]) for found in _BAD_PROPERTY.finditer(refusal.message))
    ]
    if properties:
        return f"The database's properties are not what they were: {', '.join(properties)}."
    found = _BAD_CONTENT.match(refusal.message)
    if found and not found[1].startswith(".properties"):
        rule = found[2].replace("`", "")
        return f"Notion rejected the content: {found[1].lstrip('.')} should be {rule}."
    return f"Notion rejected the request ({refusal.code or refusal.status})."


def _seconds(said: object) -> int | None:
    """Retry-After: whole seconds or a date; None for anything else; at most an hour."""
    if not isinstance(said, str):
        return None
    if said.strip().isdecimal():
        return min(int(said), MAX_RETRY_AFTER_SECONDS)
    try:
        moment = parsedate_to_datetime(said)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    wait = (moment - datetime.now(UTC)).total_seconds()
    return min(max(0, -int(-wait // 1)), MAX_RETRY_AFTER_SECONDS)
