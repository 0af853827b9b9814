"""Every way in which a provider fails, many times over: each run ends as it should, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import asyncpg
import pytest

from domain.account import Client, Viewer
from domain.errors import Unavailable
from domain.generation import GenerationStatus
from domain.generation_service import GenerateContent
from tests.api.assistant import at_work, outside
from tests.api.product import Product
from tests.api.test_endpoints import ADD, ADD_KEY
from tests.faults.conftest import Say, Size
from tests.standins.deepseek import DeepSeekStandin
from tests.standins.server import Standin
from tests.standins.server import running as standin_running
from tests.waiting import until

pytestmark = pytest.mark.faults

T = TypeVar("T")

_KEY = "sk-the-servers-own-0123456789"
_BUILT_IN = ("openai", "anthropic", "deepseek")
# An endpoint that an administrator adds, and for which everybody brings a key of their own.
_ADDED = "lab"
_PROVIDERS = (*_BUILT_IN, _ADDED)
# With more at work the stand-ins, which share the loop, are late themselves; those that are silent cost nothing.
_WORKING_TOGETHER = 4
_SILENT_TOGETHER = 80
_TOGETHER = _WORKING_TOGETHER + _SILENT_TOGETHER
_TOTAL_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Fate:
    """What a provider does, by the name that a prompt can ask for, and how the run must end."""

    name: str
    status: GenerationStatus
    reason: str | None = None
    is_cancelled: bool = False

    @property
    def is_silent(self) -> bool:
        """Whether there is next to nothing to do but to wait."""
        return self.reason == "TIMEOUT" or self.is_cancelled


_FAILED = GenerationStatus.FAILED
_FATES = (
    Fate("bytewise", GenerationStatus.SUCCEEDED),
    Fate("no-usage", GenerationStatus.SUCCEEDED),
    Fate("length", GenerationStatus.SUCCEEDED),
    Fate("filtered", GenerationStatus.SUCCEEDED),
    Fate("rate-limited-at-once", _FAILED, "RATE_LIMITED"),
    Fate("rate-limited-for-long", _FAILED, "RATE_LIMITED"),
    Fate("server-error", _FAILED, "OVERLOADED"),
    Fate("overloaded", _FAILED, "OVERLOADED"),
    Fate("bad-gateway", _FAILED, "OVERLOADED"),
    Fate("out-of-credit", _FAILED, "NO_BALANCE"),
    Fate("early-hang", _FAILED, "TIMEOUT"),
    Fate("early-stall", _FAILED, "TIMEOUT"),
    Fate("early-stall-alive", _FAILED, "TIMEOUT"),
    Fate("stall", _FAILED, "TIMEOUT"),
    Fate("stall-alive", _FAILED, "TIMEOUT"),
    Fate("early-disconnect", _FAILED, "TRUNCATED"),
    Fate("disconnect", _FAILED, "TRUNCATED"),
    Fate("reset", _FAILED, "TRUNCATED"),
    Fate("early-truncate", _FAILED, "TRUNCATED"),
    Fate("truncate", _FAILED, "TRUNCATED"),
    Fate("early-bad-json", _FAILED, "MALFORMED"),
    Fate("bad-json", _FAILED, "MALFORMED"),
    Fate("early-error-event", _FAILED, "OVERLOADED"),
    Fate("error-event", _FAILED, "OVERLOADED"),
    Fate("early-not-a-stream", _FAILED, "MALFORMED"),
    Fate("endless", GenerationStatus.CANCELLED, is_cancelled=True),
    Fate("early-stall", GenerationStatus.CANCELLED, is_cancelled=True),
)
_LEFTOVERS = """
SELECT (SELECT count(*) FROM content_history WHERE owner IS NOT NULL OR lease_until IS NOT NULL),
       (SELECT count(*) FROM provider_attempts WHERE status = 'RUNNING' OR finished_at IS NULL),
       (SELECT count(*) FROM generation_chunks)
