"""An answer from every provider: with whose key, how it is counted, and how it fails or is stopped."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from genai_prices import Usage as PricedUsage
from genai_prices import calc_price

from tests.api.assistant import (
    CANCEL,
    Outside,
    at_work,
    kinds_of,
    outside,
    over_sse,
    over_websocket,
    start,
    stored,
    text_of,
    until_text,
)
from tests.standins.scenario import (
    DEFAULT_ANSWER,
    DEFAULT_REASONING,
    DEFAULT_TEXT,
    Failure,
    Fault,
    Finish,
    Gate,
    Scenario,
    Usage,
)
from tests.standins.server import Standin

ADD_KEY = """
mutation Add($input: AddApiKeyInput!) {
  addApiKey(input: $input) { apiKey { id hint } errors { code message field } }
}
"""
REMOVE_KEY = """
mutation Remove($input: IdInput!) { removeApiKey(input: $input) { apiKeys { id } errors { code message field } } }
"""
SERVER_KEY = "sk-the-servers-own-0123456789"
OWN_KEY = "sk-the-persons-own-9876543210"
COUNTED = Usage(input_tokens=1_000, cached_tokens=200, output_tokens=700, reasoning_tokens=90)


def unfinished() -> Scenario:
    """An answer that does not go on after some pieces, though nothing is wrong with it."""
    return Scenario(gate=Gate(10))


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A provider, one of its models, and its stand-in."""

    provider: str
    model: str
    standin: Callable[[Outside], Standin]

    @property
    def server_key(self) -> dict[str, str]:
        """The setting that gives the server a key."""
        return {f"{self.provider}_api_key": SERVER_KEY}


CASES = [
    Case(provider="openai", model="gpt-6.1-sol", standin=lambda world: world.openai),
    Case(provider="anthropic", model="claude-haiku-5-5", standin=lambda world: world.anthropic),
    Case(provider="deepseek", model="deepseek-v4-pro", standin=lambda world: world.deepseek),
]


@pytest.fixture(params=CASES, ids=lambda case: case.provider)
def case(request: pytest.FixtureRequest) -> Case:
    """Each provider."""
    assert isinstance(request.param, Case)
    return request.param


def key_of(standin: Standin) -> str:
    """The key that the latest request for an answer came with."""
    asked = next(request for request in reversed(standin.requests) if request.method == "POST")
    return asked.headers.get("x-api-key") or asked.headers["authorization"].removeprefix("Bearer ")


async def test_a_whole_answer_with_the_servers_key(database_url: str, case: Case) -> None:
    async with outside() as world, at_work(database_url, world, case.server_key) as running:
        ada = await running.person()
        standin = case.standin(world)
        standin.enqueue(Scenario(usage=COUNTED, piece_delay_seconds=0.005))
        generation_id = await start(
            ada, "Hello.", provider=case.provider, model=case.model, parameters={"reasoningEffort": "HIGH"}
        )
        events = await over_websocket(ada, generation_id)

        assert kinds_of(events) == ["GenerationReasoning", "GenerationText", "GenerationFinished"]
        assert text_of(events, "GenerationReasoning") == "".join(DEFAULT_REASONING)
        assert text_of(events) == DEFAULT_ANSWER
        found = await stored(ada, generation_id)
        assert (found["status"], found["finishReason"], found["error"]) == ("SUCCEEDED", "stop", None)
        assert (found["content"], found["reasoning"]) == (DEFAULT_ANSWER, "".join(DEFAULT_REASONING))
        assert (found["provider"]["id"], found["model"]["id"]) == (case.provider, case.model)
        assert found["usage"] == {
            "inputTokens": 1_000,
            "cachedInputTokens": 200,
            "outputTokens": 700,
            "reasoningTokens": 90,
        }
        tokens = PricedUsage(input_tokens=1_000, cache_read_tokens=200, output_tokens=700)
        price = calc_price(tokens, model_ref=case.model, provider_id=case.provider).total_price
        assert price > 0
        assert found["cost"] == str(price)
        assert key_of(standin) == SERVER_KEY
        assert (standin.streams_opened, standin.streams_open) == (1, 0)


async def test_a_persons_own_key_wins(database_url: str, case: Case) -> None:
    async with outside() as world, at_work(database_url, world, case.server_key) as running:
        ada, bob = await running.person("ada"), await running.person("bob")
        standin = case.standin(world)
        added = await ada.do(ADD_KEY, input={"provider": case.provider, "key": OWN_KEY})
        assert added["apiKey"]["hint"] == "3210"
        for person, key in ((ada, OWN_KEY), (bob, SERVER_KEY)):
            generation_id = await start(person, provider=case.provider, wait=True)
            assert (await stored(person, generation_id))["status"] == "SUCCEEDED"
            assert key_of(standin) == key
        await ada.do(REMOVE_KEY, input={"id": added["apiKey"]["id"]})
        await start(ada, provider=case.provider, wait=True)
        assert key_of(standin) == SERVER_KEY


