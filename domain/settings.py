"""A user's choices: what is generated with, and where it is published, unless a request says otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol
from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class NotionSettings:
    """Where answers go: `parent_id` as Notion knows it; `property_map` are properties set on every page.

    `create_options`: a select or multi-select gets an option that it lacks.
    """

    parent_id: str | None = None
    auto_publish: bool = False
    property_map: Mapping[str, object] = field(default_factory=dict)
    create_options: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Fallback:
    """A model to ask when others are out of order; None is the provider's default."""

    provider_id: str
    model: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UserSettings:
    """A user's choices; None leaves it to the server. Generations older than `retention_days` are deleted."""

    user_id: UUID
    default_provider: str | None
    default_model: str | None
    system_prompt: str | None
    fallback: tuple[Fallback, ...]
    use_cache: bool
    notion: NotionSettings
    ui_preferences: Mapping[str, object]
    retention_days: int | None
    updated_at: datetime


class SettingsOfUsers(Protocol):
    """The users' choices."""

    async def get(self, user_id: UUID) -> UserSettings:
        """A user's settings; every account has them."""

    async def put(self, settings: UserSettings) -> None:
        """Replaces them."""
