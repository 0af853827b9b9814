"""The engine: how connections to PostgreSQL are made, kept and given up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson
from sqlalchemy import PoolProxiedConnection, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

APPLICATION_NAME: Final = "notion-assistant"
CONNECT_TIMEOUT_SECONDS: Final = 10
POOL_TIMEOUT_SECONDS: Final = 10
STATEMENT_TIMEOUT_SECONDS: Final = 30
LOCK_TIMEOUT_SECONDS: Final = 10
# A unit of work waits for nothing outside, so one that idles has a stalled process, and others may wait for its locks.
IDLE_IN_TRANSACTION_TIMEOUT_SECONDS: Final = 30
# How much longer than the server's own deadline an answer is waited for, before the connection counts as lost.
_ANSWER_GRACE_SECONDS: Final = 5
_RECYCLE_SECONDS: Final = 1800


def create_engine(
    url: str,
    *,
    pool_size: int,
    application_name: str = APPLICATION_NAME,
    statement_timeout_seconds: int = STATEMENT_TIMEOUT_SECONDS,
    lock_timeout_seconds: int = LOCK_TIMEOUT_SECONDS,
) -> AsyncEngine:
    """An engine with at most `pool_size` connections, none of which is made before it is needed.

    `url` is libpq's (postgresql://user:password@host/name?sslmode=require) or that of SQLAlchemy's asyncpg dialect. A
    statement timeout of 0 is none.
    """
    address = make_url(url).set(drivername="postgresql+asyncpg")
    if (ssl_mode := address.query.get("sslmode")) is not None:
        address = address.difference_update_query(["sslmode"]).update_query_dict({"ssl": ssl_mode})
    engine = create_async_engine(
        address,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=POOL_TIMEOUT_SECONDS,
        # The connections used last are used first, so that those of a busy hour go idle and are then replaced.
        pool_use_lifo=True,
        pool_recycle=_RECYCLE_SECONDS,
        # Parameters are prompts and answers, and belong into no error text.
        hide_parameters=True,
        json_serializer=_to_json,
        json_deserializer=orjson.loads,
        connect_args={
            "timeout": CONNECT_TIMEOUT_SECONDS,
            "command_timeout": statement_timeout_seconds + _ANSWER_GRACE_SECONDS if statement_timeout_seconds else None,
            "server_settings": {
                "application_name": application_name,
                "statement_timeout": f"{statement_timeout_seconds}s",
                "lock_timeout": f"{lock_timeout_seconds}s",
                "idle_in_transaction_session_timeout": f"{IDLE_IN_TRANSACTION_TIMEOUT_SECONDS}s",
                # What the guarded statements rely on: each sees what was committed before it began.
                "default_transaction_isolation": "read committed",
                "timezone": "UTC",
                # Short queries: compiling them takes longer than running them.
                "jit": "off",
            },
        },
    )
    event.listen(engine.sync_engine, "checkout", _refuse_closed)
    return engine


def _refuse_closed(connection: DBAPIConnection, _entry: ConnectionPoolEntry, _proxy: PoolProxiedConnection) -> None:
    """Has the pool replace a connection that the server has closed.

    The driver has seen that happen, so asking it costs nothing; `pool_pre_ping` would cost three round trips each time.
    """
    driver_connection: Any = getattr(connection, "driver_connection", None)  # Any: asyncpg's, which has no type here
    if driver_connection is not None and driver_connection.is_closed():
        raise DisconnectionError("The server has closed this connection.")


def _to_json(value: object) -> str:
    return orjson.dumps(value, default=_plain).decode()


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is not JSON")
