"""Settings, the connection to Notion, and the audit log."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import pytest
from sqlalchemy import Update, delete, func, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.sql import Executable
from uuid_utils.compat import uuid7

from domain.account import User
from domain.audit import AuditAction, AuditEvent
from domain.cipher import Sealed
from domain.errors import NotFound
from domain.notion import NotionConnection, NotionTokenKind, SealedTokens
from domain.settings import Fallback, NotionSettings, UserSettings
from persistence.store import PostgresStore
from persistence.tables import audit_log
from tests.persistence.samples import LATER, NOW


async def test_a_new_account_leaves_everything_to_the_server(store: PostgresStore, ada: User) -> None:
    async with store.begin() as tx:
        assert await tx.settings.get(ada.id) == UserSettings(
            user_id=ada.id,
            default_provider=None,
            default_model=None,
            system_prompt=None,
            fallback=(),
            use_cache=False,
            notion=NotionSettings(),
            ui_preferences={},
            retention_days=None,
            updated_at=ada.created_at,
        )
        with pytest.raises(NotFound):
            await tx.settings.get(uuid7())


async def test_settings_are_stored_and_replaced(store: PostgresStore, ada: User, bob: User) -> None:
    first = UserSettings(
        user_id=ada.id,
        default_provider="anthropic",
        default_model="claude-sonnet-5-5",
        system_prompt="Be brief.",
        fallback=(Fallback(provider_id="openai"), Fallback(provider_id="demo", model="demo")),
        use_cache=True,
        notion=NotionSettings(parent_id="abc", auto_publish=True, property_map={"Tags": ["ai", "ü"], "n": 1.5}),
        ui_preferences=MappingProxyType({"theme": "dark", "nested": {"deep": [1, None, True]}}),
        retention_days=30,
        updated_at=NOW,
    )
    second = replace(first, default_provider=None, default_model=None, notion=NotionSettings(), updated_at=LATER)
    async with store.begin() as tx:
        await tx.settings.put(first)
        assert await tx.settings.get(ada.id) == first
        await tx.settings.put(second)
        assert await tx.settings.get(ada.id) == second
        assert (await tx.settings.get(bob.id)).system_prompt is None


async def test_a_connection_to_notion_is_made_replaced_and_removed(store: PostgresStore, ada: User, bob: User) -> None:
    first = NotionConnection(
        id=uuid7(),
        user_id=ada.id,
        kind=NotionTokenKind.OAUTH,
        bot_id="bot",
        workspace_id=None,
        workspace_name="Notes",
        connected_at=NOW,
    )
    second = replace(
        first,
        id=uuid7(),
        kind=NotionTokenKind.INTEGRATION,
        workspace_id="w2",
        workspace_name="Other",
        connected_at=LATER,
    )
    refresh = Sealed(key_id="k2", ciphertext=b"next")
    async with store.begin() as tx:
        assert await tx.notion_connections.find(ada.id) is None
        assert not await tx.notion_connections.remove(ada.id)
        for connection, token, next_one in ((first, b"one", refresh), (second, b"two", None)):
            sealed = SealedTokens(access=Sealed(key_id="k1", ciphertext=token), refresh=next_one)
            await tx.notion_connections.put(connection, sealed=sealed)
            assert await tx.notion_connections.find(ada.id) == (connection, sealed)
        assert not await tx.notion_connections.remove(bob.id)
        assert await tx.notion_connections.remove(ada.id)
        assert await tx.notion_connections.find(ada.id) is None


async def test_an_event_is_appended(store: PostgresStore, engine: AsyncEngine, ada: User) -> None:
    async with store.begin() as tx:
        await tx.audit.append(
            AuditEvent(
                action=AuditAction.SIGNED_IN,
                actor_id=ada.id,
                target="session:1",
                ip="127.0.0.1",
                details={"ids": ["a", "b"]},
            )
        )
        await tx.audit.append(AuditEvent(action=AuditAction.SIGN_IN_FAILED, actor_id=None, target="session"))

    async with engine.connect() as connection:
        rows = (await connection.execute(select(audit_log).order_by(audit_log.c.id))).mappings().all()
        now = (await connection.execute(select(func.now()))).scalar_one()
    assert [(row["action"], row["actor_id"], row["ip"], row["details"]) for row in rows] == [
        ("SIGNED_IN", ada.id, "127.0.0.1", {"ids": ["a", "b"]}),
        ("SIGN_IN_FAILED", None, None, {}),
    ]
    assert all(row["at"] <= now for row in rows)


@pytest.mark.parametrize(
    "change",
    [
        update(audit_log).values(target="somebody else"),
        update(audit_log).where(audit_log.c.target == "nothing").values(target="still nothing"),
        delete(audit_log),
        text("TRUNCATE audit_log"),
    ],
    ids=["update", "update of nothing", "delete", "truncate"],
)
async def test_what_is_in_the_audit_log_cannot_be_changed(
    store: PostgresStore, engine: AsyncEngine, change: Executable | Update
) -> None:
    async with store.begin() as tx:
        await tx.audit.append(AuditEvent(action=AuditAction.SIGNED_OUT, actor_id=None, target="session"))

    with pytest.raises(DBAPIError, match="append-only"):
        async with engine.begin() as connection:
            await connection.execute(change)

    async with engine.connect() as connection:
        assert (await connection.execute(select(audit_log.c.target))).scalars().all() == ["session"]
