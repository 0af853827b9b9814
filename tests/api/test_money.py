"""Whatever ends a generation: its calls, its bill, the budget and the usage are one sum, and nothing stays reserved."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg

from resolvers import ids
from tests.api.assistant import CANCEL, Outside, at_work, outside, over_websocket, start, until_text
from tests.api.product import Person
from tests.api.test_attempts import KEYS
from tests.ops.test_reconcile import reconcile
from tests.standins.scenario import Failure, Fault, Finish, Scenario, Usage
from tests.waiting import PATIENCE_SECONDS

BOOKS = """
{
  viewer {
    budgets { period spent reserved unpricedCount }
    usage {
      callCount unpricedCount inputTokens cachedInputTokens cacheWriteTokens outputTokens reasoningTokens cost
    }
  }
}
"""
GENERATION = """
query Generation($id: ID!) {
  generation(id: $id) {
    status isCached cost
    usage { inputTokens cachedInputTokens cacheWriteTokens outputTokens reasoningTokens }
    attempts {
      provider { id } status cost
      usage { inputTokens cachedInputTokens cacheWriteTokens outputTokens reasoningTokens }
    }
  }
}
"""
PROMPT = "Write something."
TOKENS = ("inputTokens", "cachedInputTokens", "cacheWriteTokens", "outputTokens", "reasoningTokens")
HAIKU = {"provider": "anthropic", "model": "claude-haiku-5-5"}
FLASH = {"provider": "deepseek", "model": "deepseek-flash"}
SUN = {"provider": "openai", "model": "gpt-6.1-sol"}
OVERLOADED = Scenario(failure=Failure.OVERLOADED)
CUT = Scenario(fault=Fault.TRUNCATE, reasoning=())
HANGING = Scenario(fault=Fault.HANG)
# Its first words are seen, and nothing comes after them.
STUCK = Scenario(fault=Fault.STALL_ALIVE, fault_after=5)
SETTINGS = {**KEYS, "provider_retries": 1, "budget_user_day_usd": "50", "max_running_generations_per_user": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One person, and whom they ask."""

    person: Person
    world: Outside
    database: asyncpg.Connection[asyncpg.Record]

    async def ask(self, **input_: object) -> list[str]:
        """A generation that has ended."""
        return [await start(self.person, PROMPT, wait=True, **input_)]

    async def reserved(self) -> Decimal:
        """What the day's budget keeps back."""
        (day, _) = (await self.person.ask(BOOKS))["viewer"]["budgets"]
        return Decimal(day["reserved"])


