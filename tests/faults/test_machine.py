"""Whatever people do and whatever dies, in whatever order: what was true of a generation stays true."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from typing import ClassVar
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from domain.errors import Conflict, NotFound
from domain.generation import GenerationStatus
from domain.generation_feed import Finished, Restarted, TextAdded
from domain.generation_service import GenerateContent
from domain.publication import PublicationStatus
from domain.publication_draft import PublishOptions
from integrations.demo import write_document
from tests.faults.checks import outline_of, wanted_outline
from tests.faults.conftest import Say, Size
from tests.faults.database import RigPostgres, rows
from tests.faults.house import CLIENT, House, Instance
from tests.standins.notion import NotionStandin
from tests.standins.notion_state import Node
from tests.standins.server import running_in_thread
from tests.waiting import until

pytestmark = pytest.mark.faults

_SETTLE_SECONDS = 120
_ANY = st.integers(0, 1_000_000)
_STATES = """
SELECT h.id, h.status, h.epoch, generated_content AS content,
       coalesce((SELECT string_agg(c.text, '' ORDER BY c.start) FROM generation_chunks c
                 WHERE c.generation_id = h.id AND c.epoch = h.epoch AND c.kind = 'TEXT'), '') AS written,
       p.status AS publication, n.page_id
FROM content_history h
LEFT JOIN publications p ON p.generation_id = h.id
LEFT JOIN notion_pages n ON n.id = p.notion_page_id
WHERE h.user_id = $1
"""


@dataclass(slots=True, kw_only=True)
class _Stored:
    """What was last seen in the database."""

    status: GenerationStatus
    epoch: int
    text: str
    publication: PublicationStatus | None
    page_id: str | None


@dataclass(slots=True, kw_only=True)
class _Known:
    """A generation, and what the model knows of it."""

    id: UUID
    prompt: str
    key: str
    # With its first request, and meanwhile.
    is_published_at_once: bool = False
    is_wanted_in_notion: bool = False
    is_deleted: bool = False
    stored: _Stored | None = None
    # What a reader has seen, and the positions from which it may go on: a cursor, its epoch's number, the text so far.
    positions: list[tuple[str | None, str]] = field(default_factory=lambda: [(None, "")])

    @property
    def title(self) -> str:
        """Its page's."""
        return f"Page of {self.key}"

    @property
    def document(self) -> str:
        """What the demo writes."""
        return write_document(self.prompt)


