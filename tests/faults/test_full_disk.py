"""A database whose disk is full refuses in words, loses nothing it has taken, and goes on when there is room again."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress

import asyncpg
import httpx
import pytest

from domain.generation import GenerationStatus
from tests.faults.checks import check_generations
from tests.faults.conftest import Say, Size
from tests.faults.database import RigPostgres, execute, rig_postgres
from tests.faults.outside import outside
from tests.faults.people import Asked, Person, Refused, Tab, people
from tests.faults.rig import cluster
from tests.faults.small_disk import REASON, SmallDisk, small_disk
from tests.faults.writer import Order
from tests.waiting import until

pytestmark = pytest.mark.faults

_SETTLE_SECONDS = 240
# Random letters, for PostgreSQL compresses what it can.
_PADDING_BYTES = 60_000
_MAX_TRIES = 2_000


async def test_a_full_disk(size: Size, rng: random.Random, say: Say) -> None:
    rounds = size.pick(quick=1, full=5)
    with small_disk() as disk, outside(("only",)) as world:
        if disk is None:
            pytest.skip(REASON)
        with rig_postgres(disk.folder) as postgres:
            # No room for a template.
            database_url = postgres.server.url
            async with cluster(database_url, world) as running:
                (person,) = await people(running, 1, rng)
                everything: list[Asked] = []
                refusals = 0
                async with asyncio.timeout(_SETTLE_SECONDS * rounds):
                    for number in range(rounds):
                        taken, refused = await _fill_up(person, postgres, disk, number, rng)
                        everything += taken
                        refusals += refused
                        await running.wait_ready(running.instances[0])
                await check_generations(database_url, everything, allowed={GenerationStatus.SUCCEEDED})
                running.check_logs()
                say(f"{rounds} times full, {refusals} refusals, {len(everything)} generations taken and kept")


async def _fill_up(
    person: Person, postgres: RigPostgres, disk: SmallDisk, number: int, rng: random.Random
) -> tuple[list[Asked], int]:
    """Fills the disk under running answers and frees it again; what was taken, and how often it was refused."""
    orders = [Order(key=f"early{number}x{each}", paragraphs=80, piece_delay_ms=60) for each in range(5)]
    tabs = [Tab(asked=Asked(person=person, order=order)) for order in orders]
    async with asyncio.TaskGroup() as group:
        for tab in tabs:
            await tab.asked.start()
            group.create_task(tab.follow())
        await until(lambda: all(tab.text for tab in tabs))
        disk.fill()
        late, refused = await _until_refused(person, number, rng)
        if number % 2:
            await _ask_for_more_log(postgres)
        # Until the answers that were being written have come to their end, and it cannot be stored.
        await asyncio.sleep(2)
        disk.free()
        if not postgres.server.is_running:
            await asyncio.to_thread(postgres.server.stop)
            await asyncio.to_thread(postgres.server.start)
        for asked in late:
            group.create_task(Tab(asked=asked).follow())
    after = Asked(person=person, order=Order(key=f"after{number}", paragraphs=2))
    await after.start()
    await Tab(asked=after).follow()
    return [*(tab.asked for tab in tabs), *late, after], refused


async def _ask_for_more_log(postgres: RigPostgres) -> None:
    """Without room for its log PostgreSQL gives up altogether, and starts again in vain until there is some."""
    with suppress(asyncpg.PostgresError, OSError):
        for _ in range(3):
            await execute(postgres.server.url, "SELECT pg_switch_wal()")
            await execute(postgres.server.url, "SELECT pg_logical_emit_message(true, 'rig', repeat('x', 100000))")


async def _until_refused(person: Person, number: int, rng: random.Random) -> tuple[list[Asked], int]:
    """Asks for more and more until there is no room; what was taken before. It must be told as what it is."""
    taken: list[Asked] = []
    refused = 0
    for attempt in range(_MAX_TRIES):
        padding = rng.randbytes(_PADDING_BYTES // 2).hex()
        asked = Asked(person=person, order=Order(key=f"late{number}x{attempt}", paragraphs=1), padding=padding)
        try:
            await asked.start(at=person.cluster.instances[0])
        except Refused as refusal:
            if refusal.code != "UNAVAILABLE":
                raise
            refused += 1
            if refused == 5:
                return taken, refused
        except httpx.HTTPError as error:
            raise AssertionError("no answer at all") from error
        else:
            taken.append(asked)
    raise AssertionError("the disk does not get full")
