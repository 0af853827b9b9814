"""The PostgreSQL servers of the rig, what is done to them, and direct looks into their data."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from ops.embedded_postgres import EmbeddedPostgres
from ops.postgres_folder import PidFile
from persistence.migrate import upgrade

_TEMPLATE = "template_of_the_rig"
_END_SECONDS = 30
_numbers = itertools.count(1)


class RigPostgres:
    """A durable PostgreSQL that can be made to crash, and whose databases are migrated copies of one template."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.server = EmbeddedPostgres(data_dir)

    def start(self) -> None:
        """Starts it, for the first time or after a crash."""
        self.server.start()

    def crash(self) -> None:
        """An immediate shutdown: every connection is cut and nothing is written, as when the machine loses power."""
        found = PidFile.read(self.data_dir / "postgres")
        assert found is not None
        os.kill(found.process_id, signal.SIGQUIT)
        deadline = time.monotonic() + _END_SECONDS
        while self.server.is_running:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        self.server.stop()

    async def crash_and_start(self) -> None:
        """Both, off the event loop."""
        await asyncio.to_thread(self.crash)
        await asyncio.to_thread(self.start)

    async def new_database(self) -> str:
        """The address of a new database with the schema in it."""
        if not await _rows(self.server.url, "SELECT 1 FROM pg_database WHERE datname = $1", _TEMPLATE):
            await execute(self.server.url, f'CREATE DATABASE "{_TEMPLATE}"')
            await asyncio.to_thread(upgrade, _named(self.server.url, _TEMPLATE))
        name = f"rig_{next(_numbers)}"
        await execute(self.server.url, f'CREATE DATABASE "{name}" TEMPLATE "{_TEMPLATE}"')
        return _named(self.server.url, name)


@contextmanager
def rig_postgres(place: Path | None = None) -> Iterator[RigPostgres]:
    """A new one in a folder of its own, gone afterwards."""
    # A short path, so that the address stays the same when it is started again: see ops.postgres_folder.
    folder = Path(tempfile.mkdtemp(prefix="faults-", dir=place))
    postgres = RigPostgres(folder)
    try:
        postgres.start()
        yield postgres
    finally:
        postgres.server.stop()
        shutil.rmtree(folder)


async def execute(url: str, statement: str, *values: object) -> None:
    """Runs one statement."""
    async with connection_to(url) as connection:
        await connection.execute(statement, *values)


async def rows(url: str, query: str, *values: object) -> list[asyncpg.Record]:
    """What a query answers."""
    return await _rows(url, query, *values)


async def _rows(url: str, query: str, *values: object) -> list[asyncpg.Record]:
    async with connection_to(url) as connection:
        return list(await connection.fetch(query, *values))


@asynccontextmanager
async def connection_to(url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection of one's own."""
    connection = await asyncpg.connect(url.replace("postgresql+asyncpg", "postgresql"), timeout=_END_SECONDS)
    try:
        yield connection
    finally:
        await connection.close(timeout=_END_SECONDS)


def _named(url: str, database: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{database}"))
