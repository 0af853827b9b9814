"""Reading a text while it is written: from any position, by anybody, it is the same text."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine
from uuid_utils.compat import uuid7

from domain.account import User
from domain.generation import ChunkKind, Cursor, Generation, GenerationStatus, Progress, Transcript
from persistence.store import PostgresStore
from tests.persistence.samples import (
    LATER,
    SUCCESS,
    add,
    add_finished,
    add_running,
    append,
    chunk,
    claim,
    finish,
    get,
    new_generation,
)

ANSWER = "Grüße, 世界! \U0001f600 Hello."
REASONING = "Hm… let me think."


async def _progress(store: PostgresStore, run: Generation, cursor: Cursor) -> Progress:
    async with store.begin() as tx:
        progress = await tx.generations.progress(run.id, cursor)
    assert progress is not None
    return progress


async def _write(store: PostgresStore, run: Generation, kind: ChunkKind, text: str, *, size: int) -> None:
    await append(
        store, *(chunk(run, start, text[start : start + size], kind=kind) for start in range(0, len(text), size))
    )


@pytest.mark.parametrize("size", [1, 3, 1000])
async def test_from_every_position_comes_exactly_the_rest(store: PostgresStore, ada: User, size: int) -> None:
    run = await add_running(store, ada)
    await _write(store, run, ChunkKind.TEXT, ANSWER, size=size)
    await _write(store, run, ChunkKind.REASONING, REASONING, size=size)
    stored = await get(store, ada, run.id)

    for is_final in (False, True):
        if is_final:
            assert await finish(store, run, replace(SUCCESS, content=ANSWER, reasoning=REASONING))
            stored = await get(store, ada, run.id)
        for position in range(len(ANSWER) + 1):
            seen = min(position, len(REASONING))
            assert await _progress(store, run, Cursor(epoch=0, text=position, reasoning=seen)) == Progress(
                generation=stored, text=ANSWER[position:], reasoning=REASONING[seen:], is_restarted=False
            )


async def test_it_takes_one_query_that_reads_no_chunk_before_the_position(
    store: PostgresStore, engine: AsyncEngine, ada: User
) -> None:
    run = await add_running(store, ada)
    await _write(store, run, ChunkKind.TEXT, "x" * 200, size=1)
    statements: list[str] = []
    event.listen(engine.sync_engine, "before_cursor_execute", lambda *given: statements.append(given[2]))

    progress = await _progress(store, run, Cursor(text=198))

    assert progress.text == "xx"
    assert len(statements) == 1


OTHER_EPOCH = Cursor(epoch=1, text=2)
GREATEST = Cursor(epoch=2**32 - 1, text=2**31 - 1, reasoning=2**31 - 1)
BEYOND_TEXT = Cursor(text=len(ANSWER) + 1)
BEYOND_REASONING = Cursor(text=2, reasoning=len(REASONING) + 1)


@pytest.mark.parametrize(
    ("cursor", "is_final"),
    [
        (OTHER_EPOCH, False),
        (OTHER_EPOCH, True),
        (GREATEST, False),
        (GREATEST, True),
        (BEYOND_TEXT, True),
        (BEYOND_REASONING, True),
    ],
)
async def test_a_cursor_that_does_not_fit_gets_everything_anew(
    store: PostgresStore, ada: User, cursor: Cursor, is_final: bool
) -> None:
    run = await add_running(store, ada)
    await _write(store, run, ChunkKind.TEXT, ANSWER, size=4)
    await _write(store, run, ChunkKind.REASONING, REASONING, size=4)
    if is_final:
        await finish(store, run, replace(SUCCESS, content=ANSWER, reasoning=REASONING))

    progress = await _progress(store, run, cursor)

    assert (progress.is_restarted, progress.text, progress.reasoning) == (True, ANSWER, REASONING)


@pytest.mark.parametrize(
    ("cursor", "text"), [(BEYOND_TEXT, ""), (BEYOND_REASONING, ANSWER[2:]), (Cursor(text=2**31 - 1), "")]
)
async def test_a_cursor_beyond_a_text_that_still_grows_is_only_early(
    store: PostgresStore, ada: User, cursor: Cursor, text: str
) -> None:
    run = await add_running(store, ada)
    await _write(store, run, ChunkKind.TEXT, ANSWER, size=4)
    await _write(store, run, ChunkKind.REASONING, REASONING, size=4)

    progress = await _progress(store, run, cursor)

    assert not progress.is_restarted
    assert progress.text == text
    if cursor == BEYOND_TEXT:
        await append(store, chunk(run, len(ANSWER), "!?"))
        assert (await _progress(store, run, cursor)).text == "?"


async def test_before_anything_is_written_there_is_nothing(store: PostgresStore, ada: User) -> None:
    queued = new_generation(ada)
    await add(store, queued)
    generation = await get(store, ada, queued.id)

    nothing = Progress(generation=generation, text="", reasoning="", is_restarted=False)
    assert await _progress(store, generation, Cursor()) == nothing
    assert await _progress(store, generation, Cursor(text=1)) == nothing
    async with store.begin() as tx:
        assert await tx.generations.progress(uuid7(), Cursor()) is None


async def test_a_restarted_run_shows_nothing_of_what_was_thrown_away(store: PostgresStore, ada: User) -> None:
    run = await add_running(store, ada)
    await _write(store, run, ChunkKind.TEXT, "Nobody knows this.", size=5)
    async with store.begin() as tx:
        await tx.generations.release(run.id, fence=run.fence)
    (again,) = await claim(store, now=LATER)
    await append(store, chunk(again, 0, "Anew"))

    progress = await _progress(store, again, Cursor(epoch=0, text=2))

    assert (progress.is_restarted, progress.text, progress.generation.epoch) == (True, "Anew", 1)
    assert (await _progress(store, again, Cursor(epoch=1, text=2))).text == "ew"


async def test_transcripts_are_the_owners_alone(store: PostgresStore, ada: User, bob: User) -> None:
    queued = new_generation(ada, prompt="Why?", system_prompt="Be brief.")
    await add(store, queued)
    ended = await add_finished(store, bob, prompt="How?")

    async with store.begin() as tx:
        assert await tx.generations.list_transcripts(ada.id, [queued.id, ended.id, uuid7()]) == {
            queued.id: Transcript(prompt="Why?", system_prompt="Be brief.", content="", reasoning="")
        }
        assert await tx.generations.list_transcripts(bob.id, [ended.id]) == {
            ended.id: Transcript(prompt="How?", system_prompt=None, content=SUCCESS.content, reasoning="")
        }
        assert await tx.generations.list_transcripts(ada.id, []) == {}


async def test_a_long_running_text_is_read_to_its_end_piece_by_piece(store: PostgresStore, ada: User) -> None:
    run = await add_running(store, ada)
    cursor, shown, written = Cursor(), "", ""
    for step in range(40):
        piece = f"{step} — {'ü' * (step % 7)} "
        await append(store, chunk(run, len(written), piece))
        written += piece
        if step % 3 == 0:
            progress = await _progress(store, run, cursor)
            assert not progress.is_restarted
            shown += progress.text
            cursor = replace(cursor, text=len(shown))
    await finish(store, run, replace(SUCCESS, status=GenerationStatus.SUCCEEDED, content=written + "end"))

    assert shown + (await _progress(store, run, cursor)).text == written + "end"
