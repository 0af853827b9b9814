"""People who keep asking for answers, many of them with a page, and follow each to its end."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass

from tests.faults.checks import states
from tests.faults.people import CANCEL, Asked, Person, Tab, bring_up_to_date
from tests.faults.rig import Cluster
from tests.faults.writer import Order
from tests.standins.notion_state import Node
from tests.waiting import until


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """What they ask for."""

    open_at_a_time: int = 8
    paragraphs: Sequence[int] = (2, 10, 30, 110, 230)
    piece_delays_ms: tuple[int, int] = (1, 12)
    first_delays_ms: Sequence[int] = (0, 0, 300)
    publishes: float = 0.7
    cancels: float = 0.05
    appends: float = 0.0
    updates: float = 0.0


class Load:
    """`asked` and `tabs` grow, in the same order, until it is told to stop."""

    def __init__(
        self,
        crew: Sequence[Person],
        rng: random.Random,
        *,
        parents: Sequence[Node] = (),
        diaries: Sequence[Node] = (),
        habits: Habits | None = None,
    ) -> None:
        self._crew = crew
        self._parents = parents
        self._diaries = diaries
        self._rng = rng
        self._habits = habits or Habits()
        self.asked: list[Asked] = []
        self.tabs: list[Tab] = []

    @property
    def writing(self) -> int:
        """How many answers are on their way."""
        return sum(tab.finished is None for tab in self.tabs)

    async def run(self, stop: asyncio.Event) -> None:
        """Asks until it is told to stop, and returns when every answer that was asked for has come to its end."""
        async with asyncio.TaskGroup() as group:
            while not stop.is_set():
                if self.writing < self._habits.open_at_a_time:
                    group.create_task(self._one())
                await asyncio.sleep(self._rng.uniform(0.05, 0.35))

    async def _one(self) -> None:
        rng, habits = self._rng, self._habits
        number = len(self.asked)
        order = Order(
            key=f"g{number}",
            paragraphs=rng.choice(habits.paragraphs),
            piece_delay_ms=rng.randint(*habits.piece_delays_ms),
            first_delay_ms=rng.choice(habits.first_delays_ms),
        )
        asked = Asked(person=rng.choice(self._crew), order=order)
        if self._parents and rng.random() < habits.publishes:
            asked.parent_id = rng.choice(self._parents).id
            asked.title = f"Page {number}"
            if self._diaries and rng.random() < habits.appends:
                asked.is_appended = True
                asked.parent_id = rng.choice(self._diaries).id
        tab = Tab(asked=asked)
        self.asked.append(asked)
        self.tabs.append(tab)
        await asked.start()
        if rng.random() < habits.cancels:
            await asyncio.sleep(rng.uniform(0, 0.5))
            asked.is_cancelled = True
            await asked.person.insist(CANCEL, input={"id": asked.id})
        await tab.follow()
        if tab.publication == "PUBLISHED" and not asked.is_appended and rng.random() < habits.updates:
            await bring_up_to_date(asked, _edited(order, rng))


def _edited(order: Order, rng: random.Random) -> str:
    """An answer after somebody has worked on it: paragraphs are gone, new or put another way."""
    kept = [each for each in order.text.split("\n\n") if rng.random() < 0.8]
    for number in range(rng.randint(1, 4)):
        kept.insert(rng.randint(0, len(kept)), f"{order.key} put in {number}")
    place = rng.randrange(len(kept))
    kept[place] = f"{order.key} put another way"
    return "\n\n".join(kept)


async def start_on_the_first(running: Cluster, all_asked: Sequence[Asked]) -> None:
    """Has the first instance run them all: the second one is paused meanwhile, and nothing is written yet."""
    first, second = running.instances
    writer = running.outside.writer
    held, writer.held = writer.held, ("",)
    second.pause()
    for asked in all_asked:
        await asked.start(at=first)
    await until(lambda: _all_have_owners(running, all_asked))
    second.resume()
    writer.held = held


async def _all_have_owners(running: Cluster, all_asked: Sequence[Asked]) -> bool:
    stored = await states(running.database_url)
    return all(stored[asked.place].owner is not None for asked in all_asked)
