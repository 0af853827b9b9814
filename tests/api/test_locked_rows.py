"""Whoever holds a row of the database for long, as an instance that stands still may, keeps up that one run alone."""

from datetime import datetime

import asyncpg

from tests.api.assistant import at_work, outside, start, stored, until_text
from tests.api.product import Person
from tests.standins.scenario import DEFAULT_ANSWER, Gate, Scenario
from tests.waiting import until

SETTINGS = {"openai_api_key": "sk-server-0123456789", "lease_seconds": 2}
# What cancelGeneration leaves that does not come to its commit.
HELD_UP = "UPDATE content_history SET cancel_requested_at = now() WHERE prompt = 'held up'"
LEASE = "SELECT lease_until FROM content_history WHERE prompt = 'free'"


async def content_of(person: Person, generation_id: str) -> str:
    """What is stored of an answer."""
    return str((await stored(person, generation_id))["content"])


async def has_succeeded(person: Person, generation_id: str) -> bool:
    """Whether an answer is whole; no other end is right."""
    status = (await stored(person, generation_id))["status"]
    assert status in ("RUNNING", "SUCCEEDED")
    return bool(status == "SUCCEEDED")


async def test_a_locked_run_costs_no_other_its_lease_or_its_text(database_url: str) -> None:
    gates = {"held up": Gate(3), "free": Gate(3)}
    ids = {}
    async with outside() as world, at_work(database_url, world, SETTINGS) as running:
        ada = await running.person()
        for prompt, gate in gates.items():
            world.openai.enqueue(Scenario(gate=gate))
            ids[prompt] = await start(ada, prompt)
            await until_text(ada, ids[prompt])
        connection = await asyncpg.connect(database_url.replace("postgresql+asyncpg", "postgresql"))
        held = connection.transaction()
        await held.start()
        await connection.execute(HELD_UP)

        lease: datetime = await connection.fetchval(LEASE)

        async def is_renewed() -> bool:
            return bool(await connection.fetchval(LEASE) > lease)

        async def is_longer() -> bool:
            return len(await content_of(ada, ids["free"])) > len(before)

        await until(is_renewed)
        before = await content_of(ada, ids["free"])
        for gate in gates.values():
            gate.open(3)
        await until(is_longer)
        gates["free"].open()
        await until(lambda: has_succeeded(ada, ids["free"]))

        await held.rollback()
        await connection.close()
        gates["held up"].open()
        await until(lambda: has_succeeded(ada, ids["held up"]))
        assert [await content_of(ada, each) for each in ids.values()] == [DEFAULT_ANSWER] * 2


async def test_a_flush_that_hangs_costs_no_run_its_lease(database_url: str) -> None:
    async with outside() as world, at_work(database_url, world, SETTINGS) as running:
        ada = await running.person()
        gate = Gate(3)
        world.openai.enqueue(Scenario(gate=gate))
        generation_id = await start(ada, "free")
        await until_text(ada, generation_id)
        connection = await asyncpg.connect(database_url.replace("postgresql+asyncpg", "postgresql"))

        # As one does whose connection has died without a word.
        async with running.assistant.generator._storing:
            lease: datetime = await connection.fetchval(LEASE)

            async def is_renewed() -> bool:
                return bool(await connection.fetchval(LEASE) > lease)

            await until(is_renewed)

        await connection.close()
        gate.open()
        await until(lambda: has_succeeded(ada, generation_id))
