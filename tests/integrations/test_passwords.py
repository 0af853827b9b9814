"""Passwords are hashed slowly enough, beside the event loop, and never in an endless queue."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator

import argon2
import pytest

from domain.account import PasswordHasher
from domain.errors import RateLimited, Unavailable
from domain.secret import Secret
from integrations.passwords import MEMORY_KIB, PARALLELISM, THREADS, TIME_COST, Argon2Passwords

PASSWORD = Secret("correct horse battery staple")


@pytest.fixture
def passwords() -> Iterator[PasswordHasher]:
    passwords = Argon2Passwords()
    yield passwords
    passwords.close()


async def test_a_password_matches_its_own_hash_only(passwords: PasswordHasher) -> None:
    encoded = await passwords.hash(PASSWORD)

    assert await passwords.verify(PASSWORD, encoded) is True
    assert await passwords.verify(Secret("correct horse battery stapler"), encoded) is False
    assert await passwords.verify(Secret(""), encoded) is False


async def test_hashes_are_argon2id_with_at_least_owasps_parameters(passwords: PasswordHasher) -> None:
    parameters = argon2.extract_parameters(await passwords.hash(PASSWORD))

    assert parameters.type is argon2.Type.ID
    assert (parameters.memory_cost, parameters.time_cost, parameters.parallelism) == (19456, 2, 1)
    assert (parameters.salt_len, parameters.hash_len) == (16, 32)


async def test_the_same_password_has_another_hash_each_time(passwords: PasswordHasher) -> None:
    assert await passwords.hash(PASSWORD) != await passwords.hash(PASSWORD)


@pytest.mark.parametrize("text", ["", "пароль 密码 🔑", "half \ud83d of a pair", "nul\0inside", "x" * 1024])
async def test_any_text_may_be_a_password(passwords: PasswordHasher, text: str) -> None:
    assert await passwords.verify(Secret(text), await passwords.hash(Secret(text)))


async def test_what_follows_a_nul_counts(passwords: PasswordHasher) -> None:
    assert not await passwords.verify(Secret("nul\0outside"), await passwords.hash(Secret("nul\0inside")))


async def test_nobodys_password_is_wrong_after_the_same_work(
    passwords: PasswordHasher, monkeypatch: pytest.MonkeyPatch
) -> None:
    verified: list[str] = []
    verify = argon2.PasswordHasher.verify

    def noting(self: argon2.PasswordHasher, password_hash: str, password: bytes) -> bool:
        verified.append(password_hash)
        return verify(self, password_hash, password)

    monkeypatch.setattr(argon2.PasswordHasher, "verify", noting)
    real = await passwords.hash(PASSWORD)

    assert await passwords.verify(PASSWORD, None) is False
    assert len(verified) == 1
    assert argon2.extract_parameters(verified[0]) == argon2.extract_parameters(real)


async def test_a_broken_hash_is_a_fault_and_not_a_wrong_password(passwords: PasswordHasher) -> None:
    with pytest.raises(argon2.exceptions.InvalidHashError):
        await passwords.verify(PASSWORD, "not a hash")


async def test_weaker_hashes_are_to_be_renewed(passwords: PasswordHasher) -> None:
    weaker = argon2.PasswordHasher(time_cost=1, memory_cost=MEMORY_KIB, parallelism=PARALLELISM).hash("x")
    same = argon2.PasswordHasher(time_cost=TIME_COST, memory_cost=MEMORY_KIB, parallelism=PARALLELISM).hash("x")

    assert passwords.needs_rehash(weaker)
    assert not passwords.needs_rehash(same)
    assert not passwords.needs_rehash(await passwords.hash(PASSWORD))


async def test_the_event_loop_goes_on_meanwhile(passwords: PasswordHasher) -> None:
    order: list[str] = []

    async def hash_one() -> None:
        await passwords.hash(PASSWORD)
        order.append("hashed")

    async def tick() -> None:
        await asyncio.sleep(0)
        order.append("ticked")

    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(hash_one())
        group.create_task(tick())

    assert order[0] == "ticked"


class SlowHasher:
    """Stands in argon2's place, to hold its threads as long as a test needs."""

    def __init__(self) -> None:
        self.may_end = threading.Event()
        self.running = 0
        self.most_running = 0
        self._lock = threading.Lock()

    def hash(self, password: bytes) -> str:
        with self._lock:
            self.running += 1
            self.most_running = max(self.most_running, self.running)
        self.may_end.wait(120)
        time.sleep(0)
        with self._lock:
            self.running -= 1
        return "hash of " + password.decode()


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Argon2Passwords, SlowHasher]]:
    passwords, hasher = Argon2Passwords(max_waiting=3), SlowHasher()
    monkeypatch.setattr(passwords, "_hasher", hasher)
    yield passwords, hasher
    hasher.may_end.set()
    passwords.close()


async def test_only_so_many_wait_and_only_two_work(slow: tuple[Argon2Passwords, SlowHasher]) -> None:
    passwords, hasher = slow
    tasks = [asyncio.create_task(passwords.hash(Secret(str(number)))) for number in range(THREADS + 3)]
    await asyncio.sleep(0)

    with pytest.raises(RateLimited) as caught:
        await passwords.hash(PASSWORD)
    hasher.may_end.set()

    assert caught.value.retry_after_seconds
    assert await asyncio.gather(*tasks) == [f"hash of {number}" for number in range(THREADS + 3)]
    assert hasher.most_running <= THREADS
    assert await passwords.hash(Secret("after")) == "hash of after"


async def test_those_who_leave_the_queue_make_room(slow: tuple[Argon2Passwords, SlowHasher]) -> None:
    passwords, hasher = slow
    tasks = [asyncio.create_task(passwords.hash(Secret(str(number)))) for number in range(THREADS + 3)]
    await asyncio.sleep(0)
    tasks[-1].cancel()
    await asyncio.wait([tasks[-1]])

    newcomer = asyncio.create_task(passwords.hash(Secret("newcomer")))
    await asyncio.sleep(0)
    hasher.may_end.set()

    assert await newcomer == "hash of newcomer"
    assert tasks[-1].cancelled()
    await asyncio.gather(*tasks[:-1])


async def test_after_closing_nothing_is_taken_but_what_began_ends(slow: tuple[Argon2Passwords, SlowHasher]) -> None:
    passwords, hasher = slow
    begun = asyncio.create_task(passwords.hash(PASSWORD))
    await asyncio.sleep(0)

    passwords.close()
    hasher.may_end.set()

    with pytest.raises(Unavailable):
        await passwords.hash(PASSWORD)
    assert await begun == f"hash of {PASSWORD.reveal()}"
