"""Sign-ins kept in cookies: what a browser gets and sends, and what other pages cannot make it do."""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

import asyncpg
import httpx
import pytest
from websockets.exceptions import InvalidStatus

from domain.session_watch import SessionWatch
from ops.config import Config
from resolvers.session_cookies import ACCESS_COOKIE, REFRESH_COOKIE
from schema.caller import CookieRules
from tests.api.graphql_socket import Socket, socket
from tests.api.product import LOGIN, PASSWORD, REGISTER, Person, Product, product
from tests.api.serving import serving
from tests.api.small_schema import Happenings, small_endpoint
from tests.api.unlimited import UNLIMITED

COOKIES = Config.model_validate({"cookie_sessions": True, **UNLIMITED})
WHO = "{ viewer { username } }"
REFRESH = "mutation { refreshSession { accessToken refreshToken user { username } errors { message code field } } }"
LOGOUT = "mutation { logout { errors { message code field } } }"
CHANGE_PASSWORD = """
mutation ($input: ChangePasswordInput!) { changePassword(input: $input) { accessToken errors { message code field } } }
"""
REVOKE = "mutation ($input: RevokeSessionInput!) { revokeSession(input: $input) { sessions { id } errors { code } } }"
OFFER_RESET = """
mutation ($input: CreatePasswordResetInput!) { createPasswordReset(input: $input) { secret errors { code } } }
"""
EXCHANGE = """
mutation ($input: RefreshSessionInput!) {
  refreshSession(input: $input) { refreshToken errors { message code field } }
}
"""
OTHER_PASSWORD = "a quite different one, of length"


class Browser(Person):
    """Somebody whose browser keeps the cookies, and whose page asks for them on every request."""

    def __init__(self, http: httpx.AsyncClient, address: str) -> None:
        super().__init__(http, address)
        self.kept: dict[str, str] = {}
        self.page = {"x-session": "cookie", "origin": f"http://{address}"}

    async def request(self, query: str, **variables: object) -> httpx.Response:
        """An operation by POST."""
        body = {"query": query, "variables": variables}
        return self.keep(await self.http.post("/graphql", json=body, headers={**self.page, **self.cookie()}))

    def keep(self, response: httpx.Response) -> httpx.Response:
        """Does with the cookies of an answer as a browser does."""
        for name, (value, attributes) in set_cookies(response).items():
            self.kept[name] = value
            if attributes["max-age"] == "0":
                del self.kept[name]
        return response

    def cookie(self) -> dict[str, str]:
        """The header that a browser adds unasked."""
        return {"cookie": "; ".join(f"{name}={value}" for name, value in self.kept.items())} if self.kept else {}

    async def come(self, name: str = "ada") -> "Browser":
        """Makes an account, and is signed in."""
        account = {"email": f"{name}@example.org", "username": name, "password": PASSWORD}
        self.credentials = await self.do(REGISTER, input=account)
        return self


def set_cookies(response: httpx.Response) -> dict[str, tuple[str, dict[str, str]]]:
    """The cookies that an answer sets, each once, with their attributes."""
    found: dict[str, tuple[str, dict[str, str]]] = {}
    for header in response.headers.get_list("set-cookie"):
        first, *rest = header.split("; ")
        name, _, value = first.partition("=")
        assert name not in found
        found[name] = value, {each.partition("=")[0].lower(): each.partition("=")[2] for each in rest}
    return found


async def browser(running: Product) -> Browser:
    """One that nobody has signed in with yet."""
    client = httpx.AsyncClient(base_url=f"http://{running.address}", timeout=30)
    return Browser(await running.stack.enter_async_context(client), running.address)


async def audited(database_url: str) -> list[tuple[str, str | None, bool]]:
    """What the audit log tells, in its order: what, from where, and whether of somebody."""
    connection = await asyncpg.connect(database_url.replace("postgresql+asyncpg", "postgresql"))
    try:
        rows = await connection.fetch("SELECT action, ip, actor_id FROM audit_log ORDER BY id")
        return [(row["action"], row["ip"], row["actor_id"] is not None) for row in rows]
    finally:
        await connection.close()


