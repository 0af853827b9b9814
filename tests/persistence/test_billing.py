"""The calls of a server that has died are billed by what is stored of their answers, once."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from decimal import Decimal

import pytest

from domain.account import User
from domain.billing import Biller
from domain.generation import ChunkKind, Generation, RecoveryPolicy
from domain.pricing import Pricing
from domain.provider import Usage
from domain.provider_attempt import AttemptStatus, ProviderAttempt
from persistence.store import PostgresStore
from tests.persistence.samples import (
    FAILURE,
    MUCH_LATER,
    NO_TIME,
    NOW,
    add_running,
    append,
    attempts_of,
    chunk,
    get,
    open_attempt,
)


class DollarPrices:
    """A token costs a dollar, of models that are known."""

    version = "dollars"

    def cost(self, provider_id: str, model: str, usage: Usage, *, at: datetime) -> Decimal | None:
        assert at == NOW, "the prices of the call's start"
        return None if model == "unknown" else Decimal(usage.input_tokens + usage.output_tokens)

    def price_of(self, provider_id: str, model: str) -> tuple[Decimal | None, Decimal | None]:
        return None, None


BILLER = Biller(Pricing(DollarPrices()))
PROMPT_TOKENS = 5 + 8  # of "Why is the sky blue?"


async def recover(store: PostgresStore, policy: RecoveryPolicy) -> None:
    """As every instance does it, once a second."""
    async with store.begin() as tx:
        recovered = await tx.generations.recover_abandoned(now=MUCH_LATER, policy=policy, up_for=NO_TIME)
        await BILLER.bill_abandoned(tx, recovered)


async def only_attempt(store: PostgresStore, run: Generation) -> ProviderAttempt:
    (attempt,) = await attempts_of(store, run)
    return attempt


@pytest.mark.parametrize("policy", [RecoveryPolicy(), RecoveryPolicy(restarts_shown=True)], ids=["ended", "restarted"])
async def test_counted_is_the_prompt_and_what_was_stored(
    store: PostgresStore, ada: User, policy: RecoveryPolicy
) -> None:
    run = await add_running(store, ada)
    await open_attempt(store, run)
    await append(store, chunk(run, 0, "t" * 40), chunk(run, 0, "r" * 8, kind=ChunkKind.REASONING))

    await recover(store, policy)

    attempt = await only_attempt(store, run)
    assert attempt.status is AttemptStatus.INTERRUPTED
    assert attempt.usage == Usage(input_tokens=PROMPT_TOKENS, output_tokens=12, reasoning_tokens=2, is_estimated=True)
    assert (attempt.cost, attempt.price_version) == (Decimal(PROMPT_TOKENS + 12), "dollars")
    assert (await get(store, ada, run.id)).cost == attempt.cost
    async with store.begin() as tx:
        spending = await tx.budgets.find_spending(ada.id, at=NOW)
        assert {each.spent for each in spending.values()} == {attempt.cost}
        assert {each.unpriced_count for each in spending.values()} == {0}

    await recover(store, policy)
    assert await only_attempt(store, run) == attempt, "billed once"


async def test_a_provider_that_was_switched_off_since_bills_too(store: PostgresStore, ada: User) -> None:
    run = await add_running(store, ada)
    await open_attempt(store, run)
    async with store.begin() as tx:
        demo = await tx.providers.find_for_update("demo")
        assert demo is not None
        await tx.providers.update(replace(demo, is_active=False))

    await recover(store, RecoveryPolicy())

    assert (await only_attempt(store, run)).cost == PROMPT_TOKENS


async def test_what_has_no_known_price_counts_its_tokens_and_stays_unpriced(store: PostgresStore, ada: User) -> None:
    run = replace(await add_running(store, ada), model="unknown")
    await open_attempt(store, run)

    await recover(store, RecoveryPolicy())

    attempt = await only_attempt(store, run)
    assert attempt.usage is not None
    assert (attempt.usage.input_tokens, attempt.cost, attempt.price_version) == (PROMPT_TOKENS, None, None)
    async with store.begin() as tx:
        spending = await tx.budgets.find_spending(ada.id, at=NOW)
        assert {each.unpriced_count for each in spending.values()} == {1}


async def test_calls_that_had_ended_before_keep_their_bill(store: PostgresStore, ada: User) -> None:
    run = await add_running(store, ada)
    before = await open_attempt(store, run)
    async with store.begin() as tx:
        demo = await tx.providers.find_for_share("demo")
        assert demo is not None
        await tx.provider_attempts.close(
            replace(
                BILLER.priced(before, demo, Usage(input_tokens=3, output_tokens=4)),
                status=AttemptStatus.FAILED,
                failure=FAILURE,
                finished_at=NOW,
            )
        )
    await open_attempt(store, run)

    await recover(store, RecoveryPolicy())

    first, second = await attempts_of(store, run)
    assert [first.cost, second.cost] == [7, PROMPT_TOKENS]
    assert (await get(store, ada, run.id)).cost == 7 + PROMPT_TOKENS
