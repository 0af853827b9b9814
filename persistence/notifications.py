"""Tells this instance at once that another one has queued work; without it a poll finds out within a second."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import asyncpg
from sqlalchemy import func, select
from sqlalchemy.sql import Select

from domain.errors import Unavailable
from domain.worker import Round
from persistence.engine import create_engine
from persistence.faults import translated_faults

_CHANNEL: Final = "notion_assistant_work"
_RETRY_SECONDS: Final = 1.0
_CHECK_SECONDS: Final = 5.0


def work_announced() -> Select[tuple[Any]]:
    """Says that there is work, when the transaction commits.

    For each piece of work, never for a token of text: transactions that notify commit one after another.
    """
    return select(func.pg_notify(_CHANNEL, ""))


class WorkNotifications:
    """Listens on a connection of its own, and makes it anew whenever it breaks."""

    def __init__(self, url: str, on_work: Callable[[], None]) -> None:
        self._url = url
        self._on_work = on_work

    async def run(self) -> None:
        """Works until cancelled."""
        while True:
            with Round("notifications"):
                await self._listen()
            await asyncio.sleep(_RETRY_SECONDS)

    async def _listen(self) -> None:
        engine = create_engine(self._url, pool_size=1, application_name="notion-assistant notifications")
        try:
            with translated_faults():
                # Outside of any transaction, for one that idles is ended.
                async with engine.connect() as connection:
                    connection = await connection.execution_options(isolation_level="AUTOCOMMIT")
                    driver: Any = (await connection.get_raw_connection()).driver_connection  # Any: asyncpg's, untyped
                    await driver.add_listener(_CHANNEL, lambda *_: self._on_work())
                    # What was announced while nobody listened.
                    self._on_work()
                    while True:
                        await asyncio.sleep(_CHECK_SECONDS)
                        await connection.execute(select(1))
        except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise Unavailable("The database cannot be reached at the moment.") from error
        finally:
            await engine.dispose()
