"""Instances that are told to stop finish what they are at, and a rolling restart loses no token of any stream."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from domain.generation import GenerationStatus
from tests.faults.checks import check_generations
from tests.faults.conftest import Say, Size
from tests.faults.database import RigPostgres
from tests.faults.load import Habits, Load, start_on_the_first
from tests.faults.outside import outside
from tests.faults.people import Asked, Tab, people
from tests.faults.rig import Cluster, Instance, cluster
from tests.faults.writer import Order
from tests.waiting import until

pytestmark = [pytest.mark.faults, pytest.mark.asyncio(loop_scope="module")]

_SETTLE_SECONDS = 240


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(rig_server: RigPostgres) -> AsyncIterator[Cluster]:
    """Two instances with time enough to finish what they are at. Each test leaves both serving."""
    with outside(("left", "right")) as world:
        async with cluster(await rig_server.new_database(), world, drain_timeout_seconds=60) as running:
            yield running


async def test_a_rolling_restart(running: Cluster, size: Size, rng: random.Random, say: Say) -> None:
    rounds = size.pick(quick=1, full=6)
    crew = await people(running, 3, rng)
    paragraphs = (20, 40, 60) if size.is_full else (10, 20, 30)
    habits = Habits(
        open_at_a_time=size.pick(quick=6, full=40), paragraphs=paragraphs, piece_delays_ms=(20, 80), cancels=0
    )
    load, stop = Load(crew, rng, habits=habits), asyncio.Event()
    async with asyncio.timeout(_SETTLE_SECONDS * rounds), asyncio.TaskGroup() as group:
        group.create_task(load.run(stop))
        for _ in range(rounds):
            for instance in running.instances:
                await asyncio.sleep(rng.uniform(1, 2))
                instance.terminate()
                assert await instance.wait_ended() == 0
                await instance.start()
        stop.set()
    ended = await check_generations(running.database_url, load.asked, allowed={GenerationStatus.SUCCEEDED})
    codes = Counter(code for tab in load.tabs for code in tab.close_codes)
    assert not codes[1006], "a connection was cut without a goodbye"
    assert not sum(tab.restarts for tab in load.tabs)
    running.check_logs()
    say(f"{rounds} rolling restarts, {dict(ended)}, closes by code {dict(codes)}")


async def test_sigterm_with_running_streams(running: Cluster, size: Size, rng: random.Random, say: Say) -> None:
    streams = size.pick(quick=10, full=50)
    crew = await people(running, 5, rng)
    left, _ = running.instances
    orders = [
        Order(key=f"g{number}", paragraphs=rng.randint(40, 60), piece_delay_ms=rng.randint(80, 120))
        for number in range(streams)
    ]
    tabs = [Tab(asked=Asked(person=rng.choice(crew), order=order), choose=lambda: left) for order in orders]
    await start_on_the_first(running, [tab.asked for tab in tabs])
    async with asyncio.timeout(_SETTLE_SECONDS), asyncio.TaskGroup() as group:
        for tab in tabs:
            group.create_task(tab.follow())
        await until(lambda: all(tab.text for tab in tabs))
        writing = sum(tab.finished is None for tab in tabs)
        left.terminate()
        await until(lambda: _is_unready(running, left))
    assert await left.wait_ended() == 0
    await check_generations(running.database_url, [tab.asked for tab in tabs], allowed={GenerationStatus.SUCCEEDED})
    # Nobody even noticed.
    assert [tab.connections for tab in tabs] == [1] * streams
    running.check_logs()
    say(f"{streams} streams, {writing} of them unfinished at the SIGTERM, all ended complete")
    await left.start()


async def _is_unready(running: Cluster, instance: Instance) -> bool:
    return not instance.is_serving or not await running.is_ready(instance)


async def test_a_drain_that_takes_too_long_keeps_everything(running: Cluster, rng: random.Random, say: Say) -> None:
    (person,) = await people(running, 1, rng)
    left, right = running.instances
    left.change(drain_timeout_seconds=6)
    left.terminate()
    await left.restart()
    # Those that have shown nothing yet can begin anew elsewhere; the others are cut short.
    writer = running.outside.writer
    writer.held = ("late",)
    orders = [Order(key=f"long{number}", paragraphs=200, piece_delay_ms=100) for number in range(4)]
    orders += [Order(key=f"late{number}", paragraphs=20) for number in range(4)]
    tabs = [Tab(asked=Asked(person=person, order=order), choose=lambda: right) for order in orders]
    await start_on_the_first(running, [tab.asked for tab in tabs])
    async with asyncio.timeout(_SETTLE_SECONDS), asyncio.TaskGroup() as group:
        for tab in tabs:
            group.create_task(tab.follow())
        await until(lambda: sum(bool(tab.text) for tab in tabs) == 4)
        left.terminate()
        assert await left.wait_ended() == 0
        writer.held = ()
    ended = await check_generations(
        running.database_url,
        [tab.asked for tab in tabs],
        allowed={GenerationStatus.SUCCEEDED, GenerationStatus.INTERRUPTED},
    )
    assert ended == {GenerationStatus.SUCCEEDED: 4, GenerationStatus.INTERRUPTED: 4}
    running.check_logs()
    say(f"{dict(ended)}")
    left.change(drain_timeout_seconds=60)
    await left.start()
