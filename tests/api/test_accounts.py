"""Accounts and sign-ins through the API of the whole product."""

import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from domain.account import Client
from domain.server_settings import SignUpPolicy
from ops.config import Config
from tests.api.graphql_socket import socket
from tests.api.product import PASSWORD, REGISTER, product

LOGIN = """
mutation ($input: LoginInput!) {
  login(input: $input) { accessToken refreshToken user { username } errors { message code field } }
}
"""
REFRESH = """
mutation ($input: RefreshSessionInput!) {
  refreshSession(input: $input) { accessToken refreshToken errors { message code field } }
}
"""
WHO = "{ viewer { id username email role isActive createdAt updatedAt } }"


async def test_register_sign_in_refresh_and_sign_out(database_url: str) -> None:
    async with product(database_url) as running:
        ada = await running.person("ada")
        expires_at = datetime.fromisoformat(ada.credentials["expiresAt"])
        assert timedelta(minutes=9) < expires_at - datetime.now(UTC) <= timedelta(minutes=10)
        viewer = (await ada.ask(WHO))["viewer"]
        assert viewer["id"] == ada.credentials["user"]["id"]
        assert (viewer["username"], viewer["email"], viewer["role"]) == ("ada", "ada@example.org", "USER")

        visitor = await running.visitor()
        assert (await visitor.ask(WHO)) == {"viewer": None}
        for login in ("ADA", "Ada@Example.org", " ada "):
            payload = await visitor.do(LOGIN, input={"login": login, "password": PASSWORD})
            assert payload["user"] == {"username": "ada"}

        fresh = await visitor.do(REFRESH, input={"refreshToken": ada.credentials["refreshToken"]})
        ada.sign_in(fresh)
        assert (await ada.ask(WHO))["viewer"]["username"] == "ada"

        await ada.do("mutation { logout { errors { code field message } } }")
        response = await ada.request(WHO)
        assert response.status_code == 401
        assert response.json()["errors"][0]["extensions"] == {"code": "UNAUTHENTICATED", "expired": False}
        refresh = {"refreshToken": ada.credentials["refreshToken"]}
        assert await visitor.fail(REFRESH, input=refresh) == ("UNAUTHENTICATED", None)


async def test_the_operation_that_signs_in_speaks_for_the_account(database_url: str) -> None:
    async with product(database_url) as running:
        visitor = await running.visitor()
        account = {"email": "ada@example.org", "username": "ada", "password": PASSWORD}
        data = await visitor.ask(
            """mutation ($input: RegisterInput!, $settings: UpdateSettingsInput!) {
              register(input: $input) { user { settings { systemPrompt } history { totalCount } } }
              updateSettings(input: $settings) { settings { systemPrompt } errors { code } }
            }""",
            input=account,
            settings={"systemPrompt": "Be brief."},
        )
        user = data["register"]["user"]
        assert user == {"settings": {"systemPrompt": None}, "history": {"totalCount": 0}}
        assert data["updateSettings"] == {"settings": {"systemPrompt": "Be brief."}, "errors": []}
        # and only that operation
        assert (await visitor.ask(WHO)) == {"viewer": None}


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"email": "nonsense"}, "INVALID_INPUT", "email"),
        ({"email": ""}, "INVALID_INPUT", "email"),
        ({"username": "a"}, "INVALID_INPUT", "username"),
        ({"username": "a b"}, "INVALID_INPUT", "username"),
        ({"password": "short"}, "INVALID_INPUT", "password"),
        ({"password": "x" * 2000}, "INVALID_INPUT", "password"),
        ({"email": "ADA@example.org"}, "CONFLICT", "email"),
        ({"username": "Ada"}, "CONFLICT", "username"),
    ],
)
async def test_accounts_that_cannot_be_made(database_url: str, change: dict[str, str], code: str, field: str) -> None:
    async with product(database_url) as running:
        await running.person("ada")
        visitor = await running.visitor()
        account = {"email": "bob@example.org", "username": "bob", "password": PASSWORD} | change
        assert await visitor.fail(REGISTER, input=account) == (code, ["input", field])
        login = {"login": "bob", "password": PASSWORD}
        assert await visitor.fail(LOGIN, input=login) == ("UNAUTHENTICATED", None)


