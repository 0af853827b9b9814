"""Waiting for what a test cannot be told of: by looking again and again, for as long as the slowest machine needs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

# What is so at once on any machine, or never: the end of it is a failure.
PATIENCE_SECONDS = 90.0
_POLL_SECONDS = 0.02


async def until(is_so: Callable[[], Awaitable[bool] | bool], timeout_seconds: float = PATIENCE_SECONDS) -> None:
    """Returns as soon as it is so. Raises TimeoutError."""
    async with asyncio.timeout(timeout_seconds):
        while True:
            answer = is_so()
            if answer if isinstance(answer, bool) else await answer:
                return
            await asyncio.sleep(_POLL_SECONDS)
