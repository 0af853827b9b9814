"""What the rig's tests share: their size, their seed, and a PostgreSQL."""

from __future__ import annotations

import os
import random
import secrets
import sys
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass

import pytest

from tests.faults.database import RigPostgres, rig_postgres
from tests.faults.rig import Cluster, worth_reading

IS_FULL = os.environ.get("FAULTS_SIZE", "quick") == "full"
_FULL_TIMEOUT_SECONDS = 1500


@dataclass(frozen=True, slots=True)
class Size:
    """How much of a scenario is played: a little with every run of the tests, all of it with `make soak`."""

    is_full: bool

    def pick(self, *, quick: int, full: int) -> int:
        """A number."""
        return full if self.is_full else quick


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Only the full size takes longer than a test may."""
    for item in items:
        if IS_FULL and item.get_closest_marker("faults") is not None:
            item.add_marker(pytest.mark.timeout(_FULL_TIMEOUT_SECONDS))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """The end of a shared cluster is too late to show its logs."""
    report = yield
    running = getattr(item, "funcargs", {}).get("running")
    if report.failed and isinstance(running, Cluster):
        report.sections.append(("Logs of the instances", worth_reading(running.instances)))
    return report


@pytest.fixture(scope="session")
def size() -> Size:
    """FAULTS_SIZE, quick or full."""
    return Size(IS_FULL)


Say = Callable[[str], None]


@pytest.fixture
def say(request: pytest.FixtureRequest, pytestconfig: pytest.Config) -> Iterator[Say]:
    """Prints a line on the terminal, whether or not the test fails, and in the end how long it took."""
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")
    started_at = time.monotonic()

    def line(text: str) -> None:
        with capture.global_and_fixture_disabled():
            print(f"\nfaults: {request.node.name}: {text}", file=sys.stderr, flush=True)

    yield line
    line(f"{time.monotonic() - started_at:.1f} s")


@pytest.fixture
def rng(say: Say) -> random.Random:
    """Where all that is left to chance comes from; FAULTS_SEED plays a run again, as far as the clock lets it.

    In CI chance is always the same: it is for changes to be judged, and `make soak` looks for what is new.
    """
    by_itself = "0" if os.environ.get("CI") == "true" and not IS_FULL else str(secrets.randbits(32))
    seed = os.environ.get("FAULTS_SEED") or by_itself
    say(f"FAULTS_SEED={seed}")
    return random.Random(seed)


@pytest.fixture(scope="session")
def rig_server() -> Iterator[RigPostgres]:
    """A PostgreSQL for the scenarios that leave it alone."""
    with rig_postgres() as postgres:
        yield postgres
