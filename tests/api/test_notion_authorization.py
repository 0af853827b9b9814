"""Connecting Notion by signing in there: the way there and back, who may not take it, and tokens that are renewed."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg
import httpx
import pytest

from domain.account import Client
from domain.secret import Secret
from ops.encryption_key import EncryptionKey
from tests.api.assistant import Outside, at_work, everything_in, outside
from tests.api.product import Person, Product
from tests.standins.notion import NotionStandin
from tests.standins.notion_faults import Fault, FaultKind
from tests.standins.notion_state import Node
from tests.waiting import until

PUBLIC_URL = "https://assistant.example"
START = """
mutation ($input: StartNotionAuthorizationInput) {
  startNotionAuthorization(input: $input) { authorizeUrl expiresAt errors { message code field } }
}
"""
NOTION = "{ viewer { notion { workspaceName kind rejectedAt } } }"
GENERATE = """
mutation ($input: GenerateContentInput!) {
  generateContent(input: $input) { generation { id } errors { message code field reason } }
}
"""
DISCONNECT = "mutation { disconnectNotion { notion { workspaceName } errors { message code field } } }"


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The product, with Notion's stand-in and a page in it."""

    outside: Outside
    settings: dict[str, object]
    product: Product
    page: Node

    @property
    def notion(self) -> NotionStandin:
        return self.outside.notion


@asynccontextmanager
async def world(database_url: str, *, keys: list[EncryptionKey] | None = None) -> AsyncIterator[World]:
    async with outside() as around:
        notion = around.notion
        app = notion.add_oauth_app(redirect_uri=f"{PUBLIC_URL}/notion/callback")
        page = notion.add_page("Inbox")
        settings = {
            "public_url": PUBLIC_URL,
            "allowed_origins": ("https://app.example",),
            "notion_oauth_client_id": app.client_id,
            "notion_oauth_client_secret": Secret(app.client_secret),
        }
        async with at_work(database_url, around, settings, keys=keys or []) as running:
            yield World(outside=around, settings=settings, product=running, page=page)


async def sent_back(person: Person, **input_: object) -> str:
    """Begins as a person's browser does; answers the path and query by which Notion sends it back."""
    payload = await person.do(START, input=input_)
    async with httpx.AsyncClient() as browser:
        response = await browser.get(payload["authorizeUrl"])
    assert response.status_code == 307
    location = urlsplit(response.headers["location"])
    assert f"{location.scheme}://{location.netloc}" == PUBLIC_URL
    return f"{location.path}?{location.query}"


async def come_back(person: Person, path: str) -> httpx.Response:
    """As the browser follows Notion's redirect; the stand-in's world has no TLS, so the cookie is carried by hand."""
    cookies = {cookie.name: cookie.value or "" for cookie in person.http.cookies.jar}
    header = "; ".join(f"{name}={value}" for name, value in cookies.items())
    return await person.http.get(path, headers={"cookie": header} if header else {})


async def connect(person: Person) -> None:
    response = await come_back(person, await sent_back(person))
    assert response.status_code == 200, response.text


async def start_generation(person: Person, parent: str) -> dict[str, Any]:
    return dict((await person.ask(GENERATE, input={"prompt": "Hi", "publish": {"parent": parent}}))["generateContent"])


def asked(notion: NotionStandin, path: str) -> int:
    return sum(request.path == path for request in notion.requests)


