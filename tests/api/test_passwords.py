"""Passwords through the API: chosen, changed, guessed at."""

import argon2
import asyncpg
import pytest

from tests.api.product import PASSWORD, REGISTER, Person, Product, product

LOGIN = """
mutation ($input: LoginInput!) {
  login(input: $input) { accessToken refreshToken expiresAt user { id } errors { message code field } }
}
"""
CHANGE = """
mutation ($input: ChangePasswordInput!) {
  changePassword(input: $input) { accessToken refreshToken expiresAt user { id } errors { message code field } }
}
"""
REFRESH = """
mutation ($input: RefreshSessionInput!) {
  refreshSession(input: $input) { accessToken refreshToken expiresAt errors { message code field } }
}
"""
WHO = "{ viewer { username } }"
NEW = "a river of quiet lamps"


async def _signed_in(running: Product, password: str = PASSWORD) -> Person:
    person = await running.visitor()
    person.sign_in(await person.do(LOGIN, input={"login": "ada", "password": password}))
    return person


async def test_a_changed_password_ends_the_other_sessions(database_url: str) -> None:
    async with product(database_url) as running:
        ada = await running.person("ada")
        other = await _signed_in(running)
        before = dict(ada.credentials)
        payload = await ada.do(CHANGE, input={"currentPassword": PASSWORD, "newPassword": NEW})
        assert (await other.request(WHO)).status_code == 401
        assert (await ada.request(WHO)).status_code == 200  # the session goes on, also with the access token of before
        visitor = await running.visitor()
        old = {"refreshToken": before["refreshToken"]}
        assert await visitor.fail(REFRESH, input=old) == ("UNAUTHENTICATED", None)
        ada.sign_in(payload)
        ada.sign_in(await visitor.do(REFRESH, input={"refreshToken": payload["refreshToken"]}))
        assert (await ada.request(WHO)).status_code == 200

        assert await visitor.fail(LOGIN, input={"login": "ada", "password": PASSWORD}) == ("UNAUTHENTICATED", None)
        await _signed_in(running, NEW)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"currentPassword": "wrong"}, "currentPassword"),
        ({"currentPassword": ""}, "currentPassword"),
        ({"newPassword": "too short"}, "newPassword"),
        ({"newPassword": "passwordpassword"}, "newPassword"),
        ({"newPassword": "ada@example.org!"}, "newPassword"),
    ],
)
async def test_passwords_that_are_not_changed(database_url: str, change: dict[str, str], field: str) -> None:
    async with product(database_url) as running:
        ada = await running.person("ada")
        other = await _signed_in(running)
        wish = {"currentPassword": PASSWORD, "newPassword": NEW} | change
        assert await ada.fail(CHANGE, input=wish) == ("INVALID_INPUT", ["input", field])
        for person in (ada, other, await _signed_in(running)):
            assert (await person.request(WHO)).status_code == 200


@pytest.mark.parametrize("password", ["passwordpassword", "bob@example.org bob", "qwertyuiop12345"])
async def test_nobody_registers_with_what_is_easy_to_guess(database_url: str, password: str) -> None:
    async with product(database_url) as running:
        visitor = await running.visitor()
        account = {"email": "bob@example.org", "username": "bobby", "password": password}
        assert await visitor.fail(REGISTER, input=account) == ("INVALID_INPUT", ["input", "password"])


async def test_guessing_is_slowed_down_alike_for_everybody_and_known_places_stay_open(database_url: str) -> None:
    async with product(database_url) as running:
        ada = await running.person("ada")
        visitor = await running.visitor()
        for login in ("ada", "nobody"):
            codes = [
                (await visitor.fail(LOGIN, input={"login": login, "password": f"wrong {number}"}))[0]
                for number in range(12)
            ]
            assert codes == ["UNAUTHENTICATED"] * 8 + ["RATE_LIMITED"] * 4
        await _execute(database_url, "UPDATE sign_in_attempts SET blocked_until = now() + interval '1 minute'")
        # Also the right password waits, or the answer would tell it.
        payload = (await visitor.ask(LOGIN, input={"login": "ada", "password": PASSWORD}))["login"]
        assert [error["code"] for error in payload["errors"]] == ["RATE_LIMITED"]
        assert await ada.fail(CHANGE, input={"currentPassword": "wrong", "newPassword": NEW}) == ("RATE_LIMITED", None)
        assert (await ada.request(WHO)).status_code == 200

        await _execute(database_url, "UPDATE sign_in_attempts SET blocked_until = now()")
        await visitor.do(LOGIN, input={"login": "ada", "password": PASSWORD})
        for number in range(8):
            code, _ = await visitor.fail(LOGIN, input={"login": "ADA@example.org", "password": f"wrong {number}"})
            assert code == "UNAUTHENTICATED"


async def test_a_weaker_hash_is_replaced_at_sign_in(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # As little as the other tests here do with is what may not stay.
    monkeypatch.undo()
    async with product(database_url) as running:
        await running.person("ada")
        weaker = argon2.PasswordHasher(time_cost=1, memory_cost=8 * 1024, parallelism=1).hash(PASSWORD)
        connection = await asyncpg.connect(database_url.replace("postgresql+asyncpg", "postgresql"))
        await connection.execute("UPDATE users SET password_hash = $1", weaker)
        await _signed_in(running)
        stronger = await connection.fetchval("SELECT password_hash FROM users")
        await connection.close()
        assert stronger.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
        await _signed_in(running)


async def _execute(database_url: str, statement: str) -> None:
    connection = await asyncpg.connect(database_url.replace("postgresql+asyncpg", "postgresql"))
    await connection.execute(statement)
    await connection.close()
