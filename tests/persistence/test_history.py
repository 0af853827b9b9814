"""The history: every page of it, forwards and backwards, through every filter."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine
from uuid_utils.compat import uuid7

from domain.account import User
from domain.generation import Generation, GenerationStatus, HistoryFilter, HistoryOrder
from domain.page import Page, PageRequest
from persistence.store import PostgresStore
from tests.persistence.samples import (
    EVERYTHING,
    FAILED,
    NOW,
    SUCCESS,
    add,
    add_finished,
    add_publication,
    add_running,
    claim_publications,
    new_generation,
    new_page,
)


async def _page(
    store: PostgresStore,
    user: User,
    page: PageRequest,
    *,
    where: HistoryFilter = EVERYTHING,
    order: HistoryOrder = HistoryOrder.NEWEST_FIRST,
) -> Page[Generation]:
    async with store.begin() as tx:
        return await tx.generations.list_history(user.id, page, where=where, order=order)


async def _ids(store: PostgresStore, user: User, where: HistoryFilter) -> list[UUID]:
    """All that the filter lets through, oldest first, which is also what is counted."""
    page = await _page(store, user, PageRequest(size=100), where=where, order=HistoryOrder.OLDEST_FIRST)
    async with store.begin() as tx:
        assert await tx.generations.count_history(user.id, where=where) == len(page.items)
    return [item.id for item in page.items]


async def test_every_page_is_the_slice_that_was_asked_for(store: PostgresStore, ada: User, bob: User) -> None:
    mine = [new_generation(ada, model="ab"[number % 2]) for number in range(12)]
    await add(store, *mine, *(new_generation(bob) for _ in range(3)))
    chance = random.Random(7)
    for _ in range(200):
        order = chance.choice(list(HistoryOrder))
        models = frozenset(chance.choice(["", "a"]))
        ids = [each.id for each in mine if not models or each.model in models]
        if order is HistoryOrder.NEWEST_FIRST:
            ids.reverse()
        cursors = [None, None, *(each.id for each in mine), uuid7(), UUID(int=0)]
        page = PageRequest(
            size=chance.randint(1, 5),
            after=chance.choice(cursors),
            before=chance.choice(cursors),
            is_backward=chance.random() < 0.5,
        )

        found = await _page(store, ada, page, where=HistoryFilter(models=models), order=order)

        assert _summary(found) == _expected(ids, page, is_descending=order is HistoryOrder.NEWEST_FIRST)


def _summary(page: Page[Generation]) -> tuple[list[UUID], bool, bool]:
    return [item.id for item in page.items], page.has_previous, page.has_next


def _expected(ids: list[UUID], page: PageRequest, *, is_descending: bool) -> tuple[list[UUID], bool, bool]:
    def is_after(one: UUID, other: UUID) -> bool:
        return one < other if is_descending else one > other

    after, before = page.after, page.before
    inside = [
        each for each in ids if (after is None or is_after(each, after)) and (before is None or is_after(before, each))
    ]
    slice_ = inside[-page.size :] if page.is_backward else inside[: page.size]
    left_before = after is not None and any(not is_after(each, after) for each in ids)
    left_after = before is not None and any(not is_after(before, each) for each in ids)
    cut = len(inside) > len(slice_)
    return slice_, left_before or (cut and page.is_backward), left_after or (cut and not page.is_backward)


async def test_a_generation_in_the_history_is_the_whole_generation_but_no_text_is_read(
    store: PostgresStore, engine: AsyncEngine, ada: User
) -> None:
    ended = await add_finished(store, ada)
    statements: list[str] = []
    event.listen(engine.sync_engine, "before_cursor_execute", lambda *given: statements.append(given[2]))

    page = await _page(store, ada, PageRequest(size=10))

    assert page == Page(items=(ended,), has_previous=False, has_next=False)
    assert len(statements) == 1
    assert not any(name in statements[0] for name in ("prompt", "generated_content", "reasoning,", "search"))


async def test_each_filter_lets_through_what_it_says(store: PostgresStore, ada: User, bob: User) -> None:
    succeeded = await add_finished(store, ada, prompt="first")
    failed = await add_finished(store, ada, outcome=FAILED)
    by_openai = new_generation(ada, provider_id="openai", model="gpt", created_at=NOW + timedelta(days=2))
    by_anthropic = new_generation(ada, provider_id="anthropic", model="claude", created_at=NOW + timedelta(days=1))
    await add(store, by_openai, by_anthropic, new_generation(bob, provider_id="openai"))
    everything = [succeeded.id, failed.id, by_openai.id, by_anthropic.id]
    cases = {
        HistoryFilter(): everything,
        HistoryFilter(statuses=frozenset({GenerationStatus.FAILED})): [failed.id],
        HistoryFilter(statuses=frozenset({GenerationStatus.FAILED, GenerationStatus.SUCCEEDED})): everything[:2],
        HistoryFilter(statuses=frozenset({GenerationStatus.RUNNING})): [],
        HistoryFilter(provider_ids=frozenset({"openai"})): [by_openai.id],
        HistoryFilter(provider_ids=frozenset({"openai", "anthropic", "?"})): everything[2:],
        HistoryFilter(models=frozenset({"claude"})): [by_anthropic.id],
        HistoryFilter(models=frozenset({"claude", "gpt"})): everything[2:],
        HistoryFilter(created_after=NOW + timedelta(days=1)): everything[2:],
        HistoryFilter(created_before=NOW + timedelta(days=2)): [succeeded.id, failed.id, by_anthropic.id],
        HistoryFilter(created_after=NOW, created_before=NOW + timedelta(seconds=1)): everything[:2],
        HistoryFilter(models=frozenset({"gpt"}), statuses=frozenset({GenerationStatus.FAILED})): [],
    }
    for where, expected in cases.items():
        assert await _ids(store, ada, where) == expected, where


async def test_published_is_what_has_become_a_page(store: PostgresStore, ada: User) -> None:
    published, publishing, bare = [await add_finished(store, ada, prompt=str(number)) for number in range(3)]
    for number, generation in enumerate((published, publishing)):
        await add_publication(store, generation, parent_id=f"parent-{number}")
    done, _ = await claim_publications(store)
    async with store.begin() as tx:
        await tx.publications.record_intent(done.id, fence=done.fence, now=NOW)
        await tx.publications.record_page(done.id, fence=done.fence, page=new_page(done))
        await tx.publications.complete(done.id, fence=done.fence, degraded=(), now=NOW)

    assert await _ids(store, ada, HistoryFilter(is_published=True)) == [published.id]
    assert await _ids(store, ada, HistoryFilter(is_published=False)) == [publishing.id, bare.id]


TEXTS = {
    "sky": ("Why is the sky blue?", "Because of Rayleigh scattering, e.g. of short wave-lengths."),
    "mail": ("Write to ada.lovelace@example.com", "See https://example.com/notes/on_engines.html?q=1 <b>now</b>"),
    "german": ("Straßenbahn in Zürich", "Übermäßig teuer: 4,50 € — don't."),
    "chinese": ("天空 为什么 是 蓝色", "瑞利 散射"),
}


@pytest.mark.parametrize(
    ("search", "expected"),
    [
        ("sky", ["sky"]),
        ("SKY blue", ["sky"]),
        ("rayleigh", ["sky"]),
        ("sky zürich", []),
        ("sky or zürich", ["sky", "german"]),
        ("ZÜRICH", ["german"]),
        ("übermäßig", ["german"]),
        ("散射", ["chinese"]),
        ('"rayleigh scattering"', ["sky"]),
        ('"scattering rayleigh"', []),
        ("wave-lengths", ["sky"]),
        ("wavelengths", []),
        ("lengths", ["sky"]),
        ("example.com", ["mail"]),
        ("https://example.com/notes", ["mail"]),
        ("ada.lovelace@example.com", ["mail"]),
        ("on_engines", ["mail"]),
        ("engines", ["mail"]),
        ("don't", ["german"]),
        ("4,50", ["german"]),
        ("why -sky", []),
        ("why or write -sky", ["mail", "sky"]),
        ("write -sky", ["mail"]),
        ('-"blue sky" why', ["sky"]),
        ('-"sky blue" why', []),
        ("?!… & | <-> ( ) : * \\ ' \" -", []),
        ("%", []),
        ("x" * 200, []),
    ],
)
async def test_the_search_finds_words_of_prompt_and_answer(
    store: PostgresStore, ada: User, bob: User, search: str, expected: list[str]
) -> None:
    found = {}
    for name, (prompt, answer) in TEXTS.items():
        ended = await add_finished(store, ada, prompt=prompt, outcome=replace(SUCCESS, content=answer))
        found[ended.id] = name
    await add_finished(store, bob, prompt="sky rayleigh 散射 zürich engines")

    assert sorted(found[each] for each in await _ids(store, ada, HistoryFilter(search=search))) == sorted(expected)


async def test_what_is_still_queued_is_found_by_its_prompt(store: PostgresStore, ada: User) -> None:
    running = await add_running(store, ada)

    assert await _ids(store, ada, HistoryFilter(search="sky")) == [running.id]
