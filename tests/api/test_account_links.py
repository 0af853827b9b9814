"""Invitations and forgotten passwords: links that administrators make, good once."""

import asyncio
from typing import Any

import asyncpg
import pytest

from domain.server_settings import SignUpPolicy
from ops.config import Config
from tests.api.product import PASSWORD, Person, Product, product

LOGIN = """
mutation ($input: LoginInput!) {
  login(input: $input) { accessToken refreshToken expiresAt user { id } errors { message code field } }
}
"""
REGISTER = """
mutation ($input: RegisterInput!) {
  register(input: $input) { accessToken refreshToken expiresAt user { id role } errors { message code field } }
}
"""
INVITE = """
mutation ($input: CreateInvitationInput!) {
  createInvitation(input: $input) { secret url expiresAt link { id } errors { message code field } }
}
"""
OFFER_RESET = """
mutation ($input: CreatePasswordResetInput!) {
  createPasswordReset(input: $input) { secret url expiresAt link { id } errors { message code field } }
}
"""
RESET = """
mutation ($input: ResetPasswordInput!) {
  resetPassword(input: $input) { accessToken refreshToken expiresAt user { id } errors { message code field } }
}
"""
LINKS = """
query ($first: Int, $after: String) {
  accountLinks(first: $first, after: $after) {
    totalCount pageInfo { hasNextPage endCursor }
    nodes { id purpose role user { username } createdBy { username } createdAt expiresAt usedAt }
  }
}
"""
WITHDRAW = """
mutation ($input: IdInput!) { withdrawAccountLink(input: $input) { withdrawnId errors { message code field } } }
"""
UPDATE_USER = """
mutation ($input: UpdateUserInput!) { updateUser(input: $input) { user { role } errors { message code } } }
"""
AUDIT = """
query ($filter: AuditFilter) { auditLog(filter: $filter) { nodes { actor { username } target details } } }
"""
TOKEN = """
mutation ($input: CreateAccessTokenInput!) { createAccessToken(input: $input) { secret errors { code } } }
"""
WHO = "{ viewer { username role } }"
NEW = "a river of quiet lamps"
BOB = {"email": "bob@example.org", "username": "bob", "password": PASSWORD}


async def _administrator(running: Product) -> Person:
    authentication = running.assistant.services.authentication
    await authentication.create_administrator(email="root@example.org", username="root", password=PASSWORD)
    root = await running.visitor()
    root.sign_in(await root.do(LOGIN, input={"login": "root", "password": PASSWORD}))
    return root


async def _execute(database_url: str, statement: str) -> Any:
    connection = await asyncpg.connect(database_url.replace("postgresql+asyncpg", "postgresql"))
    found = await connection.fetchval(statement)
    await connection.close()
    return found


async def test_where_an_invitation_is_needed_it_is_good_once(database_url: str) -> None:
    async with product(database_url, config=Config(sign_up_policy=SignUpPolicy.INVITE)) as running:
        root = await _administrator(running)
        visitor = await running.visitor()
        assert await visitor.ask("{ server { signUpPolicy } }") == {"server": {"signUpPolicy": "INVITE"}}
        assert await visitor.fail(REGISTER, input=BOB) == ("FORBIDDEN", None)
        made = await root.do(INVITE, input={})
        assert made["url"] == f"http://localhost:8080/#invitation={made['secret']}"
        for wrong in ("", "x" * 43, made["secret"][:-1]):
            refused = await visitor.fail(REGISTER, input=BOB | {"invitation": wrong})
            assert refused == ("INVALID_INPUT", ["input", "invitation"])
        # What fails for another reason leaves it good.
        short = BOB | {"invitation": made["secret"], "password": "short"}
        assert await visitor.fail(REGISTER, input=short) == ("INVALID_INPUT", ["input", "password"])
        taken = BOB | {"invitation": made["secret"], "username": "root"}
        assert await visitor.fail(REGISTER, input=taken) == ("CONFLICT", ["input", "username"])

        payload = await visitor.do(REGISTER, input=BOB | {"invitation": made["secret"]})
        assert payload["user"]["role"] == "USER"
        again = {"email": "eve@example.org", "username": "eve", "password": PASSWORD, "invitation": made["secret"]}
        assert await visitor.fail(REGISTER, input=again) == ("INVALID_INPUT", ["input", "invitation"])
        assert await _execute(database_url, "SELECT count(*) FROM users") == 2


async def test_of_many_with_one_invitation_one_gets_in(database_url: str) -> None:
    async with product(database_url, config=Config(sign_up_policy=SignUpPolicy.INVITE)) as running:
        secret = (await (await _administrator(running)).do(INVITE, input={"role": "ADMIN"}))["secret"]

        async def register(number: int) -> Any:
            account = {"email": f"a{number}@example.org", "username": f"user{number}", "password": PASSWORD}
            visitor = await running.visitor()
            return (await visitor.ask(REGISTER, input=account | {"invitation": secret}))["register"]

        payloads = await asyncio.gather(*(register(number) for number in range(6)))
        (made,) = [payload for payload in payloads if not payload["errors"]]
        assert made["user"]["role"] == "ADMIN"
        assert await _execute(database_url, "SELECT count(*) FROM users") == 2


