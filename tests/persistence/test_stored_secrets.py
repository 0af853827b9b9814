"""Everything that is kept sealed is known, and can be sealed with another key while it is in use."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from types import SimpleNamespace

import pytest
from sqlalchemy import LargeBinary, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncEngine
from uuid_utils.compat import uuid7

from domain.account import SigningKey, User
from domain.cipher import api_key_place
from domain.key_rotation import KeyRotation, find_unknown_keys
from domain.notion import NotionConnection, NotionTokenKind
from domain.notion_tokens import open_access, open_refresh, seal_tokens
from domain.provider import ApiKey
from domain.secret import Secret
from integrations.cipher import AesGcmCipher
from integrations.tokens import new_signing_key, open_signing_keys
from persistence.store import PostgresStore
from persistence.stored_secrets import SEALED_COLUMNS
from persistence.tables import api_keys, metadata
from tests.persistence.samples import NOW

OLD, NEW = os.urandom(32), os.urandom(32)
BEFORE = AesGcmCipher({"old": OLD}, active="old")
ROTATING = AesGcmCipher({"old": OLD, "new": NEW}, active="new")
AFTER = AesGcmCipher({"new": NEW}, active="new")


def test_no_sealed_column_is_forgotten() -> None:
    """Bytes are ciphertexts or hashes, and who has an encryption key's id has something sealed beside it."""
    columns = {str(column): column for table in metadata.sorted_tables for column in table.columns}
    ciphertexts = {
        name
        for name, column in columns.items()
        if isinstance(column.type, LargeBinary) and not name.endswith(("_hash", "_fingerprint", "_salt"))
    }
    ciphertexts -= {"sign_in_attempts.key", "content_history.cache_key"}  # hashes
    assert {column.name for column in SEALED_COLUMNS} == ciphertexts
    key_ids = {name for name in columns if name.endswith("encryption_key_id")}
    assert {str(column.key_id) for column in SEALED_COLUMNS} == key_ids
    assert {name for name in columns if "encrypt" in name} == ciphertexts | key_ids


async def add_key(store: PostgresStore, user: User, secret: str, cipher: AesGcmCipher = BEFORE) -> ApiKey:
    key = ApiKey(
        id=uuid7(),
        user_id=user.id,
        provider_id="openai",
        hint=secret[-4:],
        is_active=True,
        created_at=NOW,
        expires_at=None,
        last_used_at=None,
    )
    async with store.begin() as tx:
        sealed = cipher.seal(Secret(secret), place=api_key_place(user.id, key.id))
        await tx.api_keys.add(key, sealed=sealed)
    return key


async def connect_notion(store: PostgresStore, user: User, token: str) -> None:
    connection = NotionConnection(
        id=uuid7(),
        user_id=user.id,
        kind=NotionTokenKind.OAUTH,
        bot_id="b",
        workspace_id=None,
        workspace_name="W",
        connected_at=NOW,
    )
    sealed = seal_tokens(
        BEFORE, user_id=user.id, connection_id=connection.id, access=Secret(token), refresh=Secret(f"{token} again")
    )
    async with store.begin() as tx:
        await tx.notion_connections.put(connection, sealed=sealed)


async def key_of(store: PostgresStore, user: User, key: ApiKey, cipher: AesGcmCipher) -> str:
    async with store.begin() as tx:
        found = await tx.api_keys.find(user.id, key.id)
    assert found is not None
    return cipher.open(found[1], place=api_key_place(user.id, key.id)).reveal()


def rotation(store: PostgresStore) -> KeyRotation:
    return KeyRotation(store=store, cipher=ROTATING, pause_seconds=0)


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("domain.key_rotation.BATCH_SIZE", 2)


