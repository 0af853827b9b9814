"""What the stand-in AI providers refuse, and in which shape."""

import re
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import openai
import pytest
from anthropic.types.message_create_params import MessageCreateParamsBase
from openai.types.chat.completion_create_params import CompletionCreateParamsBase
from openai.types.responses.response_create_params import ResponseCreateParamsBase

from tests.standins import anthropic_rules, openai_rules
from tests.standins.anthropic import AnthropicStandin
from tests.standins.deepseek import DeepSeekStandin
from tests.standins.openai import OpenAIStandin
from tests.standins.scenario import Failure, Scenario
from tests.standins.sdks import PROTOCOLS, STATUS_ERRORS, Conversation, conversation, make_client
from tests.standins.server import running

TEXT = ("Hel", "lo, ", "naïve ", "wörld ", "👩‍🚀", "!")
BROKEN_AFTER = 3


@pytest.fixture
async def talk(request: pytest.FixtureRequest) -> AsyncIterator[Conversation]:
    async with conversation(request.param) as talk:
        yield talk


everywhere = pytest.mark.parametrize("talk", PROTOCOLS, indirect=True)


STATUSES = {
    Failure.BAD_REQUEST: (400, 400, 400),
    Failure.CONTEXT_TOO_LONG: (400, 400, 400),
    Failure.INVALID_KEY: (401, 401, 401),
    Failure.OUT_OF_CREDIT: (429, 402, 402),
    Failure.FORBIDDEN: (403, 403, 403),
    Failure.UNKNOWN_MODEL: (404, 400, 404),
    Failure.RATE_LIMITED: (429, 429, 429),
    Failure.SERVER_ERROR: (500, 500, 500),
    Failure.UNAVAILABLE: (503, 503, 503),
    Failure.OVERLOADED: (503, 503, 529),
    Failure.BAD_GATEWAY: (502, 502, 502),
}


@everywhere
async def test_failures_have_the_status_of_the_provider(talk: Conversation) -> None:
    column = [OpenAIStandin, DeepSeekStandin, AnthropicStandin].index(type(talk.standin))
    for failure, statuses in STATUSES.items():
        talk.standin.enqueue(Scenario(failure=failure))
        with pytest.raises(STATUS_ERRORS) as caught:
            await talk.ask()
        assert caught.value.status_code == statuses[column], failure
        assert caught.value.response.headers.get("retry-after") is None
    assert set(STATUSES) == set(Failure)
    assert talk.standin.streams_opened == 0


@everywhere
async def test_retry_after(talk: Conversation) -> None:
    talk.standin.enqueue(Scenario(failure=Failure.RATE_LIMITED, retry_after="7"))
    with pytest.raises(STATUS_ERRORS) as caught:
        await talk.ask()
    assert caught.value.response.headers["retry-after"] == "7"


REFUSED: list[tuple[str, dict[str, Any], int, str]] = [
    ("responses", {"extra_body": {"colour": "red"}}, 400, "Unknown parameter: 'colour'."),
    ("responses", {"extra_body": {"reasoning": {"max_tokens": 5}}}, 400, "Unknown parameter: 'reasoning.max_tokens'."),
    ("responses", {"temperature": 0.2}, 400, "Unsupported parameter: 'temperature' is not supported with this model."),
    ("responses", {"model": "gpt-4.1", "temperature": 3}, 400, "decimal above maximum value"),
    ("responses", {"model": "gpt-4.1", "reasoning": {"effort": "low"}}, 400, "'reasoning.effort' is not supported"),
    ("responses", {"model": "gpt-0"}, 404, "The model `gpt-0` does not exist"),
    ("responses", {"max_output_tokens": 5}, 400, "Expected a value >= 16, but got 5"),
    ("responses", {"reasoning": {"effort": "huge"}}, 400, "Invalid value: 'huge'. Supported values are: 'none',"),
    ("responses", {"input": [{"role": "user", "content": [{"type": "text"}]}]}, 400, "Invalid value: 'text'."),
    ("chat", {"extra_body": {"reasoning": {}}}, 400, "Unknown parameter: 'reasoning'."),
    ("chat", {"max_tokens": 50}, 400, "Use 'max_completion_tokens' instead."),
    ("chat", {"temperature": 0.2}, 400, "Unsupported value: 'temperature' does not support 0.2 with this model."),
    ("chat", {"messages": []}, 400, "Invalid 'messages': empty array."),
    ("deepseek", {"max_completion_tokens": 50}, 422, "unknown field `max_completion_tokens`"),
    ("deepseek", {"model": "deepseek-chat"}, 400, "Model Not Exist"),
    ("deepseek", {"max_tokens": 999_999}, 400, "Invalid max_tokens value"),
    ("messages", {"extra_body": {"temperature": 0.2}}, 400, "temperature: Extra inputs are not permitted"),
    ("messages", {"extra_body": {"thinking": {"type": "disabled"}}}, 400, '"thinking.type.disabled" is not supported'),
    ("messages", {"max_tokens": 200_000}, 400, "max_tokens: 200000 > 128000"),
    ("messages", {"model": "claude-0"}, 404, "model: claude-0"),
    ("messages", {"messages": [{"role": "assistant", "content": "Hi"}]}, 400, "does not support assistant message"),
    ("messages", {"messages": [{"role": "user", "content": ""}]}, 400, "must have non-empty content"),
    ("messages", {"system": [{"type": "text", "text": ""}]}, 400, "system: text content blocks must be non-empty"),
]


