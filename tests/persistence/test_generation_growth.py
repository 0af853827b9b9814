"""Following what other instances write: of many runs in one query, each from where it is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from uuid import UUID

import pytest
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine
from uuid_utils.compat import uuid7

from domain.account import User
from domain.generation import Chunk, ChunkKind, Cursor, Generation, GenerationStatus, Growth
from domain.provider_attempt import AttemptStatus
from persistence.store import PostgresStore
from tests.persistence.samples import (
    FAILURE,
    LATER,
    add,
    add_finished,
    add_running,
    append,
    chunk,
    claim,
    finish,
    new_generation,
    open_attempt,
)


async def _growth(store: PostgresStore, positions: Mapping[UUID, Cursor]) -> dict[UUID, Growth]:
    async with store.begin() as tx:
        growths = await tx.generations.list_growth(positions)
    assert len({growth.generation_id for growth in growths}) == len(growths)
    return {growth.generation_id: growth for growth in growths}


def _pieces(run: Generation) -> list[Chunk]:
    return [
        chunk(run, 0, "One "),
        chunk(run, 4, "two "),
        chunk(run, 8, "three"),
        chunk(run, 0, "Hm", kind=ChunkKind.REASONING),
        chunk(run, 2, "…", kind=ChunkKind.REASONING),
    ]


@pytest.mark.parametrize(
    ("cursor", "expected"),
    [
        (Cursor(), [0, 1, 2, 3, 4]),
        (Cursor(text=3, reasoning=1), [0, 1, 2, 3, 4]),
        (Cursor(text=4, reasoning=2), [1, 2, 4]),
        (Cursor(text=5, reasoning=3), [1, 2, 4]),
        (Cursor(text=13, reasoning=3), [2, 4]),
        (Cursor(epoch=1, text=13, reasoning=3), [0, 1, 2, 3, 4]),
        (Cursor(epoch=-1), [0, 1, 2, 3, 4]),
    ],
)
async def test_what_overlaps_a_position_or_follows_it_is_read(
    store: PostgresStore, ada: User, cursor: Cursor, expected: list[int]
) -> None:
    run = await add_running(store, ada)
    pieces = _pieces(run)
    await append(store, *pieces)

    growth = (await _growth(store, {run.id: cursor}))[run.id]

    assert (growth.status, growth.epoch) == (GenerationStatus.RUNNING, 0)
    for kind in ChunkKind:
        of_kind = [pieces[number] for number in expected if pieces[number].kind is kind]
        assert [each for each in growth.chunks if each.kind is kind] == of_kind


async def test_many_are_followed_in_one_query(store: PostgresStore, engine: AsyncEngine, ada: User, bob: User) -> None:
    runs = [await add_running(store, user) for user in (ada, bob, ada)]
    for run in runs:
        await append(store, *_pieces(run))
    ended = await add_finished(store, ada)
    queued = new_generation(ada)
    await add(store, queued)
    await finish(store, runs[2])
    statements: list[str] = []
    event.listen(engine.sync_engine, "before_cursor_execute", lambda *given: statements.append(given[2]))

    everything = [*(run.id for run in runs), ended.id, queued.id, uuid7()]
    growths = await _growth(store, dict.fromkeys(everything, Cursor(text=8, reasoning=3)))

    assert len(statements) == 1
    assert {each: growths[each].status for each in growths} == {
        runs[0].id: GenerationStatus.RUNNING,
        runs[1].id: GenerationStatus.RUNNING,
        runs[2].id: GenerationStatus.SUCCEEDED,
        ended.id: GenerationStatus.SUCCEEDED,
        queued.id: GenerationStatus.QUEUED,
    }
    assert [len(growths[each].chunks) for each in everything[:-1]] == [2, 2, 0, 0, 0]
    assert await _growth(store, {}) == {}


async def test_a_restarted_run_is_read_from_its_beginning(store: PostgresStore, ada: User) -> None:
    run = await add_running(store, ada)
    await append(store, chunk(run, 0, "thrown away"))
    async with store.begin() as tx:
        await tx.generations.release(run.id, fence=run.fence)
    (again,) = await claim(store, now=LATER)
    await append(store, chunk(again, 0, "Anew"))

    growth = (await _growth(store, {run.id: Cursor(epoch=0, text=11)}))[run.id]

    assert growth == Growth(
        generation_id=run.id,
        status=GenerationStatus.RUNNING,
        epoch=1,
        failed_calls=0,
        chunks=(chunk(again, 0, "Anew"),),
    )


async def test_calls_that_failed_are_counted_from_the_beginning_on_while_it_runs(
    store: PostgresStore, ada: User
) -> None:
    run, other = await add_running(store, ada), await add_running(store, ada)
    for status in (AttemptStatus.FAILED, AttemptStatus.CANCELLED, AttemptStatus.SKIPPED, AttemptStatus.FAILED):
        attempt = await open_attempt(store, run)
        failure = None if status is AttemptStatus.CANCELLED else FAILURE
        async with store.begin() as tx:
            await tx.provider_attempts.close(replace(attempt, status=status, finished_at=LATER, failure=failure))
    await open_attempt(store, run)
    await append(store, chunk(run, 0, "One "), chunk(run, 4, "two"))

    growths = await _growth(store, {run.id: Cursor(), other.id: Cursor()})
    assert [growths[each].failed_calls for each in (run.id, other.id)] == [3, 0]
    assert len(growths[run.id].chunks) == 2

    await finish(store, run)
    assert (await _growth(store, {run.id: Cursor()}))[run.id].failed_calls == 0, "from now on the store tells"
