"""The life of the process: it starts, serves, drains when it is told to stop, and ends at once when told again.

uvicorn closes every WebSocket as soon as it is told to exit, so it is told only when the draining is over.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from types import FrameType
from typing import Any, Final

import structlog
import uvicorn
import uvloop
from starlette.types import ASGIApp

from ops.http_protocol import BoundedHttpProtocol
from ops.websocket_protocol import BoundedWebSocketProtocol

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
# make passes a SIGTERM on to the server, which may have got it already from whoever sent it to the whole group.
_SAME_SIGNAL_SECONDS: Final = 1.0
_WEBSOCKET_MESSAGE_LIMIT_BYTES: Final = 65_536
_WEBSOCKET_PING_SECONDS: Final = 20.0
_KEEP_ALIVE_SECONDS: Final = 30
_CLOSE_TIMEOUT_SECONDS: Final = 5

_log = structlog.get_logger(__name__)


class Lifecycle:
    """Whether the process is to go on; `run` makes it and feeds it the signals."""

    def __init__(self) -> None:
        self._stop = asyncio.Event()
        self._is_serving = False

    @property
    def is_draining(self) -> bool:
        """Whether nothing new is to be begun."""
        return self._stop.is_set()

    def request_stop(self) -> None:
        """Begins the draining, as a first signal does."""
        self._stop.set()

    async def wait_for_stop(self) -> None:
        """Returns when the draining begins."""
        await self._stop.wait()

    @property
    def is_serving(self) -> bool:
        """Whether the start-up is over: before that, being told to stop means to give it up."""
        return self._is_serving

    def begin_serving(self) -> None:
        """Says that from now on there is something to drain."""
        self._is_serving = True


def run(main: Callable[[Lifecycle], Coroutine[Any, Any, None]]) -> int:
    """Runs the server on uvloop until it ends, and returns the process's exit code.

    The first SIGINT or SIGTERM cancels a start-up, or begins the draining; the second ends the process at once, and
    with it the embedded PostgreSQL, which has a watchdog. What `main` raises is raised here.
    """
    lifecycle = Lifecycle()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        stopper = _Stopper(lifecycle, runner.get_loop())
        with stopper.catching_signals():
            try:
                runner.run(stopper.supervise(main(lifecycle)))
            except asyncio.CancelledError:
                if stopper.signal is None:
                    raise
                return 128 + stopper.signal
    return 0


class _Stopper:
    """What a signal does."""

    def __init__(self, lifecycle: Lifecycle, loop: asyncio.AbstractEventLoop) -> None:
        self._lifecycle = lifecycle
        self._loop = loop
        self._main: asyncio.Task[None] | None = None
        self.signal: int | None = None
        self._signalled_at = 0.0

    async def supervise(self, main: Coroutine[Any, Any, None]) -> None:
        self._main = asyncio.current_task()
        await main

    @contextlib.contextmanager
    def catching_signals(self) -> Iterator[None]:
        """Not with the loop's own handlers: these would wait for a loop that hangs, and the second must not."""
        former = {number: signal.signal(number, self._on_signal) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.signal is None:
            self.signal = number
            self._signalled_at = now
            self._loop.call_soon_threadsafe(self._stop)
        elif number == signal.SIGINT or now - self._signalled_at > _SAME_SIGNAL_SECONDS:
            os.write(2, b"Ended by force.\n")
            os._exit(128 + number)

    def _stop(self) -> None:
        if self._lifecycle.is_serving or self._main is None:
            self._lifecycle.request_stop()
        else:
            self._main.cancel()


def collect_garbage_rarely() -> None:
    """Keeps the collector's pauses short: to be called when all that stays has been made.

    Reading a long answer makes hundreds of thousands of objects, and a full collection stops every stream: with
    the default thresholds a 1 MB answer held up the event loop for 44 to 230 ms, with these for 5 to 16 ms. The first
    is what one pause may walk over; the second puts off the walk over a whole answer until after its end.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 125, 1_000)


async def serve(
    app: ASGIApp,
    *,
    lifecycle: Lifecycle,
    sockets: Sequence[socket.socket],
    on_serving: Callable[[], None],
    on_drain: Callable[[], Awaitable[None]],
    drain_timeout_seconds: float,
    trusted_proxies: Sequence[str] = (),
    websocket_ping_seconds: float = _WEBSOCKET_PING_SECONDS,
) -> None:
    """Serves until the draining is over and the connections are closed.

    `on_drain` is called when the stop is requested and may take up to `drain_timeout_seconds`; meanwhile everything is
    still served. The app's lifespan is not run: what it needs is started and stopped by the caller.
    """
    config = uvicorn.Config(
        app,
        loop="none",
        http=BoundedHttpProtocol,
        ws=BoundedWebSocketProtocol,
        ws_max_size=_WEBSOCKET_MESSAGE_LIMIT_BYTES,
        ws_per_message_deflate=False,
        ws_ping_interval=websocket_ping_seconds,
        ws_ping_timeout=websocket_ping_seconds,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(trusted_proxies),
        forwarded_allow_ips=list(trusted_proxies),
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_CLOSE_TIMEOUT_SECONDS,
    )
    server = _DrainingServer(
        config,
        lifecycle=lifecycle,
        on_serving=on_serving,
        on_drain=on_drain,
        drain_timeout_seconds=drain_timeout_seconds,
    )
    await server.serve(sockets=list(sockets))


class _DrainingServer(uvicorn.Server):
    """uvicorn's server with the draining put before its exit, and without signal handlers of its own."""

    def __init__(
        self,
        config: uvicorn.Config,
        *,
        lifecycle: Lifecycle,
        on_serving: Callable[[], None],
        on_drain: Callable[[], Awaitable[None]],
        drain_timeout_seconds: float,
    ) -> None:
        super().__init__(config)
        self._lifecycle = lifecycle
        self._on_serving = on_serving
        self._on_drain = on_drain
        self._drain_timeout_seconds = drain_timeout_seconds

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """They are caught by `run`, from before the start-up on."""
        yield

    async def main_loop(self) -> None:
        """Serves until told to stop, and drains."""
        self._lifecycle.begin_serving()
        self._on_serving()
        async with asyncio.TaskGroup() as group:
            draining = group.create_task(self._drain())
            await super().main_loop()
            draining.cancel()

    async def _drain(self) -> None:
        await self._lifecycle.wait_for_stop()
        _log.info("draining", timeout_seconds=self._drain_timeout_seconds)
        try:
            async with asyncio.timeout(self._drain_timeout_seconds):
                await self._on_drain()
        except TimeoutError:
            _log.warning("draining_timed_out", timeout_seconds=self._drain_timeout_seconds)
        except Exception:  # noqa: BLE001 whatever could not be finished, the process has to end all the same
            _log.exception("draining_failed")
        finally:
            self.should_exit = True