async def count_sessions(database_url: str) -> int:
    """How many sign-ins there are that last."""
    connection = await asyncpg.connect(database_url.replace("postgresql+asyncpg", "postgresql"))
    try:
        return int(await connection.fetchval("SELECT count(*) FROM sessions WHERE revoked_at IS NULL"))
    finally:
        await connection.close()


async def test_the_tokens_are_the_browsers_and_not_the_pages(database_url: str) -> None:
    async with product(database_url, config=COOKIES) as running:
        ada = await browser(running)
        assert await ada.ask("{ server { offersCookieSessions } }") == {"server": {"offersCookieSessions": True}}
        account = {"email": "ada@example.org", "username": "ada", "password": PASSWORD}
        response = ada.keep(await ada.request(REGISTER, input=account))
        payload = response.json()["data"]["register"]
        assert (payload["accessToken"], payload["refreshToken"], payload["errors"]) == (None, None, [])
        assert payload["expiresAt"]
        assert payload["user"]["id"]
        cookies = set_cookies(response)
        assert cookies.keys() == {"__Host-notion-assistant-access", "__Host-notion-assistant-refresh"}
        for value, attributes in cookies.values():
            assert value
            assert value not in response.text
            max_age = int(attributes.pop("max-age"))
            assert attributes == {"path": "/", "secure": "", "httponly": "", "samesite": "Strict"}
            assert max_age in (600, 14 * 86_400)

        assert await ada.ask(WHO) == {"viewer": {"username": "ada"}}
        (session,) = (await ada.ask("{ viewer { sessions { isCurrent ip } } }"))["viewer"]["sessions"]
        assert session == {"isCurrent": True, "ip": "127.0.0.1"}

        before = dict(ada.kept)
        payload = await ada.do(REFRESH)
        assert (payload["accessToken"], payload["refreshToken"]) == (None, None)
        assert payload["user"] == {"username": "ada"}
        assert all(ada.kept[name] != before[name] for name in (ACCESS_COOKIE, REFRESH_COOKIE))
        assert await ada.ask(WHO) == {"viewer": {"username": "ada"}}

        signed_in = dict(ada.kept)
        await ada.do(LOGOUT)
        assert ada.kept == {}
        ada.kept = signed_in
        assert await ada.ask(WHO) == {"viewer": None}
        assert await ada.fail(REFRESH) == ("UNAUTHENTICATED", None)
        assert ada.kept == {}, "what is dead is forgotten"


async def test_cookies_are_off_unless_the_operator_wants_them(database_url: str) -> None:
    async with product(database_url) as running:
        ada = await browser(running)
        response = await ada.request(REGISTER, input={"email": "a@b.example", "username": "ada", "password": PASSWORD})
        assert response.status_code == 400
        (error,) = response.json()["errors"]
        assert error["extensions"]["code"] == "INVALID_INPUT"
        assert "COOKIE_SESSIONS" in error["message"]
        assert await audited(database_url) == []
        person = await running.person("ada")
        ada.kept = {ACCESS_COOKIE: person.credentials["accessToken"]}
        ada.page = {}
        assert await ada.ask(WHO) == {"viewer": None}
        assert await ada.ask("{ server { offersCookieSessions } }") == {"server": {"offersCookieSessions": False}}


@pytest.mark.parametrize("wish", ["cookies", "Cookie", "bearer", "1"])
async def test_what_is_asked_for_has_to_be_known(database_url: str, wish: str) -> None:
    async with product(database_url, config=COOKIES) as running:
        ada = await browser(running)
        ada.page["x-session"] = wish
        assert (await ada.refused(WHO))["code"] == "INVALID_INPUT"


