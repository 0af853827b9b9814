"""The outbox of publications, and the Notion pages that came of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    FromClause,
    RowMapping,
    Subquery,
    and_,
    case,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)

from domain.generation import Failure, GenerationStatus
from domain.notion import NotionParent, NotionParentKind
from domain.publication import NotionPage, NotionPageState, Publication, PublicationStatus, PublishMode
from persistence.advisory_lock import AdvisoryLock
from persistence.failure import failure_of, failure_values
from persistence.generation_row import has_status
from persistence.statements import Statements, is_one_of
from persistence.tables import content_history, notion_pages, publications

_PAGE_PREFIX: Final = "page_row_"
_WITH_PAGE: Final = select(
    *publications.c, *(column.label(_PAGE_PREFIX + column.name) for column in notion_pages.c)
).outerjoin_from(publications, notion_pages, notion_pages.c.id == publications.c.notion_page_id)
_IS_PENDING: Final = has_status(publications.c.status, PublicationStatus.PENDING)
_IS_PUBLISHING: Final = has_status(publications.c.status, PublicationStatus.PUBLISHING)
_IS_PUBLISHED: Final = has_status(publications.c.status, PublicationStatus.PUBLISHED)
_ORDER: Final = (publications.c.next_attempt_at, publications.c.id)
_MAX_STEPS: Final = 100
_NO_FAILURE: Final = failure_values(None)


class PostgresPublications:
    """Behind the port Publications."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def add(self, publication: Publication) -> None:
        """Stores the intent. Raises Conflict when the generation has a publication already."""
        await self._statements.change(
            insert(publications).values(
                id=publication.id,
                generation_id=publication.generation_id,
                user_id=publication.user_id,
                status=publication.status.value,
                **_wish_of(publication),
                anchor=publication.anchor,
                is_begun=publication.is_begun,
                requested_at=publication.requested_at,
                requested_by=publication.requested_by,
                writers=sorted(publication.writers),
                unsettled_since=publication.unsettled_since,
                completed_at=publication.completed_at,
                notion_page_id=None if publication.page is None else publication.page.id,
                degraded=list(publication.degraded),
                attempts=publication.attempts,
                fence=publication.fence,
                next_attempt_at=publication.next_attempt_at,
                created_at=publication.created_at,
                **failure_values(publication.failure),
            )
        )

    async def find(self, user_id: UUID, publication_id: UUID) -> Publication | None:
        """A user's publication."""
        row = await self._statements.row(
            _WITH_PAGE.where(publications.c.id == publication_id, publications.c.user_id == user_id)
        )
        return None if row is None else _publication_of(row)

    async def find_page(self, user_id: UUID, page_row_id: UUID) -> NotionPage | None:
        """A user's page, by our id."""
        row = await self._statements.row(
            select(notion_pages).where(notion_pages.c.id == page_row_id, notion_pages.c.user_id == user_id)
        )
        return None if row is None else page_of(row)

    async def list_by_generation(self, generation_ids: Sequence[UUID]) -> dict[UUID, Publication]:
        """The publications of these generations."""
        rows = await self._statements.rows(_WITH_PAGE.where(is_one_of(publications.c.generation_id, generation_ids)))
        return {row["generation_id"]: _publication_of(row) for row in rows}

    async def retry(self, publication_id: UUID, *, now: datetime, overwrites: bool = False) -> bool:
        """Puts a FAILED or NEEDS_ATTENTION one back to PENDING, its recovery points kept; False in any other state.

        Somebody asked for it, so it begins with the full number of attempts again.
        """
        is_settled = has_status(publications.c.status, PublicationStatus.FAILED, PublicationStatus.NEEDS_ATTENTION)
        changed = await self._statements.change(
            update(publications)
            .where(publications.c.id == publication_id, is_settled)
            .values(
                status=PublicationStatus.PENDING.value,
                next_attempt_at=now,
                attempts=0,
                overwrites=overwrites,
                is_begun=False,
                **_NO_FAILURE,
            )
        )
        return changed == 1

    async def resolve(self, publication_id: UUID, *, fence: int, page: NotionPage | None, now: datetime) -> bool:
        """Puts a FAILED or NEEDS_ATTENTION one back to PENDING: its page is this one, or there is none.

        False when that is not unclear. Raises Conflict when the page belongs to another publication.
        """
        is_unclear = and_(
            publications.c.id == publication_id,
            publications.c.fence == fence,
            has_status(publications.c.status, PublicationStatus.FAILED, PublicationStatus.NEEDS_ATTENTION),
            publications.c.requested_at.is_not(None),
            publications.c.notion_page_id.is_(None),
        )
        if not await self._statements.rows(select(publications.c.id).where(is_unclear).with_for_update()):
            return False
        if page is None:
            known: dict[str, object] = {"requested_at": None, "requested_by": None}
        else:
            await self._add_page(page)
            known = {"notion_page_id": page.id, "lane": page.page_id}
        await self._statements.change(
            update(publications)
            .where(is_unclear)
            .values(
                status=PublicationStatus.PENDING.value,
                next_attempt_at=now,
                attempts=0,
                unsettled_since=None,
                **known,
                **_NO_FAILURE,
            )
        )
        return True

    async def ask_anew(self, publication: Publication) -> bool:
        """Puts another wish in the place of one that has failed and has surely made nothing; else False."""
        changed = await self._statements.change(
            update(publications)
            .where(
                publications.c.id == publication.id,
                has_status(publications.c.status, PublicationStatus.FAILED),
                publications.c.requested_at.is_(None),
                publications.c.notion_page_id.is_(None),
            )
            .values(
                status=PublicationStatus.PENDING.value,
                **_wish_of(publication),
                next_attempt_at=publication.next_attempt_at,
                attempts=0,
                **_NO_FAILURE,
            )
        )
        return changed == 1

    async def update_again(self, publication_id: UUID, *, now: datetime, overwrites: bool) -> bool:
        """Has a PUBLISHED one brought up to date; False in any other state."""
        changed = await self._statements.change(
            update(publications)
            .where(
                publications.c.id == publication_id, _IS_PUBLISHED, notion_pages.c.id == publications.c.notion_page_id
            )
            .values(
                status=PublicationStatus.PENDING.value,
                mode=PublishMode.UPDATE.value,
                lane=notion_pages.c.page_id,
                overwrites=overwrites,
                is_begun=False,
                requested_at=now,
                completed_at=None,
                next_attempt_at=now,
                attempts=0,
            )
        )
        return changed == 1

    async def find_to_update(self, user_id: UUID, generation_id: UUID) -> Publication | None:
        """The publication of the nearest answer that this one, perhaps in several steps, was regenerated from."""
        line = (
            select(content_history.c.id, content_history.c.parent_id, literal(0).label("steps"))
            .where(content_history.c.id == generation_id, content_history.c.user_id == user_id)
            .cte("line", recursive=True)
        )
        earlier = content_history.alias("earlier")
        line = line.union_all(
            select(earlier.c.id, earlier.c.parent_id, line.c.steps + 1).where(
                earlier.c.id == line.c.parent_id, earlier.c.user_id == user_id, line.c.steps < _MAX_STEPS
            )
        )
        row = await self._statements.row(
            _WITH_PAGE.join(line, line.c.id == publications.c.generation_id)
            .where(publications.c.notion_page_id.is_not(None), line.c.steps > 0)
            .order_by(line.c.steps)
            .limit(1)
        )
        return None if row is None else _publication_of(row)

    async def hand_over(self, publication_id: UUID, *, generation_id: UUID) -> bool:
        """Makes a PUBLISHED publication that of another answer; False in any other state."""
        changed = await self._statements.change(
            update(publications)
            .where(publications.c.id == publication_id, _IS_PUBLISHED)
            .values(generation_id=generation_id)
        )
        return changed == 1

    async def fail_pending_of(self, generation_id: UUID, failure: Failure) -> None:
        """Settles the publication of a generation that has ended without an answer."""
        await self._statements.change(
            update(publications)
            .where(publications.c.generation_id == generation_id, _IS_PENDING)
            .values(status=PublicationStatus.FAILED.value, **failure_values(failure))
        )

    async def claim(self, *, size: int, now: datetime, lease_until: datetime) -> tuple[Publication, ...]:
        """Takes due ones of succeeded generations, and those whose lease has ended; a page or parent has one writer."""
        is_due = or_(
            and_(_IS_PENDING, publications.c.next_attempt_at <= now),
            and_(_IS_PUBLISHING, publications.c.lease_until < now),
        )
        # Two instances could pick different ones for the same lane; the index uq_publications_writing would then
        # fail the second. What follows is a statement of its own, so that it sees what the lock was waited for.
        if not await self._statements.rows(AdvisoryLock.PUBLICATION_CLAIM.taken().where(exists().where(is_due))):
            return ()
        due = _turns(is_due)
        picked = (
            select(publications.c.id)
            .join_from(publications, due, due.c.id == publications.c.id)
            .where(is_due)
            .order_by(due.c.turn, *_ORDER)
            .limit(size)
            .with_for_update(of=publications, skip_locked=True)
            .cte("picked")
        )
        claimed = await self._statements.rows(
            update(publications)
            .where(publications.c.id == picked.c.id)
            .values(
                status=PublicationStatus.PUBLISHING.value,
                lease_until=lease_until,
                attempts=publications.c.attempts + 1,
                fence=publications.c.fence + 1,
                # Whoever held it before may have sent something until the end of their lease.
                unsettled_since=case(
                    (and_(_IS_PUBLISHING, publications.c.requested_at.is_not(None)), publications.c.lease_until),
                    else_=publications.c.unsettled_since,
                ),
            )
            .returning(publications.c.id)
        )
        if not claimed:
            return ()
        rows = await self._statements.rows(
            _WITH_PAGE.where(is_one_of(publications.c.id, [row["id"] for row in claimed])).order_by(*_ORDER)
        )
        return tuple(_publication_of(row) for row in rows)

    async def renew_lease(self, publication_id: UUID, *, fence: int, lease_until: datetime) -> bool:
        """Extends the lease."""
        return await self._update(publication_id, fence, lease_until=lease_until)

    async def record_intent(
        self, publication_id: UUID, *, fence: int, now: datetime, bot_id: str | None = None
    ) -> bool:
        """Recovery point: a page is about to be asked for, by this bot.

        An intent that was never withdrawn keeps its time, for its page may still come to light.
        """
        return await self._update(
            publication_id,
            fence,
            requested_at=func.coalesce(publications.c.requested_at, now),
            requested_by=bot_id,
        )

    async def record_append(
        self,
        publication_id: UUID,
        *,
        fence: int,
        page: NotionPage,
        anchor: str | None,
        now: datetime,
    ) -> bool:
        """Recovery point: blocks are about to be put behind the anchor, the page's last block."""
        return await self._update(publication_id, fence, anchor=anchor, requested_at=now) and await self.record_page(
            publication_id, fence=fence, page=page
        )

    async def record_writer(self, publication_id: UUID, *, fence: int, bot_id: str) -> bool:
        """Recovery point: this bot is about to write to the page."""
        others = func.array_remove(publications.c.writers, bot_id)
        return await self._update(publication_id, fence, writers=func.array_append(others, bot_id))

    async def record_begun(self, publication_id: UUID, *, fence: int) -> bool:
        """Recovery point: an update is about to overwrite what it found, which is kept and its base from now on."""
        return await self._update(publication_id, fence, is_begun=True)

    async def has_rivals(self, publication: Publication) -> bool:
        """Whether another publication has begun to write to the same page and not come to its end."""
        mine = publications.alias("mine")
        rows = await self._statements.rows(
            select(publications.c.id)
            .join_from(publications, mine, publications.c.lane == mine.c.lane)
            .where(
                mine.c.id == publication.id,
                publications.c.id != publication.id,
                publications.c.requested_at.is_not(None),
                publications.c.completed_at.is_(None),
            )
            .limit(1)
        )
        return bool(rows)

    async def note_page_state(self, publication_id: UUID, state: NotionPageState) -> None:
        """How a publication's page compares with what was published."""
        await self._statements.change(
            update(notion_pages)
            .where(publications.c.id == publication_id, notion_pages.c.id == publications.c.notion_page_id)
            .values(state=state.value)
        )

    async def record_page(self, publication_id: UUID, *, fence: int, page: NotionPage) -> bool:
        """Recovery point: the page exists, as all that was sent wanted; from now on it is what is written to.

        Raises Conflict when it belongs to another publication.
        """
        held = await self._statements.row(
            select(publications.c.id).where(_is_held(publication_id, fence)).with_for_update()
        )
        if held is None:
            return False
        await self._add_page(page)
        return await self._update(
            publication_id, fence, notion_page_id=page.id, lane=page.page_id, unsettled_since=None
        )

    async def _add_page(self, page: NotionPage) -> None:
        await self._statements.change(
            insert(notion_pages).values(
                id=page.id,
                user_id=page.user_id,
                page_id=page.page_id,
                parent_id=page.parent_id,
                title=page.title,
                url=page.url,
                created_at=page.created_at,
                last_sync=page.last_sync_at,
                state=page.state.value,
                is_ours=page.is_ours,
            )
        )

    async def list_known_page_ids(self, page_ids: Sequence[str]) -> frozenset[str]:
        """Which of these Notion ids publications have made, also those whose generation was deleted since."""
        rows = await self._statements.rows(
            select(notion_pages.c.page_id).where(is_one_of(notion_pages.c.page_id, page_ids), notion_pages.c.is_ours)
        )
        return frozenset(row["page_id"] for row in rows)

    async def complete(self, publication_id: UUID, *, fence: int, degraded: Sequence[str], now: datetime) -> bool:
        """PUBLISHED: the page says all that the answer said."""
        is_completed = await self._update(
            publication_id,
            fence,
            status=PublicationStatus.PUBLISHED.value,
            lease_until=None,
            completed_at=now,
            unsettled_since=None,
            is_begun=False,
            degraded=list(degraded),
            **_NO_FAILURE,
        )
        if is_completed:
            page_id = select(publications.c.notion_page_id).where(publications.c.id == publication_id)
            await self._statements.change(
                update(notion_pages).where(notion_pages.c.id == page_id.scalar_subquery()).values(last_sync=now)
            )
        return is_completed

    async def postpone(
        self, publication_id: UUID, *, fence: int, failure: Failure, next_attempt_at: datetime, is_counted: bool = True
    ) -> bool:
        """PENDING again, with the failure shown, until its next attempt; one that only waited need not be counted."""
        return await self._update(
            publication_id,
            fence,
            status=PublicationStatus.PENDING.value,
            lease_until=None,
            next_attempt_at=next_attempt_at,
            attempts=publications.c.attempts - (0 if is_counted else 1),
            **failure_values(failure),
        )

    async def note_unsettled(self, publication_id: UUID, *, fence: int, now: datetime) -> bool:
        """Recovery point: what was sent until now may still take effect."""
        return await self._update(publication_id, fence, unsettled_since=now)

    async def withdraw_intent(self, publication_id: UUID, *, fence: int) -> bool:
        """Notion has surely not made the page: the intent is void."""
        return await self._update(publication_id, fence, requested_at=None, requested_by=None)

    async def settle(self, publication_id: UUID, *, fence: int, status: PublicationStatus, failure: Failure) -> bool:
        """FAILED or NEEDS_ATTENTION."""
        return await self._update(
            publication_id, fence, status=status.value, lease_until=None, is_begun=False, **failure_values(failure)
        )

    async def _update(self, publication_id: UUID, fence: int, **values: object) -> bool:
        """Changes the publication if this owner still holds it."""
        changed = await self._statements.change(
            update(publications).where(_is_held(publication_id, fence)).values(**values)
        )
        return changed == 1


