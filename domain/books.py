"""Whether the books agree: what is kept as a sum, and what it is the sum of."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """One book: the sum of its sources, the sum of what is kept of them, and how many entries differ; in USD."""

    name: str
    counted: Decimal
    kept: Decimal
    differing_count: int

    @property
    def agrees(self) -> bool:
        """Whether every single entry is as it should be."""
        return self.differing_count == 0


class Books(Protocol):
    """The sums that the database keeps."""

    async def compare(self) -> tuple[Balance, ...]:
        """All books, as they are at one moment."""

    async def repair(self) -> None:
        """Makes every sum anew of what it is the sum of. Whoever spends waits meanwhile."""
