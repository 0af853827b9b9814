"""On filled tables every query that a server runs all the time goes through an index."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import event, insert, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from uuid_utils.compat import uuid7

from domain.account import User
from domain.generation import Cursor, Generation, GenerationStatus, HistoryFilter, HistoryOrder, RecoveryPolicy
from domain.page import PageRequest
from domain.usage import UsageGroup
from persistence.store import PostgresStore, PostgresTransaction
from persistence.tables import (
    api_keys,
    budget_periods,
    content_history,
    generation_chunks,
    notion_pages,
    provider_attempts,
    publications,
    sessions,
    users,
)
from tests.persistence.samples import (
    FAILURE,
    LEASE,
    LEASE_UNTIL,
    MUCH_LATER,
    NO_TIME,
    NOW,
    SUCCESS,
    add,
    add_publication,
    chunk,
    claim,
    finish,
    new_generation,
)

BIG_TABLES = {
    each.name
    for each in (
        content_history,
        generation_chunks,
        provider_attempts,
        publications,
        users,
        sessions,
        notion_pages,
        budget_periods,
    )
}
# PostgreSQL takes a third of all pages to be due when it plans for any time. As few are, it never takes that plan.
NEVER_GENERIC = {"pages to look at"}
NEWEST = HistoryOrder.NEWEST_FIRST
PAGE = PageRequest(size=20)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """Who and what is in the filled tables."""

    ada: User
    session_id: UUID
    ended: UUID
    run: Generation
    publication_id: UUID


async def _fill(store: PostgresStore, engine: AsyncEngine, ada: User) -> Filled:
    people = [uuid7() for _ in range(1500)]
    owners = [*people[:40], *[ada.id] * 60]
    finals = [uuid7() for _ in range(6000)]
    session_ids = [uuid7() for _ in range(1500)]
    async with engine.begin() as connection:
        await _insert(connection, users, [_user(each, number) for number, each in enumerate(people)])
        await _insert(
            connection, sessions, [_session(each, owner) for each, owner in zip(session_ids, people, strict=True)]
        )
        await _insert(
            connection, content_history, [_final(each, owners[n % len(owners)], n) for n, each in enumerate(finals)]
        )
        published = [(each, owners[n % len(owners)]) for n, each in enumerate(finals) if n % 3 == 0]
        pages = [uuid7() for _ in published]
        await _insert(
            connection,
            notion_pages,
            [_page(page, owner, n) for n, (page, (_, owner)) in enumerate(zip(pages, published, strict=True))],
        )
        await _insert(
            connection,
            publications,
            [_publication(each, owner, page) for page, (each, owner) in zip(pages, published, strict=True)],
        )
        await _insert(connection, api_keys, [_key(each) for each in people])
        await _insert(connection, provider_attempts, [_attempt(owners[n % len(owners)], n) for n in range(len(finals))])
        await _insert(
            connection,
            budget_periods,
            [{"user_id": each, "period": "DAY", "first_day": NOW.date()} for each in people[40:]],
        )
    due = new_generation(ada)
    runs = [new_generation(ada) for _ in range(30)]
    await add(store, due, *runs)
    claimed = await claim(store, lease=LEASE)
    await finish(store, claimed[0])
    publication = await add_publication(store, due)
    run = claimed[-1]
    async with engine.begin() as connection:
        await _insert(
            connection,
            generation_chunks,
            [
                {"generation_id": each.id, "epoch": 0, "kind": "TEXT", "start": 9 * number, "text": "some text"}
                for each in claimed[1:]
                for number in range(100)
            ],
        )
    await add(store, *(new_generation(ada, idempotency_key=f"key-{number}") for number in range(30)))
    async with engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(text("VACUUM (ANALYZE)"))  # as PostgreSQL does by itself, a while after
    return Filled(ada=ada, session_id=session_ids[0], ended=finals[-1], run=run, publication_id=publication.id)


async def _insert(
    connection: AsyncConnection, table: Any, rows: list[dict[str, Any]]
) -> None:  # Any: a table, its rows
    await connection.execute(insert(table), rows)


def _user(user_id: UUID, number: int) -> dict[str, Any]:
    address = f"user-{number}@example.com"
    return {
        "id": user_id,
        "email": address,
        "email_key": address,
        "username": f"user-{number}",
        "password_hash": "hash",
        "role": "USER",
        "created_at": NOW,
        "updated_at": NOW,
    }


def _session(session_id: UUID, user_id: UUID) -> dict[str, Any]:
    return {
        "id": session_id,
        "user_id": user_id,
        "refresh_hash": bytes(32),
        "created_at": NOW,
        "last_seen_at": NOW,
        "rotated_at": NOW,
        "expires_at": MUCH_LATER,
    }


def _final(generation_id: UUID, user_id: UUID, number: int) -> dict[str, Any]:
    return {
        "id": generation_id,
        "user_id": user_id,
        "provider": ("demo", "openai", "anthropic")[number % 3],
        "model": f"model-{number % 50}",
        "prompt": f"Tell me about number{number} of {number % 1000}",
        "generated_content": f"It is number{number}, between {number - 1} and {number + 1}.",
        "status": "CANCELLED" if number % 100 == 0 else "SUCCEEDED",
        "request_hash": bytes(32),
        "created_at": NOW + timedelta(minutes=number),
        "started_at": NOW + timedelta(minutes=number),
        "finished_at": NOW + timedelta(minutes=number + 1),
    }


def _page(page_row_id: UUID, user_id: UUID, number: int) -> dict[str, Any]:
    return {
        "id": page_row_id,
        "user_id": user_id,
        "page_id": str(page_row_id),
        "title": "A page",
        "url": "https://notion.example/page",
        "created_at": NOW,
        "last_sync": NOW,
        "state": "IN_SYNC",
        "next_look_at": NOW + timedelta(minutes=number - 3),  # most are not due
    }


def _publication(generation_id: UUID, user_id: UUID, page_row_id: UUID) -> dict[str, Any]:
    return {
        "id": uuid7(),
        "generation_id": generation_id,
        "user_id": user_id,
        "status": "PUBLISHED",
        "parent_id": "parent",
        "parent": {"kind": "PAGE", "title": "", "title_property": "title", "properties": {}},
        "title": "A page",
        "requested_at": NOW,
        "notion_page_id": page_row_id,
        "completed_at": NOW,
        "next_attempt_at": NOW,
        "created_at": NOW,
    }


def _key(user_id: UUID) -> dict[str, Any]:
    return {
        "id": uuid7(),
        "user_id": user_id,
        "provider_id": "openai",
        "encrypted_key": b"sealed",
        "encryption_key_id": "k1",
        "hint": "wxyz",
        "created_at": NOW,
    }


def _attempt(user_id: UUID, number: int) -> dict[str, Any]:
    return {
        "id": uuid7(),
        "user_id": user_id,
        "provider": "demo",
        "model": f"model-{number % 50}",
        "status": "SUCCEEDED",
        "started_at": NOW + timedelta(minutes=number),
        "finished_at": NOW + timedelta(minutes=number + 1),
        "cost_usd": Decimal("0.01"),
        "price_version": "list",
    }


def _queries(filled: Filled) -> dict[str, tuple[Callable[[PostgresTransaction], Awaitable[object]], set[str]]]:
    """By name: the query, and the indexes that its plans must use; where several do as well, none is named."""
    me, run = filled.ada.id, filled.run

    def history(page: PageRequest = PAGE, **given: Any) -> Callable[[PostgresTransaction], Awaitable[object]]:
        return lambda tx: tx.generations.list_history(me, page, where=HistoryFilter(**given), order=NEWEST)

    return {
        "viewer": (lambda tx: tx.sessions.find_viewer(filled.session_id, now=NOW), {"pk_sessions", "pk_users"}),
        "live sessions": (lambda tx: tx.sessions.list_live([filled.session_id], now=NOW), {"pk_sessions"}),
        "login": (lambda tx: tx.users.find_by_login("ADA"), {"uq_users_email_key", "uq_users_username"}),
        "usable key": (
            lambda tx: tx.api_keys.find_usable(me, "openai", api_endpoint=None, now=NOW),
            {"ix_api_keys_user_id_provider_id_created_at"},
        ),
        "generation": (lambda tx: tx.generations.find(me, filled.ended), set()),
        "transcripts": (lambda tx: tx.generations.list_transcripts(me, [filled.ended, run.id]), set()),
        "idempotency key": (
            lambda tx: tx.generations.find_by_idempotency_key(me, "key-1", created_after=NOW - timedelta(days=1)),
            {"uq_content_history_idempotency_key"},
        ),
        "history": (history(), set()),
        "next page": (history(PageRequest(size=20, after=filled.ended)), set()),
        "last page": (history(PageRequest(size=20, is_backward=True)), set()),
        "by status": (
            history(statuses=frozenset({GenerationStatus.CANCELLED})),
            {"ix_content_history_user_id_status_id"},
        ),
        "by statuses": (history(statuses=frozenset({GenerationStatus.CANCELLED, GenerationStatus.FAILED})), set()),
        "by provider": (history(provider_ids=frozenset({"openai"})), set()),
        "by model": (history(models=frozenset({"model-7"})), {"ix_content_history_user_id_model_id"}),
        "by day": (
            history(created_after=NOW + timedelta(hours=20), created_before=NOW + timedelta(hours=21)),
            {"ix_content_history_user_id_created_at"},
        ),
        "by search": (history(search="number777"), {"ix_content_history_search"}),
        "published": (history(is_published=True), set()),
        "not published": (history(is_published=False), set()),
        "count of a search": (
            lambda tx: tx.generations.count_history(me, where=HistoryFilter(search="number777")),
            {"ix_content_history_search"},
        ),
        "progress": (
            lambda tx: tx.generations.progress(run.id, Cursor(text=850)),
            {"pk_content_history", "pk_generation_chunks"},
        ),
        "growth": (
            lambda tx: tx.generations.list_growth({run.id: Cursor(text=850), filled.ended: Cursor(text=0)}),
            {"pk_generation_chunks"},
        ),
        "claim": (
            lambda tx: tx.generations.claim(size=5, per_user=99, owner="1", now=NOW, lease=LEASE),
            {"ix_content_history_queued", "ix_content_history_running"},
        ),
        "recover": (
            lambda tx: tx.generations.recover_abandoned(now=NOW, policy=RecoveryPolicy(), up_for=NO_TIME),
            {"ix_content_history_running"},
        ),
        "renew leases": (lambda tx: tx.generations.renew_leases({run.id: run.fence}, lease=LEASE), set()),
        "append": (lambda tx: tx.generations.append_chunks([chunk(run, 900, "more")]), set()),
        "cancelled": (lambda tx: tx.generations.list_cancel_requested([run.id]), set()),
        "finish": (
            lambda tx: tx.generations.finish(run.id, fence=run.fence, outcome=SUCCESS, now=NOW),
            {"pk_generation_chunks"},
        ),
        "usage of a user": (
            lambda tx: tx.usage_reports.total(
                me, begins_at=NOW + timedelta(hours=20), ends_at=NOW + timedelta(hours=21)
            ),
            set(),
        ),
        "usage of everybody": (
            lambda tx: tx.usage_reports.list_buckets(
                begins_at=NOW + timedelta(hours=20),
                ends_at=NOW + timedelta(hours=21),
                group_by=frozenset({UsageGroup.DAY, UsageGroup.PROVIDER, UsageGroup.MODEL}),
                size=100,
            ),
            {"ix_provider_attempts_started_at"},
        ),
        "spending": (lambda tx: tx.budgets.find_spending(me, at=NOW), {"pk_budget_periods"}),
        "outbox": (
            lambda tx: tx.publications.claim(size=5, now=NOW, lease_until=LEASE_UNTIL),
            {"ix_publications_due", "uq_publications_writing", "ix_publications_requested"},
        ),
        "publications": (
            lambda tx: tx.publications.list_by_generation([filled.ended]),
            {"uq_publications_generation_id"},
        ),
        "pages to look at": (
            lambda tx: tx.tracked_pages.claim(size=5, per_user=2, now=NOW, claimed_until=LEASE_UNTIL),
            {"ix_notion_pages_next_look_at"},
        ),
        "known pages": (lambda tx: tx.publications.list_known_page_ids(["a", "b"]), {"uq_notion_pages_page_id"}),
        "end of a publication": (lambda tx: tx.publications.fail_pending_of(run.id, FAILURE), set()),
        "page": (lambda tx: tx.publications.find(me, filled.publication_id), {"pk_publications"}),
    }


@asynccontextmanager
async def _recorded(engine: AsyncEngine) -> AsyncIterator[list[tuple[str, tuple[Any, ...]]]]:
    statements: list[tuple[str, tuple[Any, ...]]] = []

    def note(_connection: object, _cursor: object, statement: str, parameters: tuple[Any, ...], *_rest: object) -> None:
        statements.append((statement, parameters))

    event.listen(engine.sync_engine, "before_cursor_execute", note)
    yield statements
    event.remove(engine.sync_engine, "before_cursor_execute", note)


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from _nodes(part)


def _complaints(plans: list[dict[str, Any]], expected: set[str]) -> list[str]:
    nodes = [node for plan in plans for node in _nodes(plan)]
    found = [f"reads all of {node['Relation Name']}" for node in nodes if _reads_all_of_a_big_table(node)]
    missing = expected - {node.get("Index Name") for node in nodes}
    return found + [f"does not use {name}" for name in sorted(missing)]


def _reads_all_of_a_big_table(node: dict[str, Any]) -> bool:
    return node["Node Type"] == "Seq Scan" and node["Relation Name"] in BIG_TABLES


@pytest.mark.parametrize("plan_kind", ["custom", "generic"])
async def test_every_frequent_query_goes_through_an_index(
    store: PostgresStore, engine: AsyncEngine, ada: User, plan_kind: str
) -> None:
    filled = await _fill(store, engine, ada)
    complaints = {}
    for name, (query, expected) in _queries(filled).items():
        if plan_kind == "generic" and name in NEVER_GENERIC:
            continue
        async with _recorded(engine) as statements, store.begin() as tx:
            await query(tx)
        async with engine.connect() as connection:
            plans = [await _plan(connection, *each, is_generic=plan_kind == "generic") for each in statements]
        if found := _complaints(plans, expected):
            complaints[name] = found

    assert complaints == {}


async def _plan(
    connection: AsyncConnection, statement: str, parameters: tuple[Any, ...], *, is_generic: bool
) -> dict[str, Any]:
    """With these parameters, or, as PostgreSQL plans after some executions, with any."""
    driver: Any = (await connection.get_raw_connection()).driver_connection  # Any: asyncpg's, which has no type here
    assert driver is not None
    if not is_generic:
        (row,) = await driver.fetch(f"EXPLAIN (FORMAT JSON) {statement}", *parameters)
    else:
        await driver.execute("SET plan_cache_mode = force_generic_plan")
        await driver.execute(f"PREPARE query AS {statement}")
        arguments = f"({', '.join(['NULL'] * len(parameters))})" if parameters else ""
        (row,) = await driver.fetch(f"EXPLAIN (FORMAT JSON) EXECUTE query{arguments}")
        await driver.execute("DEALLOCATE query; RESET plan_cache_mode")
    found = row[0] if isinstance(row[0], list) else json.loads(row[0])
    plan: dict[str, Any] = found[0]["Plan"]
    return plan
