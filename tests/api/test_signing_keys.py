"""Signing keys: published, rotated under load in two instances, replaced when they are not secret any more."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta

import asyncpg
import httpx
import jwt
import pytest

from composition import assistant
from domain.errors import Conflict
from ops.config import Config
from ops.encryption_key import EncryptionKey
from tests.api.product import Person, Product, product
from tests.api.serving import serving

WHO = "{ viewer { username } }"
REFRESH = """
mutation ($input: RefreshSessionInput!) {
  refreshSession(input: $input) { accessToken refreshToken errors { message code field } }
}
"""
ROTATIONS = 6


@asynccontextmanager
async def _two_instances(database_url: str) -> AsyncIterator[tuple[Product, Product]]:
    keys = [EncryptionKey.generate()]
    async with AsyncExitStack() as stack:
        instances = [
            await stack.enter_async_context(assistant(Config(), database_url=database_url, keys=keys)) for _ in range(2)
        ]
        first, second = [
            Product(address=await stack.enter_async_context(serving(instance.app)), assistant=instance, stack=stack)
            for instance in instances
        ]
        yield first, second


def _kid(person: Person) -> str:
    return str(jwt.get_unverified_header(person.credentials["accessToken"])["kid"])


async def _published(person: Person) -> list[str]:
    response = await person.http.get("/.well-known/jwks.json")
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/jwk-set+json"
    assert response.headers["cache-control"] == "public, max-age=300"
    keys = response.json()["keys"]
    assert all(key.keys() == {"kty", "crv", "use", "alg", "kid", "x"} for key in keys)
    return [key["kid"] for key in keys]


async def _execute(database_url: str, statement: str) -> None:
    connection = await asyncpg.connect(database_url.replace("postgresql+asyncpg", "postgresql"))
    await connection.execute(statement)
    await connection.close()


async def test_a_token_can_be_verified_by_what_is_published(database_url: str) -> None:
    async with product(database_url) as running:
        ada = await running.person("ada")
        document = (await ada.http.get("/.well-known/jwks.json")).json()
        key = jwt.PyJWKSet.from_dict(document)[_kid(ada)]
        assert key.algorithm_name == "EdDSA"
        claims = jwt.decode(
            ada.credentials["accessToken"],
            key,
            algorithms=["EdDSA"],
            audience="http://localhost:8080/graphql",
            issuer="http://localhost:8080",
        )
        assert claims["sid"]


async def test_a_key_is_published_before_it_signs_and_after(database_url: str) -> None:
    async with product(database_url) as running:
        ada = await running.person("ada")
        keys = running.assistant.signing_keys
        first, second = await _published(ada)
        assert _kid(ada) == first
        with pytest.raises(Conflict, match="only a moment ago"):
            await keys.rotate()
        assert await _published(ada) == [first, second]

        await _execute(database_url, "UPDATE signing_keys SET created_at = created_at - interval '10 minutes'")
        await keys.rotate()
        bob = await running.person("bob")
        assert _kid(bob) == second
        assert (await _published(ada))[0] == second
        assert first in await _published(ada)
        assert len(await _published(ada)) == 3
        assert (await ada.request(WHO)).status_code == 200

        await _execute(database_url, "UPDATE signing_keys SET retired_at = now() WHERE retired_at IS NOT NULL")
        await keys.reload()
        assert first not in await _published(ada)
        assert (await ada.request(WHO)).status_code == 401


async def test_no_token_is_refused_while_keys_are_rotated(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Faster than any key is known elsewhere: what is not known is looked for.
    monkeypatch.setattr("domain.signing_key_service.PUBLISHED_BEFORE", timedelta(minutes=-1))
    monkeypatch.setattr("domain.signing_key_service._LOOK_SECONDS", 0.02)
    async with _two_instances(database_url) as (first, second):
        ada = await first.person("ada")
        is_over, news = asyncio.Event(), asyncio.Event()
        used: set[str] = set()
        count = 0

        async def ask(running: Product) -> None:
            nonlocal count
            person = await running.visitor()
            while not is_over.is_set():
                person.headers = ada.headers
                kid = _kid(ada)
                response = await person.request(WHO)
                assert response.json() == {"data": {"viewer": {"username": "ada"}}}, kid
                used.add(kid)
                count += 1
                news.set()

        async def refresh() -> None:
            while not is_over.is_set():
                visitor = await first.visitor()
                ada.sign_in(await visitor.do(REFRESH, input={"refreshToken": ada.credentials["refreshToken"]}))

        async with asyncio.TaskGroup() as group:
            for running in (first, second, second):
                group.create_task(ask(running))
            group.create_task(refresh())
            for _ in range(ROTATIONS):
                await first.assistant.signing_keys.rotate()
                rotated = await _published(ada)
                while _kid(ada) != rotated[0] or _kid(ada) not in used:
                    news.clear()
                    await news.wait()
            is_over.set()
        assert len(used) > ROTATIONS
        assert count > 20


async def test_two_rotations_at_once_leave_one_key_active(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("domain.signing_key_service.PUBLISHED_BEFORE", timedelta(minutes=-1))
    async with _two_instances(database_url) as (first, second):
        await asyncio.gather(*(each.assistant.signing_keys.rotate() for each in (first, second) for _ in range(5)))
        connection = await asyncpg.connect(database_url.replace("postgresql+asyncpg", "postgresql"))
        rows = await connection.fetch("SELECT is_active, activated_at, retired_at FROM signing_keys")
        await connection.close()
        assert sum(row["is_active"] for row in rows) == 1
        assert sum(row["activated_at"] is None for row in rows) == 1
        assert sum(row["retired_at"] is not None for row in rows) == 10
        assert all(row["retired_at"] > datetime.now(UTC) + timedelta(minutes=14) for row in rows if row["retired_at"])


async def test_keys_that_are_not_secret_any_more_are_replaced_everywhere(database_url: str) -> None:
    async with _two_instances(database_url) as (first, second):
        ada = await first.person("ada")
        before = await _published(ada)
        await first.assistant.signing_keys.replace_all()
        await second.assistant.signing_keys.reload()
        assert set(await _published(ada)).isdisjoint(before)
        elsewhere = await second.visitor()
        elsewhere.headers = ada.headers
        for person in (ada, elsewhere):
            assert (await person.request(WHO)).status_code == 401
        elsewhere.sign_in(
            await (await second.visitor()).do(REFRESH, input={"refreshToken": ada.credentials["refreshToken"]})
        )
        assert (await elsewhere.request(WHO)).status_code == 200


async def test_a_key_that_has_signed_long_enough_is_followed_by_the_next(database_url: str) -> None:
    async with product(database_url) as running:
        ada = await running.person("ada")
        keys = running.assistant.signing_keys
        before = await _published(ada)
        assert not await keys.rotate_if_due()
        assert await _published(ada) == before
        await _execute(
            database_url,
            "UPDATE signing_keys SET created_at = created_at - interval '30 days', "
            "activated_at = activated_at - interval '30 days'",
        )
        await _execute(database_url, "DELETE FROM periodic_slots WHERE job = 'rotate_signing_key'")
        keys._asked_for_slot = None
        assert await keys.rotate_if_due()
        assert (await _published(ada))[0] == before[1]
        assert not await keys.rotate_if_due()


async def test_made_up_keys_do_not_keep_the_database_busy(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("domain.signing_key_service._LOOK_SECONDS", 0.2)
    async with product(database_url) as running:
        ada = await running.person("ada")
        looks = 0
        reload = running.assistant.signing_keys.reload

        async def counted() -> None:
            nonlocal looks
            looks += 1
            await reload()

        monkeypatch.setattr(running.assistant.signing_keys, "reload", counted)
        forged = jwt.encode({"sub": "x"}, "x" * 32, algorithm="HS256", headers={"kid": "mine", "typ": "at+jwt"})
        headers = {"authorization": f"Bearer {forged}"}
        async with httpx.AsyncClient(base_url=f"http://{running.address}", timeout=120) as http:
            started_at = time.monotonic()
            answers = await asyncio.gather(
                *(http.post("/graphql", json={"query": WHO}, headers=headers) for _ in range(60))
            )
        assert {answer.status_code for answer in answers} == {401}
        assert looks <= 2 + (time.monotonic() - started_at) / 0.2
        assert (await ada.request(WHO)).status_code == 200
