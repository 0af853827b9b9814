"""Tries to sign in are counted, wherever and however many at once, and forgotten in time."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.account import User
from domain.errors import RateLimited
from domain.sign_in_attempts import Attempts
from domain.throttle import _ACCOUNT, _ADDRESS, _OWN, FORGET_AFTER, Admission, admit, succeed, withdraw
from persistence.store import PostgresStore
from tests.persistence.samples import NOW, new_session

HOME, OFFICE = "192.0.2.1", "198.51.100.1"


@pytest.fixture
async def at_home(store: PostgresStore, ada: User) -> User:
    """Ada has been signed in at home."""
    async with store.begin() as tx:
        await tx.sessions.add(new_session(ada))
        (session,) = await tx.sessions.list_of(ada.id, now=NOW)
        await tx.sessions.mark_seen(session.id, now=NOW, ip=HOME)
    return ada


async def _try(
    store: PostgresStore, ip: str | None, *, login: str = "ada", user_id: UUID | None = None, now: datetime = NOW
) -> Admission:
    async with store.begin() as tx:
        return await admit(tx, login=login, user_id=user_id, ip=ip, now=now)


async def _fail_until_refused(store: PostgresStore, ip: str, *, login: str = "ada", user_id: UUID | None = None) -> int:
    for count in range(200):
        try:
            await _try(store, ip, login=login, user_id=user_id)
        except RateLimited:
            return count
    raise AssertionError("nobody was slowed down")


@pytest.mark.parametrize("exists", [True, False])
async def test_failures_slow_down_more_and_more_whether_the_user_exists_or_not(
    store: PostgresStore, ada: User, *, exists: bool
) -> None:
    user_id = ada.id if exists else None
    assert await _fail_until_refused(store, HOME, user_id=user_id) == _OWN.free
    now = NOW
    waits: list[int] = []
    for _ in range(12):
        now += timedelta(seconds=waits[-1] if waits else 1)
        await _try(store, HOME, user_id=user_id, now=now)
        with pytest.raises(RateLimited) as caught:
            await _try(store, HOME, user_id=user_id, now=now)
        waits.append(caught.value.retry_after_seconds or 0)
    assert waits == [2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300, 300]
    await _try(store, HOME, user_id=user_id, now=now + FORGET_AFTER)
    await _try(store, HOME, user_id=user_id, now=now + FORGET_AFTER)


async def test_many_tries_at_once_are_all_counted(store: PostgresStore) -> None:
    results = await asyncio.gather(*(_try(store, HOME) for _ in range(40)), return_exceptions=True)
    assert sum(isinstance(result, Admission) for result in results) == _OWN.free
    assert sum(isinstance(result, RateLimited) for result in results) == 40 - _OWN.free


async def test_success_forgets_its_own_failures_and_nobody_elses(store: PostgresStore) -> None:
    for number in range(_ADDRESS.free - 5):
        await _try(store, HOME, login=f"victim{number}")
    for _ in range(3):
        admission = await _try(store, HOME, login="attacker")
        async with store.begin() as tx:
            await succeed(tx, admission)
    for number in range(5):
        await _try(store, HOME, login=f"another victim{number}")
    with pytest.raises(RateLimited):
        await _try(store, HOME, login="yet another victim")


async def test_a_try_that_came_to_nothing_is_not_counted(store: PostgresStore) -> None:
    for _ in range(3 * _OWN.free):
        admission = await _try(store, HOME)
        async with store.begin() as tx:
            await withdraw(tx, admission)


async def test_strangers_do_not_lock_out_the_owner(store: PostgresStore, at_home: User) -> None:
    ada = at_home
    # From many addresses: after some failures each address has one try, and no more before the account has waited.
    refused = 0
    for number in range(40):
        for _ in range(2):
            try:
                await _try(store, f"203.0.113.{number}", user_id=ada.id)
            except RateLimited:
                refused += 1
    assert refused >= 20
    await _try(store, OFFICE, user_id=ada.id)  # the owner, from somewhere new
    with pytest.raises(RateLimited):
        await _try(store, OFFICE, user_id=ada.id)
    for _ in range(3):
        await _try(store, HOME, user_id=ada.id)  # and where she has been before
    # Somebody at the same address who guesses at other accounts does not keep her back either.
    for number in range(_ADDRESS.free + 5):
        try:
            await _try(store, HOME, login=f"somebody{number}")
        except RateLimited:
            assert number >= _ADDRESS.free
    await _try(store, HOME, user_id=ada.id)


async def test_an_address_of_one_customer_counts_once(store: PostgresStore) -> None:
    for number in range(_OWN.free):
        await _try(store, f"2001:db8:1:2::{number:x}")
    with pytest.raises(RateLimited):
        await _try(store, "2001:db8:1:2:ffff::1")
    await _try(store, "2001:db8:1:3::1")
    for _ in range(_OWN.free):
        await _try(store, "::ffff:192.0.2.9")
    with pytest.raises(RateLimited):
        await _try(store, "192.0.2.9")


@pytest.mark.parametrize("ip", [None, "", "nonsense"])
async def test_no_address_is_an_address_too(store: PostgresStore, ip: str | None) -> None:
    for _ in range(_OWN.free):
        await _try(store, ip)
    with pytest.raises(RateLimited):
        await _try(store, None)


async def test_what_is_old_is_cleared_away(store: PostgresStore) -> None:
    await _try(store, HOME)
    async with store.begin() as tx:
        assert await tx.sign_in_attempts.purge(updated_before=NOW) == 0
        assert await tx.sign_in_attempts.purge(updated_before=NOW + timedelta(seconds=1)) == 3


async def test_counts_are_kept_and_never_below_nothing(store: PostgresStore) -> None:
    key, other = bytes(32), bytes([1] * 32)
    async with store.begin() as tx:
        assert (await tx.sign_in_attempts.lock([key, other], now=NOW))[key].failures == 0
        kept = Attempts(failures=3, blocked_until=NOW + timedelta(seconds=9), updated_at=NOW)
        await tx.sign_in_attempts.save(key, kept)
        await tx.sign_in_attempts.take_back([other])
        assert (await tx.sign_in_attempts.lock([key, other], now=NOW))[key] == kept
        await tx.sign_in_attempts.take_back([key])
        found = await tx.sign_in_attempts.lock([key, other], now=NOW)
        assert [found[each].failures for each in (key, other)] == [2, 0]
        await tx.sign_in_attempts.take_back([], forgetting=key)
        assert (await tx.sign_in_attempts.lock([key], now=NOW))[key].failures == 0


@given(failures=st.integers(0, 10**9))
def test_waits_grow_and_have_an_end(failures: int) -> None:
    for limit in (_OWN, _ACCOUNT, _ADDRESS):
        assert timedelta() <= limit.wait_after(failures) <= limit.wait_after(failures + 1) <= limit.longest
