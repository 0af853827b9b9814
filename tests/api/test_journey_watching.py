"""However a generation is watched, everybody is told the same: all of it, once, in order, and for no connection."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from domain.generation_feed import MAX_EVENT_CHARS
from tests.api.assistant import (
    CANCEL,
    GENERATE,
    WATCH,
    at_work,
    event_of,
    kinds_of,
    outside,
    over_sse,
    over_websocket,
    start,
    stored,
    text_of,
    until_text,
)
from tests.api.graphql_socket import Socket
from tests.api.product import Person
from tests.standins.scenario import DEFAULT_ANSWER, DEFAULT_REASONING, Fault, Gate, Scenario, cut
from tests.waiting import until

SETTINGS = {"openai_api_key": "sk-server-0123456789", "max_running_generations_per_user": 100}
REASONING = "".join(DEFAULT_REASONING)
MANY = 50


def held(gate: Gate) -> Scenario:
    """The usual answer, whose pieces come when the test says so."""
    return Scenario(text=cut(DEFAULT_ANSWER, 10), gate=gate)


async def test_a_reader_who_comes_back_misses_nothing_and_sees_nothing_twice(database_url: str) -> None:
    async with outside() as world, at_work(database_url, world, SETTINGS) as running:
        ada = await running.person()
        gate = Gate(1)
        world.openai.enqueue(held(gate))
        generation_id = await start(ada)
        events = await until_text(ada, generation_id)
        # The connection is lost and made again, over one transport and the other, while the answer grows.
        for _ in range(4):
            async with ada.socket() as ws:
                after = events[-1]["cursor"]
                await ws.subscribe("1", WATCH, variables={"id": generation_id, "after": after})
                for _ in range(3):
                    gate.open(1)
                    events.append(event_of((await ws.receive())["payload"]))
        gate.open()
        events += await over_sse(ada, generation_id, after=events[-1]["cursor"])

        assert kinds_of(events) == ["GenerationReasoning", "GenerationText", "GenerationFinished"]
        assert text_of(events).encode() == DEFAULT_ANSWER.encode()
        assert text_of(events, "GenerationReasoning") == REASONING
        assert len({each["cursor"] for each in events[:-1]}) == len(events) - 1, "every text has its own place"

        # And once it has ended, the rest can be had from any place, with the same bytes.
        for place, event in enumerate(events):
            rest = await over_websocket(ada, generation_id, after=event["cursor"])
            assert (text_of(events[: place + 1]) + text_of(rest)).encode() == DEFAULT_ANSWER.encode()
            assert rest[-1] == events[-1]
            assert len(rest) <= 3, "what is stored comes at once, not piece by piece"


async def test_all_watchers_see_the_same_however_late(database_url: str) -> None:
    async with outside() as world, at_work(database_url, world, SETTINGS) as running:
        ada = await running.person()
        gate = Gate(5)
        world.openai.enqueue(held(gate))
        generation_id = await start(ada)
        async with asyncio.TaskGroup() as group:
            early = [group.create_task(over_websocket(ada, generation_id)) for _ in range(2)]
            await until_text(ada, generation_id)
            halfway = await stored(ada, generation_id)
            late = [group.create_task(watch(ada, generation_id)) for watch in (over_websocket, over_sse)]
            gate.open()
        assert halfway["status"] == "RUNNING"
        afterwards = await over_sse(ada, generation_id)

        for events in [task.result() for task in early + late] + [afterwards]:
            assert text_of(events) == DEFAULT_ANSWER
            assert text_of(events, "GenerationReasoning") == REASONING
            assert events[-1] == afterwards[-1]
        assert (world.openai.streams_opened, world.openai.streams_abandoned) == (1, 0)


async def test_two_subscriptions_share_a_socket(database_url: str) -> None:
    async with outside() as world, at_work(database_url, world, SETTINGS) as running:
        ada = await running.person()
        gate = Gate(1)
        world.openai.enqueue(held(gate), Scenario(text=("Short.",)))
        ids = {"long": await start(ada)}
        await world.openai.wait_requests(1)
        ids["short"] = await start(ada)
        seen: dict[str, list[dict[str, object]]] = {"long": [], "short": []}
        async with ada.socket() as ws:
            for name, generation_id in ids.items():
                await ws.subscribe(name, WATCH, variables={"id": generation_id})
            completed: list[str] = []
            while len(completed) < 2:
                message = await ws.receive()
                if message["type"] == "complete":
                    completed.append(message["id"])
                    gate.open()
                else:
                    seen[message["id"]].append(event_of(message["payload"]))
        assert completed == ["short", "long"], "the quick one does not wait for the slow one"
        texts = sorted([text_of(seen["long"]), text_of(seen["short"])])
        assert texts == sorted([DEFAULT_ANSWER, "Short."])


async def test_waiting_answers_when_it_has_ended(database_url: str) -> None:
    async with outside() as world, at_work(database_url, world, SETTINGS) as running:
        ada = await running.person()
        world.openai.enqueue(Scenario(piece_delay_seconds=0.01), Scenario(fault=Fault.TRUNCATE, fault_after=2))
        payload = await ada.do(GENERATE, input={"prompt": "Hello.", "wait": True})
        assert payload["generation"]["status"] == "SUCCEEDED"
        assert (await stored(ada, payload["generation"]["id"]))["content"] == DEFAULT_ANSWER
        payload = await ada.do(GENERATE, input={"prompt": "Hello.", "wait": True})
        assert payload["generation"]["status"] == "FAILED"


async def test_a_client_that_waits_no_longer_stops_nothing(database_url: str) -> None:
    async with outside() as world, at_work(database_url, world, SETTINGS) as running:
        ada = await running.person()
        gate = Gate(1)
        world.openai.enqueue(held(gate))
        waiting = asyncio.create_task(ada.do(GENERATE, input={"prompt": "Hello.", "wait": True}))
        await world.openai.wait_requests(1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        gate.open()
        found = (await ada.ask("{ viewer { history { nodes { id } } } }"))["viewer"]["history"]["nodes"]
        assert len(found) == 1
        assert text_of(await over_sse(ada, found[0]["id"])) == DEFAULT_ANSWER
        assert (world.openai.streams_opened, world.openai.streams_abandoned) == (1, 0)


async def test_watchers_hold_no_connection_to_the_database(database_url: str) -> None:
    async with outside() as world, at_work(database_url, world, {**SETTINGS, "database_pool_size": 2}) as running:
        ada = await running.person()
        # It has begun, and then nothing comes for a long time: neither is there anything to store.
        world.openai.enqueue(Scenario(fault=Fault.STALL_ALIVE, fault_after=1))
        generation_id = await start(ada)
        await until_text(ada, generation_id)
        async with AsyncExitStack() as stack:
            watchers = await _watch_many_times(ada, generation_id, stack)
            store = running.assistant.store
            # The server's own rounds take a connection now and then, for a moment; a watcher would hold on to one.
            await until(lambda: store.connections_in_use == 0)
            # With a pool of two, this would not even be answered if any of them held one.
            assert (await stored(ada, generation_id))["status"] == "RUNNING"

            await ada.do(CANCEL, input={"id": generation_id})
            for ws in watchers:
                events = []
                while (message := await ws.receive())["type"] == "next":
                    events.append(event_of(message["payload"]))
                assert events[-1]["generation"]["status"] == "CANCELLED"
        await world.openai.wait_closed()


async def _watch_many_times(person: Person, generation_id: str, stack: AsyncExitStack) -> list[Socket]:
    """Sockets on which the first event has arrived."""
    watchers = []
    for _ in range(MANY):
        ws = await stack.enter_async_context(person.socket())
        await ws.subscribe("1", WATCH, variables={"id": generation_id})
        watchers.append(ws)
    for ws in watchers:
        assert event_of((await ws.receive())["payload"])["__typename"] in ("GenerationReasoning", "GenerationText")
    return watchers


async def test_a_long_answer_in_every_script_arrives_byte_for_byte(database_url: str) -> None:
    answer = "naïve 漢字 🚀👩‍🚀 \u202eabc\u202c \u0301 e\u0301 ﷽ \U0001f9d1\u200d\U0001f4bb\n" * 20
    async with outside() as world, at_work(database_url, world, SETTINGS) as running:
        ada = await running.person()
        # One byte a write, so that every character and every event is cut somewhere on its way.
        world.openai.enqueue(Scenario(text=cut(answer, 7), bytewise=True))
        generation_id = await start(ada)
        events = await over_websocket(ada, generation_id)
        assert text_of(events).encode() == answer.encode()
        assert (await stored(ada, generation_id))["content"].encode() == answer.encode()
        for event in events[:: max(1, len(events) // 10)]:
            place = events.index(event)
            rest = await over_sse(ada, generation_id, after=event["cursor"])
            assert (text_of(events[: place + 1]) + text_of(rest)).encode() == answer.encode()


async def test_a_long_answer_is_told_in_parts_and_can_be_gone_on_with_after_each(database_url: str) -> None:
    line = "naïve 漢字 🚀👩‍🚀\n"
    reasoning, answer = line * 3_000, line * 10_000
    async with outside() as world, at_work(database_url, world, SETTINGS) as running:
        ada = await running.person()
        world.openai.enqueue(Scenario(reasoning=(reasoning,), text=(answer,)), Scenario())
        events = await over_sse(ada, generation_id := await start(ada))
        again = await over_sse(ada, generation_id)
        short = await start(ada)
        await over_sse(ada, short)
        # What is short is told at once, as ever.
        names = ["GenerationReasoning", "GenerationText", "GenerationFinished"]
        assert [each["__typename"] for each in await over_sse(ada, short)] == names
        for told in (events, again):
            assert kinds_of(told) == names
            assert max(len(each.get("text", "")) for each in told) <= MAX_EVENT_CHARS
            assert (text_of(told, "GenerationReasoning"), text_of(told)) == (reasoning, answer)
        for place, event in enumerate(again):
            rest = again[: place + 1] + await over_sse(ada, generation_id, after=event["cursor"])
            assert (text_of(rest, "GenerationReasoning"), text_of(rest)) == (reasoning, answer)
