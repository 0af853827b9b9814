"""Links to make an account or to choose another password."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, insert, select

from domain.account import Role
from domain.account_link import AccountLink, LinkPurpose
from persistence.statements import Statements
from persistence.tables import account_links, users


class PostgresAccountLinks:
    """Behind the port AccountLinks: what is void is deleted."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def add(self, link: AccountLink, *, secret_hash: bytes) -> None:
        """Stores a new one; an earlier one for the same user's password is void."""
        if link.user_id is not None:
            await self._statements.change(delete(account_links).where(account_links.c.user_id == link.user_id))
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
            select(account_links)
            .join(users, users.c.id == account_links.c.created_by)
            .where(
                account_links.c.secret_hash == secret_hash,
                account_links.c.purpose == purpose.value,
                account_links.c.expires_at > now,
                users.c.is_active,
                users.c.role == Role.ADMIN.value,
            )
        )
        if row is None:
            return None
        return AccountLink(
            id=row["id"],
            purpose=LinkPurpose(row["purpose"]),
            role=None if row["role"] is None else Role(row["role"]),
            user_id=row["user_id"],
            created_by=row["created_by"],
            created_at=row["created_at"],
            expires_at=row["expires_at"],
        )

    async def use(self, link_id: UUID) -> bool:
        """Makes it void; False when it was before."""
        return await self._statements.change(delete(account_links).where(account_links.c.id == link_id)) == 1

    async def purge(self, *, expired_before: datetime) -> int:
        """Deletes those that ran out before then; answers how many."""
        return await self._statements.change(delete(account_links).where(account_links.c.expires_at < expired_before))
