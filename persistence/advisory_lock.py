"""The advisory locks: what only one connection of all instances may do at a time."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from sqlalchemy import Select, func, select

_NAMESPACE: Final = 0x4E6F7465  # keeps our numbers apart from those of other programs in the same database


class AdvisoryLock(IntEnum):
    """What is locked."""

    MIGRATION = 1
    GENERATION_CLAIM = 2
    PUBLICATION_CLAIM = 3
    SIGNING_KEYS = 40

    def taken(self) -> Select[None]:
        """The statement that waits for the lock and keeps it until the transaction ends."""
        return select(func.pg_advisory_xact_lock(_NAMESPACE, int(self)))