async def test_a_forgotten_password_is_replaced_and_everything_of_before_ends(database_url: str) -> None:
    async with product(database_url) as running:
        root = await _administrator(running)
        ada = await running.person("ada")
        program = await running.visitor()
        token = await ada.do(TOKEN, input={"name": "A program", "scopes": ["READ"]})
        program.headers = {"authorization": f"Bearer {token['secret']}"}
        user_id = ada.credentials["user"]["id"]
        earlier = await root.do(OFFER_RESET, input={"userId": user_id})
        made = await root.do(OFFER_RESET, input={"userId": user_id})
        assert made["url"] == f"http://localhost:8080/#passwordReset={made['secret']}"

        visitor = await running.visitor()
        for secret in ("", "x" * 43, earlier["secret"]):
            refused = await visitor.fail(RESET, input={"secret": secret, "newPassword": NEW})
            assert refused == ("INVALID_INPUT", ["input", "secret"])
        easy = {"secret": made["secret"], "newPassword": "ada@example.org!"}
        assert await visitor.fail(RESET, input=easy) == ("INVALID_INPUT", ["input", "newPassword"])
        assert (await ada.request(WHO)).status_code == 200

        visitor.sign_in(await visitor.do(RESET, input={"secret": made["secret"], "newPassword": NEW}))
        assert (await visitor.ask(WHO))["viewer"]["username"] == "ada"
        for person in (ada, program):
            assert (await person.request(WHO)).status_code == 401
        stranger = await running.visitor()
        refused = await stranger.fail(RESET, input={"secret": made["secret"], "newPassword": PASSWORD})
        assert refused == ("INVALID_INPUT", ["input", "secret"])
        assert await stranger.fail(LOGIN, input={"login": "ada", "password": PASSWORD}) == ("UNAUTHENTICATED", None)
        await stranger.do(LOGIN, input={"login": "ada", "password": NEW})


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE account_links SET expires_at = now()",
        "UPDATE users SET role = 'USER' WHERE username = 'root'",
        "UPDATE users SET is_active = false WHERE username = 'root'",
        "UPDATE users SET is_active = false WHERE username = 'ada'",
        "DELETE FROM users WHERE username = 'root'",
    ],
)
async def test_a_link_is_good_no_longer_than_its_maker_and_its_time(database_url: str, statement: str) -> None:
    async with product(database_url) as running:
        root = await _administrator(running)
        ada = await running.person("ada")
        reset = (await root.do(OFFER_RESET, input={"userId": ada.credentials["user"]["id"]}))["secret"]
        invitation = (await root.do(INVITE, input={"role": "ADMIN"}))["secret"]
        await _execute(database_url, statement)
        visitor = await running.visitor()
        refused = await visitor.fail(RESET, input={"secret": reset, "newPassword": NEW})
        assert refused == ("INVALID_INPUT", ["input", "secret"])
        if "ada" not in statement:
            refused = await visitor.fail(REGISTER, input=BOB | {"invitation": invitation})
            assert refused == ("INVALID_INPUT", ["input", "invitation"])
        # One kind of link is not the other.
        refused = await visitor.fail(RESET, input={"secret": invitation, "newPassword": NEW})
        assert refused == ("INVALID_INPUT", ["input", "secret"])


async def test_only_administrators_make_links(database_url: str) -> None:
    async with product(database_url) as running:
        root = await _administrator(running)
        ada = await running.person("ada")
        root_id = (await root.ask("{ viewer { id } }"))["viewer"]["id"]
        assert await ada.fail(INVITE, input={"role": "ADMIN"}) == ("FORBIDDEN", None)
        assert await ada.fail(OFFER_RESET, input={"userId": root_id}) == ("FORBIDDEN", None)
        assert await (await running.visitor()).fail(INVITE, input={}) == ("UNAUTHENTICATED", None)
        assert await _execute(database_url, "SELECT count(*) FROM account_links") == 0
        for hours in (0, 721):
            refused = await root.fail(INVITE, input={"expiresInHours": hours})
            assert refused == ("INVALID_INPUT", ["input", "expiresInHours"])
        nobody = "VXNlcjowMWEyMDNjYzhmZGU3NmVmYTU3ZDNjYWQ5MWVjYzRjYQ"
        assert await root.fail(OFFER_RESET, input={"userId": nobody}) == ("NOT_FOUND", ["input", "userId"])


async def _links(person: Person, **page: object) -> list[dict[str, Any]]:
    nodes: list[dict[str, Any]] = (await person.ask(LINKS, **page))["accountLinks"]["nodes"]
    return nodes