@pytest.mark.parametrize(
    "content_type", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain", ""]
)
async def test_a_form_of_another_site_does_nothing(database_url: str, content_type: str) -> None:
    """What a form can send: such a body, and the cookies, were they SameSite=None; no header of its own making."""
    async with product(database_url, config=COOKIES) as running:
        ada = await (await browser(running)).come()
        before = await audited(database_url)
        headers = {**ada.cookie(), "origin": "https://evil.example", "content-type": content_type}
        for body in (b'{"query": "mutation { logout { errors { code } } }"}', b"query=mutation+%7B+logout+%7D"):
            assert (await ada.http.post("/graphql", content=body, headers=headers)).status_code == 415
        assert await ada.ask(WHO) == {"viewer": {"username": "ada"}}
        assert await audited(database_url) == before


async def test_cookies_without_the_header_count_for_nothing(database_url: str) -> None:
    async with product(database_url, config=COOKIES) as running:
        ada = await (await browser(running)).come()
        before = await audited(database_url)
        for origin in ({}, {"origin": f"http://{running.address}"}, {"origin": "https://evil.example"}):
            bare = {**ada.cookie(), **origin}
            response = await ada.http.post("/graphql", json={"query": WHO}, headers=bare)
            assert response.json() == {"data": {"viewer": None}}
            response = await ada.http.post("/graphql", json={"query": LOGOUT}, headers=bare)
            assert response.json()["data"]["logout"]["errors"][0]["code"] == "UNAUTHENTICATED"
            login = {"query": LOGIN, "variables": {"input": {"login": "ada", "password": "wrong"}}}
            assert set_cookies(await ada.http.post("/graphql", json=login, headers=bare)) == {}
            assert (await ada.http.get("/export/account", headers=bare)).status_code == 401
            assert (await ada.http.get("/graphql", params={"query": WHO}, headers=bare)).status_code == 400
        preflighted = {**ada.cookie(), "apollo-require-preflight": "true"}
        response = await ada.http.get("/graphql", params={"query": WHO}, headers=preflighted)
        assert response.json() == {"data": {"viewer": None}}
        assert await ada.ask(WHO) == {"viewer": {"username": "ada"}}
        failures = [each for each in await audited(database_url) if each not in before]
        assert {action for action, _, _ in failures} == {"SIGN_IN_FAILED"}


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:1", "nonsense", "http://["])
async def test_cookies_from_a_foreign_page_are_refused(database_url: str, origin: str) -> None:
    async with product(database_url, config=COOKIES) as running:
        ada = await (await browser(running)).come()
        before = await audited(database_url)
        foreign = {**ada.page, **ada.cookie(), "origin": origin}
        for query in (WHO, LOGOUT):
            response = await ada.http.post("/graphql", json={"query": query}, headers=foreign)
            assert response.status_code == 403
            assert response.json()["errors"][0]["extensions"] == {"code": "FORBIDDEN"}
        for path in ("/graphql?query={viewer{username}}", "/export/account", "/export/audit"):
            assert (await ada.http.get(path, headers=foreign)).status_code == 403
        login = {"query": LOGIN, "variables": {"input": {"login": "ada", "password": PASSWORD}}}
        response = await ada.http.post("/graphql", json=login, headers=foreign)
        assert (response.status_code, set_cookies(response)) == (403, {})
        assert await ada.ask(WHO) == {"viewer": {"username": "ada"}}
        assert await audited(database_url) == before


