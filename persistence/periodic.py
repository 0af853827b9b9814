"""Who does a periodic job this time."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.dialects.postgresql import insert

from persistence.statements import Statements
from persistence.tables import periodic_slots


class PostgresPeriodicSlots:
    """Behind the port PeriodicSlots: one row for each job, which only ever moves on."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def claim(self, job: str, slot: datetime) -> bool:
        """Whether the job has not been done for this slot or a later one; then it counts as done with the commit."""
        wanted = insert(periodic_slots).values(job=job, slot=slot)
        claimed = await self._statements.change(
            wanted.on_conflict_do_update(
                index_elements=[periodic_slots.c.job],
                set_={"slot": wanted.excluded.slot},
                where=periodic_slots.c.slot < wanted.excluded.slot,
            )
        )
        return claimed == 1
