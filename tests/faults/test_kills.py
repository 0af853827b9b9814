"""Instances that are killed at any point between a prompt and its page lose nothing and make nothing twice."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from domain.generation import GenerationStatus
from domain.publication import PublicationStatus
from tests.faults.checks import check_diaries, check_generations, check_pages, states
from tests.faults.conftest import IS_FULL, Say, Size
from tests.faults.database import RigPostgres
from tests.faults.load import Habits, Load
from tests.faults.outside import Moment, Outside, outside
from tests.faults.people import PUBLISH, Asked, Tab, people
from tests.faults.rig import Cluster, Instance, cluster
from tests.standins.notion_faults import Fault, FaultKind
from tests.standins.valkey import running_valkey
from tests.waiting import until

pytestmark = pytest.mark.faults

_LEASE_SECONDS = 3
_SNIPE_SECONDS = 3.0
_SETTLE_SECONDS = 600
_WEATHER = (
    (0.02, Fault(kind=FaultKind.RATE_LIMITED)),
    (0.01, Fault(kind=FaultKind.CONFLICT)),
    (0.01, Fault(kind=FaultKind.INTERNAL)),
    (0.01, Fault(kind=FaultKind.BAD_GATEWAY)),
    (0.01, Fault(kind=FaultKind.BAD_GATEWAY, applied=True)),
    (0.01, Fault(kind=FaultKind.UNAVAILABLE, applied=True)),
    (0.01, Fault(kind=FaultKind.UNAVAILABLE, applied=True, names_committed=False)),
    (0.01, Fault(kind=FaultKind.LOST, applied=True)),
    (0.01, Fault(kind=FaultKind.OVERLOADED)),
)


@dataclass(frozen=True, slots=True)
class _Way:
    """How the instances are configured."""

    has_redis: bool
    restarts_shown: bool

    def __str__(self) -> str:
        shown = "starts shown answers again" if self.restarts_shown else "interrupts shown answers"
        return f"{'with' if self.has_redis else 'without'} Redis, {shown}"


_WAYS = tuple(_Way(has_redis, restarts_shown) for has_redis in (False, True) for restarts_shown in (False, True))


class _Sniper:
    """Kills an instance in the very moment of one of its requests."""

    def __init__(self, world: Outside, rng: random.Random) -> None:
        self._rng = rng
        self._lock = threading.Lock()
        self._target: Instance | None = None
        self._moment = ""
        self._countdown = 0
        self.shots = 0
        world.tap = self._see

    def aim(self, target: Instance) -> None:
        """It dies at one of its next requests."""
        with self._lock:
            self._moment = self._rng.choice((Moment.ARRIVED, Moment.ANSWERED))
            self._countdown = self._rng.choice((0, 0, 1, 2, 3, 5, 10))
            self._target = target

    def lower(self) -> None:
        """Nobody dies any more."""
        with self._lock:
            self._target = None

    def _see(self, instance: str, moment: str) -> None:
        with self._lock:
            if self._target is None or instance != self._target.name or moment != self._moment:
                return
            self._countdown -= 1
            if self._countdown < 0:
                self.shots += self._target.kill()
                self._target = None


async def _kill(victim: Instance, sniper: _Sniper, rng: random.Random) -> None:
    """At a moment that chance chooses: of the clock's, or of the requests'."""
    if rng.random() < 0.5:
        sniper.aim(victim)
        deadline = asyncio.get_running_loop().time() + _SNIPE_SECONDS
        while victim.is_serving and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110  (another thread shoots)
            await asyncio.sleep(0.01)
        sniper.lower()
    else:
        await asyncio.sleep(rng.uniform(0, 1))
    victim.kill()


def _has_page(tab: Tab) -> bool:
    return tab.publication == "PUBLISHED" and not tab.asked.is_appended


async def _publish_again(database_url: str, asked: Sequence[Asked]) -> int:
    """What people do about publications that were given up after many attempts; how many times they did."""
    stored = await states(database_url)
    given_up = [
        each
        for each in asked
        if stored[each.place].status is GenerationStatus.SUCCEEDED
        and stored[each.place].publication in (PublicationStatus.FAILED, PublicationStatus.NEEDS_ATTENTION)
    ]
    for each in given_up:
        await each.person.insist(PUBLISH, input={"generationId": each.id})
        await Tab(asked=each).follow()
    return len(given_up)


# One of them by chance with the quick size, all of them with the full one.
@pytest.mark.parametrize("share", range(len(_WAYS)) if IS_FULL else [None])
async def test_kills_between_prompt_and_page(
    rig_server: RigPostgres, size: Size, rng: random.Random, say: Say, share: int | None
) -> None:
    way = rng.choice(_WAYS) if share is None else _WAYS[share]
    kills = size.pick(quick=3, full=200 // len(_WAYS))
    database_url = await rig_server.new_database()
    with ExitStack() as stack:
        world = stack.enter_context(outside(("left", "right")))
        workspace = world.notion.add_workspace()
        parents = [world.notion.add_page(f"Place {number}") for number in range(4)]
        diaries = [world.notion.add_page(f"Diary {number}") for number in range(2)]
        settings: dict[str, object] = {"restart_interrupted": way.restarts_shown}
        if way.has_redis:
            settings["redis_url"] = stack.enter_context(running_valkey()).url
        async with cluster(database_url, world, lease_seconds=_LEASE_SECONDS, **settings) as running:
            crew = await people(running, 3, rng)
            for person in crew:
                await person.connect_notion(workspace.token)
            world.notion.draw_faults(*_WEATHER, seed=rng.randrange(2**32))
            load = Load(crew, rng, parents=parents, diaries=diaries, habits=Habits(appends=0.3, updates=0.4))
            sniper, stop = _Sniper(world, rng), asyncio.Event()
            async with asyncio.timeout(_SETTLE_SECONDS + 5 * kills), asyncio.TaskGroup() as group:
                group.create_task(load.run(stop))
                await _kill_in_turns(running, sniper, kills, rng)
                world.notion.draw_faults(seed=0)
                # However long the last of them takes to come back.
                await until(lambda: any(_has_page(tab) for tab in load.tabs), 240)
                stop.set()
            retries = await _publish_again(database_url, load.asked)
            ended = await check_generations(
                database_url, load.asked, allowed={GenerationStatus.SUCCEEDED, GenerationStatus.INTERRUPTED}
            )
            pages = await check_pages(database_url, world.notion, parents, load.asked)
            appended = await check_diaries(database_url, world.notion, diaries, load.asked)
            updated = sum(each.edited is not None for each in load.asked)
            for tab in load.tabs:
                assert tab.finished is not None
            running.check_logs()
            say(
                f"{way}: {kills} kills ({sniper.shots} in the moment of a request), {len(load.asked)} generations "
                f"{dict(ended)}, {pages} pages, {updated} of them brought up to date, {appended} answers appended, "
                f"{retries} published again by hand, "
                f"{sum(tab.connections for tab in load.tabs)} connections, "
                f"{sum(tab.restarts for tab in load.tabs)} restarts seen"
            )
            assert ended[GenerationStatus.SUCCEEDED] > 0
            assert pages > 0


async def _kill_in_turns(running: Cluster, sniper: _Sniper, kills: int, rng: random.Random) -> None:
    """Each kill meets an instance that works while the other one comes back from its own."""
    for number in range(kills):
        victim = running.instances[number % len(running.instances)]
        await _kill(victim, sniper, rng)
        async with asyncio.timeout(150):
            await victim.restart()
