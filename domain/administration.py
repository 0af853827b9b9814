"""What administrators do: look after accounts, read the audit log."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from domain.account import Client, Role, User, Viewer
from domain.answer_cache import AnswerCache
from domain.audit import AuditAction, AuditEvent, AuditFilter, AuditRecord
from domain.errors import Conflict, NotFound
from domain.generation_service import GenerationService
from domain.page import MAX_PAGE_SIZE, Page, PageRequest
from domain.store import Store, Transaction
from domain.text import checked_text

MAX_SEARCH_CHARS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class UserChange:
    """What to change of an account; None leaves it as it is. `signs_out` ends every sign-in that it has."""

    role: Role | None = None
    is_active: bool | None = None
    signs_out: bool = False


class AdministrationService:
    """For administrators only, which is for the caller to see to."""

    def __init__(
        self,
        *,
        store: Store,
        generations: GenerationService,
        answers: AnswerCache | None,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._generations = generations
        self._answers = answers
        self._clock = clock

    async def list_users(self, page: PageRequest, *, search: str | None) -> Page[User]:
        """A page of the accounts. Raises InvalidInput for a search that is blank or too long."""
        _check_search(search)
        async with self._store.begin() as tx:
            return await tx.user_directory.list_page(page, search=search)

    async def count_users(self, *, search: str | None) -> int:
        """How many accounts the search finds."""
        _check_search(search)
        async with self._store.begin() as tx:
            return await tx.user_directory.count(search=search)

    async def find_users(self, user_ids: Sequence[UUID]) -> dict[UUID, User]:
        """Those accounts that exist."""
        async with self._store.begin() as tx:
            return await tx.user_directory.find_many(user_ids)

    async def update_user(self, viewer: Viewer, user_id: UUID, change: UserChange, *, client: Client) -> User:
        """Changes an account's rights. Deactivating it, or signing it out, ends its sign-ins everywhere within 30 s.

        A deactivated account's tokens end too, and what it has running is stopped. Who administers no more has made no
        links either. Raises Forbidden for a token that would make an administrator, Raises NotFound, and Conflict
        when nobody would be left to administer the server.
        """
        async with self._store.begin() as tx:
            administrators = await tx.user_directory.lock_administrators()
            user = await _lock(tx, user_id)
            role = change.role or user.role
            is_active = user.is_active if change.is_active is None else change.is_active
            if role is Role.ADMIN and (user.role is not Role.ADMIN or (is_active and not user.is_active)):
                # Whoever has the same rights can do what no token may, such as let themselves in as anybody.
                viewer.require_session()
            if not (is_active and role is Role.ADMIN):
                _check_not_last(administrators, user_id)
            now = self._clock()
            changed = user
            if (role, is_active) != (user.role, user.is_active):
                changed = await tx.user_directory.change(user_id, role=role, is_active=is_active, now=now)
            withdrawn = 0
            if not (is_active and role is Role.ADMIN):
                withdrawn = await tx.account_links.withdraw_all_by(user_id)
            ended = 0
            tokens_ended = 0 if is_active else await tx.access_tokens.remove_all(user_id)
            if change.signs_out or not is_active:
                ended = await tx.sessions.revoke_all(user_id, except_id=None, now=now)
            await tx.audit.append(
                AuditEvent(
                    action=AuditAction.USER_UPDATED,
                    actor_id=viewer.user.id,
                    target=f"user:{user_id}",
                    ip=client.ip,
                    details={
                        "before": _rights(user),
                        "after": _rights(changed),
                        "sessions_ended": ended,
                        "tokens_ended": tokens_ended,
                        "links_withdrawn": withdrawn,
                    },
                )
            )
        if not is_active:
            await self._generations.cancel_all(changed)
        return changed

    async def delete_user(self, viewer: Viewer, user_id: UUID, *, is_dry_run: bool, client: Client) -> dict[str, int]:
        """Deletes an account, an administrator's own too, with everything that is its user's; pages in Notion stay.

        Answers how many rows of each table go; a dry run leaves them there. Raises NotFound, and Conflict when nobody
        would be left to administer the server.
        """
        async with self._store.begin() as tx:
            user, belongings = await self._condemned(tx, user_id)
        if is_dry_run:
            return belongings
        # First, so that a provider does not go on writing what nobody will read.
        await self._generations.cancel_all(user)
        async with self._store.begin() as tx:
            user, belongings = await self._condemned(tx, user_id)
            cache_keys: tuple[bytes, ...] = ()
            if self._answers is not None:
                kept_since = self._clock() - self._answers.ttl
                cache_keys = await tx.generations.list_cache_keys(user_id, finished_after=kept_since)
            await tx.user_directory.delete(user_id)
            await tx.audit.append(
                AuditEvent(
                    action=AuditAction.USER_DELETED,
                    actor_id=viewer.user.id,
                    target=f"user:{user_id}",
                    ip=client.ip,
                    details={"deleted": belongings},
                )
            )
        if self._answers is not None:
            await self._answers.remove(cache_keys)
        return belongings

    async def list_audit(self, page: PageRequest, *, where: AuditFilter) -> Page[AuditRecord]:
        """A page of the audit log, the newest events first."""
        async with self._store.begin() as tx:
            return await tx.audit.list_page(page, where=where)

    async def count_audit(self, *, where: AuditFilter) -> int:
        """How many events the filter lets through."""
        async with self._store.begin() as tx:
            return await tx.audit.count(where=where)

    async def export_audit(
        self, viewer: Viewer, *, where: AuditFilter, client: Client
    ) -> AsyncIterator[tuple[AuditRecord, ...]]:
        """All events that the filter lets through, the newest first, in batches; that it was done is an event too."""
        async with self._store.begin() as tx:
            await tx.audit.append(
                AuditEvent(
                    action=AuditAction.AUDIT_LOG_EXPORTED,
                    actor_id=viewer.user.id,
                    target="audit_log",
                    ip=client.ip,
                )
            )
        after: UUID | None = None
        while True:
            page = await self.list_audit(PageRequest(size=MAX_PAGE_SIZE, after=after), where=where)
            yield page.items
            if not page.has_next:
                return
            after = page.items[-1].id

    async def _condemned(self, tx: Transaction, user_id: UUID) -> tuple[User, dict[str, int]]:
        administrators = await tx.user_directory.lock_administrators()
        user = await _lock(tx, user_id)
        _check_not_last(administrators, user_id)
        return user, await tx.user_directory.count_belongings(user_id)


async def _lock(tx: Transaction, user_id: UUID) -> User:
    found = await tx.users.lock(user_id)
    if found is None:
        raise NotFound("There is no such user.", field=("id",))
    return found[0]


def _check_not_last(administrators: frozenset[UUID], user_id: UUID) -> None:
    if administrators == {user_id}:
        raise Conflict("Nobody would be left to administer this server: make somebody else an administrator first.")


def _check_search(search: str | None) -> None:
    if search is not None:
        checked_text(search, field=("search",), max_chars=MAX_SEARCH_CHARS)


def _rights(user: User) -> dict[str, object]:
    return {"role": user.role.value, "is_active": user.is_active}
