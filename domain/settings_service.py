"""Reading and changing a user's choices."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from domain.account import Client, Viewer
from domain.audit import AuditAction, AuditEvent
from domain.errors import InvalidInput
from domain.fallback import check_fallbacks_exist, checked_fallbacks
from domain.notion_references import notion_id
from domain.property_map import check_placeholders
from domain.provider_catalog import ProviderCatalog
from domain.settings import Fallback, NotionSettings, UserSettings
from domain.store import Store
from domain.text import checked_text
from domain.unset import UNSET, UnsetType

MAX_SYSTEM_PROMPT_CHARS = 50_000
MAX_PREFERENCES_CHARS = 65_536
MAX_REFERENCE_CHARS = 2_000
MAX_RETENTION_DAYS = 3_650


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsChange:
    """What to change; UNSET leaves a choice as it is, None takes it back."""

    default_provider: str | UnsetType | None = UNSET
    default_model: str | UnsetType | None = UNSET
    system_prompt: str | UnsetType | None = UNSET
    fallback: tuple[Fallback, ...] | UnsetType = UNSET
    use_cache: bool | UnsetType = UNSET
    notion_parent_id: str | UnsetType | None = UNSET
    notion_auto_publish: bool | UnsetType = UNSET
    notion_property_map: Mapping[str, object] | UnsetType = UNSET
    notion_create_options: bool | UnsetType = UNSET
    ui_preferences: Mapping[str, object] | UnsetType = UNSET
    retention_days: int | UnsetType | None = UNSET


class SettingsService:
    """A user's choices."""

    def __init__(self, *, store: Store, catalog: ProviderCatalog, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._catalog = catalog
        self._clock = clock

    async def get(self, viewer: Viewer) -> UserSettings:
        """The viewer's settings."""
        async with self._store.begin() as tx:
            return await tx.settings.get(viewer.user.id)

    async def update(self, viewer: Viewer, change: SettingsChange, *, client: Client) -> UserSettings:
        """Changes what is given. Raises InvalidInput, and then nothing has changed."""
        present = await self.get(viewer)
        wanted = _checked(_applied(present, change))
        provider_changes = change.default_provider is not UNSET or change.default_model is not UNSET
        if provider_changes and wanted.default_provider is not None:
            await self._catalog.check_choice(viewer, wanted.default_provider, wanted.default_model)
        elif provider_changes and wanted.default_model is not None:
            raise InvalidInput(
                "A default model needs a default provider: give both.",
                field=("defaultModel",),
            )
        if isinstance(change.notion_parent_id, str):
            _check_reference(change.notion_parent_id)
        if change.fallback is not UNSET:
            await check_fallbacks_exist(self._catalog, viewer, wanted.fallback)
        async with self._store.begin() as tx:
            # Applied anew inside the transaction: another change may have come in between.
            current = await tx.settings.get(viewer.user.id)
            settings = replace(_applied(current, change), updated_at=self._clock())
            await tx.settings.put(settings)
            await tx.audit.append(
                AuditEvent(
                    action=AuditAction.SETTINGS_UPDATED,
                    actor_id=viewer.user.id,
                    target=f"user:{viewer.user.id}",
                    ip=client.ip,
                    details={
                        "changed": [name for name in SettingsChange.__slots__ if getattr(change, name) is not UNSET]
                    },
                )
            )
        return settings


def _applied(settings: UserSettings, change: SettingsChange) -> UserSettings:
    notion = settings.notion
    return replace(
        settings,
        default_provider=_choose(change.default_provider, settings.default_provider),
        default_model=_choose(change.default_model, settings.default_model),
        system_prompt=_choose(change.system_prompt, settings.system_prompt),
        fallback=settings.fallback if change.fallback is UNSET else change.fallback,
        use_cache=settings.use_cache if change.use_cache is UNSET else change.use_cache,
        notion=NotionSettings(
            parent_id=_choose(change.notion_parent_id, notion.parent_id),
            auto_publish=notion.auto_publish if change.notion_auto_publish is UNSET else change.notion_auto_publish,
            property_map=notion.property_map if change.notion_property_map is UNSET else change.notion_property_map,
            create_options=(
                notion.create_options if change.notion_create_options is UNSET else change.notion_create_options
            ),
        ),
        retention_days=settings.retention_days if change.retention_days is UNSET else change.retention_days,
        ui_preferences=settings.ui_preferences if change.ui_preferences is UNSET else change.ui_preferences,
    )


def _choose(given: str | UnsetType | None, present: str | None) -> str | None:
    return present if given is UNSET else given


def _checked(settings: UserSettings) -> UserSettings:
    if settings.system_prompt is not None:
        checked_text(settings.system_prompt, field=("systemPrompt",), max_chars=MAX_SYSTEM_PROMPT_CHARS)
    checked_fallbacks(settings.fallback)
    if settings.notion.parent_id is not None:
        checked_text(settings.notion.parent_id, field=("notion", "parentId"), max_chars=MAX_REFERENCE_CHARS)
    if settings.notion.auto_publish and settings.notion.parent_id is None:
        raise InvalidInput(
            "To publish every answer, say where to: set `parentId` too.", field=("notion", "autoPublish")
        )
    if settings.retention_days is not None and not 1 <= settings.retention_days <= MAX_RETENTION_DAYS:
        raise InvalidInput(f"This must be from 1 to {MAX_RETENTION_DAYS:,} days.", field=("retentionDays",))
    checked_json(settings.ui_preferences, field=("uiPreferences",))
    checked_json(settings.notion.property_map, field=("notion", "propertyMap"))
    try:
        check_placeholders(settings.notion.property_map)
    except InvalidInput as error:
        raise InvalidInput(error.message, field=("notion", "propertyMap", *(error.field or ()))) from error
    return settings


def _check_reference(parent_id: str) -> None:
    """Whether there is such a page, Notion says only when something is published."""
    try:
        notion_id(parent_id)
    except InvalidInput as error:
        raise InvalidInput(error.message, field=("notion", "parentId")) from error


def checked_json(value: Mapping[str, object], *, field: tuple[str, ...]) -> None:
    """Raises InvalidInput when a JSON object is too large, or holds what cannot be stored."""
    text = json.dumps(value, ensure_ascii=False)
    if "\\u0000" in text:
        raise InvalidInput("This holds a NUL character (U+0000).", field=field)
    checked_text(text, field=field, max_chars=MAX_PREFERENCES_CHARS)
