"""A person with few wishes does not wait for those of a person with many, and no bound is overstepped."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest

from domain.generation import GenerationStatus
from tests.faults.checks import check_generations
from tests.faults.conftest import Say, Size
from tests.faults.database import RigPostgres, rows
from tests.faults.outside import outside
from tests.faults.people import Asked, Person, Tab, people
from tests.faults.rig import cluster
from tests.faults.writer import Order

pytestmark = pytest.mark.faults

_PER_INSTANCE = 4
_PER_USER = 3
_INSTANCES = ("left", "right")
_CROWD = 4
_RUNNING = "SELECT user_id, count(*) AS size FROM content_history WHERE status = 'RUNNING' GROUP BY user_id"
_QUEUED = "SELECT id FROM content_history WHERE status = 'QUEUED'"
# How many generations of others were started while somebody's own, already asked for, was waiting.
_OVERTAKEN = """
SELECT mine.id, count(other.id) AS others
FROM content_history mine
JOIN users u ON u.id = mine.user_id
LEFT JOIN content_history other ON other.user_id <> mine.user_id
    AND other.started_at > mine.created_at AND other.started_at < mine.started_at
WHERE u.username = $1
GROUP BY mine.id
"""
_SETTLE_SECONDS = 300


async def test_fairness(rig_server: RigPostgres, size: Size, rng: random.Random, say: Say) -> None:
    per_person, wishes = size.pick(quick=20, full=200), size.pick(quick=3, full=20)
    with outside(_INSTANCES) as world:
        bounds = {"max_running_generations": _PER_INSTANCE, "max_running_generations_per_user": _PER_USER}
        async with cluster(await rig_server.new_database(), world, **bounds) as running:
            *crowd, modest = await people(running, _CROWD + 1, rng)
            flood = [_asked(person, f"{person.name}x{number}") for person in crowd for number in range(per_person)]
            # The crowd stands still whenever somebody else comes, so that they do not find it gone.
            of_the_crowd = tuple(f"{person.name}x" for person in crowd)
            async with asyncio.timeout(_SETTLE_SECONDS), asyncio.TaskGroup() as group:
                watching = group.create_task(_watch_bounds(running.database_url))
                world.writer.held = of_the_crowd
                async with asyncio.TaskGroup() as asking:
                    for person in crowd:
                        asking.create_task(_ask_all([each for each in flood if each.person is person]))
                few = [_asked(modest, f"{modest.name}x{number}") for number in range(wishes)]
                for each in few:
                    await each.start()
                    world.writer.held = ()
                    await Tab(asked=each).follow()
                    world.writer.held = of_the_crowd
                waiting = len(await rows(running.database_url, _QUEUED))
                world.writer.held = ()
                for each in flood:
                    await Tab(asked=each).follow()
                watching.cancel()
            await check_generations(running.database_url, [*flood, *few], allowed={GenerationStatus.SUCCEEDED})
            overtaken = [row["others"] for row in await rows(running.database_url, _OVERTAKEN, modest.name)]
            running.check_logs()
            said = f"{len(flood)} in the crowd, {waiting} of them still waiting in the end"
            say(f"{said}; {len(few)} beside it, overtaken by at most {max(overtaken)}")
            assert waiting > 0, "there was no crowd"
            # What was taken at the same moment, and one more round of it.
            assert max(overtaken) <= 2 * _PER_INSTANCE * len(_INSTANCES)


def _asked(person: Person, key: str) -> Asked:
    return Asked(person=person, order=Order(key=key, paragraphs=4, piece_delay_ms=20))


async def _ask_all(flood: list[Asked]) -> None:
    for each in flood:
        await each.start()


async def _watch_bounds(database_url: str) -> None:
    """At no moment run more than may, of one person or of all."""
    while True:
        running = Counter({row["user_id"]: row["size"] for row in await rows(database_url, _RUNNING)})
        assert running.total() <= _PER_INSTANCE * len(_INSTANCES)
        assert all(each <= _PER_USER for each in running.values())
        await asyncio.sleep(0.05)
