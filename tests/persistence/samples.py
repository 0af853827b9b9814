"""Values to be stored, made from the few things that a test cares about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from uuid import UUID

from uuid_utils.compat import uuid7

from domain.account import Role, Session, User
from domain.errors import ErrorCode
from domain.generation import (
    Chunk,
    ChunkKind,
    Failure,
    Generation,
    GenerationStatus,
    HistoryFilter,
    NewGeneration,
    Outcome,
)
from domain.notion import NotionParent, NotionParentKind
from domain.provider import ModelRef
from domain.provider_attempt import ProviderAttempt
from domain.publication import NotionPage, NotionPageState, Publication, PublicationStatus, PublishMode
from persistence.store import PostgresStore

NOW = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)
MUCH_LATER = NOW + timedelta(hours=1)
LEASE_UNTIL = NOW + timedelta(seconds=30)
# By the database's clock: one that outlasts any test, and one that has ended as soon as it is given.
LEASE = timedelta(hours=1)
NO_LEASE = timedelta(seconds=-1)
NO_TIME = timedelta()
EVERYTHING = HistoryFilter()
FAILURE = Failure(
    code=ErrorCode.PROVIDER_FAILED, message="The provider is overloaded.", reason="OVERLOADED", retry_after_seconds=7
)


def new_user(name: str, *, email: str | None = None, role: Role = Role.USER, is_active: bool = True) -> User:
    """An account."""
    return User(
        id=uuid7(),
        email=email or f"{name}@example.com",
        username=name,
        role=role,
        is_active=is_active,
        created_at=NOW,
        updated_at=NOW,
    )


async def add_user(store: PostgresStore, name: str, *, email: str | None = None) -> User:
    """An account that is stored."""
    user = new_user(name, email=email)
    async with store.begin() as tx:
        await tx.users.add(user, password_hash=f"hash of {name}")
    return user


def new_session(user: User) -> Session:
    """A sign-in of an hour."""
    return Session(
        id=uuid7(),
        user_id=user.id,
        refresh_hash=sha256(b"first").digest(),
        previous_hash=None,
        created_at=NOW,
        last_seen_at=NOW,
        rotated_at=NOW,
        expires_at=MUCH_LATER,
        revoked_at=None,
        user_agent="test",
        ip="127.0.0.1",
    )


def new_generation(
    user: User,
    *,
    prompt: str = "Why is the sky blue?",
    provider_id: str = "demo",
    model: str = "demo-writer",
    idempotency_key: str | None = None,
    parent_id: UUID | None = None,
    system_prompt: str | None = None,
    parameters: Mapping[str, object] | None = None,
    fallback: tuple[ModelRef, ...] = (),
    created_at: datetime = NOW,
) -> NewGeneration:
    """What is about to be queued."""
    return NewGeneration(
        id=uuid7(),
        user_id=user.id,
        parent_id=parent_id,
        provider_id=provider_id,
        model=model,
        parameters=parameters or {},
        fallback=fallback,
        prompt=prompt,
        system_prompt=system_prompt,
        idempotency_key=idempotency_key,
        request_hash=sha256(prompt.encode()).digest(),
        created_at=created_at,
    )


async def add(store: PostgresStore, *generations: NewGeneration) -> None:
    """Queues them."""
    async with store.begin() as tx:
        for generation in generations:
            await tx.generations.add(generation)


async def claim(
    store: PostgresStore,
    *,
    size: int = 100,
    per_user: int = 100,
    owner: str = "one",
    now: datetime = NOW,
    lease: timedelta = NO_LEASE,
) -> tuple[Generation, ...]:
    """Takes what is queued; whoever looks for abandoned runs finds these at once, unless they have a lease."""
    async with store.begin() as tx:
        return await tx.generations.claim(size=size, per_user=per_user, owner=owner, now=now, lease=lease)


async def add_running(store: PostgresStore, user: User) -> Generation:
    """A generation that runs."""
    queued = new_generation(user)
    await add(store, queued)
    (running,) = [each for each in await claim(store) if each.id == queued.id]
    return running


async def append(store: PostgresStore, *chunks: Chunk) -> frozenset[UUID]:
    """Stores the chunks; answers the ids for which that was done."""
    async with store.begin() as tx:
        return (await tx.generations.append_chunks(chunks)).stored


def chunk(run: Generation, offset: int, text: str, *, kind: ChunkKind = ChunkKind.TEXT) -> Chunk:
    """A piece of the run's text."""
    return Chunk(generation_id=run.id, fence=run.fence, epoch=run.epoch, kind=kind, offset=offset, text=text)