async def test_notion_is_connected_by_signing_in_there(database_url: str) -> None:
    async with world(database_url) as here:
        ada = await here.product.person()
        assert await ada.ask("{ server { offersNotionSignIn } }") == {"server": {"offersNotionSignIn": True}}
        response = await ada.request(START)
        set_cookie = response.headers["set-cookie"]
        for attribute in ("Path=/notion/callback", "HttpOnly", "SameSite=Lax", "Secure", "Max-Age=600"):
            assert attribute in set_cookie
        url = response.json()["data"]["startNotionAuthorization"]["authorizeUrl"]
        query = parse_qs(urlsplit(url).query)
        assert query.keys() == {"owner", "client_id", "redirect_uri", "response_type", "state"}
        assert len(query["state"][0]) >= 43

        path = await sent_back(ada)
        # Who only looks does not use it up.
        assert (await ada.http.head(path)).status_code == 405
        response = await come_back(ada, path)
        assert response.status_code == 200
        assert "“Acme” is connected" in response.text
        assert "default-src 'none'" in response.headers["content-security-policy"]
        assert response.headers["cache-control"] == "no-store"
        assert response.headers["referrer-policy"] == "no-referrer"
        assert "Max-Age=0" in response.headers["set-cookie"]
        connection = {"workspaceName": "Acme", "kind": "OAUTH", "rejectedAt": None}
        assert await ada.ask(NOTION) == {"viewer": {"notion": connection}}

        rows = await everything_in(database_url)
        assert sum("NOTION_CONNECTED" in row for row in rows["audit_log"]) == 1
        assert rows["notion_authorizations"] == []
        (grant,) = here.notion.oauth.grants
        kept = str(rows)
        for secret in (grant.access_token, grant.refresh_token, query["state"][0]):
            assert secret not in kept
            assert secret.encode().hex() not in kept

        started = await start_generation(ada, here.notion.address(here.page))
        assert started["errors"] == []
        assert await _published(ada, started["generation"]["id"]) == "PUBLISHED"


async def _published(person: Person, generation_id: str) -> str:
    query = "query ($id: ID!) { generation(id: $id) { publication { status } } }"
    while True:
        publication = (await person.ask(query, id=generation_id))["generation"]["publication"]
        if publication["status"] not in ("PENDING", "PUBLISHING"):
            return str(publication["status"])
        await asyncio.sleep(0.05)


async def test_a_state_is_good_once_in_time_and_for_its_browser_alone(database_url: str) -> None:
    async with world(database_url) as here:
        ada, bob = await here.product.person("ada"), await here.product.person("bob")
        await bob.do(START)
        used = await sent_back(ada)
        assert (await come_back(ada, used)).status_code == 200

        async def refused(who: Person, path: str) -> None:
            exchanged, before = asked(here.notion, "/v1/oauth/token"), await everything_in(database_url)
            response = await come_back(who, path)
            assert (response.status_code, "Begin again" in response.text) == (400, True)
            assert asked(here.notion, "/v1/oauth/token") == exchanged
            after = await everything_in(database_url)
            for table in ("notion_connections", "audit_log"):
                assert after[table] == before[table]

        await refused(ada, used)
        path = await sent_back(ada)
        await refused(await here.product.visitor(), path)
        await refused(bob, path)
        await refused(ada, path.replace("state=", "state=x"))
        await refused(ada, "/notion/callback")
        await refused(ada, "/notion/callback?code=%ff&state=%ed%a0%80")
        await _execute(database_url, "UPDATE notion_authorizations SET expires_at = now()")
        await refused(ada, path)
        path = await sent_back(ada)
        await ada.do("mutation { logout { errors { message } } }")
        await refused(ada, path)


async def _execute(database_url: str, statement: str) -> None:
    connection = await asyncpg.connect(database_url.replace("postgresql+asyncpg", "postgresql"))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def test_a_person_is_taken_back_to_where_they_came_from(database_url: str) -> None:
    async with world(database_url) as here:
        ada = await here.product.person()
        path = await sent_back(ada, returnTo="https://app.example/settings?tab=notion&notion=failed")
        response = await come_back(ada, path)
        assert response.status_code == 303
        assert response.headers["location"] == "https://app.example/settings?tab=notion&notion=connected"
        here.notion.oauth.app.is_refused = True  # type: ignore[union-attr]  # the world has one
        response = await come_back(ada, await sent_back(ada, returnTo=f"{PUBLIC_URL}/"))
        assert response.headers["location"] == f"{PUBLIC_URL}/?notion=failed"
        for address in (
            "https://evil.example/",
            "/settings",
            "//evil.example",
            "https://app.example.evil.example",
            "https://app.example@evil.example/",
            "https://evil.example\\@app.example/",
            "javascript:alert(1)",
            "",
        ):
            assert await ada.fail(START, input={"returnTo": address}) == ("INVALID_INPUT", ["input", "returnTo"])


