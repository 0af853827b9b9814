"""Personal access tokens."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest
from sqlalchemy import insert, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine
from uuid_utils.compat import uuid7

from domain.access_token import PersonalAccessToken, new_secret
from domain.account import Scope, User
from persistence.store import PostgresStore
from persistence.tables import access_tokens, users
from tests.persistence.samples import LATER, MUCH_LATER, NOW


def _token(user: User, *, expires_at: datetime | None = None) -> PersonalAccessToken:
    return PersonalAccessToken(
        id=uuid7(),
        user_id=user.id,
        name="A program",
        prefix="nat_1234",
        scopes=frozenset({Scope.READ, Scope.PUBLISH}),
        created_at=NOW,
        expires_at=expires_at,
        last_used_at=None,
    )


async def test_a_token_speaks_for_its_owner_until_it_ends(store: PostgresStore, ada: User, bob: User) -> None:
    lasting, short = _token(ada), _token(ada, expires_at=LATER)
    _, _, lasting_hash = new_secret()
    _, _, short_hash = new_secret()
    async with store.begin() as tx:
        await tx.access_tokens.add(lasting, secret_hash=lasting_hash)
        await tx.access_tokens.add(short, secret_hash=short_hash)
        assert await tx.access_tokens.list_of(ada.id) == (short, lasting)
        assert await tx.access_tokens.list_of(bob.id) == ()
        both = [lasting.id, short.id]

        assert await tx.access_tokens.find_viewer(short_hash, now=NOW) == (ada, short)
        assert await tx.access_tokens.list_live(both, now=NOW) == {*both}
        assert await tx.access_tokens.find_viewer(short_hash, now=LATER) is None
        assert await tx.access_tokens.list_live(both, now=LATER) == {lasting.id}

        await tx.access_tokens.mark_used(lasting.id, now=LATER)
        used = replace(lasting, last_used_at=LATER)
        assert await tx.access_tokens.find_viewer(lasting_hash, now=LATER) == (ada, used)

        assert not await tx.access_tokens.remove(bob.id, lasting.id)
        assert await tx.access_tokens.remove(ada.id, lasting.id)
        assert await tx.access_tokens.find_viewer(lasting_hash, now=LATER) is None
        assert await tx.access_tokens.purge(expired_before=LATER) == 0
        assert await tx.access_tokens.purge(expired_before=MUCH_LATER) == 1
        assert await tx.access_tokens.list_of(ada.id) == ()


async def test_a_token_of_somebody_who_may_not_sign_in_is_worth_nothing(
    store: PostgresStore, engine: AsyncEngine, ada: User
) -> None:
    token = _token(ada)
    _, _, secret_hash = new_secret()
    async with store.begin() as tx:
        await tx.access_tokens.add(token, secret_hash=secret_hash)
    async with engine.begin() as connection:
        await connection.execute(update(users).values(is_active=False))

    async with store.begin() as tx:
        assert await tx.access_tokens.find_viewer(secret_hash, now=NOW) is None
        assert await tx.access_tokens.list_live([token.id], now=NOW) == frozenset()
        assert await tx.access_tokens.remove_all(ada.id) == 1


@pytest.mark.parametrize(
    ("constraint", "change"),
    [
        ("ck_access_tokens_scopes", {"scopes": []}),
        ("ck_access_tokens_scopes", {"scopes": ["READ", "EVERYTHING"]}),
        ("ck_access_tokens_name_size", {"name": ""}),
        ("ck_access_tokens_prefix_size", {"prefix": ""}),
        ("ck_access_tokens_secret_hash_size", {"secret_hash": b"short"}),
    ],
)
async def test_wrong_tokens_cannot_be_stored(
    engine: AsyncEngine, ada: User, constraint: str, change: dict[str, object]
) -> None:
    values = {
        "id": uuid7(),
        "user_id": ada.id,
        "name": "A program",
        "prefix": "nat_1234",
        "secret_hash": bytes(32),
        "scopes": ["READ"],
        "created_at": NOW,
    }
    async with engine.begin() as connection:
        with pytest.raises(IntegrityError, match=constraint):
            await connection.execute(insert(access_tokens).values(values | change))
