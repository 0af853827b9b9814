"""Who did what to what: the events of the append-only audit log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from domain.page import Page, PageRequest


class AuditAction(StrEnum):
    """What happened."""

    USER_REGISTERED = "USER_REGISTERED"
    SIGNED_IN = "SIGNED_IN"
    SIGN_IN_FAILED = "SIGN_IN_FAILED"
    SIGNED_OUT = "SIGNED_OUT"
    REFRESH_TOKEN_REUSED = "REFRESH_TOKEN_REUSED"  # noqa: S105  (an event's name, not a token)
    PASSWORD_CHANGED = "PASSWORD_CHANGED"  # noqa: S105  (an event's name, not a password)
    PASSWORD_RESET_OFFERED = "PASSWORD_RESET_OFFERED"  # noqa: S105  (an event's name, not a password)
    PASSWORD_RESET = "PASSWORD_RESET"  # noqa: S105  (an event's name, not a password)
    INVITATION_CREATED = "INVITATION_CREATED"
    ACCOUNT_LINK_WITHDRAWN = "ACCOUNT_LINK_WITHDRAWN"
    SESSION_REVOKED = "SESSION_REVOKED"
    OTHER_SESSIONS_REVOKED = "OTHER_SESSIONS_REVOKED"
    ACCESS_TOKEN_CREATED = "ACCESS_TOKEN_CREATED"  # noqa: S105  (an event's name, not a token)
    ACCESS_TOKEN_REVOKED = "ACCESS_TOKEN_REVOKED"  # noqa: S105  (an event's name, not a token)
    SIGNING_KEY_ROTATED = "SIGNING_KEY_ROTATED"
    SIGNING_KEYS_REPLACED = "SIGNING_KEYS_REPLACED"
    SETTINGS_UPDATED = "SETTINGS_UPDATED"
    API_KEY_ADDED = "API_KEY_ADDED"
    API_KEY_REMOVED = "API_KEY_REMOVED"
    API_KEY_UPDATED = "API_KEY_UPDATED"
    API_KEY_TESTED = "API_KEY_TESTED"
    PROVIDER_ADDED = "PROVIDER_ADDED"
    PROVIDER_UPDATED = "PROVIDER_UPDATED"
    PROVIDER_REMOVED = "PROVIDER_REMOVED"
    NOTION_CONNECTED = "NOTION_CONNECTED"
    NOTION_DISCONNECTED = "NOTION_DISCONNECTED"
    PAGE_PUBLISHED = "PAGE_PUBLISHED"
    PAGE_TAKEN = "PAGE_TAKEN"
    PAGE_PUSHED = "PAGE_PUSHED"
    PAGE_EDITED = "PAGE_EDITED"
    GENERATIONS_DELETED = "GENERATIONS_DELETED"
    BUDGET_SET = "BUDGET_SET"
    GENERATIONS_EXPIRED = "GENERATIONS_EXPIRED"
    USER_UPDATED = "USER_UPDATED"
    USER_DELETED = "USER_DELETED"
    MAINTENANCE_CHANGED = "MAINTENANCE_CHANGED"
    SIGN_UP_POLICY_CHANGED = "SIGN_UP_POLICY_CHANGED"
    AUDIT_LOG_EXPORTED = "AUDIT_LOG_EXPORTED"
    ACCOUNT_EXPORTED = "ACCOUNT_EXPORTED"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEvent:
    """One thing that happened; `details` holds no secret."""

    action: AuditAction
    actor_id: UUID | None
    target: str
    ip: str | None = None
    details: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord:
    """An event as it stands in the log."""

    id: UUID
    at: datetime
    action: AuditAction
    actor_id: UUID | None
    target: str
    ip: str | None
    details: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilter:
    """Which events; everything given must hold."""

    actions: frozenset[AuditAction] = frozenset()
    actor_id: UUID | None = None
    target: str | None = None
    ip: str | None = None
    after: datetime | None = None
    before: datetime | None = None


class AuditLog(Protocol):
    """Append-only, written in the transaction of what it tells."""

    async def append(self, event: AuditEvent) -> None:
        """Adds the event at the store's own time."""

    async def list_page(self, page: PageRequest, *, where: AuditFilter) -> Page[AuditRecord]:
        """A page of the events, the newest first."""

    async def count(self, *, where: AuditFilter) -> int:
        """How many events the filter lets through."""
