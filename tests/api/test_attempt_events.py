"""Who watches is told when a call fails and another follows: at once, by every instance, and of none twice."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from ops.encryption_key import EncryptionKey
from tests.api.assistant import CANCEL, Event, at_work, outside, start, text_of
from tests.api.product import Person
from tests.api.test_attempts import KEYS
from tests.standins.scenario import DEFAULT_ANSWER, Failure, Fault, Scenario
from tests.waiting import PATIENCE_SECONDS

WATCH = """
subscription Watch($id: ID!, $after: String) {
  generationEvents(id: $id, after: $after) {
    __typename
    ... on Positioned { cursor }
    ... on GenerationAttemptFailed {
      attempt { provider { id name } model { id } status retryAt cost error { code reason message } }
    }
    ... on GenerationText { text }
    ... on GenerationFinished { generation { id status attempts { status } } }
  }
}
"""
FAILED = "GenerationAttemptFailed"
SUN = {"provider": "openai", "model": "gpt-6.1-sol"}
HAIKU = {"provider": "anthropic", "model": "claude-haiku-5-5"}
FLASH = {"provider": "deepseek", "model": "deepseek-flash"}
OVERLOADED = Scenario(failure=Failure.OVERLOADED)
# Longer than the test takes to look at it.
LATER = Scenario(failure=Failure.RATE_LIMITED, retry_after="25")


async def watch(person: Person, id_: str, after: str | None = None, *, until: str | None = None) -> list[Event]:
    """The events over a WebSocket from the cursor to the end, or to the first of a kind."""
    events: list[Event] = []
    async with asyncio.timeout(60), person.socket() as ws:
        await ws.subscribe("1", WATCH, variables={"id": id_, "after": after})
        while (message := await ws.receive())["type"] == "next":
            assert "errors" not in message["payload"], message
            events.append(message["payload"]["data"]["generationEvents"])
            if events[-1]["__typename"] == until:
                break
    return events


def failures(events: Sequence[Event]) -> list[tuple[str, str, str, bool]]:
    """Who has failed, how and why, and whether the same model is asked again."""
    attempts: list[dict[str, Any]] = [each["attempt"] for each in events if each["__typename"] == FAILED]
    return [
        (each["provider"]["id"], each["status"], each["error"]["reason"], each["retryAt"] is not None)
        for each in attempts
    ]


async def test_each_failure_is_told_once_whenever_somebody_connects_again(database_url: str) -> None:
    async with outside() as world, at_work(database_url, world, {**KEYS, "provider_retries": 1}) as running:
        ada = await running.person()
        world.openai.enqueue(OVERLOADED, Scenario(fault=Fault.TRUNCATE, reasoning=()))
        world.anthropic.enqueue(OVERLOADED, OVERLOADED)
        world.deepseek.enqueue(OVERLOADED, Scenario(piece_delay_seconds=0.005))
        id_ = await start(ada, **SUN, fallback=[HAIKU, FLASH])
        live = await watch(ada, id_)

        told = [
            ("openai", "FAILED", "OVERLOADED", True),
            ("openai", "FAILED", "TRUNCATED", False),
            ("anthropic", "FAILED", "OVERLOADED", True),
            ("anthropic", "FAILED", "OVERLOADED", False),
            ("deepseek", "FAILED", "OVERLOADED", True),
        ]
        assert failures(live) == told
        assert [each["__typename"] for each in live[:6]] == [FAILED] * 5 + [live[5]["__typename"]]
        assert text_of(live) == DEFAULT_ANSWER
        assert live[-1]["generation"]["status"] == "SUCCEEDED"
        assert all(each["attempt"]["cost"] is not None for each in live[:5])

        assert failures(await watch(ada, id_)) == told
        for place, event in enumerate(live[:8]):
            rest = await watch(ada, id_, event["cursor"])
            assert failures(rest) == told[place + 1 :], place
            assert text_of(rest) == text_of(live[place + 1 :]), place


async def test_the_failure_that_ends_it_is_told_by_its_end(database_url: str) -> None:
    async with outside() as world, at_work(database_url, world, {**KEYS, "provider_retries": 1}) as running:
        ada = await running.person()
        world.openai.enqueue(OVERLOADED, OVERLOADED)
        world.anthropic.enqueue(Scenario(failure=Failure.CONTEXT_TOO_LONG))
        id_ = await start(ada, **SUN, fallback=[HAIKU])
        live = await watch(ada, id_)
        assert failures(live) == [("openai", "FAILED", "OVERLOADED", True), ("openai", "FAILED", "OVERLOADED", False)]
        assert [each["__typename"] for each in live] == [FAILED, FAILED, "GenerationFinished"]
        assert [each["status"] for each in live[-1]["generation"]["attempts"]] == ["FAILED"] * 3
        assert failures(await watch(ada, id_)) == failures(live)


async def test_a_model_that_is_passed_over_is_told_too(database_url: str) -> None:
    settings = {**KEYS, "provider_retries": 0, "circuit_breaker_failures": 1}
    async with outside() as world, at_work(database_url, world, settings) as running:
        ada = await running.person()
        world.openai.enqueue(OVERLOADED)
        first = await watch(ada, await start(ada, **SUN, fallback=[FLASH]))
        assert failures(first) == [("openai", "FAILED", "OVERLOADED", False)]

        passed_over = await watch(ada, await start(ada, **SUN, fallback=[FLASH]))
        assert failures(passed_over) == [("openai", "SKIPPED", "CIRCUIT_OPEN", False)]
        assert text_of(passed_over) == DEFAULT_ANSWER

        # Another model of the same provider and key has done nothing.
        other = await watch(ada, await start(ada, provider="openai", model="gpt-5.5"))
        assert (failures(other), text_of(other)) == ([], DEFAULT_ANSWER)

        # Passed over with nobody behind it, it has ended with that.
        alone = await watch(ada, await start(ada, **SUN))
        assert [each["__typename"] for each in alone] == ["GenerationFinished"]
        assert alone[-1]["generation"]["attempts"] == [{"status": "SKIPPED"}]


async def test_who_has_watched_since_it_stood_in_line_is_told(database_url: str) -> None:
    settings = {**KEYS, "max_running_generations_per_user": 1}
    async with outside() as world, at_work(database_url, world, settings) as running:
        ada = await running.person()
        world.anthropic.enqueue(Scenario(fault=Fault.STALL_ALIVE))
        before = await start(ada, **HAIKU)
        await world.anthropic.wait_requests(1)
        world.openai.enqueue(OVERLOADED)
        id_ = await start(ada, **SUN)
        watching = asyncio.create_task(watch(ada, id_))
        # It is listened to, and still in line.
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not running.assistant.feed._watches:  # noqa: ASYNC110  (polled)
                await asyncio.sleep(0.01)
        await ada.do(CANCEL, input={"id": before})
        events = await watching
        assert failures(events[:1]) == failures(events) == [("openai", "FAILED", "OVERLOADED", True)]
        assert text_of(events) == DEFAULT_ANSWER


async def test_another_instance_tells_it_while_the_next_call_waits(database_url: str) -> None:
    keys = [EncryptionKey.generate()]
    async with (
        outside() as world,
        at_work(database_url, world, KEYS, keys=keys) as first,
        at_work(database_url, world, KEYS, keys=keys) as second,
    ):
        await second.assistant.generator.drain(timeout_seconds=0)
        ada = await first.person()
        elsewhere = await second.visitor()
        elsewhere.sign_in(ada.credentials)
        world.openai.enqueue(LATER)
        id_ = await start(ada, **SUN)
        seen = [await watch(person, id_, until=FAILED) for person in (ada, elsewhere)]
        assert [failures(events) for events in seen] == [[("openai", "FAILED", "RATE_LIMITED", True)]] * 2
        # Each cursor is good at the other instance too.
        watching = asyncio.create_task(watch(elsewhere, id_, seen[0][-1]["cursor"]))
        await ada.do(CANCEL, input={"id": id_})
        (end,) = await watching
        assert (end["__typename"], end["generation"]["status"]) == ("GenerationFinished", "CANCELLED")


async def test_a_run_that_is_taken_over_tells_no_earlier_failure_again(database_url: str) -> None:
    keys = [EncryptionKey.generate()]
    async with outside() as world:
        async with at_work(database_url, world, KEYS, keys=keys) as running:
            ada = await running.person()
            world.openai.enqueue(LATER)
            id_ = await start(ada, **SUN)
            first = await watch(ada, id_, until=FAILED)
        world.openai.enqueue(OVERLOADED, Scenario())
        async with at_work(database_url, world, KEYS, keys=keys) as running:
            again = await running.visitor()
            again.sign_in(ada.credentials)
            rest = await watch(again, id_, first[-1]["cursor"])
            assert failures(rest) == [("openai", "FAILED", "OVERLOADED", True)]
            assert text_of(rest) == DEFAULT_ANSWER
            assert failures(await watch(again, id_)) == [
                ("openai", "FAILED", "RATE_LIMITED", True),
                ("openai", "FAILED", "OVERLOADED", True),
            ]