@pytest.mark.parametrize(
    ("public_url", "origin", "status"),
    [
        (None, "http://ai.internal", 403),  # plain http: a browser would keep no such cookie
        (None, "https://ai.internal", 200),
        ("https://ai.example.com", "https://ai.example.com", 200),
        ("https://ai.example.com:443", "https://ai.example.com", 200),
        ("https://ai.example.com", "http://ai.example.com", 403),
        ("https://ai.example.com", "https://ai.internal", 403),  # the host of the request, but not the server's name
        ("https://ai.example.com", "https://app.example.com", 200),
        ("https://ai.example.com", "http://plain.example.com", 403),
    ],
)
async def test_pages_that_may_use_cookies(database_url: str, public_url: str | None, origin: str, status: int) -> None:
    allowed = "https://app.example.com, http://plain.example.com"
    settings = {"cookie_sessions": True, "public_url": public_url, "allowed_origins": allowed, **UNLIMITED}
    async with product(database_url, config=Config.model_validate(settings)) as running:
        ada = await browser(running)
        ada.page |= {"origin": origin, "host": "ai.internal"}
        account = {"email": "ada@example.org", "username": "ada", "password": PASSWORD}
        response = ada.keep(await ada.request(REGISTER, input=account))
        assert response.status_code == status
        assert bool(set_cookies(response)) is (status == 200)
        if "http://" in origin and "ai.example.com" not in origin:
            assert "https" in response.json()["errors"][0]["message"]
        if origin == "https://app.example.com":
            assert response.headers["access-control-allow-credentials"] == "true"
            preflight = {
                "origin": origin,
                "access-control-request-method": "POST",
                "access-control-request-headers": "content-type, x-session",
            }
            response = await ada.http.options("/graphql", headers=preflight)
            assert (response.status_code, response.headers["access-control-allow-credentials"]) == (200, "true")


async def test_a_dead_cookie_blocks_no_sign_in(database_url: str) -> None:
    async with product(database_url, config=COOKIES) as running:
        ada = await (await browser(running)).come()
        refresh_token = ada.kept[REFRESH_COOKIE]
        elsewhere = await browser(running)
        elsewhere.kept = dict(ada.kept)
        login = {"login": "ada", "password": PASSWORD}
        for access in ("nonsense", "", None):
            ada.kept = {REFRESH_COOKIE: refresh_token} | ({} if access is None else {ACCESS_COOKIE: access})
            assert await ada.ask(WHO) == {"viewer": None}
            is_expired = not access  # the browser has dropped it: a refresh helps
            assert await ada.refused("{ providers { id } }") == {"code": "UNAUTHENTICATED", "expired": is_expired}
            assert await ada.fail("mutation { logout { errors { message code field } } }") == ("UNAUTHENTICATED", None)
            await ada.do(REFRESH)
            assert await ada.ask(WHO) == {"viewer": {"username": "ada"}}
            refresh_token = ada.kept[REFRESH_COOKIE]
            ada.kept[ACCESS_COOKIE] = access or "x"
            await ada.do(LOGIN, input=login)
            assert await ada.ask(WHO) == {"viewer": {"username": "ada"}}
        # Signing out needs no access token that is still good, when it is asked for with a refresh.
        ada.kept = {REFRESH_COOKIE: ada.kept[REFRESH_COOKIE]}
        await ada.ask("mutation { refreshSession { errors { code } } logout { errors { code } } }")
        assert ada.kept == {}
        # And the sign-ins of before go on.
        elsewhere.kept = {REFRESH_COOKIE: refresh_token}
        await elsewhere.do(REFRESH)


async def test_who_has_no_cookies_is_a_visitor(database_url: str) -> None:
    async with product(database_url, config=COOKIES) as running:
        visitor = await browser(running)
        assert await visitor.ask(WHO) == {"viewer": None}
        assert await visitor.fail(REFRESH) == ("UNAUTHENTICATED", None)
        assert await visitor.refused("{ providers { id } }") == {"code": "UNAUTHENTICATED", "expired": False}
        visitor.page = {}
        assert await visitor.fail(REFRESH) == ("INVALID_INPUT", ["input", "refreshToken"])


async def test_a_bearer_wins_over_cookies(database_url: str) -> None:
    async with product(database_url, config=COOKIES) as running:
        ada, bob = await (await browser(running)).come(), await running.person("bob")
        ada.page |= bob.headers
        assert await ada.ask(WHO) == {"viewer": {"username": "bob"}}
        before = dict(ada.kept)
        payload = await ada.do(LOGIN, input={"login": "bob", "password": PASSWORD})
        assert payload["accessToken"]
        assert ada.kept == before
        await ada.do(LOGOUT)
        assert ada.kept == before
        response = await ada.request(WHO)
        assert response.status_code == 401, "whose sign-in has ended, although the cookie's has not"
        del ada.page["authorization"]
        assert await ada.ask(WHO) == {"viewer": {"username": "ada"}}


