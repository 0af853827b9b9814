"""Which pages are looked at, by whom and when; and that versions are kept by number."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from uuid_utils.compat import uuid7

from domain.account import User
from domain.page_sync import PageVersion, TrackedPage, VersionOrigin, hash_of
from domain.publication import NotionPage
from persistence.faults import DatabaseFault
from persistence.store import PostgresStore
from tests.persistence.samples import (
    LATER,
    MUCH_LATER,
    NOW,
    add_finished,
    add_publication,
    claim_publications,
    new_page,
)


async def published(store: PostgresStore, user: User, name: str) -> NotionPage:
    """A page that is published."""
    generation = await add_finished(store, user)
    await add_publication(store, generation, parent_id=f"parent-of-{name}")
    (publication,) = await claim_publications(store)
    page = new_page(publication, page_id=name)
    async with store.begin() as tx:
        await tx.publications.record_intent(publication.id, fence=publication.fence, now=NOW)
        await tx.publications.record_page(publication.id, fence=publication.fence, page=page)
        await tx.publications.complete(publication.id, fence=publication.fence, degraded=(), now=NOW)
    return page


async def due(store: PostgresStore, *names: str) -> None:
    async with store.begin() as tx:
        assert await tx.tracked_pages.ask_for_looks(names, now=NOW) == len(names)


async def claimed(store: PostgresStore, *, size: int = 10, per_user: int = 10) -> tuple[TrackedPage, ...]:
    async with store.begin() as tx:
        return await tx.tracked_pages.claim(size=size, per_user=per_user, now=LATER, claimed_until=MUCH_LATER)


async def test_what_is_due_is_claimed_once_and_shared_fairly(store: PostgresStore, ada: User, bob: User) -> None:
    for name in ("a1", "a2", "a3"):
        await published(store, ada, name)
    await published(store, bob, "b1")
    await due(store, "a1", "a2", "a3", "b1")

    first, second = await asyncio.gather(*(claimed(store, size=2, per_user=1) for _ in range(2)))
    rest = await claimed(store)

    names = [each.page.page_id for each in (*first, *second, *rest)]
    assert sorted(names) == ["a1", "a2", "a3", "b1"]
    assert "b1" in {each.page.page_id for each in (*first, *second)}
    assert await claimed(store) == ()


async def test_a_page_that_is_not_complete_or_whose_answer_is_gone_is_left_alone(
    store: PostgresStore, ada: User
) -> None:
    generation = await add_finished(store, ada)
    await add_publication(store, generation, parent_id="p")
    (publication,) = await claim_publications(store)
    async with store.begin() as tx:
        page = new_page(publication, page_id="half")
        await tx.publications.record_intent(publication.id, fence=publication.fence, now=NOW)
        await tx.publications.record_page(publication.id, fence=publication.fence, page=page)
    deleted = await published(store, ada, "deleted")
    async with store.begin() as tx:
        tracked = await tx.tracked_pages.find(ada.id, deleted.id)
        assert tracked is not None
        await tx.generations.delete(ada.id, [tracked.generation_id])
    await due(store, "half", "deleted")
    assert await claimed(store) == ()
    async with store.begin() as tx:
        assert await tx.tracked_pages.find(ada.id, deleted.id) is None
        assert await tx.tracked_pages.hold(deleted.id) is None


async def test_whoever_asks_meanwhile_is_not_forgotten(store: PostgresStore, ada: User) -> None:
    page = await published(store, ada, "a")
    await due(store, "a")
    (tracked,) = await claimed(store)
    async with store.begin() as tx:
        await tx.tracked_pages.ask_for_looks(["parent-of-a"], now=LATER)
        await tx.tracked_pages.postpone(page.id, seen=tracked.next_look_at, next_look_at=MUCH_LATER)
    (again,) = await claimed(store)
    async with store.begin() as tx:
        await tx.tracked_pages.postpone(page.id, seen=again.next_look_at, next_look_at=MUCH_LATER + timedelta(days=1))
        found = await tx.tracked_pages.find(ada.id, page.id)
    assert found is not None
    assert found.next_look_at == MUCH_LATER + timedelta(days=1)


async def test_only_a_page_that_is_named_itself_is_read_anew(store: PostgresStore, ada: User) -> None:
    page = await published(store, ada, "a")
    for named, edited_at in (("parent-of-a", NOW), ("a", None)):
        async with store.begin() as tx:
            held = await tx.tracked_pages.hold(page.id)
            assert held is not None
            await tx.tracked_pages.put(replace(held, edited_at=NOW, read_at=NOW, next_look_at=MUCH_LATER))
        await due(store, named)
        async with store.begin() as tx:
            found = await tx.tracked_pages.find(ada.id, page.id)
        assert found is not None
        assert (found.next_look_at, found.edited_at) == (NOW, edited_at)


async def test_what_is_put_is_found(store: PostgresStore, ada: User, bob: User) -> None:
    page = await published(store, ada, "a")
    async with store.begin() as tx:
        held = await tx.tracked_pages.hold(page.id)
        assert held is not None
        wanted = replace(
            held,
            page=replace(page, title="New", parent_id=None, version=2, notion_version=3, last_sync_at=LATER),
            base=2,
            base_fingerprint=b"b" * 32,
            notion_fingerprint=b"n" * 32,
            edited_at=NOW,
            read_at=LATER,
            next_look_at=MUCH_LATER,
        )
        await tx.tracked_pages.put(wanted)
    async with store.begin() as tx:
        assert await tx.tracked_pages.find(ada.id, page.id) == wanted
        assert await tx.tracked_pages.find(bob.id, page.id) is None


async def test_a_number_is_given_once(store: PostgresStore, ada: User, bob: User) -> None:
    page = await published(store, ada, "a")
    version = PageVersion(
        id=uuid7(),
        page_row_id=page.id,
        number=2,
        origin=VersionOrigin.NOTION,
        content_hash=hash_of("Text"),
        made_by=None,
        created_at=NOW,
    )
    async with store.begin() as tx:
        held = await tx.tracked_pages.hold(page.id)
        assert held is not None
        assert await tx.tracked_pages.newest_number(page.id) == 1
        await tx.tracked_pages.add_version(held, version, "Text")
        assert await tx.tracked_pages.newest_number(page.id) == 2
    with pytest.raises(DatabaseFault):
        async with store.begin() as tx:
            await tx.tracked_pages.add_version(held, replace(version, id=uuid7()), "Other")
    async with store.begin() as tx:
        assert await tx.tracked_pages.contents(ada.id, [version.id]) == {version.id: "Text"}
        assert await tx.tracked_pages.contents(bob.id, [version.id]) == {}
        (answer,) = await tx.tracked_pages.find_versions(ada.id, [(page.id, 1), (page.id, 9)])
        assert (answer.origin, answer.content_hash) == (
            VersionOrigin.ANSWER,
            hash_of("Because of Rayleigh scattering."),
        )
        assert await tx.tracked_pages.find_versions(bob.id, [(page.id, 1)]) == ()


async def test_a_page_that_was_written_to_is_news_only_to_a_look_that_begins_after_that(
    store: PostgresStore, ada: User
) -> None:
    page = await published(store, ada, "a")
    async with store.begin() as tx:
        await tx.tracked_pages.note_written(page.id, version=1, now=LATER)
        written = await tx.tracked_pages.find(ada.id, page.id)
    assert written is not None
    assert (written.read_at, written.edited_at, written.base_fingerprint) == (LATER, None, None)
