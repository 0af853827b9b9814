"""Which instance does a periodic job."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class PeriodicSlots(Protocol):
    """Who does a periodic job this time."""

    async def claim(self, job: str, slot: datetime) -> bool:
        """Whether the job has not been done for this slot or a later one; then it counts as done with the commit."""
