"""Images of an answer: shown on its page if the operator allows their host, else links."""

import pytest

from tests.api.assistant import at_work, outside
from tests.api.test_page_sync import GENERATE, PAGE, SYNC, VERSIONS
from tests.api.test_publishing import connected
from tests.standins.scenario import Scenario


@pytest.mark.parametrize("is_allowed", [True, False])
async def test_an_image_of_an_allowed_host_is_shown_and_in_sync(database_url: str, is_allowed: bool) -> None:
    hosts = ("*.images.example",) if is_allowed else ()
    settings = {"openai_api_key": "sk-house", "notion_image_hosts": hosts}
    async with outside() as around, at_work(database_url, around, settings) as running:
        around.notion.add_workspace("Acme")
        parent = around.notion.add_page("Notes", workspace=around.notion.memory.workspaces[0])
        ada = await connected(running, around.notion)
        around.openai.enqueue(Scenario(text=("A bee:\n\n![A bee]", "(https://a.images.example/bee.png)\n")))
        wanted = {
            "prompt": "Bees",
            "provider": "openai",
            "publish": {"parent": around.notion.address(parent), "title": "Bees"},
            "wait": True,
        }
        publication = (await ada.do(GENERATE + PAGE, input=wanted))["generation"]["publication"]
        assert publication["status"] == "PUBLISHED"
        (node,) = around.notion.pages_under(parent)
        assert ("image" in {child.type for child in node.live_children}) is is_allowed
        page = (await ada.do(SYNC + PAGE, input={"id": publication["page"]["id"]}))["page"]
        assert page["state"] == "IN_SYNC"
        # It reads as expected, so that nothing had to be kept of it.
        versions = (await ada.ask(VERSIONS, id=page["id"], first=100))["node"]["versions"]["nodes"]
        assert [version["number"] for version in versions] == [1]