"""


async def test_each_fault_ends_in_its_state_and_leaves_nothing_behind(
    database_url: str, size: Size, rng: random.Random, say: Say
) -> None:
    times = size.pick(quick=1, full=100)
    silence_seconds = size.pick(quick=8, full=15)
    lab = DeepSeekStandin()
    async with outside() as world, standin_running(lab) as lab_url:
        standins: list[Standin] = [world.openai, world.anthropic, world.deepseek, lab]
        files_before = _open_files()
        settings = {
            **{f"{provider}_api_key": _KEY for provider in _BUILT_IN},
            "private_endpoints": "127.0.0.0/8",
            "first_token_timeout_seconds": silence_seconds,
            "idle_timeout_seconds": silence_seconds,
            "generation_timeout_seconds": _TOTAL_SECONDS,
            "max_running_generations": _TOGETHER,
            "max_running_generations_per_user": _TOGETHER,
            "generations_per_minute": 0,
            "database_pool_size": 20,
            # Each failure is to show as it is, and not to be made good or kept from happening.
            "provider_retries": 0,
            "circuit_breaker_failures": 100_000,
        }
        async with at_work(database_url, world, settings) as running:
            viewer = await _viewer(running, lab_url)
            # The first call of each loads its SDK, which on a busy machine takes longer than a silence may.
            await _play(
                running, viewer, [(provider, Fate("stop", GenerationStatus.SUCCEEDED)) for provider in _PROVIDERS], rng
            )
            tasks_before = len(asyncio.all_tasks())
            work = [(provider, fate) for provider in _PROVIDERS for fate in _FATES] * times
            rng.shuffle(work)
            await _play(running, viewer, work, rng)
            for standin in standins:
                await standin.wait_closed()
            await until(lambda: running.assistant.generator.running_count == 0)
            await until(lambda: len(asyncio.all_tasks()) <= tasks_before)
            assert await _leftovers(database_url) == (0, 0, 0)
        await until(lambda: _open_files() <= files_before)
    calls = Counter((fate.name, "cancelled" if fate.is_cancelled else fate.reason or "ok") for _, fate in work)
    say(f"{len(work)} runs, {len(calls)} fates x {len(_PROVIDERS)} providers x {times}: each as it should")


async def _play(running: Product, viewer: Viewer, work: list[tuple[str, Fate]], rng: random.Random) -> None:
    """Plays them, many at a time, and looks at each as soon as it has ended."""
    generations = running.assistant.services.generations
    working, silent = asyncio.Semaphore(_WORKING_TOGETHER), asyncio.Semaphore(_SILENT_TOGETHER)

    async def one(provider: str, fate: Fate, patience_seconds: float) -> None:
        async with silent if fate.is_silent else working:
            request = GenerateContent(prompt=f"standin:{fate.name} please", provider_id=provider)
            started = await _patiently(lambda: generations.start(viewer, request))
            if fate.is_cancelled:
                await asyncio.sleep(patience_seconds)
                await _patiently(lambda: generations.cancel(viewer, started.id))
            found = await _patiently(lambda: generations.wait(viewer, started.id))
        seen = (found.status, found.failure and found.failure.reason)
        assert seen == (fate.status, fate.reason), f"{provider}: {fate.name}"
        if found.started_at is not None:  # one may be cancelled while it is still in line
            assert found.finished_at is not None
            assert found.finished_at - found.started_at < timedelta(seconds=_TOTAL_SECONDS)

    async with asyncio.TaskGroup() as group:
        for provider, fate in work:
            group.create_task(one(provider, fate, rng.uniform(0, 1)))


async def _patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """Asks again while the server says that it is too busy, as on a slow machine it may."""
    while True:
        try:
            return await ask()
        except Unavailable:
            await asyncio.sleep(0.5)


async def _viewer(running: Product, lab_url: str) -> Viewer:
    root, person = await running.administrator(), await running.person()
    await root.do(ADD, input={"id": _ADDED, "name": "The lab", "baseUrl": f"{lab_url}/v1"})
    await root.http.aclose()
    await person.do(ADD_KEY, input={"provider": _ADDED, "key": _KEY})
    viewer = await running.assistant.services.authentication.authenticate(
        person.headers["authorization"], Client(ip="127.0.0.1", user_agent="rig")
    )
    await person.http.aclose()
    assert viewer is not None
    return viewer


async def _leftovers(database_url: str) -> tuple[int, ...]:
    connection = await asyncpg.connect(database_url.replace("postgresql+asyncpg", "postgresql"))
    try:
        (found,) = await connection.fetch(_LEFTOVERS)
        return tuple(found)
    finally:
        await connection.close()


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
