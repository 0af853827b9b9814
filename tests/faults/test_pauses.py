"""An instance that stands still for longer than its lease, and then goes on, writes nothing over what others did."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import AsyncIterator, Sequence

import pytest
import pytest_asyncio

from domain.generation import GenerationStatus
from domain.publication import PublicationStatus
from tests.faults.checks import State, check_generations, check_pages, states
from tests.faults.conftest import Say, Size
from tests.faults.database import RigPostgres
from tests.faults.load import start_on_the_first
from tests.faults.outside import outside
from tests.faults.people import Asked, Person, Tab, people
from tests.faults.rig import Cluster, Instance, cluster
from tests.faults.writer import Order
from tests.standins.notion_faults import Fault, FaultKind
from tests.waiting import until

pytestmark = [pytest.mark.faults, pytest.mark.asyncio(loop_scope="module")]

_LEASE_SECONDS = 3
_SETTLE_SECONDS = 240


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(rig_server: RigPostgres) -> AsyncIterator[Cluster]:
    """Two instances that are soon taken for dead."""
    with outside(("left", "right")) as world:
        async with cluster(await rig_server.new_database(), world, lease_seconds=_LEASE_SECONDS) as running:
            yield running


async def test_a_writer_that_stands_still(running: Cluster, size: Size, rng: random.Random, say: Say) -> None:
    rounds = size.pick(quick=1, full=6)
    (person,) = await people(running, 1, rng)
    everything: list[Asked] = []
    async with asyncio.timeout(_SETTLE_SECONDS * rounds):
        for number in range(rounds):
            everything += await _stand_still(running, person, number)
    ended = await check_generations(
        running.database_url, everything, allowed={GenerationStatus.SUCCEEDED, GenerationStatus.INTERRUPTED}
    )
    assert ended == {GenerationStatus.SUCCEEDED: 3 * rounds, GenerationStatus.INTERRUPTED: 5 * rounds}
    running.check_logs()
    say(f"{rounds} pauses, {dict(ended)}")


async def _stand_still(running: Cluster, person: Person, number: int) -> list[Asked]:
    """One pause in the middle of texts that had begun, and of others that had not."""
    first, second = running.instances
    orders = [Order(key=f"begun{number}x{each}", paragraphs=150, piece_delay_ms=70) for each in range(5)]
    orders += [Order(key=f"late{number}x{each}", paragraphs=20) for each in range(3)]
    tabs = [Tab(asked=Asked(person=person, order=order), choose=lambda: second) for order in orders]
    all_asked = [tab.asked for tab in tabs]
    writer = running.outside.writer
    writer.held = ("late",)
    await start_on_the_first(running, all_asked)
    async with asyncio.TaskGroup() as group:
        for tab in tabs:
            group.create_task(tab.follow())
        await until(lambda: sum(bool(tab.text) for tab in tabs) == 5)
        first.pause()
        writer.held = ()
        await until(lambda: _are_final(running, all_asked))
        before = await _stored(running, all_asked)
        first.resume()
    # Longer than anything it might still have in hand: a flush, a renewal, the end of a stream.
    await asyncio.sleep(_LEASE_SECONDS)
    await until(lambda: _runs_nothing(running, first))
    assert await _stored(running, all_asked) == before
    return all_asked


async def _runs_nothing(running: Cluster, instance: Instance) -> bool:
    return await running.metric(instance, "assistant_generations_running") == 0


async def _are_final(running: Cluster, all_asked: Sequence[Asked]) -> bool:
    return all(state.status.is_final for state in await _stored(running, all_asked))


async def _stored(running: Cluster, all_asked: Sequence[Asked]) -> list[State]:
    stored = await states(running.database_url)
    return [stored[asked.place] for asked in all_asked]


async def test_a_publisher_that_stands_still(running: Cluster, size: Size, rng: random.Random, say: Say) -> None:
    rounds = size.pick(quick=1, full=6)
    notion = running.outside.notion
    parent = notion.add_page("Place")
    (person,) = await people(running, 1, rng)
    await person.connect_notion(notion.memory.workspaces[0].token)
    everything: list[Asked] = []
    async with asyncio.timeout(_SETTLE_SECONDS * rounds):
        for number in range(rounds):
            order = Order(key=f"g{number}", paragraphs=rng.randint(310, 450), piece_delay_ms=0)
            asked = Asked(person=person, order=order, parent_id=parent.id, title=f"Page {number}")
            everything.append(asked)
            await _stand_still_at_notion(running, asked, number)
    await check_generations(running.database_url, everything, allowed={GenerationStatus.SUCCEEDED})
    pages = await check_pages(running.database_url, notion, [parent], everything)
    running.check_logs()
    say(f"{rounds} pauses in the middle of a page, {pages} whole pages")


async def _stand_still_at_notion(running: Cluster, asked: Asked, number: int) -> None:
    """One pause that begins while Notion is at work: with what was asked done already, or yet to do."""
    first, second = running.instances
    notion = running.outside.notion
    method, path = ("POST", "/v1/pages") if number % 3 == 2 else ("PATCH", "/v1/blocks/*/children")
    is_applied = number % 2 == 0
    released = threading.Event()
    slow = Fault(
        kind=FaultKind.DELAYED,
        method=method,
        path=path,
        skip=0 if method == "POST" else number % 2,
        applied=is_applied,
        released=released,
    )
    notion.enqueue(slow)
    second.pause()
    await asked.start(at=first)
    await until(lambda: not notion.waiting_faults)
    second.resume()
    first.pause()
    released.set()
    await until(lambda: _is_published(running, asked))
    first.resume()
    await asyncio.sleep(_LEASE_SECONDS)


async def _is_published(running: Cluster, asked: Asked) -> bool:
    return (await states(running.database_url))[asked.place].publication is PublicationStatus.PUBLISHED
