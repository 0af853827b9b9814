"""Two instances on one database: what one writes, the other shows while it is written, with and without Redis."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from uuid_utils.compat import uuid7

from composition import Assistant, assistant
from domain.account import Client, Viewer
from domain.generation import GenerationStatus
from domain.generation_feed import Finished, TextAdded
from domain.generation_service import GenerateContent
from domain.secret import Secret
from ops.config import Config
from ops.encryption_key import EncryptionKey
from tests.standins.valkey import running_valkey

PASSWORD = "correct horse battery staple"
TOKENS_PER_SECOND = 100.0
WATCHERS = 20


@asynccontextmanager
async def two_instances(database_url: str, redis_url: str | None) -> AsyncIterator[tuple[Assistant, Assistant]]:
    """The first one runs everything: the second takes no work."""
    keys = (EncryptionKey.generate(),)
    config = Config(database_pool_size=3, redis_url=None if redis_url is None else Secret(redis_url))
    async with AsyncExitStack() as stack:
        first, second = [
            await stack.enter_async_context(
                assistant(config, database_url=database_url, keys=keys, demo_tokens_per_second=TOKENS_PER_SECOND)
            )
            for _ in range(2)
        ]
        await second.generator.drain(timeout_seconds=0)
        yield first, second


async def somebody(instance: Assistant) -> Viewer:
    """A new user."""
    name = f"u{uuid7().hex}"
    sign_in = await instance.services.authentication.register(
        email=f"{name}@example.org", username=name, password=PASSWORD, client=Client(ip=None, user_agent=None)
    )
    return Viewer(user=sign_in.user, session_id=sign_in.session_id, authenticated_until=sign_in.expires_at)


async def watched_elsewhere(first: Assistant, second: Assistant) -> tuple[str, str, int]:
    """What the second instance shows of a run of the first, what is stored in the end, and how many pieces it saw."""
    viewer = await somebody(first)
    generation = await second.services.generations.start(viewer, GenerateContent(prompt="Bees on a roof"))
    pieces: list[str] = []
    async for event in second.services.generations.watch(viewer, generation.id, after=None):
        if isinstance(event, TextAdded):
            pieces.append(event.text)
        if isinstance(event, Finished):
            assert event.generation.status is GenerationStatus.SUCCEEDED
    stored = (await first.services.generations.transcripts(viewer, [generation.id]))[generation.id].content
    return "".join(pieces), stored, len(pieces)


async def test_without_redis_the_other_instance_reads_the_store(database_url: str) -> None:
    async with two_instances(database_url, None) as (first, second):
        shown, stored, pieces = await watched_elsewhere(first, second)
    assert shown == stored
    assert pieces >= 3


async def test_with_redis_the_other_instance_is_as_good_as_live(database_url: str) -> None:
    with running_valkey() as valkey:
        async with two_instances(database_url, valkey.url) as (first, second):
            shown, stored, pieces = await watched_elsewhere(first, second)
            assert shown == stored
            assert pieces >= 15

            # Nothing is lost when Redis is: the store goes on telling.
            valkey.kill()
            shown, stored, _ = await watched_elsewhere(first, second)
            assert shown == stored


async def test_all_watchers_elsewhere_see_the_same(database_url: str) -> None:
    async with two_instances(database_url, None) as (first, second):
        viewer = await somebody(first)
        generation = await second.services.generations.start(viewer, GenerateContent(prompt="Bees on a roof"))
        texts = [""] * WATCHERS

        async def watch(index: int) -> None:
            async for event in second.services.generations.watch(viewer, generation.id, after=None):
                if isinstance(event, TextAdded):
                    texts[index] += event.text

        async with asyncio.TaskGroup() as group:
            for index in range(WATCHERS):
                group.create_task(watch(index))
        stored = (await first.services.generations.transcripts(viewer, [generation.id]))[generation.id].content
    assert set(texts) == {stored}
