"""What the workers of an instance have in common: a round that goes wrong is followed by the next one."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from domain.errors import Unavailable

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Round:
    """One round of a worker, and what it has failed with, if it has."""

    error: Exception | None = None


@contextmanager
def one_round(action: str) -> Iterator[Round]:
    """Keeps a failure from ending the worker, and with it the server: one is noted, a fault is logged whole.

    Whoever begins the next round pauses first.
    """
    this = Round()
    try:
        yield this
    except Unavailable as error:
        this.error = error
        _log.warning("store_unavailable", extra={"action": action})
    except Exception as error:  # noqa: BLE001  (whatever it is, the server's other work goes on; it is logged whole)
        this.error = error
        _log.exception("worker_fault", extra={"action": action})
