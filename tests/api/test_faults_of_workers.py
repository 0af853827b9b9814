"""A fault of one run, or of one round of a worker, is that one's alone: the server goes on with everything else."""

from typing import Any

import pytest

from persistence.faults import DatabaseFault
from persistence.generation import PostgresGenerations
from persistence.publication import PostgresPublications
from persistence.tracked_page import PostgresTrackedPages
from tests.api.assistant import at_work, outside, start, stored
from tests.standins.scenario import DEFAULT_ANSWER, Gate, Scenario, Usage
from tests.waiting import until

SETTINGS = {"openai_api_key": "sk-server-0123456789", "lease_seconds": 1}


async def test_an_end_that_cannot_be_stored_is_a_failure_that_keeps_its_text(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whatever a provider may tell that we have not thought of.
    monkeypatch.setattr("integrations.provider_stream.MAX_TOKENS", 2**70)
    async with outside() as world, at_work(database_url, world, SETTINGS) as running:
        ada = await running.person()
        world.openai.enqueue(Scenario(usage=Usage(input_tokens=2**63)), Scenario())

        refused = await stored(ada, await start(ada, wait=True))
        other = await stored(ada, await start(ada, wait=True))

    assert (refused["status"], refused["error"]["code"], refused["content"]) == ("FAILED", "INTERNAL", DEFAULT_ANSWER)
    assert 0 < refused["usage"]["inputTokens"] < 100
    assert refused["usage"]["outputTokens"] > 0
    assert other["status"] == "SUCCEEDED"


async def test_a_run_whose_end_cannot_be_stored_at_all_is_left_to_the_recovery(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: Any, **__: Any) -> bool:  # Any: whatever it is asked
        raise DatabaseFault

    gate = Gate(3)
    async with outside() as world, at_work(database_url, world, SETTINGS) as running:
        ada = await running.person()
        world.openai.enqueue(Scenario(gate=gate), Scenario())
        generation_id = await start(ada)

        async def is_stored() -> bool:
            return bool((await stored(ada, generation_id))["content"])

        await until(is_stored)
        with monkeypatch.context() as patch:
            patch.setattr(PostgresGenerations, "finish", refuse)
            gate.open()
            await until(lambda: running.assistant.generator.running_count == 0)
        other = await stored(ada, await start(ada, wait=True))

        async def is_recovered() -> bool:
            return bool((await stored(ada, generation_id))["status"] == "INTERRUPTED")

        await until(is_recovered)
        assert (await stored(ada, generation_id))["content"]
    assert other["status"] == "SUCCEEDED"


async def test_a_worker_that_cannot_take_work_tries_again(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: set[type] = set()
    monkeypatch.setattr("domain.page_watcher.CHECK_SECONDS", 0.01)
    repositories = (PostgresGenerations, PostgresPublications, PostgresTrackedPages)
    with monkeypatch.context() as patch:

        async def refuse(self: object, **_: Any) -> None:  # Any: whatever it is asked
            tried.add(type(self))
            raise DatabaseFault

        for repository in repositories:
            patch.setattr(repository, "claim", refuse)
        async with at_work(database_url) as running:
            ada = await running.person()
            generation_id = await start(ada)
            await until(lambda: tried == set(repositories))
            patch.undo()

            async def is_run() -> bool:
                return bool((await stored(ada, generation_id))["status"] == "SUCCEEDED")

            await until(is_run)
