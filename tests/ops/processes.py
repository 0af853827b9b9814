"""Running tests/ops/program.py, and looking at the processes of this machine."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


class Program:
    """One running server in a process group of its own, like a job of a terminal."""

    def __init__(self, environment: dict[str, str]) -> None:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.ops.program"],
            cwd=ROOT,
            env={**kept, "PORT": "0", **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def wait_for(self, step: str) -> dict[str, Any]:
        """The facts of the next such step; fails with the program's errors when it ends before."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            facts: dict[str, Any] = json.loads(line)
            if facts["step"] == step:
                return facts
        raise AssertionError(f"ended with {self.process.wait()} before {step}: {self.errors()}")

    def signal(self, number: int) -> None:
        """To the whole group, as Ctrl-C in a terminal does."""
        os.killpg(self.process.pid, number)

    def errors(self) -> str:
        """Everything on standard error, once it has ended."""
        assert self.process.stderr is not None
        return self.process.stderr.read()

    def close(self) -> None:
        """Ends it if it still runs."""
        self.process.kill()
        self.process.communicate()


@contextlib.contextmanager
def running(data_dir: Path, **environment: str) -> Iterator[Program]:
    """Starts the program on the folder, and ends it with the context."""
    program = Program({"DATA_DIR": str(data_dir), **environment})
    try:
        yield program
    finally:
        program.close()
        wait_until(lambda: not processes_with(str(data_dir)), "PostgreSQL has ended")


def processes_with(argument: str) -> list[int]:
    """The processes that have a text in one of their arguments (this is Linux's /proc; elsewhere, ps)."""
    if not Path("/proc/self/cmdline").exists():
        listed = subprocess.run(["/bin/ps", "-axo", "pid=,command="], capture_output=True, text=True, check=True)
        return [int(line.split()[0]) for line in listed.stdout.splitlines() if argument in line]
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if argument.encode() in path.read_bytes():
                found.append(int(path.parent.name))
    return found


def wait_until(is_so: Callable[[], bool], what: str) -> None:
    """Fails after a time that is long for any machine."""
    deadline = time.monotonic() + 120
    while not is_so():
        assert time.monotonic() < deadline, f"still not so: {what}"
        time.sleep(0.02)
