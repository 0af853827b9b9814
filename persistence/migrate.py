"""Brings the database to the schema that this version of the program works with."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncEngine

from persistence.engine import create_engine
from persistence.faults import UNAVAILABLE, DatabaseUnavailable, translated_faults

_PROJECT: Final = Path(__file__).resolve().parent.parent
_OLDEST_POSTGRESQL: Final = 14
_DAMAGED: Final = "Its files are damaged: restore it from a backup."
_FOREIGN: Final = "It holds tables that are not this server's: give it an empty database."
# Whoever migrates is the operator, who learns what to do.
_SENTENCES: Final[Mapping[str, str]] = {
    **UNAVAILABLE,
    "08": "It cannot be reached: see that it runs, and that its address is right.",
    "28": "It refuses the sign-in: see that the user and the password are right.",
    "3D": "It does not exist: create it, with the encoding UTF8.",
    "42501": "It does not let its user make tables in the schema public: make that user its owner, or GRANT CREATE ON "
    "SCHEMA public TO the user.",
    "42710": _FOREIGN,
    "42723": _FOREIGN,
    "42P07": _FOREIGN,
    "53": "It has run out of disk space or memory.",
    "57": "It cannot be reached: it is starting or shutting down.",
    "58": "Its disk fails, or has lost files: look at the disk, and restore it from a backup.",
    "XX001": _DAMAGED,
    "XX002": _DAMAGED,
}
# Alembic keeps what it is doing in a global variable.
_ALEMBIC: Final = threading.Lock()


def upgrade(url: str, revision: str = "head") -> None:
    """Applies what is missing, all of it or nothing; instances that start at once take turns.

    Blocks, so it belongs into a thread where an event loop runs. Raises Unavailable, in words for the operator.
    """
    run_on(url, lambda connection: command.upgrade(_config(connection), revision))


def downgrade(url: str, revision: str) -> None:
    """Takes back what came after the revision ("base": everything, with all data). Blocks; raises like upgrade."""
    run_on(url, lambda connection: command.downgrade(_config(connection), revision))


async def is_at_head(engine: AsyncEngine) -> bool:
    """Whether the database has exactly the schema that this version works with. Raises Unavailable."""
    with translated_faults():
        async with engine.connect() as connection:
            return await connection.run_sync(_revisions) == _head_revisions()


def run_on(url: str, action: Callable[[Connection], None]) -> None:
    """Runs the action in one transaction on a database that is fit for the schema. Blocks; raises Unavailable."""
    # A loop of its own that does not become the thread's current one, which may be somebody else's.
    with _ALEMBIC, asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        runner.run(_run_on(url, action))


async def _run_on(url: str, action: Callable[[Connection], None]) -> None:
    # A migration may take its time, and waits for another instance's as long as that takes.
    engine = create_engine(
        url,
        pool_size=1,
        application_name="notion-assistant migration",
        statement_timeout_seconds=0,
        lock_timeout_seconds=0,
    )
    try:
        with translated_faults(_SENTENCES):
            async with engine.begin() as connection:
                await connection.run_sync(_check_server)
                await connection.run_sync(action)
    except CommandError as error:
        # Most often the database has been migrated by a newer version of the program.
        raise DatabaseUnavailable(f"This version of the program does not fit the database: {error}.") from error
    finally:
        await engine.dispose()


def _config(connection: Connection | None = None) -> Config:
    return Config(toml_file=_PROJECT / "pyproject.toml", attributes={"connection": connection})


def _check_server(connection: Connection) -> None:
    version = connection.scalar(text("SELECT current_setting('server_version_num')::int")) or 0
    if version // 10_000 < _OLDEST_POSTGRESQL:
        raise DatabaseUnavailable(
            f"PostgreSQL {_OLDEST_POSTGRESQL} or newer is needed, and this is {version // 10_000}.{version % 10_000}."
        )
    encoding = connection.scalar(text("SELECT current_setting('server_encoding')"))
    if encoding != "UTF8":
        raise DatabaseUnavailable(f"The database must have the encoding UTF8, and it has {encoding}.")


def _revisions(connection: Connection) -> frozenset[str]:
    return frozenset(MigrationContext.configure(connection).get_current_heads())


@cache
def _head_revisions() -> frozenset[str]:
    return frozenset(ScriptDirectory.from_config(_config()).get_heads())
