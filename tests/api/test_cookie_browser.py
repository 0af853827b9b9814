"""Sign-ins in cookies in a real browser: it keeps them, no script can read them, and no other site can use them."""

from typing import Any

import pytest
from playwright.async_api import Error as PlaywrightError
from playwright.async_api import Page, Route

from tests.api.assistant import at_work
from tests.api.playground import playground
from tests.api.product import PASSWORD

pytestmark = pytest.mark.browser

_ASK = """async ([origin, query, headers]) => {
  const response = await fetch(`${origin}/graphql`, {
    method: "POST",
    credentials: "include",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify({ query }),
  });
  return response.json();
}"""
_ASK_OVER_SOCKET = """([origin, query]) => new Promise((resolve, reject) => {
  const socket = new WebSocket(`${origin.replace("http", "ws")}/graphql`, "graphql-transport-ws");
  socket.onopen = () => socket.send(JSON.stringify({ type: "connection_init", payload: { "x-session": "cookie" } }));
  socket.onmessage = ({ data }) => {
    const message = JSON.parse(data);
    if (message.type === "connection_ack") {
      socket.send(JSON.stringify({ id: "1", type: "subscribe", payload: { query } }));
    } else {
      resolve(message.payload);
      socket.close();
    }
  };
  socket.onclose = ({ code }) => reject(new Error(`closed with ${code}`));
})"""
_EVIL = "http://evil.test"
_FORM = """<!doctype html><title>Evil</title>
<form method="post" enctype="text/plain" action="{origin}/graphql">
<input name='{{"query": "mutation {{ logout {{ errors {{ code }} }} }}", "x": "' value='"}}'></form>
"""
_WITH_COOKIES = {"x-session": "cookie"}
_WHO = "{ viewer { username } }"
_ADA = {"data": {"viewer": {"username": "ada"}}}
_REGISTER = f"""mutation {{
  register(input: {{ username: "ada", email: "ada@example.org", password: "{PASSWORD}" }}) {{
    accessToken refreshToken errors {{ message }}
  }}
}}"""


async def _ask(page: Page, origin: str, query: str, headers: dict[str, str] | None = None) -> Any:
    return await page.evaluate(_ASK, [origin, query, headers or {}])


async def test_a_browser_keeps_the_sign_in_and_no_script_has_it(database_url: str, chromium_path: str) -> None:
    async with (
        at_work(database_url, settings={"cookie_sessions": True}) as running,
        playground(chromium_path, running.address) as tab,
    ):
        page, origin = tab.page, tab.origin
        answer = await _ask(page, origin, _REGISTER, _WITH_COOKIES)
        assert answer == {"data": {"register": {"accessToken": None, "refreshToken": None, "errors": []}}}
        kept = await page.context.cookies()
        assert {each["name"].rpartition("-")[2] for each in kept} == {"access", "refresh"}
        assert all(each["httpOnly"] and each["secure"] and each["sameSite"] == "Strict" for each in kept)
        assert await page.evaluate("document.cookie") == ""

        await page.reload()
        assert await _ask(page, origin, _WHO, _WITH_COOKIES) == _ADA
        assert await _ask(page, origin, _WHO) == {"data": {"viewer": None}}
        assert await page.evaluate(_ASK_OVER_SOCKET, [origin, _WHO]) == _ADA
        refresh = "mutation { refreshSession { user { username } errors { message } } }"
        answer = await _ask(page, origin, refresh, _WITH_COOKIES)
        assert answer == {"data": {"refreshSession": {"user": {"username": "ada"}, "errors": []}}}

        async def evil_page(route: Route) -> None:
            await route.fulfill(content_type="text/html", body=_FORM.format(origin=origin))

        other = await page.context.new_page()
        await other.route(f"{_EVIL}/**", evil_page)
        await other.goto(f"{_EVIL}/")
        for headers in (_WITH_COOKIES, {}):
            with pytest.raises(PlaywrightError, match="Failed to fetch"):
                await _ask(other, origin, _WHO, headers)
        with pytest.raises(PlaywrightError, match="closed with 1006"):
            await other.evaluate(_ASK_OVER_SOCKET, [origin, _WHO])
        async with other.expect_navigation() as navigation:
            await other.evaluate("document.forms[0].submit()")
        response = await navigation.value
        assert response is not None
        assert (response.url, response.status) == (f"{origin}/graphql", 415)
        assert await _ask(page, origin, _WHO, _WITH_COOKIES) == _ADA

        answer = await _ask(page, origin, "mutation { logout { errors { message } } }", _WITH_COOKIES)
        assert answer == {"data": {"logout": {"errors": []}}}
        assert await page.context.cookies() == []
