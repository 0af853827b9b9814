"""A cluster of real server processes, and everything that can be done to them."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from ops.encryption_key import EncryptionKey
from tests.api.unlimited import UNLIMITED
from tests.faults.outside import Outside

_ROOT = Path(__file__).parents[2]
_START_SECONDS = 120.0
_END_SECONDS = 120.0
_POLL_SECONDS = 0.02
_KEPT_VARIABLES = ("PATH", "HOME", "TMPDIR", "LANG")
# Ends the servers with the rig, also when the rig itself is killed (Linux; elsewhere it has to be done by hand).
_SETPRIV = shutil.which("setpriv")
_LEASH = [_SETPRIV, "--pdeathsig", "KILL"] if _SETPRIV else []

LogLine = dict[str, Any]  # parsed JSON


class Instance:
    """One `python main.py serve`; every start of it is a new process on a new port."""

    def __init__(self, name: str, folder: Path, variables: Mapping[str, str]) -> None:
        self.name = name
        self.starts = 0
        self._variables = {**{name.upper(): str(value) for name, value in UNLIMITED.items()}, **variables}
        self._folder = folder
        self._log_path = folder / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._port: int | None = None

    @property
    def is_serving(self) -> bool:
        """Whether it has come up and nobody has ended it since, as far as one can see from outside."""
        return self._port is not None and self._process is not None and self._process.poll() is None

    @property
    def address(self) -> str:
        """Where it serves, such as 127.0.0.1:41234."""
        assert self._port is not None
        return f"127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        """Its present, or last, process."""
        assert self._process is not None
        return self._process.pid

    @property
    def rss_bytes(self) -> int:
        """The memory that it has."""
        listed = subprocess.run(["ps", "-o", "rss=", "-p", str(self.pid)], capture_output=True, text=True, check=True)
        return int(listed.stdout) * 1024

    async def start(self) -> None:
        """Returns when it serves."""
        assert self._process is None or self._process.poll() is not None
        self._port = None
        self.starts += 1
        offset = self._log_path.stat().st_size if self._log_path.exists() else 0
        self._process = process = self._spawn()
        deadline = time.monotonic() + _START_SECONDS
        while True:
            for line in self.log_lines(offset):
                if line.get("event") == "serving":
                    self._port = line["port"]
                    return
            if process.poll() is not None:
                return  # Killed while it came up: that is for the caller to see.
            assert time.monotonic() < deadline, f"{self.name} does not come up"
            await asyncio.sleep(_POLL_SECONDS)

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self._log_path.open("ab") as log:
            return subprocess.Popen(
                [*_LEASH, sys.executable, str(_ROOT / "main.py"), "serve"],
                # Not the project's folder: the developer's .env is none of the rig's business.
                cwd=self._folder,
                env={name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ} | self._variables,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )

    def change(self, **settings: object) -> None:
        """Other variables of its configuration, in lower case, from its next start on."""
        self._variables |= {name.upper(): str(value) for name, value in settings.items()}

    def kill(self) -> bool:
        """SIGKILL; whether there was anybody to kill. May be called from any thread."""
        process = self._process
        if process is None or process.poll() is not None:
            return False
        process.kill()
        return True

    def pause(self) -> None:
        """SIGSTOP."""
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self.signal(signal.SIGCONT)

    def terminate(self) -> None:
        """SIGTERM."""
        self.signal(signal.SIGTERM)

    def signal(self, number: int) -> None:
        """Any signal."""
        assert self._process is not None
        self._process.send_signal(number)

    async def wait_ended(self, timeout_seconds: float = _END_SECONDS) -> int:
        """Its exit code."""
        assert self._process is not None
        return await asyncio.to_thread(self._process.wait, timeout_seconds)

    async def restart(self) -> None:
        """Starts it again when it has ended, as whatever supervises it would."""
        await self.wait_ended()
        await self.start()

    def log_lines(self, offset: int = 0) -> Iterator[LogLine]:
        """What it has logged since then; a line that is no JSON counts as an event of its own."""
        with self._log_path.open("rb") as log:
            log.seek(offset)
            for line in log:
                if not line.endswith(b"\n"):
                    return  # still being written, or cut short by a kill
                try:
                    yield json.loads(line)
                except ValueError:
                    yield {"event": "not JSON", "level": "error", "text": line.decode(errors="replace")}


class Cluster:
    """Instances on one database, with one outside world."""

    def __init__(self, instances: Sequence[Instance], *, database_url: str, outside: Outside) -> None:
        self.instances = tuple(instances)
        self.database_url = database_url
        self.outside = outside
        # Bounded by the operating system's patience only when an instance is paused, so a timeout of its own.
        self.http = httpx.AsyncClient(timeout=httpx.Timeout(60, connect=20))

    def __getitem__(self, name: str) -> Instance:
        return next(each for each in self.instances if each.name == name)

    @property
    def serving(self) -> list[Instance]:
        """Those that can be asked now."""
        return [each for each in self.instances if each.is_serving]

    def any(self, rng: random.Random) -> Instance | None:
        """One of them, as a load balancer would choose."""
        return rng.choice(self.serving) if self.serving else None

    async def wait_ready(self, instance: Instance, timeout_seconds: float = _START_SECONDS) -> float:
        """How many seconds it took until it said that it was ready."""
        started_at = time.monotonic()
        while not await self.is_ready(instance):
            assert time.monotonic() - started_at < timeout_seconds, f"{instance.name} does not get ready"
            await asyncio.sleep(0.05)
        return time.monotonic() - started_at

    async def is_ready(self, instance: Instance) -> bool:
        """What a load balancer asks."""
        try:
            return (await self.http.get(f"http://{instance.address}/health/ready")).status_code == 200
        except httpx.HTTPError:
            return False

    async def metric(self, instance: Instance, name: str) -> float:
        """The sum of a metric's samples."""
        page = (await self.http.get(f"http://{instance.address}/metrics")).text
        families = text_string_to_metric_families(page)
        return sum(sample.value for family in families for sample in family.samples if sample.name == name)

    def events(self, name: str) -> list[LogLine]:
        """Everything that was logged under this name."""
        return [line for each in self.instances for line in each.log_lines() if line.get("event") == name]

    def check_logs(self, *, allowed: frozenset[str] = frozenset()) -> None:
        """No instance has met a fault that nobody had thought of: no traceback, nothing logged as an error."""
        bad = [
            (each.name, line)
            for each in self.instances
            for line in each.log_lines()
            if (line.get("level") in ("error", "critical") or "exception" in line) and line["event"] not in allowed
        ]
        assert not bad, f"{len(bad)} errors were logged, the first ones: {bad[:3]}"