class GenerationsMachine(RuleBasedStateMachine):
    """One person and two instances. Rules draw nothing but numbers, so that chance does not depend on the clock."""

    house: ClassVar[House]
    notion: ClassVar[NotionStandin]
    steps: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        self.viewer = self.house.run(self.house.new_viewer(self.notion.memory.workspaces[0]))
        self.parent: Node = self.notion.add_page("Place")
        self.known: list[_Known] = []

    @rule(which=_ANY, publishes=st.booleans(), words=st.integers(1, 3))
    def generate(self, which: int, publishes: bool, words: int) -> None:
        number = len(self.known)
        prompt, key = f"number {number}" + " bee" * words, f"key{number}"
        made = _Known(id=UUID(int=0), prompt=prompt, key=key)
        made.is_published_at_once = made.is_wanted_in_notion = publishes
        made.id = self.house.run(self._start(self._instance(which), made))
        self.known.append(made)

    @precondition(lambda self: self.known)
    @rule(which=_ANY, instance=_ANY)
    def generate_again(self, which: int, instance: int) -> None:
        known = self._pick(which)
        if known.is_deleted or not known.key:
            return  # The key is free again, or there is none.
        assert self.house.run(self._start(self._instance(instance), known)) == known.id
        other = GenerateContent(prompt=known.prompt + "!", idempotency_key=known.key)
        with pytest.raises(Conflict):
            self.house.run(self._instance(instance).assistant.services.generations.start(self.viewer, other))

    @rule(milliseconds=st.integers(0, 120))
    def wait(self, milliseconds: int) -> None:
        self.house.run(asyncio.sleep(milliseconds / 1000))

    @precondition(lambda self: self.known)
    @rule(which=_ANY, instance=_ANY, position=_ANY, events=st.integers(1, 12))
    def reconnect(self, which: int, instance: int, position: int, events: int) -> None:
        known = self._pick(which)
        if known.is_deleted:
            return
        # Mostly from where it was; now and then from somewhere before.
        place = position % len(known.positions) if position % 3 == 0 else len(known.positions) - 1
        self.house.run(self._read(self._instance(instance), known, place, events))

    @precondition(lambda self: self.known)
    @rule(which=_ANY, instance=_ANY)
    def cancel(self, which: int, instance: int) -> None:
        known = self._pick(which)
        cancelling = self._instance(instance).assistant.services.generations.cancel(self.viewer, known.id)
        with _not_found(known.is_deleted):
            self.house.run(cancelling)

    @precondition(lambda self: self.known)
    @rule(which=_ANY, instance=_ANY)
    def regenerate(self, which: int, instance: int) -> None:
        known = self._pick(which)
        repeating = self._instance(instance).assistant.services.generations.regenerate(
            self.viewer, known.id, provider_id=None, model=None, idempotency_key=None
        )
        with _not_found(known.is_deleted):
            made = self.house.run(repeating)
            self.known.append(_Known(id=made.id, prompt=known.prompt, key=""))

    @precondition(lambda self: self.known)
    @rule(which=_ANY, instance=_ANY)
    def publish(self, which: int, instance: int) -> None:
        known = self._pick(which)
        if not known.key:
            return  # Pages are told apart by their titles.
        options = PublishOptions(parent=self.parent.id, title=known.title)
        publishing = self._instance(instance).assistant.services.publications.publish(self.viewer, known.id, options)
        with _not_found(known.is_deleted):
            try:
                self.house.run(publishing)
            except Conflict:
                return  # It is published already, or has no answer to publish.
            known.is_wanted_in_notion = True

    @precondition(lambda self: self.known)
    @rule(which=_ANY, instance=_ANY)
    def delete(self, which: int, instance: int) -> None:
        known = self._pick(which)
        deleting = self._instance(instance).assistant.services.generations.delete(
            self.viewer, [known.id], client=CLIENT
        )
        if known.id in self.house.run(deleting):
            assert not known.is_deleted
            known.is_deleted = True

    @rule(which=_ANY)
    def kill(self, which: int) -> None:
        instance = self._instance(which)
        self.house.run(_restart(instance))

    @invariant()
    def nothing_goes_back(self) -> None:
        GenerationsMachine.steps += 1
        stored = self.house.run(self._look())
        assert stored.keys() == {known.id for known in self.known if not known.is_deleted}
        for known in self.known:
            if known.is_deleted:
                continue
            now, before = stored[known.id], known.stored
            assert known.document.startswith(now.text)
            if now.status is GenerationStatus.SUCCEEDED:
                assert now.text == known.document
            if before is not None:
                if before.status.is_final:
                    assert (now.status, now.text) == (before.status, before.text)
                if now.epoch == before.epoch and now.status is not GenerationStatus.QUEUED:
                    assert now.text.startswith(before.text)
                assert now.epoch >= before.epoch
                assert before.page_id in (None, now.page_id)
            known.stored = now
        self._check_titles()

    def teardown(self) -> None:
        """In the end everything comes to its end, and every page that is wanted is there, once and whole."""
        self.house.run(self._settle())
        self.nothing_goes_back()
        for known in self.known:
            if known.is_deleted:
                continue
            assert known.stored is not None
            assert known.stored.status.is_final
            if known.stored.status is GenerationStatus.SUCCEEDED and known.is_wanted_in_notion:
                assert known.stored.publication is PublicationStatus.PUBLISHED
                assert known.stored.page_id is not None
                tree = self.notion.children_tree(known.stored.page_id)
                assert outline_of(tree) == wanted_outline(known.document)

    def _check_titles(self) -> None:
        titles = [page.words for page in self.notion.pages_under(self.parent)]
        assert len(set(titles)) == len(titles), "a page was made twice"
        assert set(titles) <= {known.title for known in self.known if known.key}

    def _instance(self, which: int) -> Instance:
        return self.house.instances[which % len(self.house.instances)]

    def _pick(self, which: int) -> _Known:
        return self.known[which % len(self.known)]

    async def _start(self, instance: Instance, known: _Known) -> UUID:
        options = PublishOptions(parent=self.parent.id, title=known.title) if known.is_published_at_once else None
        request = GenerateContent(prompt=known.prompt, idempotency_key=known.key, publish=options)
        return (await instance.assistant.services.generations.start(self.viewer, request)).id

    async def _read(self, instance: Instance, known: _Known, place: int, events: int) -> None:
        """A few events from a position on, or for as long as a little patience lasts."""
        del known.positions[place + 1 :]
        cursor, text = known.positions[place]
        watching = instance.assistant.services.generations.watch(self.viewer, known.id, after=cursor)
        assert isinstance(watching, AsyncGenerator)
        try:
            async with asyncio.timeout(0.2), aclosing(watching) as stream:
                async for event in stream:
                    match event:
                        case TextAdded():
                            text += event.text
                            assert known.document.startswith(text)
                            known.positions.append((event.cursor, text))
                        case Restarted():
                            text = ""
                            known.positions = [(None, ""), (event.cursor, "")]
                        case Finished():
                            assert event.generation.status.is_final
                            return
                    events -= 1
                    if not events:
                        return
        except TimeoutError:
            return

    async def _look(self) -> dict[UUID, _Stored]:
        return {
            row["id"]: _Stored(
                status=GenerationStatus(row["status"]),
                epoch=row["epoch"],
                text=row["content"] or row["written"],
                publication=None if row["publication"] is None else PublicationStatus(row["publication"]),
                page_id=row["page_id"],
            )
            for row in await rows(self.house.database_url, _STATES, self.viewer.user.id)
        }

    async def _settle(self) -> None:
        try:
            await until(self._are_settled, _SETTLE_SECONDS)
        except TimeoutError:
            stuck = {key: each for key, each in (await self._look()).items() if not _is_settled(each)}
            raise AssertionError(f"stuck: {stuck}") from None

    async def _are_settled(self) -> bool:
        return all(_is_settled(each) for each in (await self._look()).values())


