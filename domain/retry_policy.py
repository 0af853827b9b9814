"""When a call to a provider is made again that has failed before anything of its answer was shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from domain.errors import ProviderFailed

Jitter = Callable[[float], float]  # a random number between 0 and the given one


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Exponential with full jitter, so that many who have failed together do not come back together.

    max_retries              after the first call, of the same model
    base_seconds             the first pause is shorter than that, each later one may be twice as long
    max_pause_seconds        up to that
    max_retry_after_seconds  the longest pause that a provider may ask for; if it asks for more, there is no other call
    """

    max_retries: int = 2
    base_seconds: float = 0.5
    max_pause_seconds: float = 8.0
    max_retry_after_seconds: float = 30.0

    def pause_seconds(self, failure: ProviderFailed, *, retries: int, jitter: Jitter) -> float | None:
        """How long to wait after so many retries; None: do not call again."""
        if not failure.retryable or retries >= self.max_retries:
            return None
        if failure.retry_after_seconds is None:
            return jitter(min(self.base_seconds * 2**retries, self.max_pause_seconds))
        if failure.retry_after_seconds > self.max_retry_after_seconds:
            return None
        # Never before the time that was named.
        return failure.retry_after_seconds + jitter(self.base_seconds)
