"""Who only watches holds no connection to the database: many subscriptions run on a small pool."""

from __future__ import annotations

import asyncio
import random

import pytest

from domain.generation import GenerationStatus
from tests.faults.checks import check_generations
from tests.faults.conftest import Say, Size
from tests.faults.database import RigPostgres
from tests.faults.outside import outside
from tests.faults.people import WATCH, Asked, Json, open_socket, people, receive, send
from tests.faults.rig import Cluster, Instance, cluster
from tests.faults.writer import Order
from tests.waiting import until

pytestmark = pytest.mark.faults

_POOL_SIZE = 5
_PER_SOCKET = 20
_SETTLE_SECONDS = 240


async def test_many_subscriptions_on_five_connections(
    rig_server: RigPostgres, size: Size, rng: random.Random, say: Say
) -> None:
    subscriptions = size.pick(quick=200, full=500)
    with outside(("only",)) as world:
        async with cluster(await rig_server.new_database(), world, database_pool_size=_POOL_SIZE) as running:
            (instance,) = running.instances
            crew = await people(running, 5, rng)
            # Silent until everybody has come, and has been looked at while nothing happens.
            world.writer.held = ("",)
            asked = [
                Asked(person=crew[number % len(crew)], order=Order(key=f"g{number}", paragraphs=20, piece_delay_ms=20))
                for number in range(subscriptions // _PER_SOCKET)
            ]
            for each in asked:
                await each.start()
            async with asyncio.timeout(_SETTLE_SECONDS), asyncio.TaskGroup() as group:
                for each in asked:
                    group.create_task(_watch(instance, each))
                # The workers look into it now and then, and that is all; a watcher would hold on to one.
                await until(lambda: _all_wait_without_a_connection(running, instance, subscriptions), _SETTLE_SECONDS)
                world.writer.held = ()
            await check_generations(running.database_url, asked, allowed={GenerationStatus.SUCCEEDED})
            running.check_logs()
            say(f"{subscriptions} subscriptions, pool of {_POOL_SIZE}, none in use while they wait")


async def _all_wait_without_a_connection(running: Cluster, instance: Instance, subscriptions: int) -> bool:
    active = await running.metric(instance, "assistant_streams_active")
    used = await running.metric(instance, "assistant_database_pool_used")
    return (active, used) == (subscriptions, 0)


async def _watch(instance: Instance, asked: Asked) -> None:
    """Many subscriptions on one socket, each of which must show the whole answer.

    A slow machine turns some of them away, when all of them want to begin or to read the end; these come again.
    """
    texts = {str(number): "" for number in range(_PER_SOCKET)}
    async with open_socket(instance) as socket:
        init = {"type": "connection_init", "payload": {"authorization": f"Bearer {asked.person.token}"}}
        await send(socket, init)
        await receive(socket)
        variables: dict[str, Json] = {each: {"id": asked.id, "after": None} for each in texts}

        async def subscribe(operation_id: str) -> None:
            payload = {"query": WATCH, "variables": variables[operation_id]}
            await send(socket, {"id": operation_id, "type": "subscribe", "payload": payload})

        for each in texts:
            await subscribe(each)
        open_ones, turned_away = set(texts), set()
        while open_ones:
            message = await receive(socket)
            operation_id, told = message["id"], message.get("payload", {})
            errors = told if message["type"] == "error" else told.get("errors", ())
            if errors:
                assert [each["extensions"]["code"] for each in errors] == ["UNAVAILABLE"]
                turned_away.add(operation_id)
            if message["type"] == "next" and not errors:
                event = told["data"]["generationEvents"]
                texts[operation_id] += event.get("text", "")
                variables[operation_id]["after"] = event["cursor"]
            if message["type"] in ("complete", "error"):
                if operation_id in turned_away:
                    turned_away.remove(operation_id)
                    await subscribe(operation_id)
                else:
                    open_ones.remove(operation_id)
    assert set(texts.values()) == {asked.order.text}