@asynccontextmanager
async def cluster(database_url: str, outside: Outside, **settings: object) -> AsyncIterator[Cluster]:
    """Starts an instance for each name that the outside world knows, and ends them all, however they are.

    `settings` are variables of the configuration in lower case.
    """
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    shared = {
        "PORT": "0",
        # Tokens are made for this address: as behind a load balancer, every instance takes those of the others.
        "PUBLIC_URL": "http://assistant.example",
        "DATABASE_URL": database_url,
        "DATA_DIR": str(folder),
        "ENCRYPTION_KEYS": EncryptionKey.generate().written(),
        "OPENAI_API_KEY": "test-key",
        "ACCESS_TOKEN_TTL_SECONDS": "86400",
        "MAX_RUNNING_GENERATIONS": "200",
        "MAX_RUNNING_GENERATIONS_PER_USER": "200",
        "LOG_FORMAT": "json",
    }
    shared |= {name.upper(): str(value) for name, value in settings.items()}
    instances = [Instance(name, folder, shared | variables) for name, variables in outside.variables.items()]
    running = Cluster(instances, database_url=database_url, outside=outside)
    try:
        await asyncio.gather(*(each.start() for each in instances))
        yield running
    except BaseException:
        print(worth_reading(instances))
        raise
    finally:
        for each in instances:
            if each.kill():
                await each.wait_ended()
        await running.http.aclose()
        shutil.rmtree(folder)


def worth_reading(instances: Sequence[Instance]) -> str:
    """What the logs tell whoever looks at a failure."""
    told = []
    for each in instances:
        lines = [line for line in each.log_lines() if line.get("level") != "info"] if each.starts else []
        told += [f"{each.name}: {json.dumps(line)[:2000]}" for line in lines[-15:]]
    return "\n".join(told)
