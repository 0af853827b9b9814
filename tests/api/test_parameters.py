"""A parameter is sent only to a model that takes it, also to one that nobody has described."""

from tests.api.assistant import GENERATE, at_work, outside, start
from tests.api.test_attempts import KEYS, generation


async def test_a_family_tells_of_a_model_that_nobody_has_described(database_url: str) -> None:
    async with outside() as world, at_work(database_url, world, KEYS) as running:
        ada = await running.person()
        asked = {"prompt": "?", "provider": "openai"}
        for model, parameters, refused in (
            ("gpt-5.5", {"temperature": 0.5}, "temperature"),
            ("gpt-5-mini", {"stopSequences": ["#"]}, "stopSequences"),
            ("gpt-4.1", {"reasoningEffort": "LOW"}, "reasoningEffort"),
        ):
            assert await ada.fail(GENERATE, input={**asked, "model": model, "parameters": parameters}) == (
                "INVALID_INPUT",
                ["input", "parameters", refused],
            )
        assert not [request for request in world.openai.requests if request.method == "POST"]

        warm = await start(ada, wait=True, provider="openai", model="gpt-4.1", parameters={"temperature": 0.5})
        found = await generation(ada, warm)
        assert found["status"] == "SUCCEEDED"
        assert found["attempts"][0]["parameters"] == {"temperature": 0.5, "store": False}
