"""The playground in headless Chromium, used as a person uses it, and everything that it does seen."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from playwright.async_api import Page, async_playwright

# By their first operation, as GraphiQL names them.
TABS = ("SignIn", "Generate", "Watch", "History", "Settings", "Connect")
# Chromium's own errands are nothing that a page does.
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_RECORD_VIOLATIONS = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) =>
  window.violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`));
"""
_SET_VARIABLES = """(text) => {
  const isVariables = (model) => model.uri.path.endsWith("variables.json");
  window.__MONACO.editor.getModels().find(isVariables).setValue(text);
}"""
_TEXT_OF = """(name) => {
  const isWanted = (model) => model.uri.path.endsWith(name);
  return window.__MONACO.editor.getModels().find(isWanted)?.getValue() ?? "";
}"""
# The whole text: the editor itself holds only the lines that are in view.
_RESPONSE = """() => {
  const isResponse = (model) => model.uri.path.endsWith("response.json");
  return window.__MONACO.editor.getModels().find(isResponse)?.getValue() ?? "";
}"""
# GraphiQL fills its editors a moment after it has shown a tab, and shows nothing by which that could be seen.
_SETTLING_MS = 500
_TIMEOUT_MS = 90_000
_POLL_MS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Playground:
    """The open page, and what it has said and asked for."""

    page: Page
    origin: str
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    sockets: list[str] = field(default_factory=list)
    chosen: list[str] = field(default_factory=lambda: [TABS[0]])

    async def choose_tab(self, name: str) -> None:
        """Goes to a tab of examples."""
        before = await self._text_of("operation.graphql")
        await self.page.locator(f"#graphiql-session-tab-{TABS.index(name)}").click()
        async with asyncio.timeout(_TIMEOUT_MS / 1000):
            # No two of the examples are alike.
            while name != self.chosen[-1] and await self._text_of("operation.graphql") in (before, ""):
                await self.page.wait_for_timeout(_POLL_MS)
        self.chosen.append(name)
        await self.page.wait_for_timeout(_SETTLING_MS)

    async def set_variables(self, **variables: object) -> None:
        """Writes the variables of this tab; again, if GraphiQL fills its editor only then."""
        text = json.dumps(variables, indent=2)
        while await self._text_of("variables.json") != text:
            await self.page.evaluate(_SET_VARIABLES, text)
            await self.page.wait_for_timeout(_SETTLING_MS)

    async def _text_of(self, name: str) -> str:
        """What an editor holds."""
        return str(await self.page.evaluate(_TEXT_OF, name))

    async def run(self, operation: str | None = None) -> None:
        """Presses ▶, and chooses the operation where the tab has several."""
        await self.page.locator(".graphiql-execute-button").click()
        if operation is not None:
            await self.page.get_by_role("menuitem", name=operation, exact=True).click()

    async def register(self, username: str, password: str) -> None:
        """Makes an account in the first tab; the page stays signed in."""
        await self.set_variables(username=username, password=password, email=f"{username}@example.org")
        await self.run("Register")
        await self.page.wait_for_selector("[data-testid=session][data-state=signed-in]")

    async def answer(self, containing: str) -> str:
        """The response, once it contains this text."""
        async with asyncio.timeout(_TIMEOUT_MS / 1000):
            # Asked again and again from here: a function that waits in the page would be made by eval(), which the
            # page's policy forbids.
            while containing not in (response := str(await self.page.evaluate(_RESPONSE))):
                await self.page.wait_for_timeout(_POLL_MS)
        return response

    async def live_text(self, *, longer_than: int = 0) -> str:
        """What is shown of the watched answer, once it is longer than that."""
        shown = self.page.get_by_test_id("live-text")
        async with asyncio.timeout(_TIMEOUT_MS / 1000):
            while len(text := await shown.text_content() or "") <= longer_than:
                await self.page.wait_for_timeout(_POLL_MS)
        return text

    async def foreign_requests(self) -> list[str]:
        """What has left the origin."""
        own = (self.origin, self.origin.replace("http", "ws", 1), "data:", f"blob:{self.origin}")
        return [url for url in [*self.requests, *self.sockets] if not url.startswith(own)]

    async def violations(self) -> list[str]:
        """What the content security policy has blocked."""
        return list(await self.page.evaluate("window.violations"))


@asynccontextmanager
async def playground(chromium_path: str, address: str) -> AsyncIterator[Playground]:
    """Opens it, and waits for its editor."""
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=chromium_path, args=list(_FLAGS))
        context = await browser.new_context(viewport={"width": 1280, "height": 800})
        context.set_default_timeout(_TIMEOUT_MS)
        page = await context.new_page()
        opened = Playground(page=page, origin=f"http://{address}")
        page.on("console", lambda message: opened.complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: opened.complaints.append(f"uncaught: {error}"))
        context.on("request", lambda request: opened.requests.append(request.url))
        page.on("websocket", lambda socket: opened.sockets.append(socket.url))
        await page.add_init_script(_RECORD_VIOLATIONS)
        try:
            await page.goto(opened.origin)
            await page.wait_for_selector(".graphiql-query-editor .view-line")
            await page.wait_for_timeout(_SETTLING_MS)
            yield opened
        finally:
            await browser.close()
