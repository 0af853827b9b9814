"""Whether the process lives, and whether it is ready to serve: for load balancers and container runtimes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

CHECK_TIMEOUT_SECONDS: Final = 2.0
# The pages are open to everybody: asking often must not keep the database busy.
_FRESH_SECONDS: Final = 1.0

Check = Callable[[], Awaitable[object]]
_log = structlog.get_logger(__name__)


class Health:
    """Runs the checks, all at once; one that raises, returns False, or takes longer than 2 s, fails."""

    def __init__(self, checks: Mapping[str, Check], *, is_draining: Callable[[], bool]) -> None:
        self._checks = dict(checks)
        self._is_draining = is_draining
        self._lock = asyncio.Lock()
        self._results: dict[str, str] = {}
        self._checked_at = -_FRESH_SECONDS

    async def readiness(self) -> tuple[bool, dict[str, str]]:
        """Whether everything is well, and the state of each check by name: `ok`, `failed` or `timed out`."""
        async with self._lock:
            if time.monotonic() - self._checked_at >= _FRESH_SECONDS:
                async with asyncio.TaskGroup() as group:
                    tasks = {name: group.create_task(self._run(name)) for name in self._checks}
                self._results = {name: task.result() for name, task in tasks.items()}
                self._checked_at = time.monotonic()
            results = {**self._results, "draining": "yes" if self._is_draining() else "no"}
        return not self._is_draining() and all(state == "ok" for state in self._results.values()), results

    async def _run(self, name: str) -> str:
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
                is_well = await self._checks[name]() is not False
        except TimeoutError:
            _log.warning("health_check_timed_out", check=name)
            return "timed out"
        except Exception as error:  # noqa: BLE001 whatever a check raises is its failure
            _log.warning("health_check_failed", check=name, error=type(error).__name__)
            return "failed"
        return "ok" if is_well else "failed"


def health_routes(health: Health) -> list[Route]:
    """/health/live and /health/ready."""
    headers = {"cache-control": "no-store"}

    async def live(_request: Request) -> JSONResponse:
        return JSONResponse({"status": "live"}, headers=headers)

    async def ready(_request: Request) -> JSONResponse:
        is_ready, checks = await health.readiness()
        body = {"status": "ready" if is_ready else "not ready", "checks": checks}
        return JSONResponse(body, status_code=200 if is_ready else 503, headers=headers)

    return [
        Route("/health/live", live, methods=["GET"], name="live"),
        Route("/health/ready", ready, methods=["GET"], name="ready"),
    ]
