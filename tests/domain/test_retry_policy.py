"""Pauses between calls: longer each time, spread by chance, and never shorter than the provider asks for."""

from __future__ import annotations

import pytest

from domain.errors import ProviderFailed, ProviderFailureReason
from domain.retry_policy import RetryPolicy

POLICY = RetryPolicy(max_retries=6, base_seconds=0.5, max_pause_seconds=8, max_retry_after_seconds=30)


def failure(retry_after_seconds: int | None = None, *, retryable: bool = True) -> ProviderFailed:
    return ProviderFailed(
        "!",
        reason=ProviderFailureReason.RATE_LIMITED,
        retryable=retryable,
        retry_after_seconds=retry_after_seconds,
    )


def test_the_longest_pause_doubles_up_to_a_limit_and_any_shorter_one_may_come() -> None:
    longest = [POLICY.pause_seconds(failure(), retries=retries, jitter=lambda most: most) for retries in range(6)]
    shortest = [POLICY.pause_seconds(failure(), retries=retries, jitter=lambda _: 0.0) for retries in range(6)]

    assert longest == [0.5, 1, 2, 4, 8, 8]
    assert shortest == [0] * 6


@pytest.mark.parametrize(("asked", "pause"), [(0, 0.25), (3, 3.25), (30, 30.25), (31, None), (86_400, None)])
def test_the_provider_is_obeyed_up_to_a_bound(asked: int, pause: float | None) -> None:
    assert POLICY.pause_seconds(failure(asked), retries=0, jitter=lambda most: most / 2) == pause


def test_there_is_an_end() -> None:
    assert POLICY.pause_seconds(failure(), retries=5, jitter=lambda most: most) is not None
    assert POLICY.pause_seconds(failure(), retries=6, jitter=lambda most: most) is None
    assert RetryPolicy(max_retries=0).pause_seconds(failure(), retries=0, jitter=lambda most: most) is None


def test_what_does_not_pass_is_not_tried_again() -> None:
    assert POLICY.pause_seconds(failure(retryable=False), retries=0, jitter=lambda most: most) is None
