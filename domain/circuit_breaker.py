"""Leaves a provider or a model alone that has failed several times in a row, and asks it again one call at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from domain.errors import ProviderFailed, ProviderFailureReason

MAX_CIRCUITS = 1024
# What says that nobody is there at all. An answer of any kind, also that a model is overloaded, shows that somebody is.
_LINE_OUTAGES = frozenset({ProviderFailureReason.UNREACHABLE})
# What says no more than that a model does not answer: others of the same provider may have room, or think less long.
_MODEL_OUTAGES = frozenset({ProviderFailureReason.OVERLOADED, ProviderFailureReason.TIMEOUT})
# Silence proves neither that the provider is there nor that it is not.
_SILENCE = frozenset({ProviderFailureReason.TIMEOUT})


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
    """Circuits for each line, which is a provider's endpoint with one key, and for each model on it.

    A line's circuit counts calls that reach nobody, a model's those to which it does not begin to answer. A call passes
    when both are closed; open, none does. When its time is up one call probes it while others still wait; its first
    sign of life closes the circuit, another failure opens it again. Only failing ones are held.
    """

    def __init__(self, policy: BreakerPolicy, *, now: Callable[[], float]) -> None:
        self._policy = policy
        self._now = now
        self._circuits: dict[Hashable, _Circuit] = {}

    @contextmanager
    def call(self, line: Hashable, *, model: str, name: str) -> Iterator[Callable[[], None]]:
        """Around one call; yields what is to be called when the provider begins to answer.

        What fails after that is not held against anybody, for long answers break off for reasons of their own.
        Raises ProviderFailed (CIRCUIT_OPEN) when the provider, or the model, is not to be asked now.
        """
        of_line: Hashable = (line, None)
        of_model: Hashable = (line, model)
        is_alive = False

        def answered() -> None:
            nonlocal is_alive
            is_alive = True
            self._close(of_line, of_model)

        with ExitStack() as probes:
            is_probe_of = {
                of_line: self._admit(of_line, name, probes),
                of_model: self._admit(of_model, f"The model {model} of {name}", probes),
            }
            try:
                yield answered
            except ProviderFailed as failure:
                if not is_alive:
                    self._judge(failure.reason, of_line, of_model, is_probe_of)
                raise
            else:
                self._close(of_line, of_model)

    def _judge(
        self,
        reason: ProviderFailureReason,
        of_line: Hashable,
        of_model: Hashable,
        is_probe_of: Mapping[Hashable, bool],
    ) -> None:
        if reason in _LINE_OUTAGES:
            self._note_failure(of_line, is_probe=is_probe_of[of_line])
            return
        if reason not in _SILENCE:
            self._close(of_line)
        if reason in _MODEL_OUTAGES:
            self._note_failure(of_model, is_probe=is_probe_of[of_model])
        else:
            self._close(of_model)

    def _close(self, *keys: Hashable) -> None:
        for key in keys:
            self._circuits.pop(key, None)

    def _admit(self, key: Hashable, name: str, probes: ExitStack) -> bool:
        """Whether the call is a probe; it is one until `probes` are closed."""
        circuit = self._circuits.get(key)
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

        def end_probe() -> None:
            circuit.is_probed = False

        probes.callback(end_probe)
        return True

    def _note_failure(self, key: Hashable, *, is_probe: bool) -> None:
        circuit = self._circuits.get(key)
        if circuit is None:
            while len(self._circuits) >= MAX_CIRCUITS:
                self._circuits.pop(next(iter(self._circuits)))
            circuit = self._circuits[key] = _Circuit()
        circuit.failures += 1
        # Calls that were under way when it opened say nothing new.
        is_closed = not circuit.times_opened
        if is_probe or (is_closed and circuit.failures >= self._policy.failures):
            pause_seconds = self._policy.open_seconds * 2**circuit.times_opened
            circuit.open_until = self._now() + min(pause_seconds, self._policy.max_open_seconds)
            circuit.times_opened += 1
