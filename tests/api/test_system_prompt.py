"""The instructions before a prompt: of the request, else of the user's settings, else of the server; stored as sent."""

import pytest

from tests.api.assistant import at_work, outside, start
from tests.api.test_attempts import KEYS

SET = """
mutation Set($input: UpdateSettingsInput!) { updateSettings(input: $input) { errors { code message field } } }
"""
STORED = "query Stored($id: ID!) { generation(id: $id) { systemPrompt } }"


@pytest.mark.parametrize("provider", ["openai", "anthropic", "deepseek"])
async def test_the_nearest_one_is_sent_and_stored(database_url: str, provider: str) -> None:
    settings = {**KEYS, "system_prompt": "The server's."}
    async with outside() as world, at_work(database_url, world, settings) as running:
        ada = await running.person()
        standin = getattr(world, provider)

        async def sent(**input_: str) -> str:
            id_ = await start(ada, wait=True, provider=provider, **input_)
            stored = (await ada.ask(STORED, id=id_))["generation"]["systemPrompt"]
            body = standin.requests[-1].body
            said = body.get("instructions") or body.get("system") or body["messages"][0]["content"]
            assert said == stored
            return str(said)

        assert await sent() == "The server's."
        await ada.do(SET, input={"systemPrompt": "Ada's own."})
        assert await sent() == "Ada's own."
        assert await sent(systemPrompt="The request's.") == "The request's."
        await ada.do(SET, input={"systemPrompt": None})
        assert await sent() == "The server's."
