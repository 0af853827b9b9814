"""What administrators have decided for the whole server."""

from __future__ import annotations

from typing import Final

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from domain.server_settings import ServerSettings
from persistence.statements import Statements
from persistence.tables import server_settings

_THE_ROW: Final = 1


class PostgresServerSettings:
    """Behind the port ServerSettingsStore."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def get(self) -> ServerSettings:
        """As they are; before anything was decided, as they are made."""
        row = await self._statements.row(select(server_settings.c.maintenance_message))
        return ServerSettings(maintenance_message=None if row is None else row["maintenance_message"])

    async def put(self, settings: ServerSettings) -> None:
        """Replaces them."""
        values = {"maintenance_message": settings.maintenance_message}
        await self._statements.change(
            insert(server_settings)
            .values(id=_THE_ROW, **values)
            .on_conflict_do_update(index_elements=[server_settings.c.id], set_=values)
        )
