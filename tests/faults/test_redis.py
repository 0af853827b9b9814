"""Redis may die, lose everything or become slow: who reads on another instance misses nothing and waits for little."""

from __future__ import annotations

import asyncio
import random
import socket
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence

import pytest

from domain.generation import GenerationStatus
from tests.faults.checks import check_generations
from tests.faults.conftest import Say, Size
from tests.faults.database import RigPostgres
from tests.faults.load import start_on_the_first
from tests.faults.outside import outside
from tests.faults.people import Asked, Person, Tab, people
from tests.faults.rig import Cluster, cluster
from tests.faults.writer import Order
from tests.standins.valkey import Valkey, line_to, running_valkey
from tests.waiting import until

pytestmark = pytest.mark.faults

# As it is on a machine that does nothing else; elsewhere it is enough that they are refilled.
_REFILLED_SECONDS = 2.0
_FAULTS_PER_ROUND = 5
_SETTLE_SECONDS = 240
_SLOW_SECONDS = 2.0

Fault = Callable[[], Awaitable[None]]


class _Pair:
    """Two readers of one answer: one where it is written, one elsewhere."""

    def __init__(self, asked: Asked, running: Cluster) -> None:
        first, second = running.instances
        self.near = Tab(asked=asked, choose=lambda: first)
        self.far = Tab(asked=asked, choose=lambda: second)


async def test_redis_is_killed_flushed_and_slow(
    rig_server: RigPostgres, size: Size, rng: random.Random, say: Say
) -> None:
    with outside(("left", "right")) as world, running_valkey() as valkey:
        async with line_to(valkey.port) as line:

            async def kill() -> None:
                valkey.kill()
                await asyncio.sleep(rng.uniform(0, 1.5))
                await asyncio.to_thread(valkey.start)

            async def flush() -> None:
                await asyncio.to_thread(_flush, valkey)

            async def slow_down() -> None:
                line.slow_down(_SLOW_SECONDS)

            async def speed_up() -> None:
                line.speed_up()

            quick: list[Fault] = [kill, flush, slow_down, speed_up, kill]
            full: list[Fault] = [*[kill, flush] * 10, *[slow_down, speed_up] * 5]
            redis_url = f"redis://127.0.0.1:{line.port}/0"
            async with cluster(await rig_server.new_database(), world, redis_url=redis_url) as running:
                (person,) = await people(running, 1, rng)
                faults = full if size.is_full else quick
                asked, delays = await _play(running, person, faults, rng)
                await check_generations(running.database_url, asked, allowed={GenerationStatus.SUCCEEDED})
                running.check_logs()
                say(
                    f"{len(faults)} faults, {len(asked)} answers read elsewhere, "
                    f"refilled after at most {max(delays):.2f} s"
                )
                assert not size.is_full or max(delays) < _REFILLED_SECONDS


async def _play(
    running: Cluster, person: Person, faults: Sequence[Fault], rng: random.Random
) -> tuple[list[Asked], list[float]]:
    """Answers are being written while the faults happen; how many seconds the far readers then lagged behind."""
    all_asked: list[Asked] = []
    delays: list[float] = []
    for start in range(0, len(faults), _FAULTS_PER_ROUND):
        orders = [
            Order(key=f"g{start}x{number}", paragraphs=100, piece_delay_ms=rng.randint(90, 130)) for number in range(4)
        ]
        pairs = [_Pair(Asked(person=person, order=order), running) for order in orders]
        asked = [pair.near.asked for pair in pairs]
        all_asked += asked
        await start_on_the_first(running, asked)
        async with asyncio.timeout(_SETTLE_SECONDS), asyncio.TaskGroup() as group:
            for pair in pairs:
                group.create_task(pair.near.follow())
                group.create_task(pair.far.follow())
            for fault in faults[start : start + _FAULTS_PER_ROUND]:
                await asyncio.sleep(rng.uniform(0.3, 1))
                await fault()
                delays.append(await _lag(pairs))
        for tab in _tabs(pairs):
            assert tab.text == tab.asked.order.text
            # Whatever happens to Redis is no reason to lose a client, or to take back what it was shown.
            assert (tab.connections, tab.restarts) == (1, 0)
    return all_asked, delays


def _tabs(pairs: Sequence[_Pair]) -> Iterator[Tab]:
    for pair in pairs:
        yield pair.near
        yield pair.far


async def _lag(pairs: Sequence[_Pair]) -> float:
    """How long it takes until what is read now where it is written is read everywhere."""
    started_at = time.monotonic()
    lengths = [len(pair.near.text) for pair in pairs]
    await until(lambda: all(len(pair.far.text) >= length for pair, length in zip(pairs, lengths, strict=True)))
    return time.monotonic() - started_at


def _flush(valkey: Valkey) -> None:
    """As if everything had expired at once."""
    with socket.create_connection(("127.0.0.1", valkey.port), timeout=60) as connection:
        connection.sendall(b"FLUSHALL\r\n")
        assert connection.recv(64).startswith(b"+OK")
