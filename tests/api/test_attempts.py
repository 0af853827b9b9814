"""Every call to a provider is told, however it ends."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from domain import provider_caller
from domain.errors import Unavailable
from ops.encryption_key import EncryptionKey
from persistence.store import PostgresStore, PostgresTransaction
from tests.api.assistant import CANCEL, at_work, outside, over_websocket, start, until_text
from tests.api.product import Person
from tests.standins.scenario import Failure, Fault, Scenario, Usage

ATTEMPTS = """
query Attempts($id: ID!) {
  generation(id: $id) {
    status cost usage { inputTokens outputTokens }
    attempts {
      provider { id } model { id } status parameters startedAt finishedAt durationMs firstTokenMs
      usage { inputTokens cachedInputTokens outputTokens reasoningTokens } cost priceVersion
      error { code reason message retryAfterSeconds }
    }
  }
}
"""
KEYS = {
    "openai_api_key": "sk-the-servers-own-0123456789",
    "anthropic_api_key": "sk-ant-the-servers-own-0123456789",
    "deepseek_api_key": "sk-the-servers-own-0123456789",
}


async def generation(person: Person, generation_id: str) -> dict[str, Any]:
    """It and the calls for it."""
    return dict((await person.ask(ATTEMPTS, id=generation_id))["generation"])


async def test_a_call_that_succeeds(database_url: str) -> None:
    async with outside() as world, at_work(database_url, world, KEYS) as running:
        ada = await running.person()
        world.anthropic.enqueue(Scenario(usage=Usage(input_tokens=100, cached_tokens=60, output_tokens=50)))
        id_ = await start(
            ada, wait=True, provider="anthropic", model="claude-haiku-5-5", parameters={"maxOutputTokens": 900}
        )
        found = await generation(ada, id_)

        (attempt,) = found["attempts"]
        assert (attempt["provider"]["id"], attempt["model"]["id"]) == ("anthropic", "claude-haiku-5-5")
        assert (attempt["status"], attempt["error"]) == ("SUCCEEDED", None)
        assert attempt["parameters"] == {
            "max_tokens": 900,
            "thinking": {"type": "adaptive", "display": "summarized"},
        }
        assert attempt["usage"] == {
            "inputTokens": 100,
            "cachedInputTokens": 60,
            "outputTokens": 50,
            "reasoningTokens": attempt["usage"]["reasoningTokens"],
        }
        assert attempt["cost"] is not None
        assert attempt["cost"] == found["cost"]
        assert attempt["priceVersion"].startswith("genai-prices")
        assert 0 <= attempt["firstTokenMs"] <= attempt["durationMs"]
        assert attempt["startedAt"] <= attempt["finishedAt"]


async def test_a_database_that_is_away_at_every_step_is_waited_for(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provider_caller, "STORE_PAUSE_SECONDS", 0.01)
    async with outside() as world, at_work(database_url, world, KEYS) as running:
        assistant, begin = running.assistant, PostgresStore.begin
        asked = 0

        @asynccontextmanager
        async def every_second_time(store: PostgresStore) -> AsyncIterator[PostgresTransaction]:
            nonlocal asked
            if asyncio.current_task() in {run.task for run in assistant.generator._runs.values()}:
                asked += 1
                if asked % 2:
                    raise Unavailable("away")
            async with begin(store) as tx:
                yield tx

        ada = await running.person()
        monkeypatch.setattr(PostgresStore, "begin", every_second_time)
        world.openai.enqueue(Scenario(failure=Failure.SERVER_ERROR))
        id_ = await start(ada, wait=True, provider="openai")
        found = await generation(ada, id_)

        assert found["status"] == "SUCCEEDED"
        assert [attempt["status"] for attempt in found["attempts"]] == ["FAILED", "SUCCEEDED"]
        # What was asked, the provider, its key, the first call's beginning and end, the second one's beginning.
        assert asked == 2 * 6


async def test_a_call_that_fails(database_url: str) -> None:
    async with outside() as world, at_work(database_url, world, KEYS) as running:
        ada = await running.person()
        world.deepseek.enqueue(Scenario(failure=Failure.OUT_OF_CREDIT))
        id_ = await start(ada, wait=True, provider="deepseek", parameters={"reasoningEffort": "NONE"})
        found = await generation(ada, id_)

        (attempt,) = found["attempts"]
        assert found["status"] == attempt["status"] == "FAILED"
        assert attempt["error"]["reason"] == "NO_BALANCE"
        assert attempt["parameters"] == {"thinking": {"type": "disabled"}}
        assert attempt["firstTokenMs"] is None
        assert (attempt["usage"]["inputTokens"], attempt["cost"]) == (0, "0"), "nobody bills a refusal"


async def test_a_call_in_the_middle_and_one_that_is_stopped(database_url: str) -> None:
    async with outside() as world, at_work(database_url, world, KEYS) as running:
        ada = await running.person()
        world.anthropic.enqueue(Scenario(fault=Fault.STALL_ALIVE, fault_after=5))
        id_ = await start(ada, provider="anthropic")
        await until_text(ada, id_)
        (attempt,) = (await generation(ada, id_))["attempts"]
        assert (attempt["status"], attempt["finishedAt"], attempt["durationMs"]) == ("RUNNING", None, None)

        await ada.do(CANCEL, input={"id": id_})
        await world.anthropic.wait_closed()
        await over_websocket(ada, id_)
        found = await generation(ada, id_)
        (attempt,) = found["attempts"]
        assert found["status"] == attempt["status"] == "CANCELLED"
        assert attempt["error"] is None
        assert attempt["firstTokenMs"] is not None
        assert attempt["usage"]["inputTokens"] > 0, "what Anthropic has told before"
        assert attempt["cost"] is not None
        assert attempt["cost"] == found["cost"]


async def test_a_run_that_is_interrupted_before_it_shows_anything_starts_again(database_url: str) -> None:
    key = EncryptionKey.generate()
    async with outside() as world:
        async with at_work(database_url, world, KEYS, keys=[key]) as running:
            ada = await running.person()
            world.openai.enqueue(Scenario(fault=Fault.HANG))
            id_ = await start(ada, provider="openai")
            await world.openai.wait_requests(1)
        async with at_work(database_url, world, KEYS, keys=[key]) as running:
            again = await running.visitor()
            again.sign_in(ada.credentials)
            await over_websocket(again, id_)
            found = await generation(again, id_)

    assert found["status"] == "SUCCEEDED"
    assert [each["status"] for each in found["attempts"]] == ["INTERRUPTED", "SUCCEEDED"]
