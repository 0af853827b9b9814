"""The ways Notion and the road to it fail, to be ordered by a test or drawn at random from a seed."""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from tests.standins import notion_errors as errors
from tests.standins.notion_errors import JSON, NotionError

if TYPE_CHECKING:
    from collections.abc import Sequence


class FaultKind(StrEnum):
    """What goes wrong."""

    RATE_LIMITED = "429"
    BLOCKED = "429 that must not be retried"
    CONFLICT = "409"
    INTERNAL = "500"
    BAD_GATEWAY = "502 with a proxy's page of HTML"
    UNAVAILABLE = "503"
    GATEWAY_TIMEOUT = "504"
    OVERLOADED = "529"
    LOST = "the connection ends without an answer"
    TRUNCATED = "the connection ends within the answer"
    GARBLED = "200 with something that is not JSON"
    DELAYED = "the right answer, late"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One failure of one request.

    `method` and `path` (a pattern such as `/v1/blocks/*/children`) choose the request, after `skip` that also match.
    `applied`: the request has taken effect when it fails. `names_committed`: a 503 that was applied says what it made.
    `released`: what is DELAYED waits for this and not for a time; any thread may set it. `outlives_client`: a DELAYED
    or LOST request takes effect after this wait although its client has gone, as one does that Notion has received.
    """

    kind: FaultKind
    method: str = "*"
    path: str = "*"
    skip: int = 0
    applied: bool = False
    names_committed: bool = True
    retry_after_seconds: int = 1
    delay_seconds: float = 0.0
    released: threading.Event | None = None
    outlives_client: bool = False

    def meets(self, method: str, path: str) -> bool:
        """Whether this request is the one."""
        return fnmatchcase(method, self.method) and fnmatchcase(path, self.path)

    def error(self, committed: JSON) -> NotionError | None:
        """The refusal to answer with; None for the kinds that are no answer of the API."""
        match self.kind:
            case FaultKind.RATE_LIMITED:
                return errors.rate_limited(
                    retry_after_seconds=self.retry_after_seconds, reason="public_api_request_rate_limit"
                )
            case FaultKind.BLOCKED:
                return errors.rate_limited(
                    retry_after_seconds=self.retry_after_seconds, reason="public_api_request_blocked"
                )
            case FaultKind.CONFLICT:
                return NotionError(409, "conflict_error", "Conflict occurred while saving. Please try again.")
            case FaultKind.INTERNAL:
                return NotionError(500, "internal_server_error", "Unexpected error occurred.")
            case FaultKind.UNAVAILABLE if self.applied:
                return errors.saved_but_unavailable(committed if self.names_committed else {})
            case FaultKind.UNAVAILABLE:
                return NotionError(503, "service_unavailable", "Notion is unavailable, please try again later.")
            case FaultKind.GATEWAY_TIMEOUT:
                return NotionError(504, "gateway_timeout", "The request timed out on the server side.")
            case FaultKind.OVERLOADED:
                return NotionError(
                    529,
                    "service_overload",
                    "Notion is overloaded, please try again later.",
                    headers={"Retry-After": str(self.retry_after_seconds)},
                )
            case _:
                return None


class Faults:
    """What is going to fail: a queue, asked first, and failures drawn at random."""

    def __init__(self) -> None:
        self._queue: list[tuple[Fault, int]] = []
        self._drawn: Sequence[tuple[float, Fault]] = ()
        self._random = random.Random(0)

    def add(self, *faults: Fault) -> None:
        """Each fault meets one request."""
        self._queue += ((fault, fault.skip) for fault in faults)

    @property
    def waiting(self) -> tuple[Fault, ...]:
        """Those that no request has met yet."""
        return tuple(fault for fault, _ in self._queue)

    def draw(self, *chances: tuple[float, Fault], seed: int) -> None:
        """From now on every request may fail: pairs of a probability and the fault it stands for."""
        self._drawn, self._random = chances, random.Random(seed)

    def next(self, method: str, path: str) -> Fault | None:
        """The failure that this request meets, if any."""
        for place, (fault, skip) in enumerate(self._queue):
            if fault.meets(method, path):
                if skip == 0:
                    return self._queue.pop(place)[0]
                self._queue[place] = (fault, skip - 1)
        for probability, fault in self._drawn:
            if fault.meets(method, path) and self._random.random() < probability:
                return fault
        return None
