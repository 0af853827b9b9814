"""Running generations: one owner at a time, whatever happens at the same moment, and nothing that was shown is lost."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncEngine
from uuid_utils.compat import uuid7

from domain.account import User
from domain.errors import ErrorCode
from domain.generation import Appended, ChunkKind, Cursor, Generation, GenerationStatus, RecoveryPolicy, Transcript
from domain.publication import NO_ANSWER, PublicationStatus
from persistence.advisory_lock import AdvisoryLock
from persistence.store import PostgresStore
from persistence.tables import content_history, generation_chunks
from tests.persistence.samples import (
    LATER,
    LEASE,
    NO_LEASE,
    NO_TIME,
    NOW,
    SUCCESS,
    add,
    add_finished,
    add_publication,
    add_running,
    add_user,
    append,
    chunk,
    claim,
    finish,
    get,
    new_generation,
    publication_of,
)
from tests.waiting import PATIENCE_SECONDS, until


async def _transcript(store: PostgresStore, user: User, run: Generation) -> Transcript:
    async with store.begin() as tx:
        return (await tx.generations.list_transcripts(user.id, [run.id]))[run.id]


async def _chunk_count(engine: AsyncEngine) -> int:
    async with engine.connect() as connection:
        return (await connection.execute(select(func.count()).select_from(generation_chunks))).scalar_one()


async def test_a_claimed_generation_runs(store: PostgresStore, ada: User) -> None:
    queued = new_generation(ada)
    await add(store, queued)

    (claimed,) = await claim(store)

    assert claimed == await get(store, ada, queued.id)
    assert (claimed.status, claimed.fence, claimed.epoch) == (GenerationStatus.RUNNING, 1, 0)
    assert claimed.started_at == NOW
    assert await claim(store) == ()


async def test_users_take_turns_and_the_oldest_comes_first(store: PostgresStore, ada: User, bob: User) -> None:
    cleo = await add_user(store, "cleo")
    by_ada = [new_generation(ada) for _ in range(5)]
    by_bob = [new_generation(bob) for _ in range(2)]
    by_cleo = [new_generation(cleo)]
    await add(store, *by_ada, *by_bob, *by_cleo)

    first = await claim(store, size=4, per_user=3)
    second = await claim(store, size=4, per_user=3)

    assert [each.id for each in first] == [each.id for each in (by_ada[0], by_bob[0], by_cleo[0], by_ada[1])]
    assert [each.id for each in second] == [each.id for each in (by_bob[1], by_ada[2])]
    assert await claim(store, size=4, per_user=3) == ()

    await finish(store, first[0])
    assert [each.id for each in await claim(store, size=4, per_user=3)] == [by_ada[3].id]


async def test_who_has_less_running_comes_first(store: PostgresStore, ada: User, bob: User) -> None:
    await add(store, new_generation(ada), new_generation(ada))
    await claim(store)
    late = new_generation(ada), new_generation(bob)
    await add(store, *late)

    assert [each.id for each in await claim(store, size=1)] == [late[1].id]


async def test_no_generation_is_claimed_twice_and_no_user_gets_more_than_their_share(
    store: PostgresStore, ada: User, bob: User
) -> None:
    await add(store, *(new_generation(user) for _ in range(30) for user in (ada, bob)))

    claims = await asyncio.gather(*(claim(store, size=3, per_user=5, owner=f"{number}") for number in range(10)))

    claimed = [each for some in claims for each in some]
    assert len({each.id for each in claimed}) == len(claimed)
    assert Counter(each.user_id for each in claimed) == {ada.id: 5, bob.id: 5}


async def test_two_who_claim_at_once_do_not_both_find_room_for_one_more(store: PostgresStore, ada: User) -> None:
    await add(store, new_generation(ada), new_generation(ada))
    async with store.begin() as tx:
        assert len(await tx.generations.claim(size=1, per_user=1, owner="1", now=NOW, lease=LEASE)) == 1
        second = asyncio.create_task(claim(store, size=1, per_user=1, owner="2"))
        done, _ = await asyncio.wait([second], timeout=0.2)
        assert not done

    assert await second == ()


async def test_a_lease_is_renewed_by_its_owner_alone(store: PostgresStore, ada: User) -> None:
    held, ended, lost = [await add_running(store, ada) for _ in range(3)]
    await finish(store, ended)
    runs = {held.id: held.fence, ended.id: ended.fence, lost.id: lost.fence + 1, uuid7(): 1}

    async with store.begin() as tx:
        assert await tx.generations.renew_leases(runs, lease=LEASE) == {held.id}
        assert await tx.generations.renew_leases({}, lease=LEASE) == frozenset()
        # Of the running ones only the lease of the first has been extended.
        assert await tx.generations.recover_abandoned(now=LATER, policy=RecoveryPolicy(), up_for=NO_TIME) == (lost.id,)


async def test_many_leases_are_renewed_while_text_is_appended_without_deadlock(store: PostgresStore, ada: User) -> None:
    runs = [await add_running(store, ada) for _ in range(20)]
    ids = {run.id for run in runs}

    async def renew(order: list[Generation]) -> None:
        async with store.begin() as tx:
            held = await tx.generations.renew_leases({run.id: run.fence for run in order}, lease=LEASE)
        assert held == ids

    async def write(offset: int, order: list[Generation]) -> None:
        async with store.begin() as tx:
            appended = await tx.generations.append_chunks([chunk(run, offset, "x") for run in order])
        assert appended.held == ids

    for offset in range(5):
        await asyncio.gather(*(work for order in (runs, runs[::-1]) for work in (renew(order), write(offset, order))))


async def test_a_run_that_somebody_has_locked_keeps_no_other_up(
    store: PostgresStore, engine: AsyncEngine, ada: User
) -> None:
    locked, free = [await add_running(store, ada) for _ in range(2)]
    runs = {run.id: run.fence for run in (locked, free)}
    async with store.begin() as held_up:
        # As by an instance that stands still before it commits.
        await held_up.generations.request_cancel(ada.id, locked.id, now=NOW)
        async with asyncio.timeout(PATIENCE_SECONDS), store.begin() as tx:
            assert await tx.generations.renew_leases(runs, lease=LEASE) == runs.keys()
            appended = await tx.generations.append_chunks([chunk(run, 0, "Hello") for run in (locked, free)])
            assert appended == Appended(stored=frozenset({free.id}), held=frozenset(runs))
    async with engine.connect() as connection:
        lease = select(content_history.c.id).where(content_history.c.lease_until > func.now())
        assert (await connection.execute(lease)).scalars().all() == [free.id]

    assert await append(store, chunk(locked, 0, "Hello, again")) == {locked.id}
    assert (await _transcript(store, ada, locked)).content == "Hello, again"


async def test_a_run_that_is_being_taken_over_is_held_until_it_is_taken(store: PostgresStore, ada: User) -> None:
    run = await add_running(store, ada)
    runs = {run.id: run.fence}
    async with store.begin() as other:
        policy = RecoveryPolicy()
        assert await other.generations.recover_abandoned(now=LATER, policy=policy, up_for=NO_TIME) == (run.id,)
        async with store.begin() as tx:
            assert await tx.generations.renew_leases(runs, lease=LEASE) == {run.id}
            appended = await tx.generations.append_chunks([chunk(run, 0, "too late")])
            assert appended == Appended(stored=frozenset(), held=frozenset(runs))
    async with store.begin() as tx:
        assert await tx.generations.renew_leases(runs, lease=LEASE) == frozenset()
        appended = await tx.generations.append_chunks([chunk(run, 0, "too late")])
        assert appended == Appended(stored=frozenset(), held=frozenset())
    assert (await get(store, ada, run.id)).status is GenerationStatus.QUEUED
    assert (await _transcript(store, ada, run)).content == ""


async def test_a_heartbeat_touches_no_index(store: PostgresStore, engine: AsyncEngine, ada: User) -> None:
    run = await add_running(store, ada)
    async with store.begin() as tx:
        await tx.generations.renew_leases({run.id: run.fence}, lease=LEASE)
        await tx.generations.request_cancel(ada.id, run.id, now=LATER)
    async with engine.connect() as connection:
        # The server's count of updates that stayed on their page comes a moment after the commit.
        hot = text("SELECT n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'content_history'")
        for _ in range(100):
            await connection.exec_driver_sql("SELECT pg_stat_clear_snapshot(), pg_stat_force_next_flush()")
            if (await connection.execute(hot)).scalar_one() == 2:
                return
            await connection.rollback()
            await asyncio.sleep(0.05)
    pytest.fail("an update went to the indexes")


async def test_text_is_appended_by_its_owner_alone(store: PostgresStore, engine: AsyncEngine, ada: User) -> None:
    run, other, ended = [await add_running(store, ada) for _ in range(3)]
    await finish(store, ended)
    chunks = (
        chunk(run, 0, "Hel"),
        chunk(run, 3, "lo"),
        chunk(run, 0, "hm", kind=ChunkKind.REASONING),
        replace(chunk(other, 0, "stale"), fence=other.fence - 1),
        replace(chunk(other, 0, "of another epoch"), epoch=1),
        chunk(ended, 0, "late"),
        replace(chunk(run, 0, "nobody's"), generation_id=uuid7()),
    )

    async with store.begin() as tx:
        assert await tx.generations.append_chunks(chunks) == Appended(
            stored=frozenset({run.id}), held=frozenset({run.id})
        )

    assert await _chunk_count(engine) == 3
    assert (await _transcript(store, ada, run)).content == "Hello"
    assert (await _transcript(store, ada, run)).reasoning == "hm"
    assert await append(store) == frozenset()


async def test_a_chunk_that_comes_again_is_stored_once_and_may_have_grown(
    store: PostgresStore, engine: AsyncEngine, ada: User
) -> None:
    run = await add_running(store, ada)
    for texts in (("Hello",), ("Hello",), ("Hello, world",), ("Hell",), ("Hello", "Hello, world!", "Hel"), ("",)):
        assert await append(store, *(chunk(run, 0, each) for each in texts)) == {run.id}

    assert await _chunk_count(engine) == 1
    assert (await _transcript(store, ada, run)).content == "Hello, world!"


async def test_the_end_of_a_run_waits_for_text_that_is_being_appended_and_removes_it(
    store: PostgresStore, engine: AsyncEngine, ada: User
) -> None:
    run = await add_running(store, ada)
    async with store.begin() as tx:
        assert (await tx.generations.append_chunks([chunk(run, 0, "Hello")])).stored == {run.id}
        ending = asyncio.create_task(finish(store, run))
        done, _ = await asyncio.wait([ending], timeout=0.2)
        assert not done
    assert await ending

    assert await _chunk_count(engine) == 0
    assert (await _transcript(store, ada, run)).content == SUCCESS.content


async def test_text_that_is_appended_while_the_run_ends_is_refused(
    store: PostgresStore, engine: AsyncEngine, ada: User
) -> None:
    run = await add_running(store, ada)
    async with store.begin() as tx:
        assert await tx.generations.finish(run.id, fence=run.fence, outcome=SUCCESS, now=LATER)
        assert await append(store, chunk(run, 0, "too late")) == frozenset()
    assert await append(store, chunk(run, 0, "too late")) == frozenset()

    assert await _chunk_count(engine) == 0


async def test_an_outcome_is_stored_whole(store: PostgresStore, ada: User) -> None:
    run = await add_running(store, ada)
    await append(store, chunk(run, 0, "Because"))

    assert await finish(store, run, replace(SUCCESS, reasoning="Let me think."))

    ended = await get(store, ada, run.id)
    assert ended == replace(
        run,
        status=GenerationStatus.SUCCEEDED,
        finish_reason="stop",
        finished_at=LATER,
    )
    assert await _transcript(store, ada, run) == Transcript(
        prompt="Why is the sky blue?", system_prompt=None, content=SUCCESS.content, reasoning="Let me think."
    )


async def test_a_run_ends_once_and_by_its_owner_alone(store: PostgresStore, ada: User) -> None:
    run = await add_running(store, ada)

    assert not await finish(store, replace(run, fence=run.fence + 1))
    assert (await get(store, ada, run.id)).status is GenerationStatus.RUNNING
    results = await asyncio.gather(*(finish(store, run) for _ in range(5)))

    assert sorted(results) == [False] * 4 + [True]


@pytest.mark.parametrize(
    "answer",
    [
        " ".join(f"{number:x}" for number in range(180_000)),
        " ".join(chr(0x20000 + number % 40_000) + chr(0x4E00 + number // 40_000) for number in range(330_000)),
        "-".join(f"{number:x}" for number in range(150_000)),
        " ".join(f"a{number:x}.com/b{number:x}" for number in range(60_000)),
        "/".join(f"{number:x}" for number in range(150_000)),
        "x" * 1_000_000,
        "İ" * 1_000_000,
        "\u0301 \ufffd\u200d" * 300_000,
        "<p>" * 300_000,
        "1e1 -1.5 " * 100_000,
    ],
    ids=["words", "rare", "hyphens", "addresses", "paths", "word", "dotted", "marks", "tags", "numbers"],
)
async def test_no_text_is_too_much_for_the_search(store: PostgresStore, ada: User, answer: str) -> None:
    prompt = answer[:200_000]
    ended = await add_finished(store, ada, prompt=prompt, outcome=replace(SUCCESS, content=answer, reasoning=answer))

    assert await _transcript(store, ada, ended) == Transcript(
        prompt=prompt, system_prompt=None, content=answer, reasoning=answer
    )


async def test_a_released_run_is_queued_again_and_restarts_in_a_new_epoch(
    store: PostgresStore, engine: AsyncEngine, ada: User
) -> None:
    run = await add_running(store, ada)
    await append(store, chunk(run, 0, "unseen"))
    async with store.begin() as tx:
        assert not await tx.generations.release(run.id, fence=run.fence - 1)
        assert await tx.generations.renew_leases({run.id: run.fence}, lease=LEASE) == {run.id}
        assert await tx.generations.release(run.id, fence=run.fence)
    released = await get(store, ada, run.id)
    assert released.status is GenerationStatus.QUEUED

    (again,) = await claim(store, now=LATER)

    assert (again.fence, again.epoch, again.started_at) == (run.fence + 1, run.epoch + 1, LATER)
    assert await _chunk_count(engine) == 0
    assert await append(store, chunk(run, 0, "of the first owner")) == frozenset()
    assert not await finish(store, run)
    async with store.begin() as tx:
        assert not await tx.generations.release(run.id, fence=run.fence)
    assert (await get(store, ada, run.id)).status is GenerationStatus.RUNNING


async def test_a_run_that_was_to_stop_is_not_given_back(store: PostgresStore, ada: User) -> None:
    run = await add_running(store, ada)
    async with store.begin() as tx:
        await tx.generations.request_cancel(ada.id, run.id, now=NOW)

        assert not await tx.generations.release(run.id, fence=run.fence)

    assert (await get(store, ada, run.id)).status is GenerationStatus.RUNNING


async def test_one_that_waits_to_start_again_keeps_its_text_when_it_is_cancelled(
    store: PostgresStore, engine: AsyncEngine, ada: User
) -> None:
    run = await add_running(store, ada)
    await append(store, chunk(run, 0, "What was shown"), chunk(run, 0, "hm", kind=ChunkKind.REASONING))
    async with store.begin() as tx:
        policy = RecoveryPolicy(restarts_shown=True)
        assert await tx.generations.recover_abandoned(now=LATER, policy=policy, up_for=NO_TIME) == (run.id,)
        waiting = await tx.generations.find(ada.id, run.id)
        cancelled = await tx.generations.request_cancel(ada.id, run.id, now=LATER)

    assert waiting is not None
    assert waiting.status is GenerationStatus.QUEUED
    assert cancelled == await get(store, ada, run.id)
    assert cancelled.status is GenerationStatus.CANCELLED
    transcript = await _transcript(store, ada, run)
    assert (transcript.content, transcript.reasoning) == ("What was shown", "hm")
    assert await _chunk_count(engine) == 0


async def test_an_abandoned_run_without_text_is_queued_again(store: PostgresStore, ada: User) -> None:
    run = await add_running(store, ada)
    await add_publication(store, run)
    async with store.begin() as tx:
        assert await tx.generations.recover_abandoned(now=LATER, policy=RecoveryPolicy(), up_for=NO_TIME) == (run.id,)

    assert (await get(store, ada, run.id)).status is GenerationStatus.QUEUED
    assert (await publication_of(store, run.id)).status is PublicationStatus.PENDING
    (again,) = await claim(store, now=LATER)
    assert (again.fence, again.epoch) == (run.fence + 1, run.epoch + 1)


@pytest.mark.parametrize("kind", list(ChunkKind))
async def test_an_abandoned_run_with_text_is_interrupted_and_keeps_it(
    store: PostgresStore, engine: AsyncEngine, ada: User, kind: ChunkKind
) -> None:
    run = await add_running(store, ada)
    await add_publication(store, run)
    await append(store, chunk(run, 0, "What had ", kind=kind))
    await append(store, chunk(run, 9, "arrived.", kind=kind))

    async with store.begin() as tx:
        assert await tx.generations.recover_abandoned(now=LATER, policy=RecoveryPolicy(), up_for=NO_TIME) == (run.id,)

    ended = await get(store, ada, run.id)
    assert (ended.status, ended.finished_at) == (GenerationStatus.INTERRUPTED, LATER)
    assert ended.failure is not None
    assert ended.failure.code is ErrorCode.UNAVAILABLE
    assert "what had arrived was kept" in ended.failure.message
    transcript = await _transcript(store, ada, run)
    texts = {ChunkKind.TEXT: transcript.content, ChunkKind.REASONING: transcript.reasoning}
    assert texts == dict.fromkeys(ChunkKind, "") | {kind: "What had arrived."}
    assert await _chunk_count(engine) == 0
    publication = await publication_of(store, run.id)
    assert (publication.status, publication.failure) == (PublicationStatus.FAILED, NO_ANSWER)
    assert not await finish(store, run)
    assert await append(store, chunk(run, 17, "more")) == frozenset()


@pytest.mark.parametrize("written", ["", "some text"])
async def test_an_abandoned_run_that_was_to_stop_is_cancelled(store: PostgresStore, ada: User, written: str) -> None:
    run = await add_running(store, ada)
    await add_publication(store, run)
    await append(store, chunk(run, 0, written))
    async with store.begin() as tx:
        await tx.generations.request_cancel(ada.id, run.id, now=NOW)

        assert await tx.generations.recover_abandoned(now=LATER, policy=RecoveryPolicy(), up_for=NO_TIME) == (run.id,)

    ended = await get(store, ada, run.id)
    assert (ended.status, ended.finished_at, ended.failure) == (GenerationStatus.CANCELLED, LATER, None)
    assert (await _transcript(store, ada, run)).content == written
    assert (await publication_of(store, run.id)).status is PublicationStatus.FAILED


async def test_every_abandoned_run_is_recovered_once(store: PostgresStore, ada: User) -> None:
    runs = [await add_running(store, ada) for _ in range(10)]
    await append(store, *(chunk(run, 0, "text") for run in runs[::2]))
    untouched = await add_finished(store, ada)

    async def recover() -> tuple[object, ...]:
        async with store.begin() as tx:
            return await tx.generations.recover_abandoned(now=LATER, policy=RecoveryPolicy(), up_for=NO_TIME)

    recovered = [each for some in await asyncio.gather(*(recover() for _ in range(4))) for each in some]

    assert sorted(map(str, recovered)) == sorted(str(run.id) for run in runs)
    statuses = [(await get(store, ada, run.id)).status for run in runs]
    assert statuses == [GenerationStatus.INTERRUPTED, GenerationStatus.QUEUED] * 5
    assert await get(store, ada, untouched.id) == untouched


async def test_the_text_that_an_owner_is_just_appending_is_not_lost_to_the_recovery(
    store: PostgresStore, ada: User
) -> None:
    run = await add_running(store, ada)
    async with store.begin() as tx:
        assert (await tx.generations.append_chunks([chunk(run, 0, "Hello")])).stored == {run.id}
        async with store.begin() as other:
            # The row is locked: left for the next round.
            assert await other.generations.recover_abandoned(now=LATER, policy=RecoveryPolicy(), up_for=NO_TIME) == ()
    async with store.begin() as tx:
        assert await tx.generations.recover_abandoned(now=LATER, policy=RecoveryPolicy(), up_for=NO_TIME) == (run.id,)

    assert (await _transcript(store, ada, run)).content == "Hello"


async def test_a_lease_that_ended_may_still_be_renewed_until_somebody_takes_the_run(
    store: PostgresStore, ada: User
) -> None:
    run = await add_running(store, ada)
    async with store.begin() as tx:
        assert await tx.generations.renew_leases({run.id: run.fence}, lease=LEASE) == {run.id}
        assert await tx.generations.recover_abandoned(now=LATER, policy=RecoveryPolicy(), up_for=NO_TIME) == ()


async def test_a_lease_goes_by_the_clock_of_the_database_alone(store: PostgresStore, ada: User) -> None:
    await add(store, new_generation(ada))
    # By a clock that is far behind, and one that is far ahead.
    (run,) = await claim(store, now=NOW - timedelta(days=1_000), lease=LEASE)
    far_ahead = NOW + timedelta(days=1_000)
    async with store.begin() as tx:
        assert await tx.generations.recover_abandoned(now=far_ahead, policy=RecoveryPolicy(), up_for=NO_TIME) == ()
        await tx.generations.renew_leases({run.id: run.fence}, lease=NO_LEASE)
    async with store.begin() as tx:
        assert await tx.generations.recover_abandoned(now=NOW, policy=RecoveryPolicy(), up_for=NO_TIME) == (run.id,)


async def test_a_database_that_was_away_a_moment_ago_proves_nobody_dead(store: PostgresStore, ada: User) -> None:
    run = await add_running(store, ada)
    policy = RecoveryPolicy()
    async with store.begin() as tx:
        longer_than_any_server = timedelta(days=10_000)
        assert await tx.generations.recover_abandoned(now=LATER, policy=policy, up_for=longer_than_any_server) == ()
        assert await tx.generations.recover_abandoned(now=LATER, policy=policy, up_for=NO_TIME) == (run.id,)


async def test_a_lease_begins_when_the_run_is_taken_however_long_that_was_waited_for(
    store: PostgresStore, engine: AsyncEngine, ada: User
) -> None:
    await add(store, new_generation(ada))
    async with engine.connect() as other:
        await other.execute(AdvisoryLock.GENERATION_CLAIM.taken())
        waiting = asyncio.create_task(claim(store, lease=LEASE))
        await until(lambda: _is_waited(engine))
        let_go_at = (await other.execute(select(func.clock_timestamp()))).scalar_one()
    (run,) = await waiting

    async with engine.connect() as connection:
        lease = select(content_history.c.lease_until).where(content_history.c.id == run.id)
        assert (await connection.execute(lease)).scalar_one() >= let_go_at + LEASE


async def _is_waited(engine: AsyncEngine) -> bool:
    waiters = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
    async with engine.connect() as connection:
        return bool((await connection.execute(waiters)).scalar_one())


async def test_owner_and_lease_are_gone_with_the_run(store: PostgresStore, engine: AsyncEngine, ada: User) -> None:
    run = await add_running(store, ada)
    columns = select(content_history.c.owner, content_history.c.lease_until).where(content_history.c.id == run.id)
    async with engine.connect() as connection:
        owner, lease_until = (await connection.execute(columns)).one()
    assert owner == "one"
    assert lease_until is not None
    await finish(store, run)
    async with engine.connect() as connection:
        assert tuple((await connection.execute(columns)).one()) == (None, None)
    async with store.begin() as tx:
        progress = await tx.generations.progress(run.id, Cursor())
    assert progress is not None
    assert progress.text == SUCCESS.content
