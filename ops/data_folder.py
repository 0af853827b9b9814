"""The folder in which a server keeps what it must not lose, and which one server at a time may use."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import Final, Self

from ops.errors import StartupError

# How long a server that was killed may take to bring its database down (see ops/embedded_postgres.py).
_RELEASE_TIMEOUT_SECONDS: Final = 30
_POLL_SECONDS: Final = 0.05


def prepare(path: Path) -> Path:
    """Makes the folder, for its owner only, unless it exists; returns it as an absolute path. Raises StartupError."""
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder = path.resolve(strict=True)
    except OSError as error:
        raise StartupError(
            f"The data folder {path} cannot be made ({_reason(error)}): set DATA_DIR to another."
        ) from error
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise StartupError(f"The data folder {path} is not writable for this user: change its owner, or set DATA_DIR.")
    return folder


class DataFolderLock:
    """Says that the folder is in use, for as long as this process or the watchdog that inherited the lock lives.

    It is a lock of the operating system on an open file: no crash can leave it behind. The file itself stays.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def acquire(cls, folder: Path) -> Self:
        """Waits for a server that has just died, but not for one that lives: then raises StartupError."""
        path = folder / "server.lock"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StartupError(f"The data folder {folder} cannot be written to ({_reason(error)}).") from error
        deadline = time.monotonic() + _RELEASE_TIMEOUT_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                process_id = _process_id_in(descriptor)
                if is_alive(process_id) or time.monotonic() > deadline:
                    os.close(descriptor)
                    raise StartupError(
                        f"The data folder {folder} is in use by another server (process {process_id}): "
                        "stop that one, or set DATA_DIR to another folder."
                    ) from None
                time.sleep(_POLL_SECONDS)
            else:
                break
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        return cls(descriptor)

    def fileno(self) -> int:
        """The open file, for a child that shall hold the lock too."""
        return self._descriptor

    def release(self) -> None:
        """Gives the folder free as far as this process is concerned; may be called twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _process_id_in(descriptor: int) -> int:
    text = os.pread(descriptor, 20, 0).strip()
    return int(text) if text.isdigit() else 0


def is_alive(process_id: int) -> bool:
    """Whether a process has this number."""
    if process_id <= 0:
        return False
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _reason(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()
