"""Runs migrations: on the connection that persistence.migrate gives, or, for the alembic command, on DATABASE_URL."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from alembic import context
from sqlalchemy import Connection, text

# The alembic command does not look for modules where it is started.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from persistence.advisory_lock import AdvisoryLock
from persistence.migrate import run_on
from persistence.tables import metadata

# How long a change may wait for those who use a table, while everybody else waits behind it.
_LOCK_TIMEOUT = "10s"


def _run(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=metadata, compare_server_default=True)
    with context.begin_transaction():
        # Instances that start at the same time migrate one after the other, and the others find it done.
        connection.execute(AdvisoryLock.MIGRATION.taken())
        connection.execute(text(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'"))
        context.run_migrations()


def _write_sql() -> None:
    context.configure(dialect_name="postgresql", target_metadata=metadata, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()


if context.is_offline_mode():
    _write_sql()
elif (given := context.config.attributes.get("connection")) is not None:
    _run(given)
elif url := os.environ.get("DATABASE_URL"):
    run_on(url, _run)
else:
    sys.exit("Set DATABASE_URL to the database to migrate: postgresql://user:password@host/name")