def _wish_of(publication: Publication) -> dict[str, object]:
    """What was asked for."""
    return {
        "parent_id": publication.parent.id,
        "parent": _stored_parent(publication.parent),
        "title": publication.title,
        "properties": publication.properties,
        "mode": publication.mode.value,
        "lane": publication.parent.id,
        "overwrites": publication.overwrites,
        "external_id_property": publication.external_id_property,
    }


def _lane(table: FromClause) -> ColumnElement[str]:
    """What a publication writes to; rows of an earlier release do not say."""
    return func.coalesce(table.c.lane, table.c.parent_id)


def _turns(is_due: ColumnElement[bool]) -> Subquery:
    """What may be written now, one of each lane, by id; and the turn in which it is.

    Neither of a lane nor of all the work does anybody's queue of hundreds keep others waiting.
    """
    at_work = publications.alias("at_work")
    is_at_work = has_status(at_work.c.status, PublicationStatus.PUBLISHING)
    lane_is_busy = exists().where(_lane(at_work) == _lane(publications), is_at_work)
    first = (
        select(
            *(publications.c[name] for name in ("id", "user_id", "parent_id", "next_attempt_at")),
            _lane(publications).label("lane"),
            func.row_number()
            .over(partition_by=(_lane(publications), publications.c.user_id), order_by=_ORDER)
            .label("place"),
        )
        .join_from(publications, content_history, content_history.c.id == publications.c.generation_id)
        .where(
            is_due,
            or_(_IS_PUBLISHING, ~lane_is_busy),
            has_status(content_history.c.status, GenerationStatus.SUCCEEDED),
        )
        .subquery("first")
    )
    # In a lane it is the turn of whoever has written under the parent longest ago, or never. What Notion has refused
    # counts as nothing written: who meets only that stays first, and holds nobody up longer than the refusals take.
    served = publications.alias("served")
    last_served = (
        select(func.max(served.c.requested_at))
        .where(served.c.user_id == first.c.user_id, served.c.parent_id == first.c.parent_id)
        .scalar_subquery()
    )
    in_order = (first.c.next_attempt_at, first.c.id)
    lane_place = func.row_number().over(partition_by=first.c.lane, order_by=(last_served.nulls_first(), *in_order))
    next_ = select(first, lane_place.label("lane_place")).where(first.c.place == 1).subquery("next")
    # Between users in turn, whoever has fewest at work first.
    at_work_of_user = select(func.count()).where(at_work.c.user_id == next_.c.user_id, is_at_work).scalar_subquery()
    turn = at_work_of_user + func.row_number().over(
        partition_by=next_.c.user_id, order_by=(next_.c.next_attempt_at, next_.c.id)
    )
    return select(next_.c.id, turn.label("turn")).where(next_.c.lane_place == 1).subquery("due")


