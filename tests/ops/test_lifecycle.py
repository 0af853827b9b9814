"""A server process drains when it is told to stop, ends at once when told twice, and says why it cannot start."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import ClientConnection, connect

from tests.ops.processes import processes_with, running, wait_until


def _get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def _messages_until_closed(websocket: ClientConnection) -> int:
    count = 0
    with contextlib.suppress(ConnectionClosedError):
        for _ in websocket:
            count += 1
    return count


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_drains_and_the_process_ends_well(data_dir: Path, number: int) -> None:
    with running(data_dir) as program:
        program.wait_for("serving")
        program.signal(number)
        program.wait_for("draining")
        program.wait_for("ended")
        assert program.process.wait() == 0
        assert "Traceback" not in program.errors()
    assert processes_with(str(data_dir)) == []
    # The draining has used the database: it was not stopped by the Ctrl-C of the whole group.
    with running(data_dir) as program:
        assert program.wait_for("serving")["kept"] == 1


def test_while_it_drains_streams_go_on_and_it_is_not_ready(data_dir: Path) -> None:
    with running(data_dir, WAY="tick in the draining") as program:
        port = program.wait_for("listening")["port"]
        program.wait_for("serving")
        assert _get(port, "/health/ready") == (200, '{"status":"ready","checks":{"database":"ok","draining":"no"}}')
        with connect(f"ws://127.0.0.1:{port}/ticking", compression=None) as websocket:
            websocket.recv(timeout=60)
            program.signal(signal.SIGTERM)
            program.wait_for("draining")
            status, body = _get(port, "/health/ready")
            assert status == 503
            assert json.loads(body) == {"status": "not ready", "checks": {"database": "ok", "draining": "yes"}}
            assert _get(port, "/health/live")[0] == 200
            assert _messages_until_closed(websocket) >= 10
        assert websocket.close_code == 1012
        assert program.process.wait() == 0


def test_the_second_signal_ends_it_at_once_and_the_next_start_finds_all_data(data_dir: Path) -> None:
    with running(data_dir) as program:
        program.wait_for("serving")
        program.signal(signal.SIGINT)
        program.wait_for("ended")
    with running(data_dir, WAY="hang in the draining") as program:
        assert program.wait_for("serving")["kept"] == 1
        program.signal(signal.SIGINT)
        program.wait_for("draining")
        program.signal(signal.SIGINT)
        assert program.process.wait() == 128 + signal.SIGINT
        assert program.errors().endswith("Ended by force.\n")
    with running(data_dir) as program:
        assert program.wait_for("serving")["kept"] == 1


def test_a_sigterm_that_make_repeats_is_not_a_second_one(data_dir: Path) -> None:
    with running(data_dir, WAY="patient with signals") as program:
        program.wait_for("serving")
        program.signal(signal.SIGTERM)
        program.wait_for("draining")
        program.signal(signal.SIGTERM)
        program.wait_for("ended")
        assert program.process.wait() == 0


@pytest.mark.parametrize(
    ("way", "event"), [("hang in the draining", "draining_timed_out"), ("fail in the draining", "draining_failed")]
)
def test_a_draining_that_hangs_or_fails_is_given_up(data_dir: Path, way: str, event: str) -> None:
    with running(data_dir, WAY=way, DRAIN_TIMEOUT_SECONDS="1", PROMPT="a secret") as program:
        program.wait_for("serving")
        program.signal(signal.SIGTERM)
        program.wait_for("ended")
        assert program.process.wait() == 0
        errors = program.errors()
        assert event in errors
        assert "a secret" not in errors


def test_a_signal_during_the_start_up_gives_it_up(data_dir: Path) -> None:
    with running(data_dir, WAY="hang in the start-up") as program:
        program.wait_for("listening")
        program.signal(signal.SIGINT)
        assert program.process.wait() == 128 + signal.SIGINT
        assert "Traceback" not in program.errors()


def test_kill_9_leaves_no_database_behind(data_dir: Path) -> None:
    with running(data_dir) as program:
        program.wait_for("serving")
        program.process.kill()
        program.process.wait()
        wait_until(lambda: processes_with(str(data_dir)) == [], "PostgreSQL has ended")


def test_a_taken_port_is_told_in_one_sentence_before_anything_is_made(data_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with running(data_dir, PORT=str(port)) as program:
            assert program.process.wait() == 1
            sentence = f"Port {port} on 127.0.0.1 is in use: stop what uses it, or set PORT to another.\n"
            assert program.errors() == sentence
    assert list(data_dir.iterdir()) == []


def test_two_servers_cannot_share_a_port_even_while_they_start(data_dir: Path) -> None:
    with running(data_dir, WAY="hang in the start-up") as first:
        port = first.wait_for("listening")["port"]
        with running(data_dir / "other", PORT=str(port)) as second:
            assert second.process.wait() == 1
            assert f"Port {port} on 127.0.0.1 is in use" in second.errors()


def test_a_wrong_host_is_told_in_one_sentence(data_dir: Path) -> None:
    with running(data_dir, HOST="192.0.2.1") as program:
        assert program.process.wait() == 1
        assert program.errors() == "HOST 192.0.2.1 is no address of this machine: set HOST to one, or to 127.0.0.1.\n"


def test_a_wrong_configuration_is_told_in_one_sentence_each(data_dir: Path) -> None:
    with running(data_dir, PORT="http", LOG_LEVEL="loud") as program:
        assert program.process.wait() == 1
        assert program.errors().splitlines() == [
            'PORT is "http": expected a whole number from 0 to 65535.',
            'LOG_LEVEL is "loud": expected one of debug, info, warning, error.',
        ]


@contextlib.contextmanager
def _deaf_client(port: int) -> Iterator[socket.socket]:
    """It is sent more than any buffer holds, and reads nothing of it."""
    with socket.create_connection(("127.0.0.1", port)) as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.sendall(
            b"GET /flooding HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        yield deaf


def test_a_client_that_does_not_read_is_let_go_of(data_dir: Path) -> None:
    with running(data_dir, WAY="ping often") as program:
        port = program.wait_for("listening")["port"]
        program.wait_for("serving")
        with _deaf_client(port):
            program.wait_for("websocket_gone")
            # Closed for the others as well, not only for the application.
            wait_until(lambda: "assistant_websockets_open 0.0" in _get(port, "/metrics")[1], "the socket is closed")


def test_a_client_that_has_closed_without_reading_is_no_reason_to_end_badly(data_dir: Path) -> None:
    with running(data_dir) as program:
        port = program.wait_for("listening")["port"]
        program.wait_for("serving")
        with connect(f"ws://127.0.0.1:{port}/ticking", compression=None) as other, _deaf_client(port) as deaf:
            program.wait_for("nobody_reads")
            deaf.sendall(b"\x88\x80" + bytes(4))  # a close frame
            _get(port, "/health/live")
            program.signal(signal.SIGTERM)
            _messages_until_closed(other)
            program.wait_for("ended")
        assert other.close_code == 1012
        assert program.process.wait() == 0
        assert "Traceback" not in program.errors()


def test_a_message_over_64_kib_closes_the_websocket(data_dir: Path) -> None:
    with running(data_dir) as program:
        port = program.wait_for("listening")["port"]
        program.wait_for("serving")
        with connect(f"ws://127.0.0.1:{port}/ticking", compression=None) as websocket:
            websocket.send("x" * 65_537)
            _messages_until_closed(websocket)
        assert websocket.close_code == 1009
