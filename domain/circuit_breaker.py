"""Leaves a provider alone that has failed several times in a row, and asks it again one call at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from domain.errors import ProviderFailed, ProviderFailureReason

MAX_CIRCUITS = 1024
# What says that the provider is not there for anybody. A refusal of any other kind shows that it is.
_OUTAGES = frozenset(
    {ProviderFailureReason.OVERLOADED, ProviderFailureReason.TIMEOUT, ProviderFailureReason.UNREACHABLE}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerPolicy:
    """After how many failures in a row a circuit opens, and for how long: twice as long each time, up to a limit."""

    failures: int = 5
    open_seconds: float = 10.0
    max_open_seconds: float = 120.0


@dataclass(slots=True, kw_only=True)
class _Circuit:
    failures: int = 0
    times_opened: int = 0
    open_until: float = 0.0
    is_probed: bool = False


class CircuitBreakers:
    """One circuit for each line, which is whatever fails as one: a provider with one key. Only failing ones are held.

    Closed, every call passes. Open, none does. When its time is up one call probes the line while others still wait;
    its first sign of life closes the circuit, another failure opens it again.
    """

    def __init__(self, policy: BreakerPolicy, *, now: Callable[[], float]) -> None:
        self._policy = policy
        self._now = now
        self._circuits: dict[Hashable, _Circuit] = {}

    @contextmanager
    def call(self, line: Hashable, *, name: str) -> Iterator[Callable[[], None]]:
        """Around one call; yields what is to be called when the provider begins to answer.

        What fails after that is not held against the line, for long answers break off for reasons of their own.
        Raises ProviderFailed (CIRCUIT_OPEN) when the provider is not to be asked now.
        """
        is_probe = self._admit(line, name)
        is_alive = False

        def answered() -> None:
            nonlocal is_alive
            is_alive = True
            self._circuits.pop(line, None)

        try:
            yield answered
        except ProviderFailed as failure:
            if is_alive:
                raise
            if failure.reason in _OUTAGES:
                self._note_failure(line, is_probe=is_probe)
            else:
                self._circuits.pop(line, None)
            raise
        else:
            self._circuits.pop(line, None)
        finally:
            if is_probe and (circuit := self._circuits.get(line)) is not None:
                circuit.is_probed = False

    def _admit(self, line: Hashable, name: str) -> bool:
        """Whether the call is a probe."""
        circuit = self._circuits.get(line)
        if circuit is None or not circuit.times_opened:
            return False
        left_seconds = circuit.open_until - self._now()
        if left_seconds > 0 or circuit.is_probed:
            wait_seconds = max(1, math.ceil(left_seconds))
            raise ProviderFailed(
                f"{name} has failed several times in a row, so it is left alone for a while. "
                f"Try again in {wait_seconds} s.",
                reason=ProviderFailureReason.CIRCUIT_OPEN,
                retryable=True,
                retry_after_seconds=wait_seconds,
            )
        circuit.is_probed = True
        return True

    def _note_failure(self, line: Hashable, *, is_probe: bool) -> None:
        circuit = self._circuits.get(line)
        if circuit is None:
            while len(self._circuits) >= MAX_CIRCUITS:
                self._circuits.pop(next(iter(self._circuits)))
            circuit = self._circuits[line] = _Circuit()
        circuit.failures += 1
        # Calls that were under way when it opened say nothing new.
        is_closed = not circuit.times_opened
        if is_probe or (is_closed and circuit.failures >= self._policy.failures):
            pause_seconds = self._policy.open_seconds * 2**circuit.times_opened
            circuit.open_until = self._now() + min(pause_seconds, self._policy.max_open_seconds)
            circuit.times_opened += 1
