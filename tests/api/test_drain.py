"""The end of an instance that is told to stop while it works."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from persistence.advisory_lock import AdvisoryLock
from tests.api.assistant import WATCH
from tests.api.product import product
from tests.waiting import until

GENERATE = """
mutation ($input: GenerateContentInput!) {
  generateContent(input: $input) { generation { id } errors { message code field } }
}
"""
_WAITERS = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"


@asynccontextmanager
async def nobody_claims(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """Whoever takes a generation to run waits until this is over."""
    connection = await asyncpg.connect(database_url.replace("postgresql+asyncpg", "postgresql"))
    try:
        async with connection.transaction():
            await connection.execute(
                str(AdvisoryLock.GENERATION_CLAIM.taken().compile(compile_kwargs={"literal_binds": True}))
            )
            yield connection
    finally:
        await connection.close()


async def test_what_was_being_taken_when_the_drain_began_comes_to_its_end(database_url: str) -> None:
    async with product(database_url, tokens_per_second=300) as running:
        ada = await running.person()
        async with asyncio.TaskGroup() as group:
            async with nobody_claims(database_url) as connection:
                await ada.do(GENERATE, input={"prompt": "Bees"})
                while not await connection.fetchval(_WAITERS):  # noqa: ASYNC110  (PostgreSQL tells nobody)
                    await asyncio.sleep(0.01)
                draining = group.create_task(running.assistant.drain())
                await asyncio.sleep(0)  # it has begun
            await draining
        (node,) = (await ada.ask("{ viewer { history { nodes { status content } } } }"))["viewer"]["history"]["nodes"]
        assert node["status"] == "SUCCEEDED"
        assert node["content"]


async def test_who_watches_what_runs_elsewhere_is_sent_there_at_the_end(database_url: str) -> None:
    async with product(database_url) as running:
        ada = await running.person()
        await running.assistant.generator.drain(timeout_seconds=0)
        created = await ada.do(GENERATE, input={"prompt": "Bees"})
        body = {"query": WATCH, "variables": {"id": created["generation"]["id"]}}
        headers = {**ada.headers, "accept": "text/event-stream"}
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(ada.http.post("/graphql", json=body, headers=headers))
            waiting = group.create_task(ada.fail(GENERATE, input={"prompt": "More bees", "wait": True}))
            await until(lambda: running.assistant.feed.watch_count == 2)
            await running.assistant.drain()
        # In good order, but not complete.
        assert "event: complete" not in watching.result().text
        assert waiting.result() == ("UNAVAILABLE", None)
        assert running.assistant.feed.watch_count == 0