@pytest.mark.usefixtures("small_batches")
async def test_everything_opens_with_the_new_key_alone(store: PostgresStore, ada: User, bob: User) -> None:
    keys = [await add_key(store, user, f"sk-{number}") for number in range(4) for user in (ada, bob)]
    await connect_notion(store, bob, "ntn_1")
    signing: SigningKey = new_signing_key(BEFORE, NOW)
    async with store.begin() as tx:
        await tx.signing_keys.add_if_none(signing)
    progress: list[int] = []

    result = await rotation(store).run(progress.append)

    assert (result.key_id, result.rewrapped, result.left) == ("new", 11, 0)
    assert progress[-1] == 11
    assert progress == sorted(progress)
    for number, key in enumerate(keys):
        assert await key_of(store, (ada, bob)[number % 2], key, AFTER) == f"sk-{number // 2}"
    async with store.begin() as tx:
        found = await tx.notion_connections.find(bob.id)
        assert found is not None
        connection, tokens = found
        assert tokens.refresh is not None
        assert open_access(AFTER, connection, tokens) == Secret("ntn_1")
        assert open_refresh(AFTER, connection, tokens.refresh) == Secret("ntn_1 again")
        assert open_signing_keys(await tx.signing_keys.list_usable(now=NOW), AFTER)[0].kid == signing.kid
    assert await rotation(store).count_to_do() == 0
    assert (await rotation(store).run(progress.append)).rewrapped == 0
    assert await find_unknown_keys(store, ["new"]) == frozenset()


@pytest.mark.usefixtures("small_batches")
async def test_stopped_in_the_middle_it_goes_on(store: PostgresStore, ada: User) -> None:
    keys = [await add_key(store, ada, f"sk-{number}") for number in range(7)]

    class Stop(Exception): ...

    def stop(done: int) -> None:
        if done >= 4:
            raise Stop

    with pytest.raises(Stop):
        await rotation(store).run(stop)
    assert await rotation(store).count_to_do() == 3
    assert await find_unknown_keys(store, ["new"]) == {"old"}
    assert await find_unknown_keys(store, ["new", "old"]) == frozenset()
    result = await rotation(store).run(lambda _: None)
    assert (result.rewrapped, result.left) == (3, 0)
    assert [await key_of(store, ada, key, AFTER) for key in keys] == [f"sk-{number}" for number in range(7)]


async def test_what_does_not_open_is_left_as_it_is(store: PostgresStore, engine: AsyncEngine, ada: User) -> None:
    moved, sound = await add_key(store, ada, "sk-1"), await add_key(store, ada, "sk-2")
    async with engine.begin() as connection:
        another = replace(moved, id=uuid7())
        await connection.execute(update(api_keys).where(api_keys.c.id == moved.id).values(id=another.id))

    result = await rotation(store).run(lambda _: None)

    assert (result.rewrapped, result.left) == (1, 1)
    assert await key_of(store, ada, sound, AFTER) == "sk-2"


@pytest.mark.usefixtures("small_batches")
async def test_what_changes_meanwhile_is_waited_for(
    store: PostgresStore, engine: AsyncEngine, ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One row is held by somebody else during the first pass, another comes with the old key after it."""
    held, removed = await add_key(store, ada, "sk-held"), await add_key(store, ada, "sk-removed")
    holder = await engine.connect()
    await holder.execute(select(api_keys).where(api_keys.c.id == held.id).with_for_update())
    await holder.execute(delete(api_keys).where(api_keys.c.id == removed.id))
    late: list[ApiKey] = []
    pausing, may_go_on = asyncio.Event(), asyncio.Event()

    async def pause(_seconds: float) -> None:
        pausing.set()
        await may_go_on.wait()

    monkeypatch.setattr("domain.key_rotation.asyncio", SimpleNamespace(sleep=pause))
    running = asyncio.create_task(rotation(store).run(lambda _: None))
    await pausing.wait()
    await holder.commit()
    await holder.close()
    late.append(await add_key(store, ada, "sk-late"))
    may_go_on.set()
    result = await running

    assert (result.rewrapped, result.left) == (2, 0)
    assert await key_of(store, ada, held, AFTER) == "sk-held"
    assert await key_of(store, ada, late[0], AFTER) == "sk-late"
    async with engine.connect() as connection:
        assert await connection.scalar(select(func.count()).select_from(api_keys)) == 2
