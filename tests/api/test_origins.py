"""What other origins, browsers and visitors are told: as little as the configuration says."""

from typing import Any

import httpx
import pytest

from ops.config import Config
from tests.api.product import PASSWORD, product
from tests.api.small_schema import Happenings
from tests.api.unlimited import UNLIMITED

_APP = "https://app.example.com"
_QUERY = {"query": "{ server { version } }"}


async def test_only_origins_that_are_named_are_answered(database_url: str) -> None:
    config = Config.model_validate({"allowed_origins": _APP, **UNLIMITED})
    async with product(database_url, config=config) as running:
        visitor = await running.visitor()
        for origin in ("https://evil.example", "null", f"{_APP}.evil.example", "http://app.example.com"):
            preflight = {"origin": origin, "access-control-request-method": "POST"}
            assert (await visitor.http.options("/graphql", headers=preflight)).status_code == 400
            response = await visitor.http.post("/graphql", json=_QUERY, headers={"origin": origin})
            assert "access-control-allow-origin" not in response.headers
        preflight = {"origin": _APP, "access-control-request-method": "POST"}
        for response in (
            await visitor.http.options("/graphql", headers=preflight),
            await visitor.http.post("/graphql", json=_QUERY, headers={"origin": _APP}),
        ):
            assert response.headers["access-control-allow-origin"] == _APP
            assert "Origin" in response.headers["vary"]


@pytest.mark.parametrize("public_url", [None, "https://ai.example.com"])
async def test_every_answer_tells_browsers_to_be_careful(database_url: str, public_url: str | None) -> None:
    config = Config.model_validate({"public_url": public_url, **UNLIMITED})
    async with product(database_url, config=config) as running:
        visitor = await running.visitor()
        for path in ("/", "/graphql", "/health/live", "/metrics", "/nowhere"):
            headers = (await visitor.http.get(path)).headers
            assert "default-src 'none'" in headers["content-security-policy"]
            assert "frame-ancestors 'none'" in headers["content-security-policy"]
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "no-referrer"
            assert ("strict-transport-security" in headers) is (public_url is not None)


async def test_production_shows_its_schema_to_the_signed_in_only(database_url: str) -> None:
    introspection = "{ __schema { queryType { name } } }"
    config = Config.model_validate({"environment": "production", **UNLIMITED})
    async with product(database_url, config=config) as running:
        ada, visitor = await running.person("ada"), await running.visitor()
        for query in (introspection, '{ ...A } fragment A on Query { __type(name: "User") { name } }'):
            for _ in range(2):
                assert (await visitor.refused(query))["code"] == "UNAUTHENTICATED"
                await ada.ask(query)
        await visitor.ask("{ __typename server { __typename } }")
        told = [(await each.request("{ servr { version } }")).json()["errors"][0]["message"] for each in (ada, visitor)]
        assert "Did you mean 'server'" in told[0]
        assert told[1] == "Cannot query field 'servr' on type 'Query'."


GUESSES: dict[str, dict[str, Any]] = {
    "query ($action: [AuditAction!]) { auditLog(filter: { action: $action }) { totalCount } }": {
        "action": ["SIGNED_INN"]
    },
    "mutation ($input: LoginInput!) { login(input: $input) { errors { code } } }": {"input": {"logn": "ada"}},
    "subscription ($id: ID!) { generationEvents(id: $id) { ... on GenerationTxt { text } } }": {"id": "x"},
    "{ auditLog(filter: { action: [SIGNED_INN] }) { totalCount } }": {},
    "{ auditLog(filtr: {}) { totalCount } }": {},
}


async def test_nobody_learns_names_of_the_schema_by_wrong_values(database_url: str) -> None:
    config = Config.model_validate({"environment": "production", **UNLIMITED})
    async with product(database_url, config=config) as running:
        for person, is_told in ((await running.person("ada"), True), (await running.visitor(), False)):
            for query, variables in GUESSES.items():
                body = {"query": query, "variables": variables}
                told = [await person.events(query, **variables)]
                if not query.startswith("subscription"):
                    told.append((await person.request(query, **variables)).json())
                async with person.socket() as ws:
                    await ws.send({"id": "1", "type": "subscribe", "payload": body})
                    told.append((await ws.receive())["payload"])
                assert all(("Did you mean" in str(each)) is is_told for each in told), (query, told)
                assert all("SIGNED_IN'" not in str(each) for each in told if not is_told)


async def test_development_shows_its_schema_to_everybody(http: httpx.AsyncClient, happenings: Happenings) -> None:
    query = {"query": "{ __schema { queryType { name } } helo }"}
    assert "Did you mean" in (await http.post("/graphql", json=query)).text
    happenings.is_schema_open = False
    assert "Did you mean" not in (await http.post("/graphql", json=query)).text


@pytest.mark.parametrize(("levels", "status"), [(60, 200), (70, 400), (1_000, 400), (5_000, 400)])
async def test_variables_are_so_deep_and_no_deeper(http: httpx.AsyncClient, levels: int, status: int) -> None:
    body = '{"query": "{ hello }", "variables": {"a": ' + "[" * levels + "]" * levels + "}}"
    response = await http.post("/graphql", content=body, headers={"content-type": "application/json"})
    assert response.status_code == status
    answer: Any = response.json()
    assert ("errors" in answer) is (status == 400)


async def test_a_password_that_was_reset_is_a_changed_one(database_url: str) -> None:
    offer = """mutation ($input: CreatePasswordResetInput!) {
      createPasswordReset(input: $input) { secret errors { code } }
    }"""
    reset = "mutation ($input: ResetPasswordInput!) { resetPassword(input: $input) { errors { code } } }"
    async with product(database_url) as running:
        authentication = running.assistant.services.authentication
        root, ada = await running.administrator(), await running.person("ada")
        made = await root.do(offer, input={"userId": ada.credentials["user"]["id"]})
        assert await authentication.has_unchanged_password("ada@example.org")
        await ada.do(reset, input={"secret": made["secret"], "newPassword": "a quite different one, of length"})
        assert not await authentication.has_unchanged_password("ada@example.org")


async def test_a_password_that_was_never_changed_is_known(database_url: str) -> None:
    change = "mutation ($input: ChangePasswordInput!) { changePassword(input: $input) { errors { code } } }"
    async with product(database_url) as running:
        authentication = running.assistant.services.authentication
        assert not await authentication.has_unchanged_password("ada@example.org")
        ada = await running.person("ada")
        assert await authentication.has_unchanged_password("Ada@example.org")
        await ada.do(change, input={"currentPassword": PASSWORD, "newPassword": "a quite different one, of length"})
        assert not await authentication.has_unchanged_password("ada@example.org")
