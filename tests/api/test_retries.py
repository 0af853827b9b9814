"""A provider that fails is asked again, and others in its place; never silently, and only before the first word."""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest

from domain.retry_policy import RetryPolicy
from ops.encryption_key import EncryptionKey
from tests.api.assistant import CANCEL, GENERATE, at_work, outside, over_websocket, start, stored
from tests.api.product import Person
from tests.api.test_attempts import KEYS, generation
from tests.api.test_journey_providers import ADD_KEY
from tests.standins.scenario import DEFAULT_ANSWER, DEFAULT_TEXT, Failure, Fault, Scenario
from tests.waiting import PATIENCE_SECONDS

OVERLOADED = Scenario(failure=Failure.OVERLOADED)
TOLD = """
query Told($id: ID!) {
  generation(id: $id) {
    status content provider { id } model { id } fallback { provider { id } model { id } }
    error { code reason retryAfterSeconds }
    attempts { provider { id } model { id } status startedAt finishedAt retryAt error { reason retryAfterSeconds } }
  }
}
"""
SETTINGS = """
mutation Settings($input: UpdateSettingsInput!) {
  updateSettings(input: $input) { settings { fallback { provider model } } errors { code message field } }
}
"""
HAIKU = {"provider": "anthropic", "model": "claude-haiku-5-5"}
FLASH = {"provider": "deepseek", "model": "deepseek-flash"}


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """How long they are is shown elsewhere."""
    monkeypatch.setattr("composition.RetryPolicy", partial(RetryPolicy, base_seconds=0.01))


async def told(person: Person, generation_id: str) -> dict[str, Any]:
    """It and the calls for it."""
    return dict((await person.ask(TOLD, id=generation_id))["generation"])


def calls(found: dict[str, Any]) -> list[tuple[str, str, str | None]]:
    """Whom, how it ended, and why."""
    attempts = found["attempts"]
    return [(each["provider"]["id"], each["status"], each["error"] and each["error"]["reason"]) for each in attempts]


