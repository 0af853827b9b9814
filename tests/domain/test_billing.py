"""What a call is billed for, by how it has ended and what the provider has told of it."""

from __future__ import annotations

import pytest

from domain.billing import NOTHING, billed_usage
from domain.errors import ErrorCode, ProviderFailureReason
from domain.generation import Failure
from domain.provider import Model, ProviderRequest, Usage
from domain.provider_attempt import AttemptStatus

Reason = ProviderFailureReason
REQUEST = ProviderRequest(model=Model(id="m", name="M"), prompt="p" * 40, system_prompt="s" * 20)
PROMPT_TOKENS = 10 + 8 + 5 + 8
REPORTED = Usage(input_tokens=50, cached_input_tokens=20, cache_write_tokens=5, output_tokens=30, reasoning_tokens=10)
REFUSALS = {
    Reason.AUTHENTICATION,
    Reason.NO_BALANCE,
    Reason.RATE_LIMITED,
    Reason.OVERLOADED,
    Reason.CONTEXT_TOO_LONG,
    Reason.REFUSED,
    Reason.REJECTED,
    Reason.UNREACHABLE,
}


def billed(
    status: AttemptStatus,
    *,
    reason: Reason | None = None,
    reported: Usage | None = None,
    text: str = "",
    reasoning: str = "",
) -> Usage:
    failure = None if reason is None else Failure(code=ErrorCode.PROVIDER_FAILED, message="!", reason=reason.value)
    return billed_usage(REQUEST, status=status, failure=failure, reported=reported, text=text, reasoning=reasoning)


def test_a_success_is_billed_as_the_provider_tells_even_if_more_has_come() -> None:
    assert billed(AttemptStatus.SUCCEEDED, reported=REPORTED, text="t" * 4_000) == REPORTED


def test_a_success_of_which_nothing_was_told_is_estimated_by_its_texts() -> None:
    assert billed(AttemptStatus.SUCCEEDED, text="t" * 40, reasoning="r" * 8) == Usage(
        input_tokens=PROMPT_TOKENS, output_tokens=12, reasoning_tokens=2, is_estimated=True
    )


@pytest.mark.parametrize("reason", sorted(REFUSALS))
def test_a_refusal_costs_nothing(reason: Reason) -> None:
    assert billed(AttemptStatus.FAILED, reason=reason) == NOTHING


@pytest.mark.parametrize("reason", sorted(set(Reason) - REFUSALS - {Reason.CIRCUIT_OPEN}))
def test_any_other_failure_costs_the_prompt_that_was_read(reason: Reason) -> None:
    assert billed(AttemptStatus.FAILED, reason=reason) == Usage(
        input_tokens=PROMPT_TOKENS, output_tokens=0, is_estimated=True
    )


@pytest.mark.parametrize("reason", sorted(REFUSALS))
def test_what_has_come_before_a_refusal_is_billed_all_the_same(reason: Reason) -> None:
    assert billed(AttemptStatus.FAILED, reason=reason, text="t" * 40).output_tokens == 10
    assert billed(AttemptStatus.FAILED, reason=reason, reasoning="r" * 40).reasoning_tokens == 10
    assert billed(AttemptStatus.FAILED, reason=reason, reported=REPORTED) == REPORTED


@pytest.mark.parametrize("status", [AttemptStatus.CANCELLED, AttemptStatus.INTERRUPTED, AttemptStatus.FAILED])
def test_what_was_broken_off_costs_at_least_what_has_come(status: AttemptStatus) -> None:
    begun = Usage(input_tokens=50, cached_input_tokens=20, output_tokens=1)
    assert billed(status, reported=begun, text="t" * 400, reasoning="r" * 40) == Usage(
        input_tokens=50, cached_input_tokens=20, output_tokens=110, reasoning_tokens=10, is_estimated=True
    )
    assert billed(status, reported=REPORTED, text="t" * 40) == REPORTED
