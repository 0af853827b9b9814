"""Two instances on one database: what one writes, the other shows while it is written, with and without Redis."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from uuid_utils.compat import uuid7

from composition import Assistant, assistant
from domain.account import Client, Viewer
from domain.generation import GenerationStatus
from domain.generation_feed import CallFailed, Finished, TextAdded
from domain.generation_service import GenerateContent
from ops.config import Config
from ops.encryption_key import EncryptionKey
from tests.standins.openai import OpenAIStandin
from tests.standins.scenario import DEFAULT_ANSWER, Failure, Gate, Scenario
from tests.standins.server import running
from tests.standins.valkey import running_valkey
from tests.waiting import PATIENCE_SECONDS

PASSWORD = "correct horse battery staple"
TOKENS_PER_SECOND = 1_000.0
WATCHERS = 20
PIECES = 15
KEYS = (EncryptionKey.generate(),)


@asynccontextmanager
async def two_instances(
    database_url: str, redis_url: str | None, openai_url: str = "http://127.0.0.1:1"
) -> AsyncIterator[tuple[Assistant, Assistant]]:
    """The first one runs everything: the second takes no work."""
    config = Config.model_validate(
        {
            "database_pool_size": 3,
            "redis_url": redis_url,
            "openai_api_key": "sk-server-0123456789",
            "openai_base_url": openai_url,
        }
    )
    async with AsyncExitStack() as stack:
        first, second = [
            await stack.enter_async_context(
                assistant(config, database_url=database_url, keys=KEYS, demo_tokens_per_second=TOKENS_PER_SECOND)
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


async def watched_elsewhere(first: Assistant, second: Assistant, openai: OpenAIStandin, *, pieces: int) -> None:
    """The second instance shows what the first one writes: each of so many pieces before the next is written."""
    viewer = await somebody(first)
    gate = Gate()
    openai.enqueue(Scenario(gate=gate))
    asked = GenerateContent(prompt="Bees on a roof", provider_id="openai")
    generation = await second.services.generations.start(viewer, asked)
    shown = ""
    async with asyncio.timeout(PATIENCE_SECONDS):
        gate.open(1)
        async for event in second.services.generations.watch(viewer, generation.id, after=None):
            if isinstance(event, TextAdded):
                shown += event.text
                pieces -= 1
                gate.open(1 if pieces > 0 else None)
            if isinstance(event, Finished):
                assert event.generation.status is GenerationStatus.SUCCEEDED
    assert pieces <= 0
    stored = (await first.services.generations.transcripts(viewer, [generation.id]))[generation.id].content
    assert shown == stored == DEFAULT_ANSWER


async def test_without_redis_the_other_instance_reads_the_store(database_url: str) -> None:
    openai = OpenAIStandin()
    async with running(openai) as url, two_instances(database_url, None, url) as (first, second):
        await watched_elsewhere(first, second, openai, pieces=3)


async def test_with_redis_the_other_instance_is_as_good_as_live(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    openai = OpenAIStandin()
    with running_valkey() as valkey:
        async with running(openai) as url:
            with monkeypatch.context() as patch:
                # What is shown while it is written has not come by the store.
                patch.setattr("domain.generator.FLUSH_SECONDS", 3_600.0)
                async with two_instances(database_url, valkey.url, url) as (first, second):
                    await watched_elsewhere(first, second, openai, pieces=PIECES)

            # Nothing is lost when Redis is: the store goes on telling.
            async with two_instances(database_url, valkey.url, url) as (first, second):
                await watched_elsewhere(first, second, openai, pieces=1)
                valkey.kill()
                await watched_elsewhere(first, second, openai, pieces=3)


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


async def test_what_was_cancelled_elsewhere_is_not_given_back_by_an_instance_that_stops(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its owner does not hear of the cancellation before it stops.
    monkeypatch.setattr("domain.generator.CANCEL_POLL_SECONDS", 3_600.0)
    openai = OpenAIStandin()
    openai.enqueue(Scenario(failure=Failure.RATE_LIMITED, retry_after="25"))
    async with running(openai) as url, two_instances(database_url, None, url) as (first, second):
        viewer = await somebody(first)
        asked = GenerateContent(prompt="Bees on a roof", provider_id="openai")
        generation = await second.services.generations.start(viewer, asked)
        async with asyncio.timeout(PATIENCE_SECONDS):
            async for event in second.services.generations.watch(viewer, generation.id, after=None):
                assert isinstance(event, CallFailed)
                break

        marked = await second.services.generations.cancel(viewer, generation.id)
        assert marked.status is GenerationStatus.RUNNING
        await first.generator.drain(timeout_seconds=PATIENCE_SECONDS)

        ended = await second.services.generations.get(viewer, generation.id)
    assert ended.status is GenerationStatus.CANCELLED
    assert len(openai.requests) == 1
