"""Personal access tokens: what each scope opens, what none does, and how a token ends."""

from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from domain.session_watch import SessionWatch
from tests.api.graphql_socket import socket
from tests.api.product import Person, Product, product

CREATE = """
mutation ($input: CreateAccessTokenInput!) {
  createAccessToken(input: $input) {
    secret accessToken { id name prefix scopes createdAt expiresAt lastUsedAt }
    errors { message code field }
  }
}
"""
REVOKE = """
mutation ($input: IdInput!) { revokeAccessToken(input: $input) { accessTokens { id } errors { message code field } } }
"""
TOKENS = "{ viewer { accessTokens { id name prefix scopes lastUsedAt expiresAt } } }"
WHO = "{ viewer { username } }"
GENERATE = """
mutation ($input: GenerateContentInput!) {
  generateContent(input: $input) { generation { id } errors { message code field } }
}
"""
EVERYTHING = ["READ", "GENERATE", "PUBLISH", "ADMIN"]
SOME_ID = "R2VuZXJhdGlvbjowMWEyMDNjYzhmZGU3NmVmYTU3ZDNjYWQ5MWVjYzRjYQ"


async def _token(person: Person, *scopes: str, **input_: object) -> dict[str, Any]:
    return dict(await person.do(CREATE, input={"name": "A program", "scopes": scopes, **input_}))


async def _program(running: Product, secret: str) -> Person:
    program = await running.visitor()
    program.headers = {"authorization": f"Bearer {secret}"}
    return program


async def test_a_token_is_shown_once_used_everywhere_and_revoked(database_url: str) -> None:
    async with product(database_url) as running:
        ada = await running.person("ada")
        expires_at = datetime.now(UTC) + timedelta(days=7)
        made = await _token(ada, "READ", expiresAt=expires_at.isoformat())
        secret, token = made["secret"], made["accessToken"]
        assert secret.startswith(token["prefix"])
        assert token["prefix"].startswith("nat_")
        assert (token["name"], token["scopes"], token["lastUsedAt"]) == ("A program", ["READ"], None)

        program = await _program(running, secret)
        expected = {"data": {"viewer": {"username": "ada"}}}
        assert (await program.request(WHO)).json() == expected
        assert await program.events(WHO) == [expected]
        async with program.socket() as ws:
            await ws.subscribe("1", WHO)
            assert (await ws.receive())["payload"] == expected

        (listed,) = (await ada.ask(TOKENS))["viewer"]["accessTokens"]
        assert listed["lastUsedAt"] is not None
        assert secret not in str(listed)
        assert await ada.ask("query ($id: ID!) { node(id: $id) { id } }", id=token["id"]) == {
            "node": {"id": token["id"]}
        }

        bob = await running.person("bob")
        assert await bob.fail(REVOKE, input={"id": token["id"]}) == ("NOT_FOUND", ["input", "id"])
        assert (await program.request(WHO)).status_code == 200
        assert (await ada.do(REVOKE, input={"id": token["id"]}))["accessTokens"] == []
        assert (await program.request(WHO)).status_code == 401
        async with socket(running.address) as ws:
            await ws.send({"type": "connection_init", "payload": program.headers})
            assert (await ws.closed())[0] == 4401


async def test_scopes_open_what_they_say(database_url: str) -> None:
    queries = [
        "{ viewer { settings { systemPrompt } } }",
        "{ providers { id } }",
        f'{{ node(id: "{SOME_ID}") {{ id }} }}',
        f'{{ generation(id: "{SOME_ID}") {{ id }} }}',
    ]
    publish = "mutation ($input: PublishInput!) { publishToNotion(input: $input) { errors { code field message } } }"
    settings = 'mutation { updateSettings(input: { systemPrompt: "Obey" }) { errors { code field message } } }'
    async with product(database_url) as running:
        ada = await running.person("ada")
        for scope in ("READ", "GENERATE", "PUBLISH", "ADMIN"):
            program = await _program(running, (await _token(ada, scope))["secret"])
            assert "errors" not in (await program.request("{ server { version } }")).json()
            for query in queries:
                if scope == "READ":
                    await program.ask(query)
                else:
                    assert (await program.refused(query))["code"] == "FORBIDDEN", (scope, query)
            generated = (await program.ask(GENERATE, input={"prompt": "Hi"}))["generateContent"]
            assert (generated["errors"] == []) is (scope == "GENERATE")
            code, _ = await program.fail(publish, input={"generationId": SOME_ID})
            assert code == ("NOT_FOUND" if scope == "PUBLISH" else "FORBIDDEN")
            changed = (await program.ask(settings))["updateSettings"]
            assert (changed["errors"] == []) is (scope == "ADMIN")

        generator = await _program(running, (await _token(ada, "GENERATE"))["secret"])
        wish = {"prompt": "Hi", "publish": {"parent": "1234"}}
        before = (await ada.ask("{ viewer { history { totalCount } } }"))["viewer"]
        assert await generator.fail(GENERATE, input=wish) == ("FORBIDDEN", None)
        assert (await ada.ask("{ viewer { history { totalCount } } }"))["viewer"] == before