async def test_what_goes_wrong_at_notion_is_told_and_changes_nothing(database_url: str) -> None:
    async with world(database_url) as here:
        ada = await here.product.person()
        app = here.notion.oauth.app
        assert app is not None
        app.is_refused = True
        response = await come_back(ada, await sent_back(ada))
        assert (response.status_code, "access was not allowed" in response.text) == (400, True)
        app.is_refused = False
        path = await sent_back(ada)
        app.client_secret += "x"
        response = await come_back(ada, path)
        assert (response.status_code, "NOTION_OAUTH_CLIENT_SECRET" in response.text) == (502, True)
        assert app.client_secret not in response.text
        app.client_secret = app.client_secret.removesuffix("x")
        for fault in (FaultKind.INTERNAL, FaultKind.LOST, FaultKind.GARBLED, FaultKind.BAD_GATEWAY):
            path = await sent_back(ada)
            here.notion.enqueue(Fault(kind=fault, path="/v1/oauth/token"))
            assert (await come_back(ada, path)).status_code == 502
        response = await come_back(ada, (await sent_back(ada)).replace("code=", "code=x"))
        assert (response.status_code, "did not accept the sign-in" in response.text) == (502, True)
        assert await ada.ask(NOTION) == {"viewer": {"notion": None}}


async def test_a_server_that_is_not_set_up_for_it_says_so(database_url: str) -> None:
    async with at_work(database_url) as running:
        ada = await running.person()
        assert await ada.ask("{ server { offersNotionSignIn } }") == {"server": {"offersNotionSignIn": False}}
        assert await ada.fail(START) == ("UNAVAILABLE", None)
        response = await ada.http.get("/notion/callback?code=x&state=y")
        assert response.status_code == 503
        assert "NOTION_OAUTH_CLIENT_ID" in response.text


async def test_it_cannot_be_begun_by_nobody_or_over_a_stream(database_url: str) -> None:
    async with world(database_url) as here:
        visitor = await here.product.visitor()
        assert (await visitor.ask(START))["startNotionAuthorization"]["errors"][0]["code"] == "UNAUTHENTICATED"
        ada = await here.product.person()
        async with ada.socket() as ws:
            await ws.subscribe("1", START)
            (error,) = (await ws.receive())["payload"]["data"]["startNotionAuthorization"]["errors"]
        assert error["code"] == "CONFLICT"


async def test_however_many_notice_it_a_token_is_renewed_once(database_url: str) -> None:
    keys = [EncryptionKey.generate()]
    async with world(database_url, keys=keys) as here:
        ada = await here.product.person()
        await connect(ada)
        parent = here.notion.address(here.page)
        (grant,) = here.notion.oauth.grants
        first = (grant.access_token, grant.refresh_token)
        async with at_work(database_url, here.outside, here.settings, keys=keys) as elsewhere:
            other = await elsewhere.visitor()
            other.sign_in(ada.credentials)
            here.notion.oauth.expire_access_tokens()
            here.notion.enqueue(Fault(kind=FaultKind.DELAYED, path="/v1/oauth/token", delay_seconds=0.3))
            started = await asyncio.gather(*(start_generation(who, parent) for who in [ada, other] * 4))
            assert [each["errors"] for each in started] == [[]] * 8
            assert here.notion.oauth.refreshes == 1
            assert not set(first) & {grant.access_token, grant.refresh_token}
            # Both tokens are the new ones: the next renewal works too.
            here.notion.oauth.expire_access_tokens()
            assert (await start_generation(other, parent))["errors"] == []
            assert here.notion.oauth.refreshes == 2
        rows = await everything_in(database_url)
        assert len(rows["notion_connections"]) == 1


async def test_a_grant_that_is_over_asks_for_a_new_one(database_url: str) -> None:
    async with world(database_url) as here:
        ada = await here.product.person()
        await connect(ada)
        parent = here.notion.address(here.page)
        here.notion.oauth.grants[0].is_revoked = True
        for _ in range(2):
            (error,) = (await start_generation(ada, parent))["errors"]
            assert (error["code"], error["reason"]) == ("NOTION_FAILED", "AUTHENTICATION")
        assert (await ada.ask(NOTION))["viewer"]["notion"]["rejectedAt"] is not None
        await connect(ada)
        assert (await ada.ask(NOTION))["viewer"]["notion"]["rejectedAt"] is None
        assert (await start_generation(ada, parent))["errors"] == []


async def test_a_renewal_that_fails_for_now_is_tried_again(database_url: str) -> None:
    async with world(database_url) as here:
        ada = await here.product.person()
        await connect(ada)
        parent = here.notion.address(here.page)
        here.notion.oauth.expire_access_tokens()
        here.notion.enqueue(Fault(kind=FaultKind.UNAVAILABLE, path="/v1/oauth/token"))
        (error,) = (await start_generation(ada, parent))["errors"]
        assert (error["code"], error["reason"]) == ("NOTION_FAILED", "OVERLOADED")
        assert (await start_generation(ada, parent))["errors"] == []
        assert (await ada.ask(NOTION))["viewer"]["notion"]["rejectedAt"] is None


