"""The first walk through the product, in a browser: sign in, generate, watch, find again, publish."""

import pytest

from tests.api.assistant import at_work, outside
from tests.api.playground import TABS, playground
from tests.api.product import PASSWORD
from tests.standins.scenario import DEFAULT_ANSWER, Failure, Gate, Scenario, cut

pytestmark = pytest.mark.browser

SETTINGS = {"openai_api_key": "sk-server-0123456789"}


async def test_the_walk_through_the_tabs(database_url: str, chromium_path: str) -> None:
    async with (
        outside() as world,
        at_work(database_url, world, SETTINGS) as running,
        playground(chromium_path, running.address) as tab,
    ):
        page = tab.page
        shown = [await page.locator(f"#graphiql-session-tab-{place}").inner_text() for place in range(len(TABS))]
        assert [name.strip() for name in shown] == list(TABS)
        assert await page.get_by_test_id("session").inner_text() == "Not signed in"
        await tab.register("ada", PASSWORD)
        assert "Signed in as ada" in await page.get_by_test_id("session").inner_text()

        gate = Gate(12)
        world.openai.enqueue(Scenario(text=cut(DEFAULT_ANSWER, 5), gate=gate))
        await tab.choose_tab("Generate")
        await tab.set_variables(prompt="Write something.")
        await tab.run()
        assert '"errors": []' in await tab.answer('"status"')

        await tab.choose_tab("Watch")
        await tab.run()
        await page.wait_for_selector("[data-testid=live][data-phase=streaming]")
        first = await tab.live_text(longer_than=20)
        gate.open(12)
        assert len(await tab.live_text(longer_than=len(first))) < len(DEFAULT_ANSWER), "it grows under our eyes"
        assert DEFAULT_ANSWER.startswith(first)
        gate.open()
        await page.wait_for_selector("[data-testid=live][data-phase=finished]")
        assert await tab.live_text() == DEFAULT_ANSWER
        assert (await page.get_by_test_id("live-outcome").inner_text()).startswith("SUCCEEDED")

        await tab.choose_tab("History")
        await tab.run()
        history = await tab.answer('"totalCount"')
        assert '"prompt": "Write something."' in history
        assert '"totalCount": 1' in history

        token = world.notion.add_workspace("Acme").token
        inbox = world.notion.add_page("Inbox")
        await tab.choose_tab("Connect")
        await tab.set_variables(
            generationId="latest", parent=world.notion.address(inbox), title="From a tab", token=token
        )
        await tab.run("Connect")
        assert '"workspaceName": "Acme"' in await tab.answer('"workspaceName"')
        await tab.run("Publish")
        await tab.answer("PENDING")
        await tab.choose_tab("Watch")
        await tab.run()
        await page.wait_for_selector("[data-testid=live-page][href]")
        (made,) = world.notion.pages_under(inbox)
        assert await page.get_by_test_id("live-page").get_attribute("href") == world.notion.address(made)
        assert made.words == "From a tab"

        assert await tab.violations() == []
        assert tab.complaints == []
        assert await tab.foreign_requests() == []
        assert len(tab.sockets) == 2
        assert len(tab.requests) > 5


async def test_why_an_answer_has_to_wait_is_told(database_url: str, chromium_path: str) -> None:
    async with (
        outside() as world,
        at_work(database_url, world, SETTINGS) as running,
        playground(chromium_path, running.address) as tab,
    ):
        await tab.register("ada", PASSWORD)
        gate = Gate()
        world.openai.enqueue(Scenario(failure=Failure.RATE_LIMITED, retry_after="1"), Scenario(reasoning=(), gate=gate))
        await tab.choose_tab("Generate")
        await tab.set_variables(prompt="Write something.")
        await tab.run()
        await tab.answer('"status"')
        await tab.choose_tab("Watch")
        await tab.run()
        outcome = tab.page.get_by_test_id("live-outcome")
        await outcome.filter(has_text="asking it again").wait_for()
        assert "OpenAI" in await outcome.inner_text()
        gate.open()
        await outcome.filter(has_text="SUCCEEDED").wait_for()


async def test_every_example_is_understood_by_the_editor(database_url: str, chromium_path: str) -> None:
    async with at_work(database_url) as running, playground(chromium_path, running.address) as tab:
        await tab.register("ada", PASSWORD)
        for name in TABS:
            await tab.choose_tab(name)
            # The editor has read the schema from the server by now, and would underline what does not fit it.
            assert await tab.page.locator(".squiggly-error").count() == 0, name
        await tab.choose_tab("Settings")
        for operation, wanted in (("Providers", '"Demo (offline, no AI)"'), ("Settings", '"username": "ada"')):
            await tab.run(operation)
            await tab.answer(wanted)
        assert tab.complaints == []


async def test_a_reload_keeps_the_session_and_signing_out_ends_it(database_url: str, chromium_path: str) -> None:
    async with at_work(database_url) as running, playground(chromium_path, running.address) as tab:
        page = tab.page
        await tab.register("ada", PASSWORD)
        await page.reload()
        await page.wait_for_selector("[data-testid=session][data-state=signed-in]")
        assert "Signed in as ada" in await page.get_by_test_id("session").inner_text()
        await page.get_by_test_id("sign-out").click()
        await page.wait_for_selector("[data-testid=session][data-state=signed-out]")
        await page.wait_for_selector(".graphiql-query-editor .view-line")
        await tab.choose_tab("History")
        await tab.run()
        assert '"viewer": null' in await tab.answer('"viewer"')
        assert tab.complaints == []
