"""A PostgreSQL that crashes, or is away for long, costs no answer and nobody has to do anything about it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from domain.generation import GenerationStatus
from tests.faults.checks import check_generations, check_pages
from tests.faults.conftest import Say, Size
from tests.faults.database import RigPostgres, rig_postgres
from tests.faults.load import Habits, Load
from tests.faults.outside import outside
from tests.faults.people import Asked, Tab, people
from tests.faults.rig import Cluster, cluster
from tests.faults.writer import Order
from tests.waiting import until

pytestmark = [pytest.mark.faults, pytest.mark.asyncio(loop_scope="module")]

# As it is on a machine that does nothing else; elsewhere it is enough that it gets well by itself.
_HEALTHY_SECONDS = 5.0
_LEASE_SECONDS = 3
_SETTLE_SECONDS = 600


@pytest.fixture(scope="module")
def postgres() -> Iterator[RigPostgres]:
    """A PostgreSQL that nobody else needs."""
    with rig_postgres() as postgres:
        yield postgres


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(postgres: RigPostgres) -> AsyncIterator[Cluster]:
    """Two instances on it."""
    with outside(("left", "right")) as world:
        world.notion.add_page("Place")
        # Crashes are what this is about, not Notion's own pace.
        settings = {"lease_seconds": _LEASE_SECONDS, "notion_requests_per_minute": 6000}
        async with cluster(await postgres.new_database(), world, **settings) as running:
            yield running


async def test_crashes_of_the_database_under_load(
    postgres: RigPostgres, running: Cluster, size: Size, rng: random.Random, say: Say
) -> None:
    crashes = size.pick(quick=2, full=20)
    notion = running.outside.notion
    # After a crash a page waits for the end of its lease, which is too long for a small run.
    parents = [notion.add_page("Place")] if size.is_full else []
    crew = await people(running, 2, rng)
    for person in crew:
        await person.connect_notion(notion.memory.workspaces[0].token)
    load, stop = Load(crew, rng, parents=parents, habits=Habits(cancels=0)), asyncio.Event()
    async with asyncio.timeout(_SETTLE_SECONDS), asyncio.TaskGroup() as group:
        group.create_task(load.run(stop))
        took = [await _crash(postgres, running, rng) for _ in range(crashes)]
        assert not size.is_full or max(took) < _HEALTHY_SECONDS
        stop.set()
    # A question of the machine too: only the large run, which has it to itself, may ask it.
    assert max(took) < _HEALTHY_SECONDS or not size.is_full
    ended = await check_generations(running.database_url, load.asked, allowed={GenerationStatus.SUCCEEDED})
    pages = await check_pages(running.database_url, notion, parents, load.asked)
    running.check_logs()
    say(
        f"{crashes} crashes, healthy again after at most {max(took):.1f} s, {len(load.asked)} generations "
        f"{dict(ended)}, {pages} pages, {sum(tab.connections for tab in load.tabs)} connections"
    )


async def _crash(postgres: RigPostgres, running: Cluster, rng: random.Random) -> float:
    """Crashes and starts it under everybody's feet; how long the last instance then took to be well."""
    await asyncio.sleep(rng.uniform(0.5, 2))
    await postgres.crash_and_start()
    took = await asyncio.gather(*(running.wait_ready(each) for each in running.instances))
    return max(took)


async def test_a_database_that_is_away_for_longer_than_a_lease(
    postgres: RigPostgres, running: Cluster, size: Size, rng: random.Random, say: Say
) -> None:
    (person,) = await people(running, 1, rng)
    # Some end while the database is away, some after it has come back.
    orders = [
        Order(key=f"g{number}", paragraphs=60, piece_delay_ms=rng.randint(5, 120))
        for number in range(size.pick(quick=8, full=40))
    ]
    tabs = [Tab(asked=Asked(person=person, order=order)) for order in orders]
    async with asyncio.timeout(_SETTLE_SECONDS), asyncio.TaskGroup() as group:
        for tab in tabs:
            await tab.asked.start()
            group.create_task(tab.follow())
        await until(lambda: all(tab.text for tab in tabs))
        await asyncio.to_thread(postgres.crash)
        await asyncio.sleep(_LEASE_SECONDS + 1)
        await asyncio.to_thread(postgres.start)
    await check_generations(running.database_url, [tab.asked for tab in tabs], allowed={GenerationStatus.SUCCEEDED})
    running.check_logs()
    say(f"{len(tabs)} generations outlived {_LEASE_SECONDS + 1} s without a database, and their leases")
