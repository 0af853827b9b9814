"""The server as a process of its own, as an operator starts it: to be told to stop, or killed."""

import asyncio
import os
import re
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.ops.processes import ROOT

_READY = re.compile(r"^Ready at http\S+ \(playground\).*?\bport\W+(\d+)", re.MULTILINE | re.DOTALL)
_TIMEOUT_SECONDS = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerProcess:
    """A running `main.py serve`; `output` collects everything that it prints."""

    process: Process
    output: Path
    address: str

    def printed(self) -> str:
        """All it has printed so far."""
        return _read(self.output)

    async def stop(self) -> int:
        """Tells it to stop, as an operator does; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return await self.ended()

    async def kill(self) -> None:
        """Ends it without any warning, like a machine that loses its power."""
        self.process.kill()
        await self.ended()

    async def ended(self) -> int:
        """Its exit code, once it has ended."""
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            return await self.process.wait()


@asynccontextmanager
async def server_process(output: Path, **settings: str) -> AsyncIterator[ServerProcess]:
    """Starts it on a free port with these settings and nothing else, and waits until it serves."""
    with output.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(ROOT / "main.py"),
            "serve",
            # Not the project's folder: a developer's .env must not be read.
            cwd=output.parent,
            env={**environment(), "HOST": "127.0.0.1", "PORT": "0", **settings},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=file,
            stderr=file,
        )
    try:
        yield ServerProcess(process=process, output=output, address=await _address(process, output))
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _address(process: Process, output: Path) -> str:
    async with asyncio.timeout(_TIMEOUT_SECONDS):
        while (found := _READY.search(_read(output))) is None:
            assert process.returncode is None, _read(output)
            await asyncio.sleep(0.05)
    return f"127.0.0.1:{found[1]}"


def _read(output: Path) -> str:
    return output.read_text(encoding="utf-8")


def environment() -> Mapping[str, str]:
    """What every process needs, and no setting of the server."""
    return {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG") if name in os.environ}