async def test_refresh_tokens_in_cookies_are_good_once(database_url: str) -> None:
    async with product(database_url, config=COOKIES) as running:
        ada = await (await browser(running)).come()
        first = dict(ada.kept)
        await ada.do(REFRESH)
        second = dict(ada.kept)
        ada.kept = dict(first)
        await ada.do(REFRESH)  # whose answer was lost: within the ten seconds, the same again
        assert ada.kept[REFRESH_COOKIE] == second[REFRESH_COOKIE]
        await ada.do(REFRESH)
        newest = dict(ada.kept)
        ada.kept = dict(first)
        assert await ada.fail(REFRESH) == ("UNAUTHENTICATED", None)
        assert ada.kept == {}
        ada.kept = newest
        assert await ada.ask(WHO) == {"viewer": None}
        assert await count_sessions(database_url) == 0


async def test_a_refresh_that_another_tab_was_ahead_of_forgets_nothing(database_url: str) -> None:
    async with product(database_url, config=COOKIES) as running:
        ada = await (await browser(running)).come()
        before = dict(ada.kept)
        await ada.do(CHANGE_PASSWORD, input={"currentPassword": PASSWORD, "newPassword": OTHER_PASSWORD})
        after, ada.kept = ada.kept, before
        assert await ada.fail(REFRESH) == ("UNAUTHENTICATED", None)
        assert ada.kept == before, "the newer ones, that the other answer has brought, must stay"
        ada.kept = after
        await ada.do(REFRESH)


async def test_whatever_signs_in_or_out_sets_the_cookies(database_url: str) -> None:
    async with product(database_url, config=COOKIES) as running:
        root, ada = await running.administrator(), await (await browser(running)).come()
        first = dict(ada.kept)
        change = {"currentPassword": PASSWORD, "newPassword": OTHER_PASSWORD}
        assert (await ada.do(CHANGE_PASSWORD, input=change))["accessToken"] is None
        assert ada.kept != first
        made = await root.do(
            OFFER_RESET,
            input={"userId": ada.credentials["user"]["id"]},
        )
        again = await browser(running)
        reset = (
            "mutation ($input: ResetPasswordInput!) { resetPassword(input: $input) { accessToken errors { code } } }"
        )
        new = {"secret": made["secret"], "newPassword": PASSWORD}
        assert (await again.do(reset, input=new))["accessToken"] is None
        assert await again.ask(WHO) == {"viewer": {"username": "ada"}}
        assert await ada.ask(WHO) == {"viewer": None}
        (session,) = (await again.ask("{ viewer { sessions { id } } }"))["viewer"]["sessions"]
        await again.do(REVOKE, input={"id": session["id"]})
        assert again.kept == {}
        await ada.do(LOGIN, input={"login": "ada", "password": PASSWORD})
        delete = "mutation ($input: DeleteAccountInput!) { deleteAccount(input: $input) { errors { code } } }"
        await ada.do(delete, input={"password": PASSWORD, "dryRun": True})
        assert await ada.ask(WHO) == {"viewer": {"username": "ada"}}
        await ada.do(delete, input={"password": PASSWORD})
        assert ada.kept == {}


async def _ask(ws: Socket, query: str, **variables: object) -> Any:
    await ws.subscribe("1", query, variables=variables)
    payload = (await ws.receive())["payload"]
    if isinstance(payload, list):  # refused before it was run
        return payload
    assert (await ws.receive())["type"] == "complete"
    return payload


