"""All accounts, and everything that is a user's, as administration and privacy need them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from domain.account import Role, User
from domain.page import Page, PageRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Belongings:
    """Some of a user's rows of one table, without secrets; `position` is where to go on, None at the end."""

    table: str
    rows: Sequence[Mapping[str, object]]
    position: tuple[object, ...] | None


class UserDirectory(Protocol):
    """All accounts, as administrators see them."""

    async def find_many(self, user_ids: Sequence[UUID]) -> dict[UUID, User]:
        """Those that exist."""

    async def list_page(self, page: PageRequest, *, search: str | None) -> Page[User]:
        """A page of the accounts whose name or address contains the search, the oldest first."""

    async def count(self, *, search: str | None) -> int:
        """How many there are."""

    async def lock_administrators(self) -> frozenset[UUID]:
        """The active administrators, none of whom ceases to be one before the transaction has ended."""

    async def change(self, user_id: UUID, *, role: Role, is_active: bool, now: datetime) -> User:
        """Replaces both."""

    async def count_belongings(self, user_id: UUID) -> dict[str, int]:
        """How many rows of each table are the user's."""

    def list_tables(self) -> Sequence[str]:
        """The tables that hold what is a user's."""

    async def read_belongings(
        self, user_id: UUID, table: str, *, after: tuple[object, ...] | None, size: int
    ) -> Belongings:
        """The next rows of one table that are the user's, after a position."""

    async def delete(self, user_id: UUID) -> None:
        """Deletes the account with all that is the user's."""
