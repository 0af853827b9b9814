"""Accounts, sign-ins and signing keys."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256

import pytest
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncEngine
from uuid_utils.compat import uuid7

from domain.account import Role, SigningKey, User
from domain.cipher import Sealed
from domain.errors import Conflict
from persistence.store import PostgresStore
from persistence.tables import users
from tests.persistence.samples import LATER, MUCH_LATER, NOW, add_user, new_session, new_user


async def test_a_user_is_found_as_it_was_stored(store: PostgresStore) -> None:
    admin = new_user("Grace.Hopper", role=Role.ADMIN)
    async with store.begin() as tx:
        assert not await tx.users.has_administrator()
        await tx.users.add(admin, password_hash="secret")

    async with store.begin() as tx:
        assert await tx.users.find(admin.id) == admin
        assert await tx.users.find(uuid7()) is None
        assert await tx.users.has_administrator()
        assert await tx.users.find_by_login("grace.hopper") == (admin, "secret")


@pytest.mark.parametrize(
    ("email", "login"),
    [
        ("Ada@Example.com", "aDA@eXAMPLE.COM"),
        ("ÉMILE@exämple.de", "émile@EXÄMPLE.de"),
        ("straße@example.com", "STRASSE@example.com"),
        ("e\u0301mile@example.com", "\u00c9MILE@example.com"),
        ("ΣΊΣΥΦΟΣ@example.com", "σίσυφος@example.com"),
    ],
)
async def test_an_address_is_the_same_in_any_case_and_spelling(store: PostgresStore, email: str, login: str) -> None:
    user = await add_user(store, "ada", email=email)

    async with store.begin() as tx:
        assert await tx.users.find_by_login(login) == (user, "hash of ada")
    with pytest.raises(Conflict) as refusal:
        await add_user(store, "somebody", email=login)
    assert refusal.value.field == ("email",)


async def test_a_username_is_the_same_in_any_case(store: PostgresStore, ada: User) -> None:
    async with store.begin() as tx:
        assert await tx.users.find_by_login("ADA") == (ada, "hash of ada")
        assert await tx.users.find_by_login("bob") is None
    with pytest.raises(Conflict) as refusal:
        await add_user(store, "AdA", email="other@example.com")
    assert refusal.value.field == ("username",)


async def test_of_many_that_register_the_same_name_at_once_one_has_it(store: PostgresStore) -> None:
    names = ["Eve", "eve", "EVE", "eVe", "evE", "EvE"]
    results = await asyncio.gather(
        *(add_user(store, name, email=f"{place}@example.com") for place, name in enumerate(names)),
        return_exceptions=True,
    )

    assert sum(isinstance(result, User) for result in results) == 1
    assert sum(isinstance(result, Conflict) for result in results) == len(names) - 1


async def test_a_password_hash_is_replaced(store: PostgresStore, ada: User) -> None:
    async with store.begin() as tx:
        await tx.users.set_password_hash(ada.id, "stronger")
        assert await tx.users.find_by_login("ada") == (ada, "stronger")


async def test_a_viewer_needs_a_session_that_lasts(store: PostgresStore, ada: User) -> None:
    session = new_session(ada)
    async with store.begin() as tx:
        await tx.sessions.add(session)
        assert await tx.sessions.find_viewer(session.id, now=NOW) == (ada, NOW)
        assert await tx.sessions.find_viewer(session.id, now=session.expires_at) is None
        assert await tx.sessions.find_viewer(uuid7(), now=NOW) is None

        assert await tx.sessions.revoke(session.id, now=LATER)
        assert not await tx.sessions.revoke(session.id, now=MUCH_LATER)
        assert await tx.sessions.find_viewer(session.id, now=NOW) is None
        assert await tx.sessions.find_for_update(session.id) == replace(session, revoked_at=LATER)


async def test_a_viewer_needs_an_active_account(store: PostgresStore, engine: AsyncEngine, ada: User) -> None:
    session = new_session(ada)
    async with store.begin() as tx:
        await tx.sessions.add(session)
    async with engine.begin() as connection:
        await connection.execute(update(users).values(is_active=False))

    async with store.begin() as tx:
        assert await tx.sessions.find_viewer(session.id, now=NOW) is None


async def test_a_users_live_sessions_are_listed_and_ended(store: PostgresStore, ada: User, bob: User) -> None:
    first, second, third, of_bob = (new_session(user) for user in (ada, ada, ada, bob))
    expired = replace(new_session(ada), expires_at=LATER)
    async with store.begin() as tx:
        for session in (first, second, third, of_bob, expired):
            await tx.sessions.add(session)
        await tx.sessions.mark_seen(first.id, now=LATER, ip=None)
        await tx.sessions.mark_seen(third.id, now=MUCH_LATER - timedelta(minutes=1), ip="192.0.2.1")
    first = replace(first, last_seen_at=LATER)
    third = replace(third, last_seen_at=MUCH_LATER - timedelta(minutes=1), ip="192.0.2.1")

    async with store.begin() as tx:
        assert await tx.sessions.list_of(ada.id, now=LATER) == (third, first, second)
        await tx.sessions.revoke_oldest(ada.id, keep=2, now=LATER)
        assert await tx.sessions.list_of(ada.id, now=LATER) == (third, first)

        assert not await tx.sessions.revoke_of(bob.id, first.id, now=LATER)
        assert not await tx.sessions.revoke_of(ada.id, second.id, now=LATER)
        assert await tx.sessions.revoke_of(ada.id, first.id, now=LATER)
        assert await tx.sessions.revoke_all(ada.id, except_id=third.id, now=LATER) == 0
        assert await tx.sessions.list_of(ada.id, now=LATER) == (third,)
        assert await tx.sessions.revoke_all(ada.id, except_id=None, now=LATER) == 1
        assert await tx.sessions.list_of(bob.id, now=LATER) == (of_bob,)


async def test_noting_that_a_session_was_seen_waits_for_nobody(store: PostgresStore, ada: User) -> None:
    session = new_session(ada)
    async with store.begin() as tx:
        await tx.sessions.add(session)
    async with store.begin() as busy, store.begin() as tx:
        assert await busy.sessions.find_for_update(session.id) is not None
        await tx.sessions.mark_seen(session.id, now=LATER, ip=None)
        assert await tx.sessions.find_viewer(session.id, now=NOW) == (ada, NOW)


async def test_of_many_sessions_the_live_ones_are_told(
    store: PostgresStore, engine: AsyncEngine, ada: User, bob: User
) -> None:
    live, expired, revoked, of_bob = (new_session(user) for user in (ada, ada, ada, bob))
    expired = replace(expired, expires_at=LATER)
    async with store.begin() as tx:
        for session in (live, expired, revoked, of_bob):
            await tx.sessions.add(session)
        await tx.sessions.revoke(revoked.id, now=NOW)
    async with engine.begin() as connection:
        await connection.execute(update(users).where(users.c.id == bob.id).values(is_active=False))

    async with store.begin() as tx:
        everything = [each.id for each in (live, expired, revoked, of_bob)]
        assert await tx.sessions.list_live([*everything, uuid7()], now=NOW) == {live.id, expired.id}
        assert await tx.sessions.list_live(everything, now=LATER) == {live.id}
        assert await tx.sessions.list_live([], now=NOW) == frozenset()


async def test_a_refresh_token_is_rotated(store: PostgresStore, ada: User) -> None:
    session = new_session(ada)
    async with store.begin() as tx:
        await tx.sessions.add(session)
        await tx.sessions.rotate(
            session.id,
            refresh_hash=sha256(b"second").digest(),
            previous_hash=session.refresh_hash,
            rotation_salt=bytes(32),
            now=LATER,
            expires_at=MUCH_LATER + timedelta(hours=1),
        )

    async with store.begin() as tx:
        assert await tx.sessions.find_for_update(session.id) == replace(
            session,
            refresh_hash=sha256(b"second").digest(),
            previous_hash=session.refresh_hash,
            rotation_salt=bytes(32),
            last_seen_at=LATER,
            rotated_at=LATER,
            expires_at=MUCH_LATER + timedelta(hours=1),
        )
        assert await tx.sessions.find_for_update(uuid7()) is None


async def test_two_who_exchange_the_same_refresh_token_take_turns(store: PostgresStore, ada: User) -> None:
    session = new_session(ada)
    async with store.begin() as tx:
        await tx.sessions.add(session)

    async def exchange(token: bytes) -> bool:
        async with store.begin() as tx:
            found = await tx.sessions.find_for_update(session.id)
            assert found is not None
            if found.refresh_hash != session.refresh_hash:
                return False
            await asyncio.sleep(0)
            await tx.sessions.rotate(
                session.id,
                refresh_hash=sha256(token).digest(),
                previous_hash=found.refresh_hash,
                rotation_salt=bytes(32),
                now=LATER,
                expires_at=MUCH_LATER,
            )
            return True

    assert sorted(await asyncio.gather(*(exchange(bytes([number])) for number in range(8)))) == [False] * 7 + [True]


def _signing_key(kid: str) -> SigningKey:
    return SigningKey(
        kid=kid,
        algorithm="EdDSA",
        private_key=Sealed(key_id="k1", ciphertext=b"sealed " + kid.encode()),
        public_key=f"public {kid}",
        created_at=NOW,
    )


async def test_instances_that_start_at_once_agree_on_one_signing_key(store: PostgresStore) -> None:
    async def start(kid: str) -> tuple[SigningKey, ...]:
        async with store.begin() as tx:
            await tx.signing_keys.add_if_none(_signing_key(kid))
        async with store.begin() as tx:
            return await tx.signing_keys.list_usable(now=NOW)

    found = await asyncio.gather(*(start(f"key-{number}") for number in range(6)))

    assert len(set(found)) == 1
    assert found[0] == (replace(_signing_key(found[0][0].kid), is_active=True, activated_at=NOW),)


async def test_keys_follow_each_other(store: PostgresStore) -> None:
    first, second, third = (_signing_key(kid) for kid in ("first", "second", "third"))
    async with store.begin() as tx:
        await tx.signing_keys.lock()
        await tx.signing_keys.add_if_none(first)
        await tx.signing_keys.add_next(second)
        await tx.signing_keys.add_next(third)  # there is one already
    active = replace(first, is_active=True, activated_at=NOW)
    assert second.is_next
    async with store.begin() as tx:
        assert await tx.signing_keys.list_usable(now=NOW) == (active, second)
        await tx.signing_keys.promote("second", now=LATER, retired_at=MUCH_LATER)
        await tx.signing_keys.add_next(third)

    signing = replace(second, is_active=True, activated_at=LATER)
    retired = replace(first, activated_at=NOW, retired_at=MUCH_LATER)
    async with store.begin() as tx:
        usable = await tx.signing_keys.list_usable(now=LATER)
        assert usable[0] == signing
        assert {key.kid: key for key in usable[1:]} == {"first": retired, "third": third}
        assert {key.kid for key in await tx.signing_keys.list_usable(now=MUCH_LATER)} == {"second", "third"}
        assert await tx.signing_keys.purge(retired_before=MUCH_LATER) == 0
        assert await tx.signing_keys.purge(retired_before=MUCH_LATER + timedelta(seconds=1)) == 1
        await tx.signing_keys.retire_all(now=LATER)
        assert await tx.signing_keys.list_usable(now=LATER) == ()
