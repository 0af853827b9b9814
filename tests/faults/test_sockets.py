"""Clients that break the protocol, or never read, harm nobody but themselves."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack

import pytest
import pytest_asyncio

from tests.faults.conftest import Say, Size
from tests.faults.database import RigPostgres
from tests.faults.malformed import malformed
from tests.faults.outside import outside
from tests.faults.people import WATCH, Asked, Json, Person, Tab, people
from tests.faults.raw_socket import ABNORMAL_CLOSURE, RawSocket, message
from tests.faults.rig import Cluster, Instance, cluster
from tests.faults.writer import Order
from tests.waiting import until

pytestmark = [pytest.mark.faults, pytest.mark.asyncio(loop_scope="module")]

_DROPPED_SECONDS = 120.0
_RSS_GROWTH_BYTES = 20 << 20
_CLIENTS_AT_A_TIME = 6
_HEALTHY_TABS = 10
_SETTLE_SECONDS = 250
_PING = message({"type": "ping", "payload": {"still": "there"}})
_PONG = {"type": "pong", "payload": {"still": "there"}}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(rig_server: RigPostgres, size: Size) -> AsyncIterator[Cluster]:
    """One instance, with the pings of every day only if there is the time to wait for them."""
    with outside(("only",)) as world:
        ping_seconds = size.pick(quick=3, full=20)
        async with cluster(await rig_server.new_database(), world, websocket_ping_seconds=ping_seconds) as running:
            yield running


async def test_malformed_frames(running: Cluster, size: Size, rng: random.Random, say: Say) -> None:
    frames = size.pick(quick=1_000, full=10_000)
    (instance,) = running.instances
    (person,) = await people(running, 1, rng)
    ends: Counter[int] = Counter()
    survived = await _abuse(instance, person, frames // 5, rng, ends)
    before_bytes = instance.rss_bytes
    survived += await _abuse(instance, person, frames - frames // 5, rng, ends)
    growth_bytes = instance.rss_bytes - before_bytes
    await until(lambda: _is_alone(running, instance))
    say(
        f"{frames} malformed frames: {survived} answered on the spot, closes by code {dict(sorted(ends.items()))}; "
        f"RSS grew by {growth_bytes / (1 << 20):.1f} MiB"
    )
    assert ends[ABNORMAL_CLOSURE] == 0
    assert growth_bytes < _RSS_GROWTH_BYTES
    running.check_logs()


async def _is_alone(running: Cluster, instance: Instance) -> bool:
    return await running.metric(instance, "assistant_websockets_open") == 0


async def _abuse(instance: Instance, person: Person, frames: int, rng: random.Random, ends: Counter[int]) -> int:
    """Several clients at a time, until so many frames were sent; how many left their connection as good as before."""
    left = frames
    survived = 0

    async def client() -> None:
        nonlocal left, survived
        while left > 0:
            with await RawSocket.open(instance) as ws:
                if rng.random() < 0.8:
                    await ws.sign_in(person.token)
                while left > 0:
                    left -= 1
                    if (code := await _answer_to(ws, malformed(rng))) is not None:
                        ends[code] += 1
                        break
                    survived += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(_CLIENTS_AT_A_TIME):
            group.create_task(client())
    return survived


async def _answer_to(ws: RawSocket, data: bytes) -> int | None:
    """The code with which the connection was closed for it; None when it goes on."""
    await ws.send(data + _PING)
    while (answer := await ws.receive()) != _PONG:
        if isinstance(answer, int):
            return answer
    return None


class _Readers:
    """Healthy tabs that follow answers to their end, each on one connection, and what they had to wait for events."""

    def __init__(self, crew: Sequence[Person], key: str, *, seconds: int) -> None:
        self._gaps_seconds: list[float] = []
        self._tabs = []
        for number in range(_HEALTHY_TABS):
            order = Order(key=f"{key}{number}", paragraphs=7 * seconds, piece_delay_ms=100)
            asked = Asked(person=crew[number % len(crew)], order=order)
            self._tabs.append(Tab(asked=asked, on_event=self._stopwatch()))

    @property
    def connected(self) -> int:
        """How many are connected."""
        return sum(tab.is_connected for tab in self._tabs)

    @property
    def p99_ms(self) -> float:
        """How long they wait for an event, but for one of a hundred."""
        return 1000 * sorted(self._gaps_seconds)[int(0.99 * len(self._gaps_seconds))]

    async def follow(self) -> None:
        """From the beginning to the end."""
        async with asyncio.TaskGroup() as group:
            for tab in self._tabs:
                await tab.asked.start()
                group.create_task(tab.follow())
        for tab in self._tabs:
            assert tab.text == tab.asked.order.text
            assert tab.connections == 1

    def _stopwatch(self) -> Callable[[Json], None]:
        last_at: float | None = None

        def see(event: Json) -> None:
            nonlocal last_at
            now = time.monotonic()
            if last_at is not None and event["__typename"] == "GenerationText":
                self._gaps_seconds.append(now - last_at)
            last_at = now

        return see


async def test_clients_that_never_read(running: Cluster, size: Size, rng: random.Random, say: Say) -> None:
    dead = size.pick(quick=10, full=50)
    (instance,) = running.instances
    (person, *_) = crew = await people(running, 6, rng)
    big = Asked(person=person, order=Order(key="big", paragraphs=4_000, piece_delay_ms=0))
    await big.start()
    alone = _Readers(crew, "alone", seconds=3)
    beside = _Readers(crew, "beside", seconds=size.pick(quick=4, full=45))
    async with asyncio.timeout(_SETTLE_SECONDS):
        await Tab(asked=big).follow()
        await alone.follow()
        with ExitStack() as stack:
            started_at = time.monotonic()
            for _ in range(dead):
                stack.enter_context(await _deaf_client(instance, person, big))
            await until(lambda: _are_open(running, instance, dead))
            async with asyncio.TaskGroup() as group:
                group.create_task(beside.follow())
                await until(lambda: _are_alone(running, instance, beside), timeout_seconds=_DROPPED_SECONDS)
                took_seconds = time.monotonic() - started_at
    running.check_logs()
    say(
        f"{dead} clients that never read were dropped within {took_seconds:.1f} s; between two events the others "
        f"waited at p99 {alone.p99_ms:.0f} ms without them and {beside.p99_ms:.0f} ms beside them, "
        f"{beside.p99_ms / alone.p99_ms:.2f} times as long"
    )


async def _deaf_client(instance: Instance, person: Person, big: Asked) -> RawSocket:
    """It asks for more than all buffers hold, and reads nothing of it."""
    ws = await RawSocket.open(instance, receive_buffer_bytes=4_096)
    await ws.sign_in(person.token)
    payload = {"query": WATCH, "variables": {"id": big.id, "after": None}}
    await ws.send(message({"id": "1", "type": "subscribe", "payload": payload}))
    return ws


async def _are_open(running: Cluster, instance: Instance, count: int) -> bool:
    return await running.metric(instance, "assistant_websockets_open") == count


async def _are_alone(running: Cluster, instance: Instance, readers: _Readers) -> bool:
    """Whether every open connection is a reader's."""
    return await running.metric(instance, "assistant_websockets_open") <= readers.connected