async def until_retry(person: Person, generation_id: str) -> dict[str, Any]:
    """It while it waits for the next call."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            found = await told(person, generation_id)
            if any(each["retryAt"] for each in found["attempts"]):
                return found


@pytest.mark.parametrize("provider", ["openai", "anthropic", "deepseek"])
async def test_passing_failures_are_tried_again_until_it_works(database_url: str, provider: str) -> None:
    async with outside() as world, at_work(database_url, world, KEYS) as running:
        ada = await running.person()
        standin = getattr(world, provider)
        standin.enqueue(OVERLOADED, Scenario(fault=Fault.TRUNCATE))
        found = await told(ada, await start(ada, wait=True, provider=provider, parameters={"reasoningEffort": "NONE"}))

        assert (found["status"], found["content"], found["error"]) == ("SUCCEEDED", DEFAULT_ANSWER, None)
        assert calls(found) == [
            (provider, "FAILED", "OVERLOADED"),
            (provider, "FAILED", "TRUNCATED"),
            (provider, "SUCCEEDED", None),
        ]
        first, second, third = found["attempts"]
        assert first["finishedAt"] <= first["retryAt"] <= second["startedAt"]
        assert second["retryAt"] <= third["startedAt"]
        assert third["retryAt"] is None


async def test_the_last_failure_is_told_when_none_works(database_url: str) -> None:
    async with outside() as world, at_work(database_url, world, {**KEYS, "provider_retries": 1}) as running:
        ada = await running.person()
        world.openai.enqueue(OVERLOADED, Scenario(failure=Failure.RATE_LIMITED, retry_after="7"))
        found = await told(ada, await start(ada, wait=True, provider="openai"))

        assert found["status"] == "FAILED"
        assert found["error"] == {"code": "PROVIDER_FAILED", "reason": "RATE_LIMITED", "retryAfterSeconds": 7}
        assert calls(found) == [("openai", "FAILED", "OVERLOADED"), ("openai", "FAILED", "RATE_LIMITED")]


@pytest.mark.parametrize(
    "scenario",
    [
        Scenario(failure=Failure.OUT_OF_CREDIT),
        Scenario(failure=Failure.RATE_LIMITED, retry_after="3600"),
        Scenario(fault=Fault.DISCONNECT, fault_after=3),
        Scenario(reasoning=("Hm.",), fault=Fault.ERROR_EVENT, fault_after=0),
    ],
    ids=["no passing failure", "too long to wait", "text was shown", "reasoning was shown"],
)
async def test_what_cannot_be_made_good_is_not_tried_again(database_url: str, scenario: Scenario) -> None:
    async with outside() as world, at_work(database_url, world, KEYS) as running:
        ada = await running.person()
        world.anthropic.enqueue(scenario)
        found = await told(ada, await start(ada, wait=True, **HAIKU))

        assert found["status"] == "FAILED"
        assert [status for _, status, _ in calls(found)] == ["FAILED"]
        assert len([request for request in world.anthropic.requests if request.method == "POST"]) == 1


async def test_retry_after_is_obeyed_and_the_wait_can_be_seen_and_cut_short(database_url: str) -> None:
    async with outside() as world, at_work(database_url, world, KEYS) as running:
        ada = await running.person()
        world.openai.enqueue(Scenario(failure=Failure.RATE_LIMITED, retry_after="25"))
        id_ = await start(ada, provider="openai")
        waiting = await until_retry(ada, id_)

        assert waiting["status"] == "RUNNING"
        assert calls(waiting) == [("openai", "FAILED", "RATE_LIMITED")]
        assert waiting["attempts"][0]["retryAt"][:16] >= waiting["attempts"][0]["finishedAt"][:16]
        await ada.do(CANCEL, input={"id": id_})
        await over_websocket(ada, id_)
        found = await told(ada, id_)
        assert (found["status"], found["error"], calls(found)) == ("CANCELLED", None, calls(waiting))


async def test_a_process_that_stops_gives_a_waiting_run_back_at_once(database_url: str) -> None:
    key = EncryptionKey.generate()
    async with outside() as world:
        settings = {**KEYS, "drain_timeout_seconds": 60}
        async with at_work(database_url, world, settings, keys=[key]) as running:
            ada = await running.person()
            world.openai.enqueue(Scenario(failure=Failure.RATE_LIMITED, retry_after="30"))
            id_ = await start(ada, provider="openai")
            await until_retry(ada, id_)
            async with asyncio.timeout(25):
                await running.assistant.generator.drain(timeout_seconds=50)
            assert (await told(ada, id_))["status"] == "QUEUED"
        async with at_work(database_url, world, KEYS, keys=[key]) as running:
            again = await running.visitor()
            again.sign_in(ada.credentials)
            await over_websocket(again, id_)
            found = await told(again, id_)
    assert calls(found) == [("openai", "FAILED", "RATE_LIMITED"), ("openai", "SUCCEEDED", None)]


async def test_all_calls_together_have_one_deadline(database_url: str) -> None:
    settings = {**KEYS, "first_token_timeout_seconds": 1, "generation_timeout_seconds": 2, "provider_retries": 10}
    async with outside() as world, at_work(database_url, world, settings) as running:
        ada = await running.person()
        world.openai.enqueue(*[Scenario(fault=Fault.STALL_ALIVE, reasoning=())] * 11)
        found = await told(ada, await start(ada, wait=True, provider="openai"))

        assert (found["status"], found["error"]["reason"]) == ("FAILED", "TIMEOUT")
        assert 1 <= len(found["attempts"]) <= 3
        assert {status for _, status, _ in calls(found)} == {"FAILED"}
        await world.openai.wait_closed()


@pytest.mark.parametrize(
    ("scenario", "reason"),
    [
        (OVERLOADED, "OVERLOADED"),
        (Scenario(failure=Failure.RATE_LIMITED, retry_after="3600"), "RATE_LIMITED"),
        (Scenario(fault=Fault.HANG), "TIMEOUT"),
    ],
)
async def test_another_model_is_asked_in_its_place(database_url: str, scenario: Scenario, reason: str) -> None:
    settings: dict[str, object] = {**KEYS, "provider_retries": 0}
    if reason == "TIMEOUT":
        # Those that answer have to begin within it, too.
        settings["first_token_timeout_seconds"] = 3
    async with outside() as world, at_work(database_url, world, settings) as running:
        ada = await running.person()
        world.openai.enqueue(scenario)
        world.anthropic.enqueue(OVERLOADED)
        fallback = [HAIKU, {"provider": "deepseek"}]
        id_ = await start(ada, wait=True, provider="openai", model="gpt-6.1-sol", fallback=fallback)
        found = await told(ada, id_)

        assert (found["status"], found["content"]) == ("SUCCEEDED", DEFAULT_ANSWER)
        assert calls(found) == [
            ("openai", "FAILED", reason),
            ("anthropic", "FAILED", "OVERLOADED"),
            ("deepseek", "SUCCEEDED", None),
        ]
        assert (found["provider"]["id"], found["model"]["id"]) == ("openai", "gpt-6.1-sol"), "as asked for"
        assert [each["provider"]["id"] for each in found["fallback"]] == ["anthropic", "deepseek"]
        assert all(each["retryAt"] is None for each in found["attempts"])
        bill = await generation(ada, id_)
        assert bill["attempts"][2]["cost"] is not None
        assert bill["usage"]["outputTokens"] == bill["attempts"][2]["usage"]["outputTokens"]


async def test_nobody_else_is_asked_once_a_word_was_shown_or_for_a_refusal(database_url: str) -> None:
    async with outside() as world, at_work(database_url, world, {**KEYS, "provider_retries": 0}) as running:
        ada = await running.person()
        for scenario in (Scenario(fault=Fault.DISCONNECT, fault_after=3), Scenario(failure=Failure.CONTEXT_TOO_LONG)):
            world.openai.enqueue(scenario)
            found = await told(ada, await start(ada, wait=True, provider="openai", fallback=[HAIKU]))
            assert found["status"] == "FAILED"
            assert [provider for provider, _, _ in calls(found)] == ["openai"]
        assert "".join(DEFAULT_TEXT[:3])


async def test_the_settings_fall_back_for_requests_that_say_nothing(database_url: str) -> None:
    async with outside() as world, at_work(database_url, world, {**KEYS, "provider_retries": 0}) as running:
        ada = await running.person()
        payload = await ada.do(SETTINGS, input={"fallback": [HAIKU, {"provider": "openai"}]})
        assert payload["settings"]["fallback"] == [HAIKU, {"provider": "openai", "model": None}]

        world.openai.enqueue(OVERLOADED, OVERLOADED)
        found = await told(ada, await start(ada, wait=True, provider="openai"))
        assert calls(found) == [("openai", "FAILED", "OVERLOADED"), ("anthropic", "SUCCEEDED", None)]
        none = await told(ada, await start(ada, wait=True, provider="openai", fallback=[]))
        assert (none["status"], none["fallback"]) == ("FAILED", [])
        # OpenAI's models take no stop sequences: then they are passed over.
        stopped = await told(ada, await start(ada, wait=True, provider="deepseek", parameters={"stopSequences": ["#"]}))
        assert [each["provider"]["id"] for each in stopped["fallback"]] == ["anthropic"]

        assert (await ada.do(SETTINGS, input={"fallback": None}))["settings"]["fallback"] == []


async def test_wrong_fallbacks_are_told_by_their_place(database_url: str) -> None:
    async with outside() as world, at_work(database_url, world, {"openai_api_key": "sk-the-servers-own"}) as running:
        ada = await running.person()
        bad: list[tuple[Sequence[dict[str, str]], list[str]]] = [
            ([{"provider": "openai", "model": "gpt-6.1-sol"}, {"provider": "nobody"}], ["fallback", "1", "provider"]),
            ([HAIKU], ["fallback", "0", "provider"]),
            ([{"provider": "openai", "model": "gpt-unheard-of"}], ["fallback", "0", "model"]),
            ([{"provider": "openai", "model": ""}], ["fallback", "0", "model"]),
            ([{"provider": "openai", "model": "gpt-6.2-sol"}], ["fallback", "0"]),
            ([{"provider": "openai"}] * 5, ["fallback"]),
        ]
        for fallback, field in bad:
            input_ = {"prompt": "?", "provider": "openai", "model": "gpt-6.2-sol", "fallback": fallback}
            assert await ada.fail(GENERATE, input=input_) == ("INVALID_INPUT", ["input", *field]), fallback
        for fallback, field in bad[:1] + bad[2:4] + bad[5:]:
            assert await ada.fail(SETTINGS, input={"fallback": fallback}) == ("INVALID_INPUT", ["input", *field])


async def test_an_idempotency_key_belongs_to_one_fallback(database_url: str) -> None:
    async with outside() as world, at_work(database_url, world, KEYS) as running:
        ada = await running.person()
        input_ = {"prompt": "?", "provider": "openai", "idempotencyKey": "k", "fallback": [HAIKU]}
        first = await ada.do(GENERATE, input=input_)
        assert (await ada.do(GENERATE, input=input_))["generation"]["id"] == first["generation"]["id"]
        assert await ada.fail(GENERATE, input={**input_, "fallback": [FLASH]}) == (
            "CONFLICT",
            ["input", "idempotencyKey"],
        )


async def test_a_dead_provider_is_left_alone_and_skipped_but_not_for_another_key(database_url: str) -> None:
    async with outside() as world, at_work(database_url, world, {**KEYS, "provider_retries": 4}) as running:
        ada, bob = await running.person("ada"), await running.person("bob")
        await bob.do(ADD_KEY, input={"provider": "openai", "key": "sk-of-bob-alone-123456"})
        world.openai.default = OVERLOADED

        dead = await told(ada, await start(ada, wait=True, provider="openai", fallback=[FLASH]))
        assert calls(dead) == [("openai", "FAILED", "OVERLOADED")] * 5 + [("deepseek", "SUCCEEDED", None)]
        asked = len(world.openai.requests)
        skipped = await told(ada, await start(ada, wait=True, provider="openai", fallback=[FLASH]))
        assert calls(skipped) == [("openai", "SKIPPED", "CIRCUIT_OPEN"), ("deepseek", "SUCCEEDED", None)]
        refused = await told(ada, await start(ada, wait=True, provider="openai"))
        assert (refused["status"], refused["error"]["reason"]) == ("FAILED", "CIRCUIT_OPEN")
        assert refused["error"]["retryAfterSeconds"] > 0
        assert len(world.openai.requests) == asked

        world.openai.default = Scenario()
        found = await stored(bob, await start(bob, wait=True, provider="openai"))
        assert found["status"] == "SUCCEEDED"


async def test_a_fallback_whose_key_is_gone_is_skipped(database_url: str) -> None:
    async with outside() as world:
        settings = {"openai_api_key": KEYS["openai_api_key"], "provider_retries": 0}
        key = EncryptionKey.generate()
        async with at_work(database_url, world, {**settings, "anthropic_api_key": "sk-ant-1234567"}, keys=[key]) as one:
            ada = await one.person()
            world.openai.enqueue(Scenario(fault=Fault.HANG))
            id_ = await start(ada, provider="openai", fallback=[HAIKU])
            await world.openai.wait_requests(1)
        async with at_work(database_url, world, settings, keys=[key]) as two:
            again = await two.visitor()
            again.sign_in(ada.credentials)
            world.openai.enqueue(OVERLOADED)
            await over_websocket(again, id_)
            found = await told(again, id_)
    assert calls(found) == [
        ("openai", "INTERRUPTED", None),
        ("openai", "FAILED", "OVERLOADED"),
        ("anthropic", "SKIPPED", "AUTHENTICATION"),
    ]
    assert found["status"] == "FAILED"
