"""The append-only audit log."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import ColumnElement, RowMapping, func, insert, select
from uuid_utils.compat import uuid7

from domain.audit import AuditAction, AuditEvent, AuditFilter, AuditRecord
from domain.page import Page, PageRequest
from persistence.paging import read_page
from persistence.statements import Statements, is_one_of
from persistence.tables import audit_log


class PostgresAuditLog:
    """Behind the port AuditLog."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def append(self, event: AuditEvent) -> None:
        """Adds the event at the store's own time."""
        await self._statements.change(
            insert(audit_log).values(
                id=uuid7(),
                action=event.action.value,
                actor_id=event.actor_id,
                target=event.target,
                ip=event.ip,
                details=event.details,
            )
        )

    async def list_page(self, page: PageRequest, *, where: AuditFilter) -> Page[AuditRecord]:
        """A page of the events, the newest first."""
        return await read_page(
            self._statements,
            select(audit_log),
            page,
            # Time-ordered, to the millisecond of the instance that wrote it.
            position=audit_log.c.id,
            conditions=tuple(_conditions(where)),
            is_descending=True,
            read=_record_of,
        )

    async def count(self, *, where: AuditFilter) -> int:
        """How many events the filter lets through."""
        row = await self._statements.row(
            select(func.count().label("size")).select_from(audit_log).where(*_conditions(where))
        )
        return 0 if row is None else row["size"]


def _conditions(where: AuditFilter) -> Iterator[ColumnElement[bool]]:
    column = audit_log.c
    if where.actions:
        yield is_one_of(column.action, sorted(each.value for each in where.actions))
    if where.actor_id is not None:
        yield column.actor_id == where.actor_id
    if where.target is not None:
        yield column.target == where.target
    if where.ip is not None:
        yield column.ip == where.ip
    if where.after is not None:
        yield column.at >= where.after
    if where.before is not None:
        yield column.at < where.before


def _record_of(row: RowMapping) -> AuditRecord:
    return AuditRecord(
        id=row["id"],
        at=row["at"],
        action=AuditAction(row["action"]),
        actor_id=row["actor_id"],
        target=row["target"],
        ip=row["ip"],
        details=row["details"],
    )
