"""What every test may ask for: a real PostgreSQL with the schema in it, a place for data, and no silent skips in CI."""

from __future__ import annotations

import asyncio
import functools
import itertools
import os
import shutil
import tempfile
import time
from collections.abc import Generator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import httpx
import pytest
from hypothesis import HealthCheck, settings

from ops.config import Config
from ops.embedded_postgres import EmbeddedPostgres

_IS_CI = os.environ.get("CI") == "true"
_CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")
_LONG_FOR_A_TEST = timedelta(seconds=90)
_database_numbers = itertools.count(1)
# What a machine has time for says nothing of the product; and a failure that comes by chance tells nobody who changed
# something what to do: in CI the examples are always the same, everywhere else they are new ones.
settings.register_profile(
    "tests", deadline=None, derandomize=_IS_CI, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("tests")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI everything that a test may lack is installed: a skip would be a test that nobody runs."""
    report = yield
    if _IS_CI and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"Skipped, which is a failure in CI: {reason}"
    return report


@pytest.fixture(scope="session", autouse=True)
def _certificates_are_read_once() -> Iterator[None]:
    """Each client of httpx, of the product's and of the tests', reads all there are, and then talks to loopback."""
    with pytest.MonkeyPatch.context() as patch:
        cached = functools.cache(httpx.create_ssl_context)
        patch.setattr("httpx._transports.default.create_ssl_context", cached)
        yield


@pytest.fixture(autouse=True)
def _no_configuration_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """The developer's own keys and addresses are nothing that a test may meet."""
    for name in Config.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def within_one_day() -> None:
    """For what is counted by the day: a test that begins shortly before midnight (UTC) waits until it is over."""
    now = datetime.now(UTC)
    until_midnight = datetime.combine(now + timedelta(days=1), datetime.min.time(), UTC) - now
    if until_midnight < _LONG_FOR_A_TEST:
        time.sleep(until_midnight.total_seconds() + 1)


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A new data folder, gone afterwards. Not below tmp_path: PostgreSQL's user, if we are root, may not go there."""
    folder = Path(tempfile.mkdtemp(prefix="notion-assistant-test-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL server for the tests of this process, without the care for crashes that makes it slow."""
    folder = Path(tempfile.mkdtemp(prefix="notion-assistant-test-"))
    server = EmbeddedPostgres(folder, is_durable=False)
    server.start()
    yield server
    server.stop()
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def template_database(postgres: EmbeddedPostgres) -> str:
    """The name of a database that holds the migrated schema and that nobody is connected to."""
    from persistence.migrate import upgrade

    _execute(postgres.url, 'CREATE DATABASE "template"')
    upgrade(_named(postgres.url, "template"))
    return "template"


@pytest.fixture
def database_url(postgres: EmbeddedPostgres, template_database: str) -> Iterator[str]:
    """A new database with the migrated schema, for this test alone (postgresql+asyncpg://...)."""
    yield from _new_database(postgres, template=template_database)


@pytest.fixture
def empty_database_url(postgres: EmbeddedPostgres) -> Iterator[str]:
    """A new database with nothing in it, for this test alone."""
    yield from _new_database(postgres, template="template0")


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """Debian's Chromium, for playwright's `executable_path`."""
    for name in _CHROMIUM_NAMES:
        if path := shutil.which(name):
            return path
    pytest.skip("Chromium is not installed (on Debian: apt-get install chromium)")


def _new_database(postgres: EmbeddedPostgres, *, template: str) -> Iterator[str]:
    name = f"test_{next(_database_numbers)}"
    # A third of the time that it takes with PostgreSQL's usual strategy, and there is one for every other test.
    _execute(postgres.url, f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY = FILE_COPY')
    yield _named(postgres.url, name)
    _execute(postgres.url, f'DROP DATABASE "{name}" WITH (FORCE)')


def _named(url: str, database: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{database}"))


def _execute(url: str, statement: str) -> None:
    async def run() -> None:
        connection = await asyncpg.connect(url.replace("postgresql+asyncpg", "postgresql"))
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    # Its own loop, so that the one of pytest-asyncio is left alone.
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        runner.run(run())