@pytest.mark.parametrize("is_exchanged", [False, True])
async def test_a_renewal_whose_answer_is_lost_is_cleared_up_by_the_next(
    database_url: str, *, is_exchanged: bool
) -> None:
    async with world(database_url) as here:
        ada = await here.product.person()
        await connect(ada)
        parent = here.notion.address(here.page)
        here.notion.oauth.expire_access_tokens()
        here.notion.enqueue(Fault(kind=FaultKind.LOST, path="/v1/oauth/token", applied=is_exchanged))
        (error,) = (await start_generation(ada, parent))["errors"]
        assert (error["code"], error["reason"]) == ("NOTION_FAILED", "UNREACHABLE")
        assert (await ada.ask(NOTION))["viewer"]["notion"]["rejectedAt"] is None
        reasons = [error["reason"] for error in (await start_generation(ada, parent))["errors"]]
        assert reasons == (["AUTHENTICATION"] if is_exchanged else [])
        assert ((await ada.ask(NOTION))["viewer"]["notion"]["rejectedAt"] is not None) is is_exchanged
        if is_exchanged:
            exchanges = asked(here.notion, "/v1/oauth/token")
            (error,) = (await start_generation(ada, parent))["errors"]
            assert error["reason"] == "AUTHENTICATION"
            assert asked(here.notion, "/v1/oauth/token") == exchanges
            await connect(ada)
            assert (await start_generation(ada, parent))["errors"] == []


async def test_a_renewed_token_goes_on_with_the_same_allowance(database_url: str) -> None:
    async with world(database_url) as here:
        ada, bob = await here.product.person(), await here.product.person("Bob")
        for person in (ada, bob):
            await connect(person)
        parent = here.notion.address(here.page)
        assert (await start_generation(ada, parent))["errors"] == []
        here.notion.oauth.expire_access_tokens()
        assert (await start_generation(ada, parent))["errors"] == []
        assert (await start_generation(bob, parent))["errors"] == []
        assert here.notion.oauth.refreshes == 2
        database = await asyncpg.connect(database_url.replace("+asyncpg", ""))
        try:
            keys = {row["key"] for row in await database.fetch("SELECT key FROM notion_paces")}
        finally:
            await database.close()
        # The stand-in's apps have one bot in a workspace, whoever signs in.
        assert keys == {f"bot:{here.page.workspace.bot_id}"}


async def test_new_tokens_are_kept_though_who_asked_has_gone(database_url: str) -> None:
    async with world(database_url) as here:
        ada = await here.product.person()
        await connect(ada)
        client = Client(ip=None, user_agent=None)
        viewer = await here.product.assistant.services.authentication.authenticate(ada.headers["authorization"], client)
        assert viewer is not None
        token = await here.product.assistant.services.notion.find_token(viewer.user.id)
        assert token is not None
        released = threading.Event()
        here.notion.enqueue(Fault(kind=FaultKind.DELAYED, path="/v1/oauth/token", released=released))
        renewing = asyncio.create_task(token.renew(Secret(token.reveal())))
        await until(lambda: asked(here.notion, "/v1/oauth/token") == 2)
        renewing.cancel()
        released.set()
        with pytest.raises(asyncio.CancelledError):
            await renewing
        newest = await here.product.assistant.services.notion.find_token(viewer.user.id)
        assert newest is not None
        assert newest.reveal() == here.notion.oauth.grants[0].access_token != token.reveal()


async def test_disconnecting_gives_the_access_back(database_url: str) -> None:
    async with world(database_url) as here:
        ada = await here.product.person()
        for is_notion_down in (False, True):
            await connect(ada)
            if is_notion_down:
                here.notion.enqueue(Fault(kind=FaultKind.LOST, path="/v1/oauth/revoke"))
            await ada.do(DISCONNECT)
            assert here.notion.oauth.grants[-1].is_revoked is not is_notion_down
            assert await ada.ask(NOTION) == {"viewer": {"notion": None}}
            assert (await everything_in(database_url))["notion_connections"] == []
