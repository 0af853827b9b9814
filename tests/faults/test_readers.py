"""However often readers lose their connection, and wherever they come back, all of them read the same text."""

from __future__ import annotations

import asyncio
import random

import pytest

from domain.generation import GenerationStatus
from tests.faults.checks import check_generations
from tests.faults.conftest import Say, Size
from tests.faults.database import RigPostgres
from tests.faults.outside import outside
from tests.faults.people import WATCH, Asked, Gone, Json, Tab, open_socket, people, receive, send
from tests.faults.rig import Cluster, Instance, cluster
from tests.faults.writer import Order

pytestmark = pytest.mark.faults

_TABS = 3
_SETTLE_SECONDS = 900


class _RestlessTab:
    """A tab that loses its connection after a few events, again and again."""

    def __init__(self, asked: Asked, instance: Instance, rng: random.Random, *, reconnects: int) -> None:
        self.tab = Tab(asked=asked, choose=lambda: instance, on_event=self._see, pause_seconds=0.01)
        self._rng = rng
        self._left = reconnects
        self._events_to_see = 1
        self.after_the_end = 0

    def _see(self, event: Json) -> None:
        self._events_to_see -= 1
        is_over = event["__typename"] == "GenerationFinished"
        if self._left == 0 or (self._events_to_see > 0 and not is_over):
            return
        self._left -= 1
        self.after_the_end += self.tab.finished is not None
        self._events_to_see = self._rng.randint(1, 2)
        chance = self._rng.random()
        if chance < 0.15 or is_over:
            self.tab.go_back(self._rng.randrange(len(self.tab.positions)))  # what a tab does that slept for a while
        elif chance < 0.2:
            self.tab.go_back(0)  # and one that was reloaded
        raise Gone(0)


async def test_reconnects_of_many_tabs_on_two_instances(
    rig_server: RigPostgres, size: Size, rng: random.Random, say: Say
) -> None:
    reconnects = size.pick(quick=20, full=500)
    per_round = 50
    database_url = await rig_server.new_database()
    with outside(("left", "right")) as world:
        async with cluster(database_url, world) as running:
            (person,) = await people(running, 1, rng)
            everyone: list[_RestlessTab] = []
            asked_for: list[Asked] = []
            async with asyncio.timeout(_SETTLE_SECONDS):
                for number in range(-(-reconnects // per_round)):
                    order = Order(key=f"g{number}", paragraphs=size.pick(quick=50, full=80), piece_delay_ms=80)
                    asked = Asked(person=person, order=order)
                    await asked.start()
                    asked_for.append(asked)
                    restless = [
                        _RestlessTab(asked, instance, rng, reconnects=min(reconnects, per_round))
                        for instance in running.instances
                        for _ in range(_TABS)
                    ]
                    await asyncio.gather(*(each.tab.follow() for each in restless))
                    everyone += restless
            tabs = [each.tab for each in everyone]
            for tab in tabs:
                assert tab.text == tab.asked.order.text
                assert tab.finished is not None
                assert tab.finished["content"] == tab.text
                assert tab.restarts == 0
            await check_generations(database_url, asked_for, allowed={GenerationStatus.SUCCEEDED})
            await _check_foreign_cursor(running, tabs[0], person.token)
            running.check_logs()
            connections = sum(tab.connections for tab in tabs)
            assert connections >= reconnects * _TABS * len(running.instances)
            after = sum(each.after_the_end for each in everyone)
            say(
                f"{connections} connections ({after} after the end) of {_TABS} tabs on each of "
                f"{len(running.instances)} instances"
            )


async def _check_foreign_cursor(running: Cluster, tab: Tab, token: str) -> None:
    """A cursor of another generation, or none at all, is told as what it is."""
    for number, cursor in enumerate((tab.cursor, "nonsense")):
        other = Asked(person=tab.asked.person, order=Order(key=f"other{number}", paragraphs=1))
        await other.start()
        async with open_socket(running.instances[0]) as socket:
            await send(socket, {"type": "connection_init", "payload": {"authorization": f"Bearer {token}"}})
            await receive(socket)
            variables = {"id": other.id, "after": cursor}
            await send(socket, {"id": "1", "type": "subscribe", "payload": {"query": WATCH, "variables": variables}})
            message = await receive(socket)
            errors = message["payload"] if message["type"] == "error" else message["payload"]["errors"]
            assert [error["extensions"]["code"] for error in errors] == ["INVALID_INPUT"]