async def test_a_socket_by_cookies(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SessionWatch.__init__.__kwdefaults__ or {}, "poll_seconds", 0.1)
    wish = {"x-session": "cookie"}
    async with product(database_url, config=COOKIES) as running:
        ada = await (await browser(running)).come()
        own = f"http://{running.address}"

        def opened(origin: str | None = own, cookie: Mapping[str, str] | None = None) -> Any:
            headers = ada.cookie() if cookie is None else cookie
            return socket(running.address, origin=origin, additional_headers=headers)

        async with opened() as ws:
            await ws.init({"headers": {"X-Session": "cookie"}})
            assert await _ask(ws, WHO) == {"data": {"viewer": {"username": "ada"}}}
        async with opened() as ws:  # nothing is taken from cookies unasked
            await ws.init()
            assert await _ask(ws, WHO) == {"data": {"viewer": None}}
        async with opened(cookie={}) as ws:
            await ws.init(wish)
            assert await _ask(ws, WHO) == {"data": {"viewer": None}}
        async with opened(origin=None) as ws:
            await ws.send({"type": "connection_init", "payload": wish})
            assert (await ws.closed())[0] == 4401
        for origin in ("https://evil.example", "null"):
            with pytest.raises(InvalidStatus) as refused:
                async with opened(origin=origin):
                    pass
            assert refused.value.response.status_code == 403
        for kept, code in (({REFRESH_COOKIE: "x"}, 4403), ({ACCESS_COOKIE: "x"}, 4401)):
            cookie = "; ".join(f"{name}={value}" for name, value in kept.items())
            async with opened(cookie={"cookie": cookie}) as ws:
                await ws.send({"type": "connection_init", "payload": wish})
                assert (await ws.closed())[0] == code
        for unknown in ("x", 7, ["cookie"]):
            async with opened() as ws:
                await ws.send({"type": "connection_init", "payload": {"x-session": unknown}})
                assert (await ws.closed())[0] == 4400
        # A socket sets no cookies, so it signs nobody in, and gives no tokens away either.
        sessions = await count_sessions(database_url)
        async with opened() as ws:
            await ws.init(wish)
            answer = await _ask(ws, LOGIN, input={"login": "ada", "password": PASSWORD})
            assert answer["data"]["login"]["accessToken"] is None
            assert answer["data"]["login"]["errors"][0]["code"] == "CONFLICT"
            answer = await _ask(ws, REFRESH)
            assert answer["data"]["refreshSession"]["errors"][0]["code"] == "CONFLICT"
            assert await count_sessions(database_url) == sessions
            assert await ada.ask(WHO) == {"viewer": {"username": "ada"}}
            await ada.do(LOGOUT)
            assert (await ws.closed())[0] == 4401


async def test_a_socket_by_cookies_where_they_are_off(database_url: str) -> None:
    async with (
        product(database_url) as running,
        socket(running.address, origin=f"http://{running.address}") as ws,
    ):
        await ws.send({"type": "connection_init", "payload": {"x-session": "cookie"}})
        code, reason = await ws.closed()
        assert (code, "COOKIE_SESSIONS" in reason) == (4400, True)


async def test_a_socket_by_an_expired_cookie_asks_for_a_fresh_one(happenings: Happenings) -> None:
    rules = CookieRules(own_origin=None, allowed_origins=frozenset())
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(serving(small_endpoint(happenings, cookies=rules)))
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=f"http://{address}"))
        for token, code in (("expired", 4403), ("revoked", 4401), ("down", 1013)):
            cookie = {"cookie": f"{ACCESS_COOKIE}={token}"}
            async with socket(address, origin=f"http://{address}", additional_headers=cookie) as ws:
                await ws.send({"type": "connection_init", "payload": {"X-Session": "cookie"}})
                assert (await ws.closed())[0] == code
            response = await http.post(
                "/graphql", json={"query": "{ me }"}, headers={**cookie, "x-session": "cookie", "accept": "*/*"}
            )
            assert response.status_code == (503 if token == "down" else 200)
        assert set(happenings.authorizations) == {"Bearer expired", "Bearer revoked", "Bearer down"}