Play = Callable[[Scene], Awaitable[list[str]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What happens, how the last generation ends, how the calls of all end, and which of these cost something."""

    play: Play
    status: str
    calls: tuple[tuple[str, bool], ...]


def answered(*scenarios: Scenario, **input_: object) -> Play:
    """One provider, and what it does, call by call."""

    async def play(scene: Scene) -> list[str]:
        getattr(scene.world, str(input_["provider"])).enqueue(*scenarios)
        return await scene.ask(**input_)

    return play


async def fell_back(scene: Scene) -> list[str]:
    scene.world.openai.enqueue(OVERLOADED, CUT)
    scene.world.anthropic.enqueue(CUT, CUT)
    scene.world.deepseek.enqueue(Scenario(usage=Usage(input_tokens=90, cached_tokens=40, output_tokens=70)))
    return await scene.ask(**SUN, fallback=[HAIKU, FLASH])


async def fell_back_in_vain(scene: Scene) -> list[str]:
    scene.world.openai.enqueue(CUT, CUT)
    scene.world.anthropic.enqueue(OVERLOADED, OVERLOADED)
    return await scene.ask(**SUN, fallback=[HAIKU])


async def cancelled_while_it_writes(scene: Scene) -> list[str]:
    scene.world.anthropic.enqueue(STUCK)
    id_ = await start(scene.person, **HAIKU)
    await until_text(scene.person, id_)
    assert await scene.reserved() > 0
    return await cancelled(scene, id_)


async def cancelled_before_the_first_word(scene: Scene) -> list[str]:
    seen = len(scene.world.openai.requests)
    scene.world.openai.enqueue(HANGING)
    id_ = await start(scene.person, **SUN)
    await scene.world.openai.wait_requests(seen + 1)
    return await cancelled(scene, id_)


async def cancelled_in_the_queue(scene: Scene) -> list[str]:
    scene.world.openai.enqueue(STUCK)
    first = await start(scene.person, **SUN)
    await until_text(scene.person, first)
    before = await scene.reserved()
    second = await start(scene.person, **SUN)
    assert await scene.reserved() > before > 0
    await scene.person.do(CANCEL, input={"id": second})
    assert await scene.reserved() == before
    return [second, *await cancelled(scene, first)]


async def cancelled_between_two_calls(scene: Scene) -> list[str]:
    scene.world.openai.enqueue(Scenario(failure=Failure.RATE_LIMITED, retry_after="20"))
    id_ = await start(scene.person, **SUN)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while [each["status"] for each in (await told(scene, id_))["attempts"]] != ["FAILED"]:  # noqa: ASYNC110  (polled)
            await asyncio.sleep(0.05)
    assert await scene.reserved() > 0
    return await cancelled(scene, id_)


async def cancelled(scene: Scene, id_: str) -> list[str]:
    await scene.person.do(CANCEL, input={"id": id_})
    await over_websocket(scene.person, id_)
    return [id_]


async def crashed_while_it_wrote(scene: Scene) -> list[str]:
    scene.world.openai.enqueue(STUCK)
    id_ = await start(scene.person, **SUN)
    await until_text(scene.person, id_)
    await until(scene, id_, "EXISTS (SELECT FROM generation_chunks WHERE generation_id = id)")
    return await abandoned(scene, id_)


async def crashed_before_the_first_word(scene: Scene) -> list[str]:
    seen = len(scene.world.openai.requests)
    scene.world.openai.enqueue(HANGING)
    id_ = await start(scene.person, **SUN)
    await scene.world.openai.wait_requests(seen + 1)
    return await abandoned(scene, id_)


async def abandoned(scene: Scene, id_: str) -> list[str]:
    """As if the run's server had died: its lease ends, and another (the same process) finds that."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await scene.database.fetchval(  # noqa: ASYNC110  (the lease may be renewed in between)
            """UPDATE content_history SET lease_until = now() - interval '1 minute'
            WHERE id = $1 AND fence = 1 AND status = 'RUNNING' RETURNING true""",
            uuid_of(id_),
        ):
            await asyncio.sleep(0.1)
    await over_websocket(scene.person, id_)
    return [id_]


async def until(scene: Scene, id_: str, condition: str) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        query = f"SELECT {condition} FROM content_history WHERE id = $1"
        while not await scene.database.fetchval(query, uuid_of(id_)):  # noqa: ASYNC110  (nothing here is told of it)
            await asyncio.sleep(0.05)


async def kept(scene: Scene) -> list[str]:
    first = await scene.ask(**SUN, useCache=True)
    return [*first, *await scene.ask(**SUN, useCache=True)]


async def deleted(scene: Scene) -> list[str]:
    """What was spent stays spent when nothing else is left of it."""
    ids_ = await scene.ask(**FLASH)
    mutation = "mutation ($input: IdsInput!) { deleteGenerations(input: $input) { deletedIds errors { code } } }"
    assert (await scene.person.do(mutation, input={"ids": ids_}))["deletedIds"] == ids_
    return await scene.ask(**FLASH)


REPORTED = Usage(input_tokens=200, cached_tokens=60, output_tokens=90)
ENDINGS: dict[str, Ending] = {
    "success": Ending(play=answered(Scenario(usage=REPORTED), **SUN), status="SUCCEEDED", calls=(("SUCCEEDED", True),)),
    "success whose tokens nobody tells": Ending(
        play=answered(Scenario(usage=None), **FLASH), status="SUCCEEDED", calls=(("SUCCEEDED", True),)
    ),
    "cut at the length": Ending(
        play=answered(Scenario(finish=Finish.LENGTH, usage=REPORTED), **HAIKU),
        status="SUCCEEDED",
        calls=(("SUCCEEDED", True),),
    ),
    "refused by the provider": Ending(
        play=answered(Scenario(failure=Failure.OUT_OF_CREDIT), **FLASH), status="FAILED", calls=(("FAILED", False),)
    ),
    "failure before the first word": Ending(
        play=answered(*[Scenario(fault=Fault.BAD_JSON, reasoning=())] * 2, **HAIKU),
        status="FAILED",
        calls=(("FAILED", True), ("FAILED", True)),
    ),
    "failure after the first word": Ending(
        play=answered(Scenario(fault=Fault.DISCONNECT, fault_after=3), **SUN),
        status="FAILED",
        calls=(("FAILED", True),),
    ),
    "retry": Ending(
        play=answered(CUT, Scenario(), **SUN), status="SUCCEEDED", calls=(("FAILED", True), ("SUCCEEDED", True))
    ),
    "fallback": Ending(
        play=fell_back,
        status="SUCCEEDED",
        calls=(("FAILED", False), ("FAILED", True), ("FAILED", True), ("FAILED", True), ("SUCCEEDED", True)),
    ),
    "fallback in vain": Ending(
        play=fell_back_in_vain,
        status="FAILED",
        calls=(("FAILED", True), ("FAILED", True), ("FAILED", False), ("FAILED", False)),
    ),
    "cancelled while it writes": Ending(
        play=cancelled_while_it_writes, status="CANCELLED", calls=(("CANCELLED", True),)
    ),
    "cancelled before the first word": Ending(
        play=cancelled_before_the_first_word, status="CANCELLED", calls=(("CANCELLED", True),)
    ),
    "cancelled in the queue": Ending(play=cancelled_in_the_queue, status="CANCELLED", calls=(("CANCELLED", True),)),
    "cancelled between two calls": Ending(
        play=cancelled_between_two_calls, status="CANCELLED", calls=(("FAILED", False),)
    ),
    "crash while it writes": Ending(play=crashed_while_it_wrote, status="INTERRUPTED", calls=(("INTERRUPTED", True),)),
    "crash before the first word": Ending(
        play=crashed_before_the_first_word, status="SUCCEEDED", calls=(("INTERRUPTED", True), ("SUCCEEDED", True))
    ),
    "kept answer": Ending(play=kept, status="SUCCEEDED", calls=(("SUCCEEDED", True),)),
}


async def test_every_ending_is_one_sum_everywhere(database_url: str, tmp_path: Path) -> None:
    database = await asyncpg.connect(database_url.replace("postgresql+asyncpg", "postgresql"))
    try:
        async with outside() as world, at_work(database_url, world, SETTINGS) as running:
            for number, (name, ending) in enumerate(ENDINGS.items()):
                scene = Scene(person=await running.person(f"person{number}"), world=world, database=database)
                played = await ending.play(scene)
                found = [await told(scene, id_) for id_ in played]
                assert found[-1]["status"] == ending.status, name
                calls = [call for each in found for call in each["attempts"]]
                assert tuple((call["status"], Decimal(call["cost"]) > 0) for call in calls) == ending.calls, name
                await check(scene, name, found, calls)
            person = await running.person("deleter")
            scene = Scene(person=person, world=world, database=database)
            (left,) = [await told(scene, id_) for id_ in await deleted(scene)]
            spent = (await person.ask(BOOKS))["viewer"]
            assert Decimal(spent["usage"]["cost"]) == Decimal(spent["budgets"][0]["spent"]) > Decimal(left["cost"])
        code, printed = await reconcile(tmp_path, database_url)
        assert (code, "All entries agree." in printed) == (0, True), printed
    finally:
        await database.close()


async def check(scene: Scene, name: str, found: list[dict[str, Any]], calls: list[dict[str, Any]]) -> None:
    """All that tells of a person's money tells the same."""
    for each in found:
        bill = sum((Decimal(call["cost"]) for call in each["attempts"]), Decimal(0))
        if each["attempts"]:
            assert Decimal(each["cost"]) == bill, name
            assert each["usage"] == {kind: sum(call["usage"][kind] for call in each["attempts"]) for kind in TOKENS}
        elif each["isCached"]:
            assert Decimal(each["cost"]) == 0, name
        else:
            assert each["cost"] is None, name
    spent = sum((Decimal(call["cost"]) for call in calls), Decimal(0))
    viewer = (await scene.person.ask(BOOKS))["viewer"]
    assert [each["period"] for each in viewer["budgets"]] == ["DAY", "MONTH"]
    for budget in viewer["budgets"]:
        amounts = [Decimal(budget[each]) for each in ("spent", "reserved", "unpricedCount")]
        assert amounts == [spent, Decimal(0), Decimal(0)], name
    usage = viewer["usage"]
    assert (usage["callCount"], usage["unpricedCount"], Decimal(usage["cost"])) == (len(calls), 0, spent), name
    assert {kind: usage[kind] for kind in TOKENS} == {
        kind: sum(call["usage"][kind] for call in calls) for kind in TOKENS
    }, name


async def told(scene: Scene, id_: str) -> dict[str, Any]:
    """A generation with its calls."""
    return dict((await scene.person.ask(GENERATION, id=id_))["generation"])


def uuid_of(id_: str) -> UUID:
    return ids.decode_as(ids.NodeType.GENERATION, id_)
