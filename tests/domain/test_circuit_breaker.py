"""A dead provider is left alone, and one call at a time finds out whether it is back."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from contextlib import suppress

import pytest

from domain import circuit_breaker
from domain.circuit_breaker import BreakerPolicy, CircuitBreakers
from domain.errors import ProviderFailed, ProviderFailureReason

Reason = ProviderFailureReason
POLICY = BreakerPolicy(failures=3, open_seconds=10, max_open_seconds=25)


class Clock:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def circuits(clock: Clock) -> CircuitBreakers:
    return CircuitBreakers(POLICY, now=clock)


def fail(
    circuits: CircuitBreakers,
    line: Hashable = "a",
    *,
    model: str = "m",
    reason: Reason = Reason.OVERLOADED,
    answers: bool = False,
) -> ProviderFailed:
    """The failure of a call; of its own, or CIRCUIT_OPEN."""
    try:
        with circuits.call(line, model=model, name="A") as answered:
            if answers:
                answered()
            raise ProviderFailed("!", reason=reason, retryable=True)
    except ProviderFailed as failure:
        return failure


def succeed(circuits: CircuitBreakers, line: Hashable = "a", *, model: str = "m") -> None:
    with circuits.call(line, model=model, name="A"):
        pass


def open_it(circuits: CircuitBreakers, line: Hashable = "a", *, reason: Reason = Reason.OVERLOADED) -> None:
    for _ in range(POLICY.failures):
        assert fail(circuits, line, reason=reason).reason is reason


@pytest.mark.parametrize("reason", [Reason.OVERLOADED, Reason.TIMEOUT, Reason.UNREACHABLE])
def test_opens_after_some_failures_in_a_row_and_tells_for_how_long(
    circuits: CircuitBreakers, clock: Clock, reason: Reason
) -> None:
    for _ in range(POLICY.failures):
        assert fail(circuits, reason=reason).reason is reason
    clock.seconds += 2.5

    refused = fail(circuits)

    assert (refused.reason, refused.retryable, refused.retry_after_seconds) == (Reason.CIRCUIT_OPEN, True, 8)


def test_a_success_in_between_begins_the_count_anew(circuits: CircuitBreakers) -> None:
    for _ in range(4):
        fail(circuits)
        fail(circuits)
        succeed(circuits)


@pytest.mark.parametrize(
    "reason", sorted(set(Reason) - {Reason.OVERLOADED, Reason.TIMEOUT, Reason.UNREACHABLE, Reason.CIRCUIT_OPEN})
)
def test_a_refusal_shows_that_somebody_is_there(circuits: CircuitBreakers, reason: Reason) -> None:
    fail(circuits)
    fail(circuits)
    for _ in range(5):
        assert fail(circuits, reason=reason).reason is reason
    fail(circuits)
    fail(circuits)

    succeed(circuits)


def test_what_breaks_off_after_it_began_to_answer_does_not_count(circuits: CircuitBreakers) -> None:
    for _ in range(10):
        assert fail(circuits, answers=True).reason is Reason.OVERLOADED


@pytest.mark.parametrize("reason", [Reason.OVERLOADED, Reason.TIMEOUT])
def test_a_model_that_is_overloaded_or_silent_does_not_lock_out_others_of_its_provider(
    circuits: CircuitBreakers, reason: Reason
) -> None:
    open_it(circuits, reason=reason)

    for _ in range(5):
        succeed(circuits, model="other")
    refused = fail(circuits)
    assert refused.reason is Reason.CIRCUIT_OPEN
    assert "model m of A" in refused.message


def test_a_provider_that_cannot_be_reached_is_left_alone_with_all_its_models(
    circuits: CircuitBreakers, clock: Clock
) -> None:
    for number in range(POLICY.failures):
        assert fail(circuits, model=f"m-{number}", reason=Reason.UNREACHABLE).reason is Reason.UNREACHABLE

    refused = fail(circuits, model="other")
    assert refused.reason is Reason.CIRCUIT_OPEN
    assert refused.message.startswith("A has failed")

    clock.seconds += 10
    with circuits.call("a", model="m", name="A"):
        assert fail(circuits, model="other").reason is Reason.CIRCUIT_OPEN, "one call probes for all models"
    succeed(circuits, model="other")


@pytest.mark.parametrize("reason", [Reason.OVERLOADED, Reason.REJECTED, Reason.AUTHENTICATION])
def test_any_answer_shows_that_the_provider_can_be_reached(circuits: CircuitBreakers, reason: Reason) -> None:
    for _ in range(3):
        fail(circuits, model="b", reason=Reason.UNREACHABLE)
        fail(circuits, model="c", reason=Reason.UNREACHABLE)
        fail(circuits, model=reason.value, reason=reason)
        succeed(circuits, model=reason.value)


def test_silence_says_nothing_of_whether_the_provider_can_be_reached(circuits: CircuitBreakers) -> None:
    fail(circuits, reason=Reason.UNREACHABLE)
    fail(circuits, reason=Reason.UNREACHABLE)
    fail(circuits, reason=Reason.TIMEOUT)
    fail(circuits, reason=Reason.UNREACHABLE)

    assert fail(circuits).reason is Reason.CIRCUIT_OPEN


def test_a_model_that_does_not_exist_says_nothing_of_another(circuits: CircuitBreakers) -> None:
    fail(circuits)
    fail(circuits)
    fail(circuits, model="gone", reason=Reason.REJECTED)
    fail(circuits)

    assert fail(circuits).reason is Reason.CIRCUIT_OPEN


def test_a_call_that_its_model_refuses_is_no_probe_of_the_provider(circuits: CircuitBreakers, clock: Clock) -> None:
    open_it(circuits)
    clock.seconds += 10
    assert fail(circuits).reason is Reason.OVERLOADED  # its probe: the model is left alone for 20 seconds more
    for _ in range(POLICY.failures):
        fail(circuits, model="other", reason=Reason.UNREACHABLE)
    clock.seconds += 10
    assert "model m" in fail(circuits).message

    succeed(circuits, model="other")


def test_one_line_does_not_lock_out_another(circuits: CircuitBreakers) -> None:
    open_it(circuits, "a")

    succeed(circuits, "b")
    assert fail(circuits, "a").reason is Reason.CIRCUIT_OPEN


def test_one_call_probes_while_others_wait_and_its_first_word_closes_it(
    circuits: CircuitBreakers, clock: Clock
) -> None:
    open_it(circuits)
    clock.seconds += 10

    with circuits.call("a", model="m", name="A") as answered:
        assert fail(circuits).reason is Reason.CIRCUIT_OPEN
        answered()
        succeed(circuits)

    succeed(circuits)


def test_a_probe_that_fails_opens_it_for_longer_up_to_a_limit(circuits: CircuitBreakers, clock: Clock) -> None:
    open_it(circuits)
    clock.seconds += 10
    for pause_seconds in (20, 25, 25):
        assert fail(circuits).reason is Reason.OVERLOADED
        assert fail(circuits).retry_after_seconds == pause_seconds
        clock.seconds += pause_seconds

    succeed(circuits)
    open_it(circuits)
    assert fail(circuits).retry_after_seconds == 10


def test_a_probe_that_is_cancelled_leaves_room_for_the_next(circuits: CircuitBreakers, clock: Clock) -> None:
    open_it(circuits)
    clock.seconds += 10
    with pytest.raises(asyncio.CancelledError), circuits.call("a", model="m", name="A"):
        raise asyncio.CancelledError

    assert fail(circuits).reason is Reason.OVERLOADED
    assert fail(circuits).reason is Reason.CIRCUIT_OPEN


def test_calls_that_were_under_way_do_not_open_it_for_longer(circuits: CircuitBreakers, clock: Clock) -> None:
    with suppress(ProviderFailed), circuits.call("a", model="m", name="A"):
        open_it(circuits)
        clock.seconds += 4
        raise ProviderFailed("!", reason=Reason.TIMEOUT, retryable=True)

    assert fail(circuits).retry_after_seconds == 6


def test_it_forgets_the_oldest_of_too_many(circuits: CircuitBreakers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(circuit_breaker, "MAX_CIRCUITS", 2)
    for line in ("a", "b", "c"):
        open_it(circuits, line)

    succeed(circuits, "a")
    assert [fail(circuits, line).reason for line in ("b", "c")] == [Reason.CIRCUIT_OPEN] * 2
