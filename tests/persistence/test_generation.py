"""Generations: added once, found by their owner alone, cancelled, deleted."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine
from uuid_utils.compat import uuid7

from domain.account import User
from domain.errors import Conflict
from domain.generation import Generation, GenerationStatus
from domain.provider import ModelRef
from persistence.store import PostgresStore
from persistence.tables import content_history, generation_chunks, notion_pages, publications
from tests.persistence.samples import (
    FAILED,
    FAILURE,
    LATER,
    MUCH_LATER,
    NOW,
    SUCCESS,
    add,
    add_finished,
    add_publication,
    add_running,
    append,
    chunk,
    claim,
    claim_publications,
    finish,
    get,
    new_generation,
    new_page,
    publication_of,
)


async def test_a_generation_is_found_as_it_was_queued(store: PostgresStore, ada: User, bob: User) -> None:
    first = await add_finished(store, ada)
    queued = new_generation(
        ada,
        prompt="Пишите\n\U0001f600 'quoted' \\ %s $1 :x",
        parent_id=first.id,
        parameters={"temperature": 0.5, "stop_sequences": ["a", "b"]},
        fallback=(
            ModelRef(provider_id="anthropic", model="claude-sonnet-5-5"),
            ModelRef(provider_id="demo", model="x"),
        ),
    )
    await add(store, queued)

    found = await get(store, ada, queued.id)

    assert found == Generation(
        id=queued.id,
        user_id=ada.id,
        parent_id=first.id,
        provider_id="demo",
        model="demo-writer",
        parameters={"temperature": 0.5, "stop_sequences": ["a", "b"]},
        fallback=queued.fallback,
        status=GenerationStatus.QUEUED,
        epoch=0,
        fence=0,
        usage=None,
        cost=None,
        price_version=None,
        finish_reason=None,
        failure=None,
        created_at=NOW,
        started_at=None,
        finished_at=None,
    )
    async with store.begin() as tx:
        assert await tx.generations.find(bob.id, queued.id) is None
        assert await tx.generations.find_many(ada.id, [queued.id, first.id, uuid7()]) == {
            queued.id: found,
            first.id: first,
        }
        assert await tx.generations.find_many(bob.id, [queued.id]) == {}
        assert await tx.generations.find_many(ada.id, []) == {}


async def test_one_idempotency_key_makes_one_generation_however_many_ask_at_once(
    store: PostgresStore, ada: User, bob: User
) -> None:
    await add(store, new_generation(bob, idempotency_key="key"))
    candidates = [new_generation(ada, idempotency_key="key") for _ in range(50)]

    results = await asyncio.gather(*(add(store, each) for each in candidates), return_exceptions=True)

    refused = [result for result in results if isinstance(result, Conflict)]
    assert len(refused) == 49
    assert {refusal.field for refusal in refused} == {("idempotencyKey",)}
    (added,) = [each for each, result in zip(candidates, results, strict=True) if result is None]
    async with store.begin() as tx:
        found = await tx.generations.find_by_idempotency_key(ada.id, "key", created_after=NOW - timedelta(days=1))
    assert found is not None
    assert (found[0].id, found[1]) == (added.id, added.request_hash)


async def test_an_idempotency_key_is_forgotten_when_it_is_old(store: PostgresStore, ada: User) -> None:
    await add(store, new_generation(ada, idempotency_key="key"))
    async with store.begin() as tx:
        assert (
            await tx.generations.find_by_idempotency_key(ada.id, "other", created_after=NOW - LATER.resolution) is None
        )
        assert await tx.generations.find_by_idempotency_key(ada.id, "key", created_after=NOW) is None
        await tx.generations.forget_idempotency_key(ada.id, "key", created_before=NOW - timedelta(seconds=1))
    with pytest.raises(Conflict):
        await add(store, new_generation(ada, idempotency_key="key"))

    async with store.begin() as tx:
        await tx.generations.forget_idempotency_key(ada.id, "key", created_before=NOW)
        await tx.generations.add(new_generation(ada, idempotency_key="key", created_at=LATER))


async def test_a_queued_generation_is_cancelled_at_once(store: PostgresStore, ada: User, bob: User) -> None:
    queued = new_generation(ada)
    await add(store, queued)
    async with store.begin() as tx:
        assert await tx.generations.request_cancel(bob.id, queued.id, now=LATER) is None
        assert await tx.generations.request_cancel(ada.id, uuid7(), now=LATER) is None

        cancelled = await tx.generations.request_cancel(ada.id, queued.id, now=LATER)

    assert cancelled is not None
    assert (cancelled.status, cancelled.finished_at) == (GenerationStatus.CANCELLED, LATER)
    assert await get(store, ada, queued.id) == cancelled
    assert await claim(store) == ()


async def test_a_running_generation_is_only_marked(store: PostgresStore, ada: User) -> None:
    running, other = await add_running(store, ada), await add_running(store, ada)

    async with store.begin() as tx:
        assert await tx.generations.list_cancel_requested([running.id, other.id]) == frozenset()
        assert await tx.generations.request_cancel(ada.id, running.id, now=LATER) == running
        assert await tx.generations.request_cancel(ada.id, running.id, now=MUCH_LATER) == running
        assert await tx.generations.list_cancel_requested([running.id, other.id]) == {running.id}

    assert await finish(store, running)
    async with store.begin() as tx:
        assert await tx.generations.list_cancel_requested([running.id, other.id]) == frozenset()


@pytest.mark.parametrize("outcome", [SUCCESS, FAILED], ids=["succeeded", "failed"])
async def test_one_that_has_ended_stays_as_it_is(store: PostgresStore, ada: User, outcome: object) -> None:
    ended = await add_finished(store, ada, outcome=SUCCESS if outcome is SUCCESS else FAILED)

    async with store.begin() as tx:
        assert await tx.generations.request_cancel(ada.id, ended.id, now=MUCH_LATER) == ended

    assert await get(store, ada, ended.id) == ended


async def test_cancelling_and_claiming_at_the_same_time_leaves_no_run_uncancelled(
    store: PostgresStore, ada: User
) -> None:
    queued = [new_generation(ada) for _ in range(20)]
    await add(store, *queued)

    async def cancel(generation: object) -> Generation | None:
        assert isinstance(generation, type(queued[0]))
        async with store.begin() as tx:
            return await tx.generations.request_cancel(ada.id, generation.id, now=LATER)

    *answers, claimed = await asyncio.gather(*(cancel(each) for each in queued), claim(store))
    assert isinstance(claimed, tuple)
    ended = {each.id for each in answers if isinstance(each, Generation) and each.status.is_final}
    running = {each.id for each in claimed}
    assert ended | running == {each.id for each in queued}
    assert not ended & running
    async with store.begin() as tx:
        assert await tx.generations.list_cancel_requested([each.id for each in queued]) == running


async def test_only_what_has_ended_is_deleted_and_only_by_its_owner(
    store: PostgresStore, engine: AsyncEngine, ada: User, bob: User
) -> None:
    parent = await add_finished(store, ada)
    child = new_generation(ada, parent_id=parent.id)
    await add(store, child)
    running = await add_running(store, ada)
    of_bob = await add_finished(store, bob)
    await append(store, chunk(running, 0, "text"))

    async with store.begin() as tx:
        deleted = await tx.generations.delete(ada.id, [parent.id, child.id, running.id, of_bob.id, uuid7()])

    assert deleted == (parent.id,)
    assert (await get(store, ada, child.id)).parent_id is None
    assert (await get(store, bob, of_bob.id)) == of_bob
    async with engine.connect() as connection:
        assert (await connection.execute(select(func.count()).select_from(generation_chunks))).scalar_one() == 1


async def test_the_publication_goes_with_its_generation_and_the_page_stays_known(
    store: PostgresStore, engine: AsyncEngine, ada: User
) -> None:
    generation = await add_finished(store, ada)
    await add_publication(store, generation)
    (publication,) = await claim_publications(store)
    page = new_page(publication)
    async with store.begin() as tx:
        assert await tx.publications.record_intent(publication.id, fence=publication.fence, now=NOW)
        assert await tx.publications.record_page(publication.id, fence=publication.fence, page=page)

        assert await tx.generations.delete(ada.id, [generation.id]) == (generation.id,)

        assert await tx.publications.find(ada.id, publication.id) is None
        assert await tx.publications.list_known_page_ids([page.page_id]) == {page.page_id}
        assert not await tx.publications.renew_lease(publication.id, fence=publication.fence, lease_until=LATER)


async def test_deleting_a_user_deletes_all_of_theirs(store: PostgresStore, engine: AsyncEngine, ada: User) -> None:
    generation = await add_finished(store, ada)
    await add(store, new_generation(ada, parent_id=generation.id))
    running = await add_running(store, ada)
    await append(store, chunk(running, 0, "text"))
    await add_publication(store, generation)
    (publication,) = await claim_publications(store)
    async with store.begin() as tx:
        await tx.publications.record_intent(publication.id, fence=publication.fence, now=NOW)
        await tx.publications.record_page(publication.id, fence=publication.fence, page=new_page(publication))
        await tx.publications.complete(publication.id, fence=publication.fence, degraded=(), now=NOW)
    assert (await publication_of(store, generation.id)).page is not None

    async with engine.begin() as connection:
        await connection.exec_driver_sql("DELETE FROM users")

        for table in (content_history, generation_chunks, publications, notion_pages):
            assert (await connection.execute(select(func.count()).select_from(table))).scalar_one() == 0


async def test_a_failure_is_told_whole(store: PostgresStore, ada: User) -> None:
    failed = await add_finished(store, ada, outcome=FAILED)

    assert failed.failure == FAILURE
    bare = replace(FAILED, failure=replace(FAILURE, reason=None, retry_after_seconds=None))
    assert (await add_finished(store, ada, outcome=bare)).failure == bare.failure
