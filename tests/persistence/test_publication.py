"""The outbox: each publication has one worker at a time, and each Notion parent one writer."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from domain.account import User
from domain.errors import Conflict
from domain.publication import NotionPageState, Publication, PublicationStatus, PublishMode
from persistence.store import PostgresStore
from tests.persistence.samples import (
    FAILED,
    FAILURE,
    LATER,
    LEASE_UNTIL,
    MUCH_LATER,
    NOW,
    add,
    add_finished,
    add_publication,
    add_running,
    claim_publications,
    finish,
    new_generation,
    new_page,
    new_publication,
    publication_of,
)


async def _claimed(store: PostgresStore, user: User, *, parent_id: str = "parent-1") -> Publication:
    generation = await add_finished(store, user)
    await add_publication(store, generation, parent_id=parent_id)
    (publication,) = await claim_publications(store)
    return publication


async def test_a_publication_is_found_as_it_was_stored(store: PostgresStore, ada: User, bob: User) -> None:
    queued = new_generation(ada)
    await add(store, queued)
    publication = await add_publication(store, queued)

    async with store.begin() as tx:
        assert await tx.publications.find(ada.id, publication.id) == publication
        assert await tx.publications.find(bob.id, publication.id) is None
        assert await tx.publications.find(ada.id, uuid7()) is None
        assert await tx.publications.list_by_generation([queued.id, uuid7()]) == {queued.id: publication}
        assert await tx.publications.list_by_generation([]) == {}


async def test_a_generation_has_one_publication_however_many_ask_at_once(store: PostgresStore, ada: User) -> None:
    queued = new_generation(ada)
    await add(store, queued)

    results = await asyncio.gather(*(add_publication(store, queued) for _ in range(8)), return_exceptions=True)

    assert sum(isinstance(result, Publication) for result in results) == 1
    assert sum(isinstance(result, Conflict) for result in results) == 7


async def test_only_what_is_due_and_has_an_answer_is_claimed(store: PostgresStore, ada: User) -> None:
    due = await add_finished(store, ada)
    not_yet = await add_finished(store, ada)
    failed = await add_finished(store, ada, outcome=FAILED)
    running = await add_running(store, ada)
    for number, generation in enumerate((due, failed, running)):
        await add_publication(store, generation, parent_id=f"parent-{number}")
    async with store.begin() as tx:
        await tx.publications.add(replace(new_publication(not_yet, parent_id="other"), next_attempt_at=LATER))

    (claimed,) = await claim_publications(store)

    assert claimed.generation_id == due.id
    assert (claimed.status, claimed.attempts, claimed.fence) == (PublicationStatus.PUBLISHING, 1, 1)
    assert claimed == await publication_of(store, due.id)
    assert await claim_publications(store) == ()
    await finish(store, running)
    assert {each.generation_id for each in await claim_publications(store, now=LATER)} == {
        due.id,  # whose lease has ended
        running.id,
        not_yet.id,
    }


async def test_each_parent_has_one_writer_at_a_time(store: PostgresStore, ada: User, bob: User) -> None:
    first, second, elsewhere = [await add_finished(store, ada) for _ in range(3)]
    of_bob = await add_finished(store, bob)
    await add_publication(store, first)
    await add_publication(store, second)
    await add_publication(store, elsewhere, parent_id="parent-2")
    await add_publication(store, of_bob)

    claimed = await claim_publications(store)
    assert {each.generation_id for each in claimed} == {first.id, elsewhere.id}  # nor does Bob write there meanwhile
    assert await claim_publications(store) == ()
    (of_first,) = [each for each in claimed if each.generation_id == first.id]
    async with store.begin() as tx:
        await tx.publications.settle(
            of_first.id, fence=of_first.fence, status=PublicationStatus.FAILED, failure=FAILURE
        )

    assert [each.generation_id for each in await claim_publications(store)] == [second.id]


async def test_an_abandoned_writer_goes_before_the_next_of_its_parent(store: PostgresStore, ada: User) -> None:
    abandoned = await _claimed(store, ada)
    waiting = await add_finished(store, ada)
    async with store.begin() as tx:
        await tx.publications.add(replace(new_publication(waiting), next_attempt_at=NOW.replace(year=2020)))
    assert await claim_publications(store, now=LEASE_UNTIL) == ()

    (again,) = await claim_publications(store, now=LATER)

    assert (again.id, again.fence, again.attempts) == (abandoned.id, abandoned.fence + 1, 2)


async def test_no_publication_is_claimed_twice(store: PostgresStore, ada: User) -> None:
    for number in range(12):
        await add_publication(store, await add_finished(store, ada), parent_id=f"parent-{number % 4}")

    claims = await asyncio.gather(*(claim_publications(store, size=2) for _ in range(8)))

    claimed = [each for some in claims for each in some]
    assert sorted(each.parent.id for each in claimed) == [f"parent-{number}" for number in range(4)]


async def test_two_who_claim_at_once_do_not_both_write_under_one_parent(store: PostgresStore, ada: User) -> None:
    for _ in range(2):
        await add_publication(store, await add_finished(store, ada))
    async with store.begin() as tx:
        assert len(await tx.publications.claim(size=1, now=NOW, lease_until=LEASE_UNTIL)) == 1
        second = asyncio.create_task(claim_publications(store))
        done, _ = await asyncio.wait([second], timeout=0.2)
        assert not done

    assert await second == ()


async def test_a_page_is_made_and_completed(store: PostgresStore, ada: User, bob: User) -> None:
    claimed = await _claimed(store, ada)
    page = new_page(claimed)
    fence = claimed.fence
    async with store.begin() as tx:
        assert await tx.publications.list_known_page_ids([page.page_id]) == frozenset()
        assert await tx.publications.record_intent(claimed.id, fence=fence, now=NOW)
        assert await tx.publications.record_page(claimed.id, fence=fence, page=page)
        recorded = await tx.publications.find(ada.id, claimed.id)
        assert recorded == replace(claimed, requested_at=NOW, page=page)
        assert await tx.publications.list_known_page_ids([page.page_id, "page-2"]) == {page.page_id}

        assert await tx.publications.complete(claimed.id, fence=fence, degraded=["a formula"], now=LATER)

        synced = replace(page, last_sync_at=LATER)
        assert await tx.publications.find(ada.id, claimed.id) == replace(
            recorded,
            status=PublicationStatus.PUBLISHED,
            page=synced,
            completed_at=LATER,
            degraded=("a formula",),
        )
        assert await tx.publications.find_page(ada.id, page.id) == synced
        assert await tx.publications.find_page(bob.id, page.id) is None
        assert synced.state is NotionPageState.IN_SYNC


async def test_an_intent_keeps_its_time_until_it_is_withdrawn(store: PostgresStore, ada: User) -> None:
    claimed = await _claimed(store, ada)
    async with store.begin() as tx:
        for now in (NOW, LATER):
            assert await tx.publications.record_intent(claimed.id, fence=claimed.fence, now=now)
            found = await tx.publications.find(ada.id, claimed.id)
            assert found is not None
            assert found.requested_at == NOW

        assert await tx.publications.withdraw_intent(claimed.id, fence=claimed.fence)
        assert await tx.publications.find(ada.id, claimed.id) == claimed


async def test_a_page_belongs_to_one_publication(store: PostgresStore, ada: User) -> None:
    first = await _claimed(store, ada, parent_id="parent-1")
    second = await _claimed(store, ada, parent_id="parent-2")
    async with store.begin() as tx:
        for publication in (first, second):
            await tx.publications.record_intent(publication.id, fence=publication.fence, now=NOW)
        assert await tx.publications.record_page(first.id, fence=first.fence, page=new_page(first))

    with pytest.raises(Conflict):
        async with store.begin() as tx:
            await tx.publications.record_page(second.id, fence=second.fence, page=new_page(second))
    assert (await publication_of(store, second.generation_id)).page is None


async def test_a_page_that_somebody_has_appended_to_still_belongs_to_whoever_makes_it(
    store: PostgresStore, ada: User
) -> None:
    generation = await add_finished(store, ada)
    async with store.begin() as tx:
        await tx.publications.add(
            replace(new_publication(generation, parent_id="page-1"), mode=PublishMode.APPEND),
        )
    (append,) = await claim_publications(store)
    page = replace(new_page(append, page_id="page-1"), is_ours=False)
    async with store.begin() as tx:
        assert await tx.publications.record_append(append.id, fence=append.fence, page=page, anchor=None, now=NOW)

        assert await tx.publications.list_known_page_ids(["page-1"]) == frozenset()


async def test_what_failed_for_now_is_tried_again_later(store: PostgresStore, ada: User) -> None:
    claimed = await _claimed(store, ada)
    async with store.begin() as tx:
        assert await tx.publications.record_intent(claimed.id, fence=claimed.fence, now=NOW)
        assert await tx.publications.postpone(
            claimed.id, fence=claimed.fence, failure=FAILURE, next_attempt_at=MUCH_LATER
        )

    postponed = await publication_of(store, claimed.generation_id)
    assert postponed == replace(
        claimed,
        status=PublicationStatus.PENDING,
        failure=FAILURE,
        next_attempt_at=MUCH_LATER,
        requested_at=NOW,
    )
    assert await claim_publications(store, now=LATER) == ()
    (again,) = await claim_publications(store, now=MUCH_LATER)
    assert (again.attempts, again.fence, again.failure) == (2, 2, FAILURE)


async def test_what_has_failed_or_is_unclear_is_retried_on_request(store: PostgresStore, ada: User) -> None:
    failed = await _claimed(store, ada, parent_id="parent-1")
    unclear = await _claimed(store, ada, parent_id="parent-2")
    statuses = ((failed, PublicationStatus.FAILED), (unclear, PublicationStatus.NEEDS_ATTENTION))
    async with store.begin() as tx:
        await tx.publications.record_intent(failed.id, fence=failed.fence, now=NOW)
        await tx.publications.record_page(failed.id, fence=failed.fence, page=new_page(failed))
        assert not await tx.publications.retry(failed.id, now=LATER)
        for publication, status in statuses:
            assert await tx.publications.settle(publication.id, fence=publication.fence, status=status, failure=FAILURE)
            found = await tx.publications.find(ada.id, publication.id)
            assert found is not None
            assert (found.status, found.failure) == (status, FAILURE)

        assert await tx.publications.retry(failed.id, now=LATER)
        assert not await tx.publications.retry(failed.id, now=LATER)
        assert not await tx.publications.retry(uuid7(), now=LATER)
        assert await tx.publications.retry(unclear.id, now=MUCH_LATER)

    assert await claim_publications(store, now=NOW) == ()
    (again,) = await claim_publications(store, now=LATER)
    assert (again.id, again.fence, again.attempts, again.failure) == (failed.id, failed.fence + 1, 1, None)
    assert again.requested_at == NOW
    assert again.page is not None


async def test_what_is_unclear_goes_on_with_what_a_person_says(store: PostgresStore, ada: User) -> None:
    with_page, without = [await _claimed(store, ada, parent_id=f"parent-{number}") for number in range(2)]
    page = new_page(with_page)
    async with store.begin() as tx:
        for each in (with_page, without):
            await tx.publications.record_intent(each.id, fence=each.fence, now=NOW, bot_id="bot-1")
            await tx.publications.note_unsettled(each.id, fence=each.fence, now=NOW)
            assert not await tx.publications.resolve(each.id, fence=each.fence, page=None, now=NOW)
        for each, status in (
            (with_page, PublicationStatus.NEEDS_ATTENTION),
            (without, PublicationStatus.FAILED),
        ):
            await tx.publications.settle(each.id, fence=each.fence, status=status, failure=FAILURE)
        # Whoever has not seen the last attempt does not say what has come of it.
        assert not await tx.publications.resolve(without.id, fence=without.fence - 1, page=None, now=LATER)
        assert await tx.publications.resolve(with_page.id, fence=with_page.fence, page=page, now=LATER)
        assert await tx.publications.resolve(without.id, fence=without.fence, page=None, now=LATER)
        assert not await tx.publications.resolve(without.id, fence=without.fence, page=None, now=LATER)

    for claimed, expected in (
        (with_page, replace(with_page, page=page, requested_at=NOW, requested_by="bot-1")),
        (without, without),
    ):
        assert await publication_of(store, claimed.generation_id) == replace(
            expected, status=PublicationStatus.PENDING, attempts=0, next_attempt_at=LATER
        )


async def test_another_wish_takes_the_place_of_what_has_made_nothing(store: PostgresStore, ada: User) -> None:
    claimed = await _claimed(store, ada)
    wish = replace(
        new_publication(await add_finished(store, ada), parent_id="parent-2"),
        id=claimed.id,
        generation_id=claimed.generation_id,
        title="Another",
        properties={},
        mode=PublishMode.APPEND,
        external_id_property="Key",
        next_attempt_at=LATER,
    )
    async with store.begin() as tx:
        outbox, fence = tx.publications, claimed.fence
        assert not await outbox.ask_anew(wish)
        await outbox.record_intent(claimed.id, fence=fence, now=NOW)
        await outbox.settle(claimed.id, fence=fence, status=PublicationStatus.FAILED, failure=FAILURE)
        assert not await outbox.ask_anew(wish)
        await outbox.retry(claimed.id, now=NOW)
    (again,) = await claim_publications(store)
    async with store.begin() as tx:
        outbox, fence = tx.publications, again.fence
        await outbox.withdraw_intent(claimed.id, fence=fence)
        await outbox.settle(claimed.id, fence=fence, status=PublicationStatus.FAILED, failure=FAILURE)
        assert await outbox.ask_anew(wish)

    assert await publication_of(store, claimed.generation_id) == replace(wish, fence=again.fence)


async def test_a_publication_ends_with_a_generation_that_has_no_answer(store: PostgresStore, ada: User) -> None:
    generation = await add_finished(store, ada, outcome=FAILED)
    await add_publication(store, generation)
    at_work = await _claimed(store, ada, parent_id="parent-2")
    async with store.begin() as tx:
        await tx.publications.fail_pending_of(generation.id, FAILURE)
        await tx.publications.fail_pending_of(at_work.generation_id, FAILURE)

    ended = await publication_of(store, generation.id)
    assert (ended.status, ended.failure) == (PublicationStatus.FAILED, FAILURE)
    assert await publication_of(store, at_work.generation_id) == at_work


async def test_whoever_has_lost_a_publication_changes_nothing(store: PostgresStore, ada: User) -> None:
    claimed = await _claimed(store, ada)
    (current,) = await claim_publications(store, now=LATER)
    assert current.fence == claimed.fence + 1
    for fence in (claimed.fence, current.fence + 1):
        async with store.begin() as tx:
            outbox, key = tx.publications, claimed.id
            page = new_page(claimed)
            assert not await outbox.renew_lease(key, fence=fence, lease_until=MUCH_LATER)
            assert not await outbox.record_intent(key, fence=fence, now=NOW)
            assert not await outbox.record_page(key, fence=fence, page=page)
            assert not await outbox.withdraw_intent(key, fence=fence)
            assert not await outbox.postpone(key, fence=fence, failure=FAILURE, next_attempt_at=NOW)
            assert not await outbox.settle(key, fence=fence, status=PublicationStatus.FAILED, failure=FAILURE)
            assert not await outbox.complete(key, fence=fence, degraded=(), now=NOW)
            assert await outbox.list_known_page_ids([page.page_id]) == frozenset()

    assert await publication_of(store, claimed.generation_id) == current


async def test_a_renewed_lease_keeps_others_away(store: PostgresStore, ada: User) -> None:
    claimed = await _claimed(store, ada)
    async with store.begin() as tx:
        assert await tx.publications.renew_lease(claimed.id, fence=claimed.fence, lease_until=MUCH_LATER)

    assert await claim_publications(store, now=LATER) == ()


async def test_what_was_sent_may_take_effect_after_whoever_sent_it(store: PostgresStore, ada: User) -> None:
    claimed = await _claimed(store, ada)
    (again,) = await claim_publications(store, now=LATER)
    assert again.unsettled_since is None  # nothing had been asked for
    async with store.begin() as tx:
        assert await tx.publications.record_intent(claimed.id, fence=again.fence, now=LATER, bot_id="bot-1")
        assert await tx.publications.renew_lease(claimed.id, fence=again.fence, lease_until=MUCH_LATER)
    (taken_over,) = await claim_publications(store, now=MUCH_LATER + timedelta(seconds=1))
    assert (taken_over.unsettled_since, taken_over.requested_by) == (MUCH_LATER, "bot-1")

    async with store.begin() as tx:
        outbox, fence = tx.publications, taken_over.fence
        assert not await outbox.note_unsettled(claimed.id, fence=again.fence, now=NOW)
        assert await outbox.note_unsettled(claimed.id, fence=fence, now=NOW)
        await outbox.postpone(claimed.id, fence=fence, failure=FAILURE, next_attempt_at=NOW)
    (pending,) = await claim_publications(store)
    assert pending.unsettled_since == NOW
    async with store.begin() as tx:
        await tx.publications.record_page(claimed.id, fence=pending.fence, page=new_page(claimed))
    assert (await publication_of(store, claimed.generation_id)).unsettled_since is None


async def test_all_who_have_written_to_a_page_are_known(store: PostgresStore, ada: User) -> None:
    claimed = await _claimed(store, ada)
    async with store.begin() as tx:
        for bot_id in ("bot-1", "bot-2", "bot-1"):
            assert await tx.publications.record_writer(claimed.id, fence=claimed.fence, bot_id=bot_id)
        assert not await tx.publications.record_writer(claimed.id, fence=claimed.fence - 1, bot_id="bot-3")

    assert (await publication_of(store, claimed.generation_id)).writers == {"bot-1", "bot-2"}


async def test_users_take_turns(store: PostgresStore, ada: User, bob: User) -> None:
    for number in range(4):
        await add_publication(store, await add_finished(store, ada), parent_id=f"of-ada-{number}")
    for number in range(2):
        await add_publication(store, await add_finished(store, bob), parent_id=f"of-bob-{number}")

    first = await claim_publications(store, size=1)
    second = await claim_publications(store, size=2)
    third = await claim_publications(store, size=2)

    assert [each.user_id for each in first] == [ada.id]
    assert {each.user_id for each in second} == {ada.id, bob.id}
    assert {each.user_id for each in third} == {ada.id, bob.id}


async def test_users_take_turns_under_one_parent(store: PostgresStore, ada: User, bob: User) -> None:
    for _ in range(10):
        queued = replace(new_publication(await add_finished(store, ada)), next_attempt_at=NOW - timedelta(hours=1))
        async with store.begin() as tx:
            await tx.publications.add(queued)
    for _ in range(3):
        await add_publication(store, await add_finished(store, bob))

    order = [await _written(store, at=NOW + timedelta(seconds=number)) for number in range(13)]

    assert order[:6] == [ada.id, bob.id] * 3
    assert order[6:] == [ada.id] * 7


async def _written(store: PostgresStore, *, at: datetime) -> UUID:
    """The next page of the only parent is made; answers whose it is."""
    (claimed,) = await claim_publications(store, now=at)
    page = new_page(claimed, page_id=f"page-of-{claimed.id}")
    async with store.begin() as tx:
        await tx.publications.record_intent(claimed.id, fence=claimed.fence, now=at)
        await tx.publications.record_page(claimed.id, fence=claimed.fence, page=page)
        await tx.publications.complete(claimed.id, fence=claimed.fence, degraded=(), now=at)
    return claimed.user_id


async def test_a_page_that_exists_leaves_its_parent_to_others(store: PostgresStore, ada: User) -> None:
    claimed = await _claimed(store, ada)
    await add_publication(store, await add_finished(store, ada))
    onto = await add_finished(store, ada)
    await add_publication(store, onto, parent_id="page-1")
    async with store.begin() as tx:
        await tx.publications.record_intent(claimed.id, fence=claimed.fence, now=NOW)
        await tx.publications.record_page(claimed.id, fence=claimed.fence, page=new_page(claimed, page_id="page-1"))

    (other,) = await claim_publications(store)
    assert other.parent.id == "parent-1"
    async with store.begin() as tx:
        assert await tx.publications.complete(claimed.id, fence=claimed.fence, degraded=(), now=NOW)
    assert [each.generation_id for each in await claim_publications(store)] == [onto.id]


async def test_a_published_one_is_brought_up_to_date(store: PostgresStore, ada: User) -> None:
    claimed = await _claimed(store, ada)
    again = await add_finished(store, ada)
    async with store.begin() as tx:
        outbox = tx.publications
        assert not await outbox.update_again(claimed.id, now=NOW, overwrites=False)
        assert not await outbox.hand_over(claimed.id, generation_id=again.id)
        await outbox.record_intent(claimed.id, fence=claimed.fence, now=NOW)
        await outbox.record_page(claimed.id, fence=claimed.fence, page=new_page(claimed))
        await outbox.complete(claimed.id, fence=claimed.fence, degraded=(), now=NOW)
        assert await outbox.hand_over(claimed.id, generation_id=again.id)
        assert await outbox.update_again(claimed.id, now=LATER, overwrites=True)
    (update,) = await claim_publications(store, now=LATER)
    assert (update.mode, update.overwrites, update.requested_at) == (PublishMode.UPDATE, True, LATER)
    assert (update.generation_id, update.attempts, update.completed_at) == (again.id, 1, None)
    # That it has begun outlives every attempt, and nothing else.
    fence = update.fence
    async with store.begin() as tx:
        assert await tx.publications.record_begun(update.id, fence=fence)
        assert not await tx.publications.record_begun(update.id, fence=fence - 1)
        await tx.publications.postpone(update.id, fence=fence, failure=FAILURE, next_attempt_at=LATER, is_counted=False)
    (once_more,) = await claim_publications(store, now=LATER)
    assert (update.is_begun, once_more.is_begun, once_more.attempts) == (False, True, 1)
    async with store.begin() as tx:
        await tx.publications.settle(update.id, fence=once_more.fence, status=PublicationStatus.FAILED, failure=FAILURE)
        settled = await tx.publications.find(ada.id, update.id)
        assert settled is not None
        assert not settled.is_begun
        assert await tx.publications.retry(update.id, now=LATER, overwrites=True)
    (anew,) = await claim_publications(store, now=LATER)
    async with store.begin() as tx:
        assert await tx.publications.record_begun(update.id, fence=anew.fence)
        assert await tx.publications.complete(update.id, fence=anew.fence, degraded=(), now=LATER)
    assert not (await publication_of(store, again.id)).is_begun


async def test_who_else_has_begun_to_write_to_a_page_is_known(store: PostgresStore, ada: User) -> None:
    claimed, rival = [
        replace(new_publication(await add_finished(store, ada), parent_id="page-1"), mode=PublishMode.APPEND)
        for _ in range(2)
    ]
    async with store.begin() as tx:
        for each in (claimed, rival):
            await tx.publications.add(each)
    (first,) = await claim_publications(store)
    page = replace(new_page(first, page_id="page-1"), is_ours=False)
    async with store.begin() as tx:
        assert not await tx.publications.has_rivals(first)
        assert await tx.publications.record_append(first.id, fence=first.fence, page=page, anchor="last", now=NOW)
        await tx.publications.settle(first.id, fence=first.fence, status=PublicationStatus.FAILED, failure=FAILURE)
    (second,) = await claim_publications(store)
    other_page = replace(new_page(second, page_id="page-1"), is_ours=False)
    async with store.begin() as tx:
        assert await tx.publications.has_rivals(second)
        assert await tx.publications.record_append(second.id, fence=second.fence, page=other_page, anchor=None, now=NOW)
        assert await tx.publications.retry(first.id, now=NOW)
        assert await tx.publications.complete(second.id, fence=second.fence, degraded=(), now=NOW)
        assert not await tx.publications.has_rivals(first)
    (again,) = await claim_publications(store)
    assert (again.id, again.anchor, again.requested_at) == (first.id, "last", NOW)
