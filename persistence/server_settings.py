"""What administrators have decided for the whole server."""

from __future__ import annotations

from sqlalchemy import Select, select, update

from domain.server_settings import ServerSettings, SignUpPolicy
from persistence.statements import Statements
from persistence.tables import server_settings


class PostgresServerSettings:
    """Behind the port ServerSettingsStore: one row, which is there from the beginning, so that it can be locked."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def get(self) -> ServerSettings:
        """As they are."""
        return await self._read(_QUERY)

    async def hold(self) -> ServerSettings:
        """As they are, and stay until the transaction ends; several transactions may hold them."""
        return await self._read(_QUERY.with_for_update(read=True))

    async def lock(self) -> ServerSettings:
        """As they are, and stay until the transaction ends but for what it changes itself: changes take turns."""
        return await self._read(_QUERY.with_for_update())

    async def put(self, settings: ServerSettings) -> None:
        """Replaces them."""
        policy = settings.sign_up_policy
        await self._statements.change(
            update(server_settings).values(
                maintenance_message=settings.maintenance_message,
                sign_up_policy=None if policy is None else policy.value,
            )
        )

    async def _read(self, query: Select[tuple[str | None, str | None]]) -> ServerSettings:
        (row,) = await self._statements.rows(query)
        policy = row["sign_up_policy"]
        return ServerSettings(
            maintenance_message=row["maintenance_message"],
            sign_up_policy=None if policy is None else SignUpPolicy(policy),
        )


_QUERY: Select[tuple[str | None, str | None]] = select(
    server_settings.c.maintenance_message, server_settings.c.sign_up_policy
)