SUCCESS = Outcome(
    status=GenerationStatus.SUCCEEDED,
    content="Because of Rayleigh scattering.",
    reasoning="",
    finish_reason="stop",
    failure=None,
)
FAILED = replace(SUCCESS, status=GenerationStatus.FAILED, finish_reason=None, failure=FAILURE)


async def finish(store: PostgresStore, run: Generation, outcome: Outcome = SUCCESS) -> bool:
    """Ends the run."""
    async with store.begin() as tx:
        return await tx.generations.finish(run.id, fence=run.fence, outcome=outcome, now=LATER)


async def add_finished(
    store: PostgresStore, user: User, *, prompt: str = "Why?", outcome: Outcome = SUCCESS
) -> Generation:
    """A generation that has ended."""
    queued = new_generation(user, prompt=prompt)
    await add(store, queued)
    (running,) = [each for each in await claim(store) if each.id == queued.id]
    assert await finish(store, running, outcome)
    return await get(store, user, queued.id)


async def get(store: PostgresStore, user: User, generation_id: UUID) -> Generation:
    """The generation as it is stored."""
    async with store.begin() as tx:
        found = await tx.generations.find(user.id, generation_id)
    assert found is not None
    return found


def new_attempt(run: Generation) -> ProviderAttempt:
    """A call to the run's provider that has just begun."""
    return ProviderAttempt(
        id=uuid7(),
        user_id=run.user_id,
        generation_id=run.id,
        provider_id=run.provider_id,
        model=run.model,
        started_at=NOW,
    )


async def open_attempt(store: PostgresStore, run: Generation) -> ProviderAttempt:
    """One that is stored."""
    attempt = new_attempt(run)
    async with store.begin() as tx:
        assert await tx.provider_attempts.open(attempt, fence=run.fence)
    return attempt


async def attempts_of(store: PostgresStore, run: Generation) -> tuple[ProviderAttempt, ...]:
    """The calls that are known of it."""
    async with store.begin() as tx:
        return (await tx.provider_attempts.list_by_generation(run.user_id, [run.id])).get(run.id, ())


def new_publication(generation: Generation | NewGeneration, *, parent_id: str = "parent-1") -> Publication:
    """The wish to have the generation as a page."""
    return Publication(
        id=uuid7(),
        generation_id=generation.id,
        user_id=generation.user_id,
        status=PublicationStatus.PENDING,
        parent=NotionParent(
            kind=NotionParentKind.DATA_SOURCE,
            id=parent_id,
            title="Notes",
            title_property="Name",
            properties={"Name": "title", "Tags": "multi_select"},
        ),
        title="The sky",
        properties={"Tags": ["blue"]},
        mode=PublishMode.CREATE,
        anchor=None,
        overwrites=False,
        requested_at=None,
        completed_at=None,
        page=None,
        failure=None,
        degraded=(),
        attempts=0,
        fence=0,
        next_attempt_at=NOW,
        created_at=NOW,
    )


async def add_publication(
    store: PostgresStore, generation: Generation | NewGeneration, *, parent_id: str = "parent-1"
) -> Publication:
    """A publication that is stored."""
    publication = new_publication(generation, parent_id=parent_id)
    async with store.begin() as tx:
        await tx.publications.add(publication)
    return publication


async def claim_publications(store: PostgresStore, *, size: int = 100, now: datetime = NOW) -> tuple[Publication, ...]:
    """Takes what is due."""
    async with store.begin() as tx:
        return await tx.publications.claim(size=size, now=now, lease_until=now + timedelta(seconds=30))


async def publication_of(store: PostgresStore, generation_id: UUID) -> Publication:
    """The generation's publication as it is stored."""
    async with store.begin() as tx:
        return (await tx.publications.list_by_generation([generation_id]))[generation_id]


def new_page(publication: Publication, *, page_id: str = "page-1") -> NotionPage:
    """A page that Notion has made."""
    return NotionPage(
        id=uuid7(),
        user_id=publication.user_id,
        page_id=page_id,
        parent_id=publication.parent.id,
        title=publication.title,
        url=f"https://notion.example/{page_id}",
        created_at=NOW,
        last_sync_at=NOW,
        state=NotionPageState.IN_SYNC,
    )