async def test_links_are_listed_until_they_run_out(database_url: str) -> None:
    async with product(database_url) as running:
        root = await _administrator(running)
        ada = await running.person("ada")
        invitation = await root.do(INVITE, input={"role": "ADMIN"})
        reset = await root.do(OFFER_RESET, input={"userId": ada.credentials["user"]["id"]})
        listed = (await root.ask(LINKS))["accountLinks"]
        assert listed["totalCount"] == 2
        newest, oldest = listed["nodes"]
        assert newest["id"] == reset["link"]["id"]
        assert newest["user"] == {"username": "ada"}
        assert (newest["purpose"], newest["role"], newest["usedAt"]) == ("PASSWORD_RESET", None, None)
        assert oldest["id"] == invitation["link"]["id"]
        assert oldest["createdBy"] == newest["createdBy"] == {"username": "root"}
        assert (oldest["purpose"], oldest["role"], oldest["user"]) == ("INVITATION", "ADMIN", None)
        assert oldest["expiresAt"] == invitation["expiresAt"]
        first = (await root.ask(LINKS, first=1))["accountLinks"]
        assert first["pageInfo"]["hasNextPage"]
        assert await _links(root, after=first["pageInfo"]["endCursor"]) == [oldest]

        await (await running.visitor()).do(REGISTER, input=BOB | {"invitation": invitation["secret"]})
        newest, oldest = await _links(root)
        assert newest["usedAt"] is None
        assert oldest["usedAt"] >= oldest["createdAt"]
        assert await root.fail(WITHDRAW, input={"id": oldest["id"]}) == ("NOT_FOUND", ["input", "id"])
        # What nobody is shown again is not in any of it.
        whole = (await root.request(LINKS)).text + (await root.request(AUDIT)).text
        assert invitation["secret"] not in whole
        assert reset["secret"] not in whole
        made = (await root.ask(AUDIT, filter={"action": ["USER_REGISTERED"]}))["auditLog"]["nodes"][0]
        (offered,) = (await root.ask(AUDIT, filter={"action": ["INVITATION_CREATED"]}))["auditLog"]["nodes"]
        assert made["details"]["link"] == offered["details"]["link"]
        await _execute(database_url, "UPDATE account_links SET expires_at = now()")
        assert (await root.ask(LINKS))["accountLinks"]["totalCount"] == 0


async def test_a_link_that_was_withdrawn_lets_nobody_in(database_url: str) -> None:
    async with product(database_url, config=Config(sign_up_policy=SignUpPolicy.INVITE)) as running:
        root, second = await _administrator(running), await running.administrator("second")
        invitation = await root.do(INVITE, input={})
        link_id = invitation["link"]["id"]
        assert (await second.do(WITHDRAW, input={"id": link_id}))["withdrawnId"] == link_id
        assert await _links(root) == []
        visitor = await running.visitor()
        refused = await visitor.fail(REGISTER, input=BOB | {"invitation": invitation["secret"]})
        assert refused == ("INVALID_INPUT", ["input", "invitation"])
        for wrong, code in ((link_id, "NOT_FOUND"), ("nonsense", "INVALID_INPUT")):
            assert await second.fail(WITHDRAW, input={"id": wrong}) == (code, ["input", "id"])
        (event,) = (await root.ask(AUDIT, filter={"action": ["ACCOUNT_LINK_WITHDRAWN"]}))["auditLog"]["nodes"]
        assert event["actor"] == {"username": "second"}
        assert event["details"]["purpose"] == "INVITATION"
        assert event["target"] == f"account_link:{event['details']['link']}"


async def test_of_use_and_withdrawal_at_the_same_moment_one_wins(database_url: str) -> None:
    async with product(database_url, config=Config(sign_up_policy=SignUpPolicy.INVITE)) as running:
        root, visitor = await _administrator(running), await running.visitor()
        made = await root.do(INVITE, input={})
        used, withdrawn = await asyncio.gather(
            visitor.ask(REGISTER, input=BOB | {"invitation": made["secret"]}),
            root.ask(WITHDRAW, input={"id": made["link"]["id"]}),
        )
        outcomes = [used["register"]["errors"], withdrawn["withdrawAccountLink"]["errors"]]
        assert sum(not errors for errors in outcomes) == 1


@pytest.mark.parametrize("change", [{"role": "USER"}, {"isActive": False}])
async def test_links_end_with_their_makers_office_and_stay_ended(database_url: str, change: dict[str, Any]) -> None:
    async with product(database_url, config=Config(sign_up_policy=SignUpPolicy.INVITE)) as running:
        root, second = await _administrator(running), await running.administrator("second")
        secret = (await second.do(INVITE, input={"role": "ADMIN"}))["secret"]
        second_id = (await second.ask("{ viewer { id } }"))["viewer"]["id"]
        await root.do(UPDATE_USER, input={"id": second_id, **change})
        await root.do(UPDATE_USER, input={"id": second_id, "role": "ADMIN", "isActive": True})
        assert await _links(root) == []
        refused = await (await running.visitor()).fail(REGISTER, input=BOB | {"invitation": secret})
        assert refused == ("INVALID_INPUT", ["input", "invitation"])