def _is_held(publication_id: UUID, fence: int) -> ColumnElement[bool]:
    return and_(publications.c.id == publication_id, publications.c.fence == fence, _IS_PUBLISHING)


def _publication_of(row: RowMapping) -> Publication:
    page = {name.removeprefix(_PAGE_PREFIX): value for name, value in row.items() if str(name).startswith(_PAGE_PREFIX)}
    return Publication(
        id=row["id"],
        generation_id=row["generation_id"],
        user_id=row["user_id"],
        status=PublicationStatus(row["status"]),
        parent=_parent_of(row["parent_id"], row["parent"]),
        title=row["title"],
        properties=row["properties"],
        mode=PublishMode(row["mode"]),
        anchor=row["anchor"],
        overwrites=row["overwrites"],
        is_begun=row["is_begun"],
        external_id_property=row["external_id_property"],
        requested_by=row["requested_by"],
        writers=frozenset(row["writers"]),
        unsettled_since=row["unsettled_since"],
        requested_at=row["requested_at"],
        completed_at=row["completed_at"],
        page=None if row["notion_page_id"] is None else page_of(page),
        failure=failure_of(row),
        degraded=tuple(row["degraded"]),
        attempts=row["attempts"],
        fence=row["fence"],
        next_attempt_at=row["next_attempt_at"],
        created_at=row["created_at"],
    )


def page_of(row: Mapping[Any, Any]) -> NotionPage:  # Any: a row, or the part of one
    """The page in a row of notion_pages."""
    return NotionPage(
        id=row["id"],
        user_id=row["user_id"],
        page_id=row["page_id"],
        parent_id=row["parent_id"],
        title=row["title"],
        url=row["url"],
        created_at=row["created_at"],
        last_sync_at=row["last_sync"],
        state=NotionPageState(row["state"]),
        is_ours=row["is_ours"],
        version=row["current_version"],
        notion_version=row["notion_version"],
    )


def _stored_parent(parent: NotionParent) -> dict[str, object]:
    return {
        "kind": parent.kind.value,
        "title": parent.title,
        "title_property": parent.title_property,
        "properties": parent.properties,
    }


def _parent_of(parent_id: str, stored: Mapping[str, Any]) -> NotionParent:  # Any: JSON
    return NotionParent(
        kind=NotionParentKind(stored["kind"]),
        id=parent_id,
        title=stored["title"],
        title_property=stored["title_property"],
        properties=stored["properties"],
    )
