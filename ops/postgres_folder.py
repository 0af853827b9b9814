"""The files of the embedded database: making them, telling whether they are ours, and what runs on them."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import structlog

from ops.data_folder import is_alive
from ops.database_user import DatabaseUser
from ops.errors import StartupError
from ops.postgres_programs import POSTGRES_MAJOR, last_complaint, program, run

SUPERUSER: Final = "postgres"
_INIT_TIMEOUT_SECONDS: Final = 120
_STOP_TIMEOUT_SECONDS: Final = 30
# A socket's path may have 107 bytes on Linux and 103 on macOS, with the name that PostgreSQL gives it.
_SOCKET_NAME: Final = ".s.PGSQL.5432"
_SOCKET_PATH_LIMIT_BYTES: Final = 103
_PID_FILE_LINES: Final = 8

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PidFile:
    """What a running PostgreSQL says of itself in its postmaster.pid (the lines are listed in its miscadmin.h)."""

    process_id: int
    socket_dir: Path | None
    is_ready: bool

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """None when there is none, or none that can be read; lines that are yet to be written count as not ready."""
        try:
            text = (folder / "postmaster.pid").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None
        lines = [line.strip() for line in text.splitlines()]
        if not lines or not lines[0].isdigit():
            return None
        is_whole = len(lines) == _PID_FILE_LINES
        return cls(
            process_id=int(lines[0]),
            socket_dir=Path(lines[4]) if is_whole and lines[4] else None,
            is_ready=is_whole and lines[7] == "ready",
        )


def is_made(folder: Path) -> bool:
    """Whether there is a database. Raises StartupError for what is there but is none of ours."""
    if not folder.exists():
        return False
    try:
        version = (folder / "PG_VERSION").read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        with contextlib.suppress(OSError):
            folder.rmdir()  # Only an empty one goes.
            return False
        raise StartupError(
            f"The folder {folder} holds no readable PostgreSQL database: move it away, or set DATA_DIR to another."
        ) from None
    if version != str(POSTGRES_MAJOR):
        raise StartupError(
            f"The database in {folder} was made by PostgreSQL {version}, and this server brings {POSTGRES_MAJOR}: use "
            "the version of the server that made it, or set DATA_DIR to another folder."
        )
    return True


def make(folder: Path, user: DatabaseUser | None, *, is_durable: bool) -> None:
    """Makes the database beside its place and moves it there when whole, so that an interrupted start leaves none."""
    _log.info("database_being_made", folder=str(folder))
    unfinished = folder.with_name("postgres.new")
    # The collation is built into PostgreSQL: an order that depends on the system's library would break the indexes
    # when the folder moves to another system.
    arguments = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C", "--encoding=UTF8"]
    arguments += ["--auth-local=trust", "--auth-host=reject", "--username", SUPERUSER]
    arguments += [] if is_durable else ["--no-sync"]
    try:
        if unfinished.exists():
            shutil.rmtree(unfinished)
        unfinished.mkdir(mode=0o700)
        if user is not None:
            user.own(unfinished)
        result = run(
            [program("initdb"), "-D", str(unfinished), *arguments], user, timeout_seconds=_INIT_TIMEOUT_SECONDS
        )
        if result.returncode == 0:
            unfinished.rename(folder)
            return
        complaint = last_complaint(result.stderr)
    except (OSError, subprocess.TimeoutExpired) as error:
        complaint = (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
    raise StartupError(
        f"A database could not be made in {folder} ({complaint}): see that the folder is writable and the disk has "
        "room, or set DATA_DIR to another."
    )


def stop_leftover(folder: Path, user: DatabaseUser | None) -> None:
    """Stops a PostgreSQL whose server and watchdog were both killed; the next one then recovers what it left.

    The caller holds the folder's lock, so whatever runs on it has no owner any more.
    """
    found = PidFile.read(folder)
    if found is None or not is_alive(found.process_id):
        return
    if not is_postmaster(found.process_id, folder):
        # Another program has got the number meanwhile (or a container has nobody to bury the dead), and PostgreSQL
        # would refuse to start.
        _disown(folder / "postmaster.pid")
        return
    _log.warning("leftover_database_being_stopped", process_id=found.process_id)
    for mode in ("fast", "immediate"):
        if run(stop_command(folder, mode), user, timeout_seconds=_STOP_TIMEOUT_SECONDS + 5).returncode == 0:
            return
    raise StartupError(
        f"A PostgreSQL that was left on {folder} does not stop: end its process {found.process_id} by hand."
    )


def _disown(lock_file: Path) -> None:
    """Puts our own number in place of the one in a lock file of PostgreSQL, which does not count its parent's.

    The file must stay: by the rest of it, PostgreSQL sees whether other processes still use the data.
    """
    try:
        _, _, rest = lock_file.read_bytes().partition(b"\n")
        lock_file.write_bytes(f"{os.getpid()}\n".encode() + rest)
    except FileNotFoundError:
        return


def stop_command(folder: Path, mode: str = "fast") -> list[str]:
    """The command that stops whatever PostgreSQL runs on the folder, and waits until it has."""
    return [program("pg_ctl"), "stop", "-s", "-D", str(folder), "-m", mode, "-t", str(_STOP_TIMEOUT_SECONDS)]


def is_postmaster(process_id: int, folder: Path) -> bool:
    """Whether this process is a PostgreSQL that was started on this folder, and not another one with its number."""
    if Path("/proc/self/cmdline").exists():
        try:
            arguments = Path(f"/proc/{process_id}/cmdline").read_bytes()
        except OSError:
            return False
        return os.fsencode(folder) in arguments.split(b"\0")
    result = run(["/bin/ps", "-o", "command=", "-p", str(process_id)], None, timeout_seconds=10)
    return f"-D {folder} " in result.stdout


def make_socket_dir(folder: Path, user: DatabaseUser | None) -> Path:
    """The database's own folder if its path is short and plain enough for a socket, else a new temporary one."""
    if _holds_socket(folder):
        # Left by a PostgreSQL that was killed; that none runs has been seen to.
        _disown(folder / f"{_SOCKET_NAME}.lock")
        return folder
    for place in (Path(tempfile.gettempdir()), Path("/tmp")):  # noqa: S108 mkdtemp makes a private folder in it
        if _holds_socket(place / "notion-assistant-XXXXXXXX"):
            path = Path(tempfile.mkdtemp(prefix="notion-assistant-", dir=place))
            if user is not None:
                user.own(path)
            return path
    raise StartupError(
        "No temporary folder's path is short enough for a socket: set TMPDIR or DATA_DIR to a shorter one."
    )


def _holds_socket(folder: Path) -> bool:
    # The setting is a list with commas and quotes of its own.
    is_plain = re.fullmatch(r"[\w./+-]+", str(folder), re.ASCII) is not None
    return is_plain and len(os.fsencode(folder / _SOCKET_NAME)) <= _SOCKET_PATH_LIMIT_BYTES