async def test_sign_ins_that_fail_look_alike(database_url: str) -> None:
    async with product(database_url) as running:
        await running.person("ada")
        visitor = await running.visitor()
        answers = [
            (await visitor.ask(LOGIN, input={"login": login, "password": password}))["login"]
            for login, password in (("ada", "wrong"), ("nobody", PASSWORD), ("", ""), ("ada", ""))
        ]
        assert all(answer == answers[0] for answer in answers)
        assert answers[0]["errors"][0]["code"] == "UNAUTHENTICATED"


async def test_a_refresh_token_that_is_used_twice_ends_the_session(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("domain.authentication.REUSE_GRACE", timedelta(0))
    async with product(database_url) as running:
        ada = await running.person("ada")
        visitor = await running.visitor()
        old = {"refreshToken": ada.credentials["refreshToken"]}
        fresh = await visitor.do(REFRESH, input=old)
        assert await visitor.fail(REFRESH, input=old) == ("UNAUTHENTICATED", None)
        assert await visitor.fail(REFRESH, input={"refreshToken": fresh["refreshToken"]}) == ("UNAUTHENTICATED", None)
        ada.sign_in(fresh | {"user": {}})
        assert (await ada.request(WHO)).status_code == 401


async def test_a_refresh_whose_answer_was_lost_is_answered_again(database_url: str) -> None:
    async with product(database_url) as running:
        ada = await running.person("ada")
        visitor = await running.visitor()
        first = {"refreshToken": ada.credentials["refreshToken"]}
        second = await visitor.do(REFRESH, input=first)
        again = await visitor.do(REFRESH, input=first)
        assert again["refreshToken"] == second["refreshToken"]
        ada.sign_in(again)
        assert (await ada.request(WHO)).status_code == 200
        # Only the token before the newest has this grace.
        await visitor.do(REFRESH, input={"refreshToken": again["refreshToken"]})
        assert await visitor.fail(REFRESH, input=first) == ("UNAUTHENTICATED", None)
        assert (await ada.request(WHO)).status_code == 401


async def test_two_hundred_refreshes_at_once_leave_one_family(database_url: str) -> None:
    async with product(database_url) as running:
        ada = await running.person("ada")
        refresh_token = ada.credentials["refreshToken"]
        client = Client(ip=None, user_agent=None)
        authentication = running.assistant.services.authentication
        sign_ins = await asyncio.gather(
            *(authentication.refresh(refresh_token=refresh_token, client=client) for _ in range(200))
        )
        assert len({sign_in.session_id for sign_in in sign_ins}) == 1
        (newest,) = {sign_in.refresh_token.reveal() for sign_in in sign_ins}
        for sign_in in (sign_ins[0], sign_ins[-1]):
            ada.headers = {"authorization": f"Bearer {sign_in.access_token.reveal()}"}
            assert len((await ada.ask("{ viewer { sessions { id } } }"))["viewer"]["sessions"]) == 1
        await (await running.visitor()).do(REFRESH, input={"refreshToken": newest})


async def test_a_session_ends_when_it_is_idle_and_in_any_case(database_url: str) -> None:
    config = Config(refresh_token_idle_days=1, refresh_token_absolute_days=2)
    async with product(database_url, config=config) as running:
        ada = await running.person("ada")
        connection = await asyncpg.connect(database_url.replace("postgresql+asyncpg", "postgresql"))
        await connection.execute("UPDATE sessions SET created_at = created_at - interval '47 hours'")
        fresh = await ada.do(REFRESH, input={"refreshToken": ada.credentials["refreshToken"]})
        left = await connection.fetchval("SELECT expires_at - now() FROM sessions")
        assert timedelta(minutes=50) < left <= timedelta(hours=1)
        await connection.execute("UPDATE sessions SET expires_at = now()")
        await connection.close()
        assert await (await running.visitor()).fail(REFRESH, input={"refreshToken": fresh["refreshToken"]}) == (
            "UNAUTHENTICATED",
            None,
        )
        assert (await ada.request(WHO)).status_code == 401


@pytest.mark.parametrize("token", ["", "x", "AAAA", "ä" * 60, "A" * 64])
async def test_what_is_no_refresh_token(database_url: str, token: str) -> None:
    async with product(database_url) as running:
        code, _ = await (await running.visitor()).fail(REFRESH, input={"refreshToken": token})
        assert code == "UNAUTHENTICATED"


async def test_sign_up_can_be_closed(database_url: str) -> None:
    async with product(database_url, config=Config(sign_up_policy=SignUpPolicy.CLOSED)) as running:
        visitor = await running.visitor()
        assert await visitor.ask("{ server { state signUpPolicy } }") == {
            "server": {"state": "RUNNING", "signUpPolicy": "CLOSED"}
        }
        account = {"email": "ada@example.org", "username": "ada", "password": PASSWORD}
        assert await visitor.fail(REGISTER, input=account) == ("FORBIDDEN", None)


async def test_forged_tokens_open_nothing(database_url: str) -> None:
    async with product(database_url) as running:
        ada = await running.person("ada")
        header, payload, signature = ada.credentials["accessToken"].split(".")
        for forged in (
            "nonsense",
            f"{header}.{payload}.{signature[:-4]}AAAA",
            f"{header}.{payload}.",
            f"eyJhbGciOiJub25lIn0.{payload}.",
        ):
            ada.headers = {"authorization": f"Bearer {forged}"}
            response = await ada.request(WHO)
            assert response.status_code == 401
            assert response.json()["errors"][0]["extensions"] == {"code": "UNAUTHENTICATED", "expired": False}
            async with socket(running.address) as ws:
                await ws.send({"type": "connection_init", "payload": {"Authorization": f"Bearer {forged}"}})
                assert (await ws.closed())[0] == 4401


async def test_the_same_token_authenticates_every_transport(database_url: str) -> None:
    async with product(database_url) as running:
        ada = await running.person("ada")
        query = "{ viewer { username } }"
        expected = {"data": {"viewer": {"username": "ada"}}}
        assert (await ada.request(query)).json() == expected
        assert await ada.events(query) == [expected]
        async with ada.socket() as ws:
            await ws.subscribe("1", query)
            assert (await ws.receive())["payload"] == expected


@pytest.mark.parametrize(
    "query",
    [
        "{ providers { id } }",
        '{ node(id: "VXNlcjowMWEyMDNjYzhmZGU3NmVmYTU3ZDNjYWQ5MWVjYzRjYQ") { id } }',
        '{ generation(id: "VXNlcjowMWEyMDNjYzhmZGU3NmVmYTU3ZDNjYWQ5MWVjYzRjYQ") { id } }',
    ],
)
async def test_queries_that_need_a_viewer(database_url: str, query: str) -> None:
    async with product(database_url) as running:
        assert (await (await running.visitor()).refused(query))["code"] == "UNAUTHENTICATED"


async def test_mutations_that_need_a_viewer(database_url: str) -> None:
    some_id = "VXNlcjowMWEyMDNjYzhmZGU3NmVmYTU3ZDNjYWQ5MWVjYzRjYQ"
    mutations = [
        "logout",
        "updateSettings(input: {})",
        'addApiKey(input: { provider: "openai", key: "sk-12345678" })',
        f'removeApiKey(input: {{ id: "{some_id}" }})',
        'generateContent(input: { prompt: "Hi" })',
        f'regenerate(input: {{ id: "{some_id}" }})',
        f'cancelGeneration(input: {{ id: "{some_id}" }})',
        f'deleteGenerations(input: {{ ids: ["{some_id}"] }})',
        f'publishToNotion(input: {{ generationId: "{some_id}" }})',
        'connectNotion(input: { token: "ntn_12345678" })',
        "disconnectNotion",
    ]
    async with product(database_url) as running:
        visitor = await running.visitor()
        for mutation in mutations:
            query = f"mutation {{ {mutation} {{ errors {{ code field message }} }} }}"
            assert await visitor.fail(query) == ("UNAUTHENTICATED", None), mutation


async def test_twenty_people_register_at_once(database_url: str) -> None:
    async with product(database_url) as running:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(running.person(f"person{number}")) for number in range(20)]
        people = [task.result() for task in tasks]
        names = [(await person.ask(WHO))["viewer"]["username"] for person in people]
        assert names == [f"person{number}" for number in range(20)]
