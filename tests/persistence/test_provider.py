"""Providers and the users' own keys."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from sqlalchemy import insert, update
from sqlalchemy.ext.asyncio import AsyncEngine
from uuid_utils.compat import uuid7

from domain.account import User
from domain.cipher import Sealed
from domain.provider import ApiKey, Model, ModelParameter, Provider, ProviderKind
from persistence.store import PostgresStore
from persistence.tables import ai_providers, api_keys
from tests.persistence.samples import LATER, MUCH_LATER, NOW


async def test_active_providers_come_in_the_order_in_which_they_are_offered(
    store: PostgresStore, engine: AsyncEngine
) -> None:
    async with engine.begin() as connection:
        await connection.execute(
            insert(ai_providers).values(
                id="local",
                kind="openai",
                name="Our own",
                api_endpoint="http://127.0.0.1:9/v1",
                models=[{"id": "a", "name": "A", "parameters": ["TEMPERATURE"]}, {"id": "b", "name": "B"}],
                config={"region": "here"},
                position=0,
            )
        )
        await connection.execute(update(ai_providers).where(ai_providers.c.id == "anthropic").values(is_active=False))

    async with store.begin() as tx:
        providers = await tx.providers.list_active()

    assert [provider.id for provider in providers] == ["local", "openai", "deepseek", "demo"]
    assert providers[0] == Provider(
        id="local",
        kind=ProviderKind.OPENAI,
        name="Our own",
        api_endpoint="http://127.0.0.1:9/v1",
        models=(
            Model(id="a", name="A", parameters=frozenset({ModelParameter.TEMPERATURE})),
            Model(id="b", name="B"),
        ),
        config={"region": "here"},
        is_active=True,
    )


def _key(user: User, provider_id: str = "openai") -> ApiKey:
    return ApiKey(
        id=uuid7(),
        user_id=user.id,
        provider_id=provider_id,
        hint="wxyz",
        is_active=True,
        created_at=NOW,
        expires_at=None,
        last_used_at=None,
    )


def _sealed(key: ApiKey) -> Sealed:
    return Sealed(key_id="k1", ciphertext=key.id.bytes)


async def test_the_newest_usable_key_is_used(store: PostgresStore, engine: AsyncEngine, ada: User, bob: User) -> None:
    oldest = _key(ada)
    newer = replace(_key(ada), created_at=LATER)
    expired = replace(_key(ada), created_at=MUCH_LATER, expires_at=MUCH_LATER + timedelta(seconds=1))
    inactive = replace(_key(ada), created_at=MUCH_LATER + timedelta(hours=1))
    elsewhere = _key(ada, "deepseek")
    of_bob = _key(bob, "anthropic")
    async with store.begin() as tx:
        for key in (oldest, newer, expired, inactive, elsewhere, of_bob):
            await tx.api_keys.add(key, sealed=_sealed(key))
    async with engine.begin() as connection:
        await connection.execute(update(api_keys).where(api_keys.c.id == inactive.id).values(is_active=False))

    async with store.begin() as tx:
        at = MUCH_LATER
        assert await tx.api_keys.find_usable(ada.id, "openai", api_endpoint=None, now=at) == (expired, _sealed(expired))
        at += timedelta(seconds=1)
        assert await tx.api_keys.find_usable(ada.id, "openai", api_endpoint=None, now=at) == (newer, _sealed(newer))
        assert await tx.api_keys.find_usable(ada.id, "anthropic", api_endpoint=None, now=at) is None
        assert await tx.api_keys.list_usable_providers(ada.id, now=at) == {"openai", "deepseek"}
        assert await tx.api_keys.list_usable_providers(None, now=at) == {"openai", "deepseek", "anthropic"}
        listed = await tx.api_keys.list_of(ada.id)

    assert [key.id for key in listed] == [key.id for key in (inactive, expired, newer, elsewhere, oldest)]
    assert not listed[0].is_active


async def test_a_provider_whose_only_key_has_expired_is_not_usable(store: PostgresStore, ada: User) -> None:
    key = replace(_key(ada), expires_at=LATER)
    async with store.begin() as tx:
        await tx.api_keys.add(key, sealed=_sealed(key))

        assert await tx.api_keys.list_usable_providers(ada.id, now=NOW) == {"openai"}
        assert await tx.api_keys.list_usable_providers(ada.id, now=LATER) == frozenset()
        assert await tx.api_keys.find_usable(ada.id, "openai", api_endpoint=None, now=LATER) is None


async def test_only_its_owner_removes_a_key(store: PostgresStore, ada: User, bob: User) -> None:
    key = _key(ada)
    async with store.begin() as tx:
        await tx.api_keys.add(key, sealed=_sealed(key))

        assert not await tx.api_keys.remove(bob.id, key.id)
        assert await tx.api_keys.list_of(ada.id) == (key,)
        assert await tx.api_keys.remove(ada.id, key.id)
        assert not await tx.api_keys.remove(ada.id, key.id)
        assert await tx.api_keys.list_of(ada.id) == ()


async def test_its_use_is_noted(store: PostgresStore, ada: User) -> None:
    key = _key(ada)
    async with store.begin() as tx:
        await tx.api_keys.add(key, sealed=_sealed(key))
        await tx.api_keys.mark_used(key.id, now=LATER)

        assert await tx.api_keys.list_of(ada.id) == (replace(key, last_used_at=LATER),)