async def test_events_by_cookies(database_url: str) -> None:
    async with product(database_url, config=COOKIES) as running:
        ada = await (await browser(running)).come()
        headers = {**ada.page, **ada.cookie(), "accept": "text/event-stream"}
        stranger = {**ada.cookie(), "accept": "text/event-stream", "apollo-require-preflight": "true"}
        for method, place in (("POST", "json"), ("GET", "params")):
            asked: dict[str, Any] = {place: {"query": WHO}}
            response = await ada.http.request(method, "/graphql", headers=headers, **asked)
            assert '{"data":{"viewer":{"username":"ada"}}}' in response.text
            response = await ada.http.request(method, "/graphql", headers=stranger, **asked)
            assert '{"data":{"viewer":null}}' in response.text
        sessions = await count_sessions(database_url)
        login = {"query": LOGIN, "variables": {"input": {"login": "ada", "password": PASSWORD}}}
        response = await ada.http.post("/graphql", json=login, headers=headers)
        assert '"CONFLICT"' in response.text
        assert await count_sessions(database_url) == sessions


async def test_downloads_by_cookies(database_url: str) -> None:
    async with product(database_url, config=COOKIES) as running:
        ada = await (await browser(running)).come()
        signed_in = {"x-session": "cookie", **ada.cookie()}
        response = await ada.http.get("/export/account", headers=signed_in)
        assert (response.status_code, response.content[:2]) == (200, b"PK")
        assert (await ada.http.get("/export/audit", headers=signed_in)).status_code == 403
        before = await audited(database_url)
        expired = {"x-session": "cookie", "cookie": f"{REFRESH_COOKIE}={ada.kept[REFRESH_COOKIE]}"}
        for headers, is_expired in ((ada.cookie(), False), (expired, True)):
            response = await ada.http.get("/export/account", headers=headers)
            assert response.status_code == 401
            assert response.json()["errors"][0]["extensions"]["expired"] is is_expired
        assert await audited(database_url) == before


async def test_the_audit_log_tells_the_same_of_cookies_and_of_bearers(database_url: str) -> None:
    async with product(database_url, config=COOKIES) as running:
        told: list[list[tuple[str, str | None, bool]]] = []
        for name, person in (("ada", await running.visitor()), ("bob", await browser(running))):
            before = len(await audited(database_url))
            account = {"email": f"{name}@example.org", "username": name, "password": PASSWORD}
            uses_cookies = isinstance(person, Browser)
            signed_in = await person.do(REGISTER, input=account)
            if not uses_cookies:
                person.sign_in(signed_in)
            wrong = {"currentPassword": "wrong", "newPassword": OTHER_PASSWORD}
            assert (await person.fail(CHANGE_PASSWORD, input=wrong))[0] == "INVALID_INPUT"
            make = "mutation ($input: CreateAccessTokenInput!) { createAccessToken(input: $input) { errors { code } } }"
            await person.do(make, input={"name": "Program", "scopes": ["READ"]})
            await person.do(LOGOUT)
            person.headers = {}
            signed_in = await person.do(LOGIN, input={"login": name, "password": PASSWORD})
            if isinstance(person, Browser):
                old = dict(person.kept)
                for _ in range(2):
                    await person.do(REFRESH)
                person.kept = old
                await person.fail(REFRESH)
            else:
                token = signed_in["refreshToken"]
                second = (await person.do(EXCHANGE, input={"refreshToken": token}))["refreshToken"]
                await person.do(EXCHANGE, input={"refreshToken": second})
                await person.fail(EXCHANGE, input={"refreshToken": token})
            told.append((await audited(database_url))[before:])
        bearer, cookies = told
        assert bearer == cookies
        actions = [action for action, _, _ in cookies]
        assert {"USER_REGISTERED", "SIGNED_IN", "SIGN_IN_FAILED", "SIGNED_OUT", "REFRESH_TOKEN_REUSED"} <= {*actions}
        assert {(ip, has_actor) for _, ip, has_actor in cookies} == {("127.0.0.1", True)}
