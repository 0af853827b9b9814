"""The pages that are compared with what Notion shows of them, and the versions of what they say."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import Integer, RowMapping, Select, Uuid, and_, case, exists, func, insert, literal, or_, select, update
from sqlalchemy.dialects.postgresql import insert as insert_or_ignore

from domain.page import Page, PageRequest
from domain.page_sync import FIRST_VERSION, PageVersion, TrackedPage, VersionOrigin
from domain.provider_attempt import AttemptStatus
from domain.publication import NotionPageState, PublicationStatus, PublishMode
from persistence.generation_row import has_status
from persistence.publication import page_of
from persistence.statements import Statements, is_one_of, values_table
from persistence.tables import content_history, notion_pages, page_versions, provider_attempts, publications

_VERSION: Final = tuple(column for column in page_versions.c if column.name != "content")
_TRACKED: Final = select(
    *notion_pages.c,
    publications.c.id.label("publication_id"),
    publications.c.generation_id,
    publications.c.status,
    publications.c.mode,
).join_from(
    notion_pages,
    publications,
    # Not what was appended to somebody else's page: that is compared with nothing.
    and_(publications.c.notion_page_id == notion_pages.c.id, notion_pages.c.is_ours),
)
# As TrackedPage.is_complete.
_IS_COMPLETE: Final = or_(
    has_status(publications.c.status, PublicationStatus.PUBLISHED),
    and_(
        publications.c.mode == PublishMode.UPDATE.value,
        has_status(publications.c.status, PublicationStatus.FAILED, PublicationStatus.NEEDS_ATTENTION),
    ),
)

_ASKED: Final = func.concat(content_history.c.provider, ":", content_history.c.model)
# As answered_by(): null for an answer that nobody was called for.
_ANSWERED_BY: Final = (
    select(func.concat(provider_attempts.c.provider, ":", provider_attempts.c.model))
    .where(
        provider_attempts.c.generation_id == content_history.c.id,
        has_status(provider_attempts.c.status, AttemptStatus.SUCCEEDED),
    )
    .order_by(provider_attempts.c.started_at.desc(), provider_attempts.c.id.desc())
    .limit(1)
    .correlate(content_history)
    .scalar_subquery()
)


class PostgresTrackedPages:
    """Behind the port TrackedPages."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def find(self, user_id: UUID, page_row_id: UUID) -> TrackedPage | None:
        """A user's page, if the answer it came of is still there."""
        return await self._one(_TRACKED.where(notion_pages.c.id == page_row_id, notion_pages.c.user_id == user_id))

    async def hold(self, page_row_id: UUID) -> TrackedPage | None:
        """The same, for whoever is going to change it: nobody else can before the transaction has ended.

        Its first version, the answer, is there from then on.
        """
        held = await self._one(_TRACKED.where(notion_pages.c.id == page_row_id).with_for_update(of=notion_pages))
        if held is not None:
            await self._keep_answer([page_row_id])
        return held

    async def put(self, tracked: TrackedPage) -> None:
        """Stores a page that is held, as compared now."""
        page = tracked.page
        await self._statements.change(
            update(notion_pages)
            .where(notion_pages.c.id == page.id)
            .values(
                parent_id=page.parent_id,
                title=page.title,
                url=page.url,
                last_sync=page.last_sync_at,
                state=page.state.value,
                current_version=page.version,
                base_version=tracked.base,
                notion_version=page.notion_version,
                base_fingerprint=tracked.base_fingerprint,
                notion_fingerprint=tracked.notion_fingerprint,
                edited_at=tracked.edited_at,
                read_at=tracked.read_at,
                next_look_at=tracked.next_look_at,
            )
        )

    async def postpone(self, page_row_id: UUID, *, seen: datetime, next_look_at: datetime) -> None:
        """The next look, unless somebody has asked for another since `next_look_at` was `seen`."""
        await self._statements.change(
            update(notion_pages)
            .where(notion_pages.c.id == page_row_id, notion_pages.c.next_look_at == seen)
            .values(next_look_at=next_look_at)
        )

    async def claim(
        self, *, size: int, per_user: int, now: datetime, claimed_until: datetime
    ) -> tuple[TrackedPage, ...]:
        """Published pages that are due, a few of each user's; nobody else gets them before `claimed_until`."""
        is_complete = exists().where(publications.c.notion_page_id == notion_pages.c.id, _IS_COMPLETE)
        is_due = and_(notion_pages.c.next_look_at <= now, notion_pages.c.is_ours, is_complete)
        place = func.row_number().over(
            partition_by=notion_pages.c.user_id, order_by=(notion_pages.c.next_look_at, notion_pages.c.id)
        )
        due = select(notion_pages.c.id, place.label("place")).where(is_due).subquery("due")
        picked = (
            select(notion_pages.c.id)
            .join_from(notion_pages, due, due.c.id == notion_pages.c.id)
            .where(due.c.place <= per_user, notion_pages.c.next_look_at <= now)
            .order_by(due.c.place, notion_pages.c.next_look_at, notion_pages.c.id)
            .limit(size)
            .with_for_update(of=notion_pages, skip_locked=True)
            .cte("picked")
        )
        claimed = await self._statements.rows(
            update(notion_pages)
            .where(notion_pages.c.id == picked.c.id)
            .values(next_look_at=claimed_until)
            .returning(notion_pages.c.id)
        )
        if not claimed:
            return ()
        ids = [row["id"] for row in claimed]
        rows = await self._statements.rows(_TRACKED.where(is_one_of(notion_pages.c.id, ids)))
        return tuple(map(_tracked_of, rows))

    async def ask_for_looks(self, notion_ids: Collection[str], *, now: datetime) -> int:
        """Makes the pages with these ids in Notion, and those right under them, due; answers how many there are.

        Those with these ids are read in any case.
        """
        is_named = is_one_of(notion_pages.c.page_id, notion_ids)
        is_meant = or_(is_named, is_one_of(notion_pages.c.parent_id, notion_ids))
        # What a page right under another says has not changed with that: the time of its last edit tells.
        edited_at = case((is_named, None), else_=notion_pages.c.edited_at)
        return await self._statements.change(
            update(notion_pages).where(is_meant).values(next_look_at=now, edited_at=edited_at)
        )

    async def find_text(self, page_row_id: UUID) -> tuple[int, str] | None:
        """The version of a page that counts here, by its number, and what it says; None when none is kept yet."""
        row = await self._statements.row(
            select(page_versions.c.number, page_versions.c.content)
            .join_from(
                notion_pages,
                page_versions,
                and_(
                    page_versions.c.notion_page_id == notion_pages.c.id,
                    page_versions.c.number == notion_pages.c.current_version,
                ),
            )
            .where(notion_pages.c.id == page_row_id)
        )
        return None if row is None else (row["number"], row["content"])

    async def note_written(self, page_row_id: UUID, *, version: int, now: datetime) -> None:
        """The page says this version now: how Notion shows it, nobody knows before a look that begins after that."""
        is_current = notion_pages.c.current_version == version
        await self._statements.change(
            update(notion_pages)
            .where(notion_pages.c.id == page_row_id)
            .values(
                base_version=version,
                notion_version=version,
                base_fingerprint=None,
                notion_fingerprint=None,
                edited_at=None,
                read_at=now,
                state=case((is_current, NotionPageState.IN_SYNC.value), else_=NotionPageState.CHANGED_HERE.value),
            )
        )

    async def newest_number(self, page_row_id: UUID) -> int:
        """The number of the newest version."""
        row = await self._statements.row(
            select(func.max(page_versions.c.number).label("number")).where(
                page_versions.c.notion_page_id == page_row_id
            )
        )
        return FIRST_VERSION if row is None or row["number"] is None else int(row["number"])

    async def add_version(self, tracked: TrackedPage, version: PageVersion, content: str) -> None:
        """Keeps one more version of a page that is held."""
        await self._statements.change(
            insert(page_versions).values(
                id=version.id,
                notion_page_id=version.page_row_id,
                user_id=tracked.page.user_id,
                generation_id=tracked.generation_id,
                number=version.number,
                origin=version.origin.value,
                content=content,
                content_hash=version.content_hash,
                made_by=version.made_by,
                created_at=version.created_at,
            )
        )

    async def list_versions(self, user_id: UUID, page_row_id: UUID, page: PageRequest) -> Page[PageVersion]:
        """A page's versions, the newest first."""
        await self._keep_answer([page_row_id])
        of_page = and_(page_versions.c.notion_page_id == page_row_id, page_versions.c.user_id == user_id)
        rest = select(*_VERSION).where(of_page).order_by(page_versions.c.number.desc()).limit(page.size + 1)
        if page.after is not None:
            place = select(page_versions.c.number).where(of_page, page_versions.c.id == page.after).scalar_subquery()
            rest = rest.where(page_versions.c.number < place)
        rows = await self._statements.rows(rest)
        return Page(
            items=tuple(map(_version_of, rows[: page.size])),
            has_previous=page.after is not None,
            has_next=len(rows) > page.size,
        )

    async def find_versions(self, user_id: UUID, numbers: Sequence[tuple[UUID, int]]) -> tuple[PageVersion, ...]:
        """Versions by the row of their page and their number."""
        await self._keep_answer({page_row_id for page_row_id, _ in numbers})
        wanted = values_table(
            "wanted",
            page_row_id=(Uuid(), [page_row_id for page_row_id, _ in numbers]),
            number=(Integer(), [number for _, number in numbers]),
        )
        rows = await self._statements.rows(
            select(*_VERSION)
            .join_from(
                page_versions,
                wanted,
                and_(page_versions.c.notion_page_id == wanted.c.page_row_id, page_versions.c.number == wanted.c.number),
            )
            .where(page_versions.c.user_id == user_id)
        )
        return tuple(map(_version_of, rows))

    async def contents(self, user_id: UUID, version_ids: Sequence[UUID]) -> dict[UUID, str]:
        """What these versions say."""
        rows = await self._statements.rows(
            select(page_versions.c.id, page_versions.c.content).where(
                is_one_of(page_versions.c.id, version_ids), page_versions.c.user_id == user_id
            )
        )
        return {row["id"]: row["content"] for row in rows}

    async def _one(self, statement: Select[tuple[object, ...]]) -> TrackedPage | None:
        row = await self._statements.row(statement)
        return None if row is None else _tracked_of(row)

    async def _keep_answer(self, page_row_ids: Collection[UUID]) -> None:
        """Makes the answer the first version of each of these pages, unless it is that already."""
        answer = content_history.c.generated_content
        values = {
            "id": func.gen_random_uuid(),
            "notion_page_id": publications.c.notion_page_id,
            "user_id": publications.c.user_id,
            "generation_id": publications.c.generation_id,
            "number": literal(FIRST_VERSION, Integer),
            "origin": literal(VersionOrigin.ANSWER.value),
            "content": answer,
            "content_hash": func.sha256(func.convert_to(answer, "UTF8")),
            "made_by": func.coalesce(_ANSWERED_BY, _ASKED),
            "created_at": content_history.c.finished_at,
        }
        is_there = exists().where(
            page_versions.c.notion_page_id == publications.c.notion_page_id,
            page_versions.c.number == literal(FIRST_VERSION, Integer),
        )
        answers = (
            select(*values.values())
            .join_from(publications, content_history, content_history.c.id == publications.c.generation_id)
            .where(
                is_one_of(publications.c.notion_page_id, page_row_ids),
                content_history.c.finished_at.is_not(None),
                ~is_there,
            )
        )
        kept = insert_or_ignore(page_versions).from_select(list(values), answers)
        await self._statements.change(kept.on_conflict_do_nothing())


def _tracked_of(row: RowMapping) -> TrackedPage:
    return TrackedPage(
        page=page_of(row),
        publication_id=row["publication_id"],
        generation_id=row["generation_id"],
        status=PublicationStatus(row["status"]),
        mode=PublishMode(row["mode"]),
        base=row["base_version"],
        base_fingerprint=row["base_fingerprint"],
        notion_fingerprint=row["notion_fingerprint"],
        edited_at=row["edited_at"],
        read_at=row["read_at"],
        next_look_at=row["next_look_at"],
    )


def _version_of(row: RowMapping) -> PageVersion:
    return PageVersion(
        id=row["id"],
        page_row_id=row["notion_page_id"],
        number=row["number"],
        origin=VersionOrigin(row["origin"]),
        content_hash=row["content_hash"],
        made_by=row["made_by"],
        created_at=row["created_at"],
    )
