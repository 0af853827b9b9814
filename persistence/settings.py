"""The users' choices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert

from domain.errors import NotFound
from domain.settings import Fallback, NotionSettings, UserSettings
from persistence.statements import Statements
from persistence.tables import user_settings, users


class PostgresSettingsOfUsers:
    """Behind the port SettingsOfUsers."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def get(self, user_id: UUID) -> UserSettings:
        """A user's settings; before they are first changed, all is left to the server. Raises NotFound: no account."""
        row = await self._statements.row(
            select(
                users.c.id,
                user_settings.c.default_provider,
                user_settings.c.default_model,
                user_settings.c.system_prompt,
                user_settings.c.fallback,
                func.coalesce(user_settings.c.use_cache, False).label("use_cache"),
                user_settings.c.notion_config,
                user_settings.c.ui_preferences,
                user_settings.c.retention_days,
                func.coalesce(user_settings.c.updated_at, users.c.created_at).label("updated_at"),
            )
            .outerjoin_from(users, user_settings)
            .where(users.c.id == user_id)
        )
        if row is None:
            raise NotFound("There is no such account.")
        return UserSettings(
            user_id=row["id"],
            default_provider=row["default_provider"],
            default_model=row["default_model"],
            system_prompt=row["system_prompt"],
            fallback=tuple(
                Fallback(provider_id=each["provider"], model=each.get("model")) for each in row["fallback"] or ()
            ),
            use_cache=row["use_cache"],
            notion=_notion_of(row["notion_config"] or {}),
            ui_preferences=row["ui_preferences"] or {},
            retention_days=row["retention_days"],
            updated_at=row["updated_at"],
        )

    async def put(self, settings: UserSettings) -> None:
        """Replaces them."""
        values = {
            "default_provider": settings.default_provider,
            "default_model": settings.default_model,
            "system_prompt": settings.system_prompt,
            "fallback": [{"provider": each.provider_id, "model": each.model} for each in settings.fallback],
            "use_cache": settings.use_cache,
            "notion_config": {
                "parent_id": settings.notion.parent_id,
                "auto_publish": settings.notion.auto_publish,
                "property_map": settings.notion.property_map,
                "create_options": settings.notion.create_options,
            },
            "ui_preferences": settings.ui_preferences,
            "retention_days": settings.retention_days,
            "updated_at": settings.updated_at,
        }
        await self._statements.change(
            insert(user_settings)
            .values(user_id=settings.user_id, **values)
            .on_conflict_do_update(index_elements=[user_settings.c.user_id], set_=values)
        )


def _notion_of(stored: Mapping[str, Any]) -> NotionSettings:  # Any: JSON
    return NotionSettings(
        parent_id=stored.get("parent_id"),
        auto_publish=stored.get("auto_publish", False),
        property_map=stored.get("property_map", {}),
        create_options=stored.get("create_options", True),
    )
