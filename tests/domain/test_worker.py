"""Workers: whatever goes wrong in one round, the next one comes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, ExitStack
from datetime import UTC, datetime
from typing import Any, Protocol
from uuid import UUID

import pytest

from domain.errors import Unavailable
from domain.housekeeping import Housekeeper
from domain.live_log import LiveLogs
from domain.remote_tail import RemoteTail
from domain.session_watch import SessionWatch
from domain.store import Transaction
from domain.worker import Round
from tests.waiting import until

SOMETHING = UUID("01890000-0000-7000-8000-000000000001")
ROUNDS = 10


class Fault(Exception):
    """What nobody has thought of."""


class BrokenStore:
    """Whatever is asked of it fails."""

    def __init__(self, failure: Exception) -> None:
        self._failure = failure
        self.asked = 0

    def begin(self) -> AbstractAsyncContextManager[Transaction]:
        """Raises the failure."""
        self.asked += 1
        raise self._failure


class Worker(Protocol):
    """Has something to do again and again."""

    async def run(self) -> Any: ...


def _session_watch(store: BrokenStore, stack: ExitStack) -> Worker:
    watch = SessionWatch(store=store, clock=lambda: datetime.now(UTC), poll_seconds=0.001)
    stack.enter_context(watch.watch(SOMETHING))
    return watch


def _remote_tail(store: BrokenStore, stack: ExitStack) -> Worker:
    logs = LiveLogs()
    stack.enter_context(logs.listen(SOMETHING))
    return RemoteTail(store=store, logs=logs, bus=None)


def _housekeeper(store: BrokenStore, _stack: ExitStack) -> Worker:
    return Housekeeper(store=store, clock=lambda: datetime.now(UTC))


@pytest.mark.parametrize("worker_on", [_session_watch, _remote_tail, _housekeeper])
@pytest.mark.parametrize("failure", [Fault(), Unavailable("The database is away.")], ids=["fault", "outage"])
async def test_a_worker_outlasts_what_its_rounds_fail_with(
    monkeypatch: pytest.MonkeyPatch, failure: Exception, worker_on: Callable[[BrokenStore, ExitStack], Worker]
) -> None:
    monkeypatch.setattr("domain.housekeeping.CHECK_SECONDS", 0.001)
    monkeypatch.setattr("domain.remote_tail.POLL_SECONDS", 0.001)
    store = BrokenStore(failure)
    with ExitStack() as stack:
        working = asyncio.create_task(worker_on(store, stack).run())
        await until(lambda: working.done() or store.asked >= ROUNDS)

        assert not working.done()
        working.cancel()


async def test_who_works_in_rounds_can_still_be_stopped() -> None:
    with pytest.raises(asyncio.CancelledError), Round("sleep"):
        raise asyncio.CancelledError


def test_a_fault_is_logged_whole_and_an_outage_said(caplog: pytest.LogCaptureFixture) -> None:
    fault, outage = Fault(), Unavailable("The database is away.")
    for failure in (fault, outage):
        with Round("sweep") as this:
            raise failure
        assert this.error is failure
    with Round("sweep") as this:
        pass
    assert this.error is None

    assert [(record.message, record.exc_info is not None) for record in caplog.records] == [
        ("worker_fault", True),
        ("store_unavailable", False),
    ]
