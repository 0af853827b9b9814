"""Links to make an account or to choose another password."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, RowMapping, delete, exists, func, insert, select, update

from domain.account import Role
from domain.account_link import AccountLink, LinkPurpose
from domain.page import Page, PageRequest
from persistence.paging import read_page
from persistence.statements import Statements
from persistence.tables import account_links, users


class PostgresAccountLinks:
    """Behind the port AccountLinks: what was withdrawn is deleted, what was used is marked."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def add(self, link: AccountLink, *, secret_hash: bytes) -> None:
        """Stores a new one; an earlier one for the same user's password that was not used is deleted."""
        if link.user_id is not None:
            await self._statements.change(
                delete(account_links).where(account_links.c.user_id == link.user_id, account_links.c.used_at.is_(None))
            )
        await self._statements.change(
            insert(account_links).values(
                id=link.id,
                purpose=link.purpose.value,
                secret_hash=secret_hash,
                role=None if link.role is None else link.role.value,
                user_id=link.user_id,
                created_by=link.created_by,
                created_at=link.created_at,
                expires_at=link.expires_at,
            )
        )

    async def find_good(self, secret_hash: bytes, purpose: LinkPurpose, *, now: datetime) -> AccountLink | None:
        """One that was not used, has not run out, and whose maker is still an active administrator."""
        row = await self._statements.row(
            select(*_COLUMNS).where(
                account_links.c.secret_hash == secret_hash, account_links.c.purpose == purpose.value, *_is_good(now)
            )
        )
        return None if row is None else _link_of(row)

    async def use(self, link_id: UUID, *, now: datetime) -> bool:
        """Makes it void; False when it is not good any more."""
        changed = await self._statements.change(
            update(account_links).where(account_links.c.id == link_id, *_is_good(now)).values(used_at=now)
        )
        return changed == 1

    async def list_page(self, page: PageRequest, *, now: datetime) -> Page[AccountLink]:
        """A page of those that have not run out and whose maker is still an active administrator, the newest first."""
        return await read_page(
            self._statements,
            select(*_COLUMNS),
            page,
            position=account_links.c.id,
            conditions=_is_shown(now),
            is_descending=True,
            read=_link_of,
        )

    async def count(self, *, now: datetime) -> int:
        """How many these are."""
        row = await self._statements.row(
            select(func.count().label("size")).select_from(account_links).where(*_is_shown(now))
        )
        return 0 if row is None else row["size"]

    async def withdraw(self, link_id: UUID, *, now: datetime) -> AccountLink | None:
        """Deletes one of these that was not used; None when there is no such one."""
        row = await self._statements.row(
            delete(account_links).where(account_links.c.id == link_id, *_is_good(now)).returning(*_COLUMNS)
        )
        return None if row is None else _link_of(row)

    async def withdraw_all_by(self, user_id: UUID) -> int:
        """Deletes all that a user has made and nobody has used; answers how many."""
        return await self._statements.change(
            delete(account_links).where(account_links.c.created_by == user_id, account_links.c.used_at.is_(None))
        )

    async def purge(self, *, expired_before: datetime) -> int:
        """Deletes those that ran out before then; answers how many."""
        return await self._statements.change(delete(account_links).where(account_links.c.expires_at < expired_before))


_COLUMNS: Final = tuple(column for column in account_links.c if column is not account_links.c.secret_hash)


def _is_shown(now: datetime) -> tuple[ColumnElement[bool], ...]:
    """Not run out, and made by somebody who may still make such a link."""
    maker = users.c.id == account_links.c.created_by
    is_maker_in_office = exists().where(maker, users.c.is_active, users.c.role == Role.ADMIN.value)
    return (account_links.c.expires_at > now, is_maker_in_office)


def _is_good(now: datetime) -> tuple[ColumnElement[bool], ...]:
    return (account_links.c.used_at.is_(None), *_is_shown(now))


def _link_of(row: RowMapping) -> AccountLink:
    return AccountLink(
        id=row["id"],
        purpose=LinkPurpose(row["purpose"]),
        role=None if row["role"] is None else Role(row["role"]),
        user_id=row["user_id"],
        created_by=row["created_by"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        used_at=row["used_at"],
    )