def _is_settled(stored: _Stored) -> bool:
    return stored.status.is_final and (stored.publication is None or stored.publication.is_settled)


async def _restart(instance: Instance) -> None:
    await instance.kill()
    await instance.start()


@contextmanager
def _not_found(is_expected: bool) -> Iterator[None]:
    if is_expected:
        with pytest.raises(NotFound):
            yield
    else:
        yield


@pytest.fixture
def house(rig_server: RigPostgres) -> Iterator[tuple[House, NotionStandin]]:
    """Two instances beside a Notion."""
    notion = NotionStandin()
    notion.add_workspace()
    with running_in_thread(notion) as notion_base_url, asyncio.Runner() as runner:
        database_url = runner.run(rig_server.new_database())
        house = House(runner, database_url=database_url, notion_base_url=notion_base_url)
        house.run(house.start())
        try:
            yield house, notion
        finally:
            house.run(house.stop())


def test_whatever_happens(house: tuple[House, NotionStandin], size: Size, rng: random.Random, say: Say) -> None:
    runs = size.pick(quick=6, full=200)
    GenerationsMachine.house, GenerationsMachine.notion = house
    GenerationsMachine.steps = 0
    run_state_machine_as_test(
        seed(rng.randrange(2**32))(GenerationsMachine),
        settings=settings(
            max_examples=runs,
            stateful_step_count=16,
            deadline=None,
            database=None,
            # A shorter way to the same failure would be found by luck only: the clock plays along.
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
    say(f"{runs} runs, {GenerationsMachine.steps} steps")


def test_fifty_concurrent_calls_with_one_key(house: tuple[House, NotionStandin], rng: random.Random, say: Say) -> None:
    rooms, notion = house
    viewer = rooms.run(rooms.new_viewer(notion.memory.workspaces[0]))
    services = [instance.assistant.services.generations for instance in rooms.instances]

    async def call(prompt: str) -> UUID | type[Conflict]:
        request = GenerateContent(prompt=prompt, idempotency_key="one")
        try:
            return (await rng.choice(services).start(viewer, request)).id
        except Conflict:
            return Conflict

    async def play() -> set[UUID | type[Conflict]]:
        return set(await asyncio.gather(*(call("the same") for _ in range(50))))

    (generation_id,) = rooms.run(play())
    assert generation_id is not Conflict
    assert rooms.run(call("the same")) == generation_id
    assert rooms.run(call("another")) is Conflict
    made = rooms.run(rows(rooms.database_url, "SELECT id FROM content_history WHERE user_id = $1", viewer.user.id))
    assert [row["id"] for row in made] == [generation_id]
    say("50 concurrent calls made one generation")
