"""Wrong states cannot be stored, whoever tries."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import insert, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine
from uuid_utils.compat import uuid7

from domain.account import User
from persistence.store import PostgresStore
from persistence.tables import content_history, provider_attempts, publications, sessions, signing_keys, users
from tests.persistence.samples import (
    LATER,
    NOW,
    add_finished,
    add_publication,
    add_running,
    claim_publications,
    new_generation,
    new_page,
    new_publication,
    open_attempt,
)

NOBODY = {"owner": None, "lease_until": None}
WRONG_GENERATIONS: list[tuple[str, dict[str, Any]]] = [
    ("status", {"status": "LOST", "finished_at": LATER, **NOBODY}),
    ("final_is_finished", {"status": "CANCELLED", **NOBODY}),
    ("final_is_finished", {"finished_at": LATER}),
    ("running_has_owner", {"owner": None}),
    ("running_has_lease", {"lease_until": None}),
    ("running_has_owner", {"status": "QUEUED", "lease_until": None}),
    ("run_has_started", {"started_at": None}),
    ("failed_has_failure", {"status": "FAILED", "finished_at": LATER, **NOBODY}),
    ("failed_has_failure", {"status": "INTERRUPTED", "finished_at": LATER, **NOBODY}),
    ("failed_has_failure", {"failure_code": "INTERNAL", "failure_message": "!"}),
    ("failure_is_whole", {"status": "FAILED", "finished_at": LATER, "failure_code": "INTERNAL", **NOBODY}),
    ("failure_is_whole", {"failure_reason": "TIMEOUT"}),
    ("counters_are_not_negative", {"epoch": -1}),
    ("counters_are_not_negative", {"fence": -1}),
    ("usage_is_whole", {"input_tokens": 1}),
    (
        "usage_is_not_negative",
        {
            "input_tokens": 1,
            "cached_input_tokens": 0,
            "cache_write_tokens": 0,
            "output_tokens": -1,
            "reasoning_tokens": 0,
        },
    ),
    ("cost_is_not_negative", {"cost_usd": -1, "price_version": "1"}),
    ("cost_is_not_negative", {"cost_usd": float("nan"), "price_version": "1"}),
    ("cost_is_not_negative", {"cost_usd": float("inf"), "price_version": "1"}),
    ("cost_has_price_version", {"cost_usd": 1}),
    ("cost_has_price_version", {"price_version": "1"}),
    ("request_hash_size", {"request_hash": b"short"}),
    ("prompt_size", {"prompt": ""}),
    ("idempotency_key_size", {"idempotency_key": ""}),
    ("parameters_is_object", {"parameters": []}),
    ("provider", {"provider": "unheard-of"}),
]


@pytest.mark.parametrize(("constraint", "values"), WRONG_GENERATIONS)
async def test_a_generation_in_a_wrong_state_is_refused(
    store: PostgresStore, engine: AsyncEngine, ada: User, constraint: str, values: dict[str, Any]
) -> None:
    run = await add_running(store, ada)

    with pytest.raises(IntegrityError, match=f"_content_history_{constraint}"):
        async with engine.begin() as connection:
            await connection.execute(update(content_history).where(content_history.c.id == run.id).values(**values))


WRONG_ATTEMPTS: list[tuple[str, dict[str, Any]]] = [
    ("status", {"status": "LOST", "finished_at": LATER}),
    ("running_is_unfinished", {"status": "SUCCEEDED"}),
    ("running_is_unfinished", {"finished_at": LATER}),
    ("failed_has_failure", {"status": "FAILED", "finished_at": LATER}),
    ("failed_has_failure", {"failure_code": "INTERNAL", "failure_message": "!"}),
    ("failure_is_whole", {"failure_reason": "TIMEOUT"}),
    ("usage_is_whole", {"output_tokens": 1}),
    ("cost_is_not_negative", {"cost_usd": -1, "price_version": "1"}),
    ("cost_has_price_version", {"cost_usd": 1}),
    ("first_token_is_not_negative", {"first_token_ms": -1}),
    ("model_size", {"model": ""}),
    ("parameters_is_object", {"parameters": []}),
    ("provider", {"provider": "unheard-of"}),
    ("generation_id", {"generation_id": uuid7()}),
]


@pytest.mark.parametrize(("constraint", "values"), WRONG_ATTEMPTS)
async def test_a_call_in_a_wrong_state_is_refused(
    store: PostgresStore, engine: AsyncEngine, ada: User, constraint: str, values: dict[str, Any]
) -> None:
    attempt = await open_attempt(store, await add_running(store, ada))

    with pytest.raises(IntegrityError, match=f"_provider_attempts_{constraint}"):
        async with engine.begin() as connection:
            await connection.execute(
                update(provider_attempts).where(provider_attempts.c.id == attempt.id).values(**values)
            )


WRONG_PUBLICATIONS: list[tuple[str, dict[str, Any]]] = [
    ("status", {"status": "LOST", "lease_until": None}),
    ("publishing_has_lease", {"status": "PENDING"}),
    ("publishing_has_lease", {"lease_until": None}),
    ("published_is_completed", {"status": "PUBLISHED", "lease_until": None}),
    ("published_is_completed", {"completed_at": NOW}),
    ("published_has_page", {"status": "PUBLISHED", "lease_until": None, "completed_at": NOW, "notion_page_id": None}),
    ("page_was_requested", {"requested_at": None}),
    ("failed_has_failure", {"status": "FAILED", "lease_until": None}),
    ("failed_has_failure", {"status": "NEEDS_ATTENTION", "lease_until": None}),
    ("failure_is_whole", {"failure_message": "!"}),
    ("counters_are_not_negative", {"attempts": -1}),
    ("parent_is_object", {"parent": []}),
    ("title_size", {"title": ""}),
]


@pytest.mark.parametrize(("constraint", "values"), WRONG_PUBLICATIONS)
async def test_a_publication_in_a_wrong_state_is_refused(
    store: PostgresStore, engine: AsyncEngine, ada: User, constraint: str, values: dict[str, Any]
) -> None:
    await add_publication(store, await add_finished(store, ada))
    (claimed,) = await claim_publications(store)
    async with store.begin() as tx:
        await tx.publications.record_intent(claimed.id, fence=claimed.fence, now=NOW)
        await tx.publications.record_page(claimed.id, fence=claimed.fence, page=new_page(claimed))

    with pytest.raises(IntegrityError, match=f"_publications_{constraint}"):
        async with engine.begin() as connection:
            await connection.execute(update(publications).values(**values))


async def test_nobody_publishes_what_is_not_theirs(
    store: PostgresStore, engine: AsyncEngine, ada: User, bob: User
) -> None:
    publication = await add_publication(store, await add_finished(store, ada))

    with pytest.raises(IntegrityError, match="fk_publications_generation_id"):
        async with engine.begin() as connection:
            await connection.execute(
                update(publications).where(publications.c.id == publication.id).values(user_id=bob.id)
            )


async def test_two_cannot_write_under_one_parent(store: PostgresStore, engine: AsyncEngine, ada: User) -> None:
    for _ in range(2):
        async with store.begin() as tx:
            generation = new_generation(ada)
            await tx.generations.add(generation)
            await tx.publications.add(new_publication(generation))

    with pytest.raises(IntegrityError, match="uq_publications_writing"):
        async with engine.begin() as connection:
            await connection.execute(update(publications).values(status="PUBLISHING", lease_until=LATER))


async def test_an_account_in_a_wrong_state_is_refused(engine: AsyncEngine, ada: User) -> None:
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("ck_users_role", {"role": "GOD"}),
        ("ck_users_email_key_is_email", {"email_key": "other@example.com"}),
        ("ck_users_email_key_is_email", {"email": "Other@example.com", "email_key": "Other@example.com"}),
        ("ck_users_username_is_ascii", {"username": "ädä"}),
        ("ck_users_username_size", {"username": "ad"}),
        ("ck_users_password_hash_size", {"password_hash": ""}),
    ]
    for constraint, values in wrong:
        with pytest.raises(IntegrityError, match=constraint):
            async with engine.begin() as connection:
                await connection.execute(update(users).where(users.c.id == ada.id).values(**values))


async def test_a_session_keeps_hashes_of_tokens_and_no_tokens(engine: AsyncEngine, ada: User) -> None:
    with pytest.raises(IntegrityError, match="ck_sessions_refresh_hash_size"):
        async with engine.begin() as connection:
            await connection.execute(
                insert(sessions).values(
                    id=uuid7(),
                    user_id=ada.id,
                    refresh_hash=b"a token as it is",
                    created_at=NOW,
                    last_seen_at=NOW,
                    rotated_at=NOW,
                    expires_at=LATER,
                )
            )


async def test_one_signing_key_is_active_and_it_is_not_retired(engine: AsyncEngine) -> None:
    def key(kid: str, **values: object) -> dict[str, object]:
        return {
            "kid": kid,
            "algorithm": "EdDSA",
            "encrypted_private_key": b"sealed",
            "encryption_key_id": "k1",
            "public_key": "public",
            "is_active": True,
            "created_at": NOW,
            **values,
        }

    with pytest.raises(IntegrityError, match="uq_signing_keys_active"):
        async with engine.begin() as connection:
            await connection.execute(insert(signing_keys).values([key("a"), key("b")]))
    with pytest.raises(IntegrityError, match="ck_signing_keys_active_is_not_retired"):
        async with engine.begin() as connection:
            await connection.execute(insert(signing_keys).values(key("a", retired_at=LATER)))