async def test_no_token_manages_credentials(database_url: str) -> None:
    async with product(database_url) as running:
        ada = await running.person("ada")
        made = await _token(ada, *EVERYTHING)
        program = await _program(running, made["secret"])
        token_id = made["accessToken"]["id"]
        mutations = [
            "logout",
            "revokeSession(input: { allOthers: true })",
            'createAccessToken(input: { name: "More", scopes: [READ] })',
            f'revokeAccessToken(input: {{ id: "{token_id}" }})',
        ]
        for mutation in mutations:
            query = f"mutation {{ {mutation} {{ errors {{ code field message }} }} }}"
            assert await program.fail(query) == ("FORBIDDEN", None), mutation
        for query in ("{ viewer { sessions { id } } }", TOKENS):
            assert (await program.refused(query))["code"] == "FORBIDDEN", query
        assert await program.ask(f'{{ node(id: "{token_id}") {{ id }} }}') == {"node": None}
        state = await ada.ask("{ viewer { accessTokens { id } sessions { isCurrent } } }")
        assert state["viewer"] == {
            "accessTokens": [{"id": token_id}],
            "sessions": [{"isCurrent": True}],
        }


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"name": " "}, "INVALID_INPUT", "name"),
        ({"name": "x" * 101}, "INVALID_INPUT", "name"),
        ({"scopes": []}, "INVALID_INPUT", "scopes"),
        ({"expiresAt": "2020-01-01T00:00:00Z"}, "INVALID_INPUT", "expiresAt"),
    ],
)
async def test_tokens_that_cannot_be_made(database_url: str, change: dict[str, object], code: str, field: str) -> None:
    async with product(database_url) as running:
        ada = await running.person("ada")
        wish = {"name": "A program", "scopes": ["READ"]} | change
        assert await ada.fail(CREATE, input=wish) == (code, ["input", field])
        assert (await ada.ask(TOKENS))["viewer"] == {"accessTokens": []}


async def test_there_is_an_end_to_tokens(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("domain.access_token_service.MAX_TOKENS", 2)
    async with product(database_url) as running:
        ada = await running.person("ada")
        for _ in range(2):
            await _token(ada, "READ")
        wish = {"name": "A program", "scopes": ["READ"]}
        assert await ada.fail(CREATE, input=wish) == ("CONFLICT", None)


@pytest.mark.parametrize("end", ["revoke", "deactivate", "expire"])
async def test_a_token_that_ends_closes_its_sockets(
    database_url: str, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    monkeypatch.setitem(SessionWatch.__init__.__kwdefaults__ or {}, "poll_seconds", 0.1)
    async with product(database_url) as running:
        ada = await running.person("ada")
        made = await _token(ada, "READ")
        program = await _program(running, made["secret"])
        async with program.socket() as ws:
            match end:
                case "revoke":
                    await ada.do(REVOKE, input={"id": made["accessToken"]["id"]})
                case "deactivate":
                    await _execute(database_url, "UPDATE users SET is_active = false")
                case _:
                    await _execute(database_url, "UPDATE access_tokens SET expires_at = now()")
            assert (await ws.closed())[0] == 4401
        assert (await program.request(WHO)).status_code == 401


async def _execute(database_url: str, statement: str) -> None:
    connection = await asyncpg.connect(database_url.replace("postgresql+asyncpg", "postgresql"))
    await connection.execute(statement)
    await connection.close()


async def test_a_right_taken_away_is_gone_on_an_open_socket(database_url: str) -> None:
    async with product(database_url) as running:
        ada = await running.person("ada")
        async with ada.socket() as ws:
            await _execute(database_url, "UPDATE users SET role = 'ADMIN'")
            await ws.subscribe("1", "{ viewer { role } }")
            assert (await ws.receive())["payload"] == {"data": {"viewer": {"role": "ADMIN"}}}
            assert (await ws.receive())["type"] == "complete"
            await _execute(database_url, "UPDATE sessions SET revoked_at = now()")
            await ws.subscribe("2", "{ viewer { role } }")
            (error,) = (await ws.receive())["payload"]
            assert error["extensions"] == {"code": "UNAUTHENTICATED", "expired": False}


@pytest.mark.parametrize("secret", ["nat_", "nat_" + "A" * 43, "nat_" + "A" * 44, "NAT_" + "A" * 43])
async def test_a_made_up_token_opens_nothing(database_url: str, secret: str) -> None:
    async with product(database_url) as running:
        program = await _program(running, secret)
        response = await program.request("{ server { version } }")
        assert response.status_code == 401
        assert response.json()["errors"][0]["extensions"] == {"code": "UNAUTHENTICATED", "expired": False}
