"""What Notion tells of its own accord: events, and the tokens by which they are known to be Notion's.

An event holds no text, only the id of what has changed; whoever sends one gains no more than that a page is looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol
from uuid import UUID

from domain.cipher import Sealed

EVENTS_KEPT: Final = timedelta(days=3)
"""Longer than Notion tries to deliver an event; what is older is not listened to."""
MAX_TOKENS: Final = 20
MAX_ID_CHARS: Final = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class NotionEvent:
    """Something has happened in Notion to what has the id `entity_id`."""

    id: str
    type: str
    entity_id: str
    entity_type: str
    at: datetime


def event_of(said: Mapping[str, object]) -> NotionEvent | None:
    """The event in a body, or None when it tells of nothing that has an id: Notion adds kinds of events as it likes."""
    entity = said.get("entity")
    if not isinstance(entity, dict):
        return None
    event_id, event_type, at = said.get("id"), said.get("type"), said.get("timestamp")
    entity_id, entity_type = entity.get("id"), entity.get("type")
    for text in (event_id, entity_id, event_type, entity_type):
        if not isinstance(text, str) or not 0 < len(text) <= MAX_ID_CHARS or not text.isascii() or "\0" in text:
            return None
    try:
        moment = datetime.fromisoformat(str(at))
    except ValueError:
        return None
    if moment.tzinfo is None:
        return None
    return NotionEvent(
        id=str(event_id), type=str(event_type), entity_id=str(entity_id), entity_type=str(entity_type), at=moment
    )


class NotionWebhooks(Protocol):
    """The verification tokens of webhook subscriptions, and which events have come in."""

    async def open_window(self, window_id: UUID, *, now: datetime, until: datetime) -> None:
        """Waits for one token until then."""

    async def close_window(self, window_id: UUID, *, now: datetime) -> None:
        """Waits no more, unless the token has come."""

    async def find_window(self, *, now: datetime) -> UUID | None:
        """The window that waits for a token, the newest of several; nobody else gets it in this moment."""

    async def keep_token(self, window_id: UUID, *, sealed: Sealed, now: datetime) -> None:
        """The token has come; of all tokens the newest are kept, as many as MAX_TOKENS."""

    async def find_token(self, window_id: UUID) -> Sealed | None:
        """The token that has come through a window."""

    async def list_tokens(self) -> Sequence[tuple[UUID, Sealed]]:
        """All tokens, the newest first."""

    async def forget_tokens(self) -> int:
        """Deletes all tokens; answers how many there were."""

    async def note_event(self, event_id: str, *, now: datetime) -> bool:
        """Whether this event has not come in before."""

    async def purge_events(self, *, received_before: datetime) -> int:
        """Forgets which events have come in; answers how many."""