@pytest.mark.parametrize(("talk", "arguments", "status", "message"), REFUSED, indirect=["talk"])
async def test_bad_requests_are_refused_and_take_no_scenario(
    talk: Conversation, arguments: dict[str, Any], status: int, message: str
) -> None:
    talk.standin.enqueue(Scenario(text=("kept",)))
    with pytest.raises(STATUS_ERRORS, match=re.escape(message)) as caught:
        await talk.ask(**arguments)
    assert caught.value.status_code == status
    assert talk.text(await talk.ask()) == "kept"


@pytest.mark.parametrize("talk", ["responses"], indirect=True)
async def test_openai_names_the_parameter_it_refuses(talk: Conversation) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await talk.ask(temperature=0.2)
    error = caught.value
    assert (error.type, error.param, error.code) == ("invalid_request_error", "temperature", "unsupported_parameter")


def test_known_parameters_are_those_of_the_installed_sdks() -> None:
    assert ResponseCreateParamsBase.__annotations__.keys() | {"stream"} == openai_rules.RESPONSE_PARAMETERS
    assert CompletionCreateParamsBase.__annotations__.keys() | {"stream"} == openai_rules.CHAT_PARAMETERS
    # The workspace goes in a header.
    expected = MessageCreateParamsBase.__annotations__.keys() - {"workspace_id"} | {"stream"}
    assert expected == anthropic_rules.PARAMETERS


@pytest.mark.parametrize("standin_type", [OpenAIStandin, DeepSeekStandin, AnthropicStandin])
async def test_keys_are_checked(standin_type: type[OpenAIStandin | DeepSeekStandin | AnthropicStandin]) -> None:
    standin = standin_type(api_key="sk-right")
    async with running(standin) as base_url:
        async with make_client(standin, base_url, api_key="sk-right") as client:
            assert [model.id async for model in client.models.list()]
        async with make_client(standin, base_url, api_key="sk-wrong-4242") as client:
            with pytest.raises(STATUS_ERRORS) as caught:
                await client.models.list()
        async with httpx2.AsyncClient() as http:
            headers = {"anthropic-version": "2026-10-21"}
            path = "/v1/models" if standin_type is AnthropicStandin else "/models"
            assert (await http.get(base_url + path, headers=headers)).status_code == 401
            # The older way to send the key, which wins over the newer one.
            if standin_type is AnthropicStandin:
                headers |= {"x-api-key": "sk-right", "authorization": "Bearer sk-wrong"}
                assert (await http.get(base_url + path, headers=headers)).status_code == 200
    assert caught.value.status_code == 401


async def test_anthropic_wants_its_version_and_shapes_its_errors() -> None:
    standin = AnthropicStandin()
    async with running(standin) as base_url, httpx2.AsyncClient(headers={"x-api-key": "k"}) as http:
        missing = await http.get(f"{base_url}/v1/models")
        nowhere = await http.get(f"{base_url}/v2/none")
    assert missing.status_code == 400
    assert missing.json() == {
        "type": "error",
        "error": {
            "type": "invalid_request_error",
            "message": "anthropic-version: header is required",
            "details": None,
        },
        "request_id": missing.headers["request-id"],
    }
    assert nowhere.json()["error"]["type"] == "not_found_error"
