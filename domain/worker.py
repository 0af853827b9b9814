"""What the workers of an instance have in common: a round that goes wrong is followed by the next one."""

from __future__ import annotations

import logging
from types import TracebackType
from typing import Self

from domain.errors import Unavailable

_log = logging.getLogger(__name__)


class Round:
    """One round of a worker: a failure ends neither the worker nor the server, but is kept as the round's `error`.

    That the store was away is noted, a fault is logged whole. Whoever begins the next round pauses first.
    """

    def __init__(self, action: str) -> None:
        self._action = action
        self.error: Exception | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> bool:
        if not isinstance(error, Exception):
            return False
        self.error = error
        if isinstance(error, Unavailable):
            _log.warning("store_unavailable", extra={"action": self._action})
        else:
            _log.error("worker_fault", extra={"action": self._action}, exc_info=error)
        return True