async def test_a_key_of_ones_own_is_enough(database_url: str, case: Case) -> None:
    async with outside() as world, at_work(database_url, world) as running:
        ada, bob = await running.person("ada"), await running.person("bob")
        await ada.do(ADD_KEY, input={"provider": case.provider, "key": OWN_KEY})
        hers = await stored(ada, await start(ada, wait=True))
        assert (hers["provider"]["id"], hers["content"]) == (case.provider, DEFAULT_ANSWER)
        assert key_of(case.standin(world)) == OWN_KEY
        his = await stored(bob, await start(bob, wait=True))
        assert his["provider"]["id"] == "demo"


@pytest.mark.parametrize(
    ("scenario", "reason", "finish"),
    [
        (Scenario(finish=Finish.LENGTH), None, "length"),
        (Scenario(failure=Failure.INVALID_KEY), "AUTHENTICATION", None),
        (Scenario(failure=Failure.RATE_LIMITED, retry_after="7"), "RATE_LIMITED", None),
        (Scenario(fault=Fault.TRUNCATE, fault_after=5), "TRUNCATED", None),
        (Scenario(fault=Fault.DISCONNECT, fault_after=5), "TRUNCATED", None),
        (Scenario(fault=Fault.ERROR_EVENT, failure=Failure.OVERLOADED, fault_after=5), "OVERLOADED", None),
        (Scenario(fault=Fault.BAD_JSON, fault_after=5), "MALFORMED", None),
    ],
    ids=lambda value: (value.fault or value.failure or value.finish).value if isinstance(value, Scenario) else None,
)
async def test_what_goes_wrong_is_told_and_what_was_written_is_kept(
    database_url: str, case: Case, scenario: Scenario, reason: str | None, finish: str | None
) -> None:
    async with outside() as world, at_work(database_url, world, {**case.server_key, "provider_retries": 0}) as running:
        ada = await running.person()
        case.standin(world).enqueue(scenario)
        generation_id = await start(ada, provider=case.provider)
        events = await over_sse(ada, generation_id)
        found = await stored(ada, generation_id)

        whole = scenario.fault is None and scenario.failure is None
        written = "".join(DEFAULT_TEXT[:5]) if scenario.fault is not None else DEFAULT_ANSWER if whole else ""
        assert found["content"] == text_of(events) == written
        assert events[-1]["generation"]["status"] == found["status"] == ("SUCCEEDED" if whole else "FAILED")
        assert found["finishReason"] == finish
        if whole:
            assert found["error"] is None
        else:
            assert (found["error"]["code"], found["error"]["reason"]) == ("PROVIDER_FAILED", reason)
            assert len(found["error"]["message"]) > 30, "a sentence that says what can be done"
            assert SERVER_KEY not in found["error"]["message"]
            assert found["error"]["retryAfterSeconds"] == (7 if reason == "RATE_LIMITED" else None)


async def test_a_provider_that_falls_silent_is_given_up(database_url: str, case: Case) -> None:
    settings = {**case.server_key, "idle_timeout_seconds": 2}
    async with outside() as world, at_work(database_url, world, settings) as running:
        ada = await running.person()
        standin = case.standin(world)
        standin.enqueue(Scenario(fault=Fault.STALL_ALIVE, fault_after=5))
        found = await stored(ada, await start(ada, provider=case.provider, wait=True))
        assert (found["status"], found["error"]["reason"]) == ("FAILED", "TIMEOUT")
        assert found["content"] == "".join(DEFAULT_TEXT[:5])
        await standin.wait_closed()
        assert standin.streams_abandoned == 1


async def test_cancelling_closes_the_providers_stream_and_keeps_the_text(database_url: str, case: Case) -> None:
    async with outside() as world, at_work(database_url, world, case.server_key) as running:
        ada = await running.person()
        standin = case.standin(world)
        standin.enqueue(unfinished())
        generation_id = await start(ada, provider=case.provider)
        await until_text(ada, generation_id)
        # Who stops watching stops nothing.
        assert (standin.streams_open, standin.streams_abandoned) == (1, 0)
        await ada.do(CANCEL, input={"id": generation_id})
        await standin.wait_closed()
        assert standin.streams_abandoned == 1

        events = await over_websocket(ada, generation_id)
        found = await stored(ada, generation_id)
        assert events[-1]["generation"]["status"] == found["status"] == "CANCELLED"
        assert found["content"] == text_of(events)
        assert 0 < len(found["content"]) < len(DEFAULT_ANSWER)
        assert DEFAULT_ANSWER.startswith(found["content"])
        assert found["error"] is None
