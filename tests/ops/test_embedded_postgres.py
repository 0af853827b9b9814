"""The embedded PostgreSQL keeps its data and leaves nothing behind, whatever is done to it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from ops.database_user import DatabaseUser
from ops.embedded_postgres import EmbeddedPostgres, embedded_postgres, running_url
from ops.errors import StartupError
from ops.postgres_folder import PidFile
from tests.ops.processes import ROOT, processes_with, wait_until

_OWNER = """
import sys, time
from pathlib import Path
from ops.embedded_postgres import EmbeddedPostgres
from ops.logging import configure_logging
configure_logging()
server = EmbeddedPostgres(Path(sys.argv[1]))
server.start()
print("started", flush=True)
time.sleep(250)
"""


def _query(url: str, statement: str) -> object:
    async def run() -> object:
        connection = await asyncpg.connect(url.replace("+asyncpg", ""))
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    return asyncio.run(run())


def _make(data_dir: Path, statement: str = "CREATE TABLE kept AS SELECT 'yes' AS what") -> None:
    server = _started(data_dir)
    _query(server.url, statement)
    server.stop()


def _started(data_dir: Path) -> EmbeddedPostgres:
    server = EmbeddedPostgres(data_dir, is_durable=False)
    server.start()
    return server


@contextlib.contextmanager
def _owner(data_dir: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has started PostgreSQL on the folder, and is killed at the latest with the context."""
    owner = subprocess.Popen(
        [sys.executable, "-c", _OWNER, str(data_dir)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "started\n"
        yield owner
    finally:
        _kill(owner)


def _kill(owner: subprocess.Popen[str]) -> None:
    owner.kill()
    with contextlib.suppress(ValueError):  # A second time, its pipe is closed.
        owner.communicate()


def _kill_watchdog(data_dir: Path) -> None:
    for process_id in set(processes_with("read -r _")) & set(processes_with(str(data_dir))):
        os.kill(process_id, signal.SIGKILL)


def _postmaster(data_dir: Path) -> int:
    found = PidFile.read(data_dir / "postgres")
    assert found is not None
    return found.process_id


def test_a_restart_keeps_the_data_and_leaves_no_process(data_dir: Path) -> None:
    _make(data_dir)
    assert processes_with(str(data_dir)) == []
    server = _started(data_dir)
    try:
        assert _query(server.url, "SELECT what FROM kept") == "yes"
    finally:
        server.stop()
    assert processes_with(str(data_dir)) == []


def test_its_order_of_texts_is_its_own_and_its_settings_are_safe(data_dir: Path) -> None:
    server = EmbeddedPostgres(data_dir)
    server.start()
    try:
        assert _query(server.url, "SHOW server_encoding") == "UTF8"
        provider = _query(server.url, "SELECT datlocprovider FROM pg_database WHERE datname = current_database()")
        assert provider == b"b"
        assert _query(server.url, "SELECT lower('ÄÖÉ')") == "äöé"
        assert (
            _query(server.url, "SELECT concat_ws(' ', current_setting('fsync'), current_setting('synchronous_commit'))")
            == "on on"
        )
        assert _query(server.url, "SHOW listen_addresses") == ""
        assert _query(server.url, "SHOW timezone") == "UTC"
    finally:
        server.stop()
    assert stat.S_IMODE((data_dir / "postgres").stat().st_mode) == 0o700


def test_errors_and_their_data_stay_out_of_its_log(data_dir: Path) -> None:
    server = _started(data_dir)
    try:
        _query(server.url, "CREATE TABLE narrow (what text CHECK (what = ''))")
        with pytest.raises(asyncpg.CheckViolationError):
            _query(server.url, "INSERT INTO narrow VALUES ('a-secret-prompt')")
        with pytest.raises(asyncpg.PostgresError):
            _query(server.url, "SELECT 'a-secret-prompt'::int")
    finally:
        server.stop()
    written = (data_dir / "postgres.log").read_text()
    assert "ready to accept connections" in written
    assert "secret" not in written


def test_it_runs_in_a_session_of_its_own_so_that_ctrl_c_does_not_reach_it(data_dir: Path) -> None:
    server = _started(data_dir)
    try:
        assert os.getsid(_postmaster(data_dir)) != os.getsid(0)
    finally:
        server.stop()


def test_it_ends_with_a_process_that_was_killed(data_dir: Path) -> None:
    _make(data_dir)
    with _owner(data_dir) as owner:
        assert processes_with(str(data_dir / "postgres")) != []
        _kill(owner)
        wait_until(lambda: processes_with(str(data_dir)) == [], "PostgreSQL has ended after its owner")


def test_a_start_right_after_a_kill_waits_for_the_former_one(data_dir: Path) -> None:
    _make(data_dir)
    with _owner(data_dir) as owner:
        former = _postmaster(data_dir)
        _kill(owner)
    server = _started(data_dir)
    try:
        assert _postmaster(data_dir) != former
        assert _query(server.url, "SELECT what FROM kept") == "yes"
    finally:
        server.stop()


def test_a_database_that_lost_owner_and_watchdog_is_replaced(data_dir: Path) -> None:
    _make(data_dir)
    with _owner(data_dir) as owner:
        former = _postmaster(data_dir)
        _kill_watchdog(data_dir)
        _kill(owner)
    assert former in processes_with(str(data_dir))
    server = _started(data_dir)
    try:
        assert former not in processes_with(str(data_dir))
        assert _query(server.url, "SELECT what FROM kept") == "yes"
    finally:
        server.stop()


def test_everything_killed_at_once_loses_nothing_that_was_committed(data_dir: Path) -> None:
    with _owner(data_dir) as owner:
        url = running_url(data_dir)
        assert url is not None
        _query(url, "CREATE TABLE kept AS SELECT 'yes' AS what")
        _kill_watchdog(data_dir)
        os.kill(_postmaster(data_dir), signal.SIGKILL)
        _kill(owner)
    server = _started(data_dir)
    try:
        assert _query(server.url, "SELECT what FROM kept") == "yes"
    finally:
        server.stop()


def test_a_stale_pid_file_whose_number_another_program_has_got_is_no_hindrance(data_dir: Path) -> None:
    _make(data_dir)
    pid_file = data_dir / "postgres" / "postmaster.pid"
    with _owner(data_dir):
        lines = pid_file.read_text().splitlines()
    wait_until(lambda: processes_with(str(data_dir)) == [], "PostgreSQL has ended")
    folder = pid_file.parent.stat()
    with subprocess.Popen(["/bin/sleep", "60"], user=folder.st_uid if os.geteuid() == 0 else None) as stranger:
        pid_file.write_text("\n".join([str(stranger.pid), *lines[1:]]) + "\n")
        os.chown(pid_file, folder.st_uid, folder.st_gid)
        try:
            server = _started(data_dir)
            assert _query(server.url, "SELECT what FROM kept") == "yes"
            server.stop()
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_two_servers_on_one_folder_are_refused_in_one_sentence(data_dir: Path) -> None:
    first = _started(data_dir)
    try:
        with pytest.raises(
            StartupError, match=r"^The data folder .* is in use by another server \(process \d+\): stop"
        ):
            _started(data_dir)
        assert _query(first.url, "SELECT 1") == 1
    finally:
        first.stop()


def test_a_database_of_another_version_is_refused(data_dir: Path) -> None:
    (data_dir / "postgres").mkdir()
    (data_dir / "postgres" / "PG_VERSION").write_text("16\n")
    with pytest.raises(StartupError, match=r"was made by PostgreSQL 16, and this server brings 18"):
        _started(data_dir)


def test_a_folder_of_something_else_is_refused_and_left_alone(data_dir: Path) -> None:
    (data_dir / "postgres").mkdir()
    (data_dir / "postgres" / "diary.txt").write_text("dear diary")
    with pytest.raises(StartupError, match="holds no readable PostgreSQL database"):
        _started(data_dir)
    assert (data_dir / "postgres" / "diary.txt").read_text() == "dear diary"


def test_a_damaged_database_is_told_with_postgresqls_own_reason(data_dir: Path) -> None:
    _make(data_dir)
    (data_dir / "postgres" / "global" / "pg_control").write_bytes(b"nonsense")
    with pytest.raises(StartupError, match=r"does not start: .*pg_control.*Restore the folder from a backup"):
        _started(data_dir)
    assert processes_with(str(data_dir)) == []


def test_a_database_that_has_lost_a_file_is_told_by_the_files_name(data_dir: Path) -> None:
    _make(data_dir)
    (data_dir / "postgres" / "global" / "pg_control").unlink()
    with pytest.raises(StartupError, match=r"does not start: could not open file \S*pg_control\S* No such file"):
        _started(data_dir)


def test_a_folder_that_cannot_be_made_is_told(data_dir: Path) -> None:
    (data_dir / "file").write_text("")
    with pytest.raises(StartupError, match=r"cannot be made \(not a directory\): set DATA_DIR to another"):
        _started(data_dir / "file" / "data")


def test_an_interrupted_first_start_is_begun_anew(data_dir: Path) -> None:
    (data_dir / "postgres.new").mkdir()
    (data_dir / "postgres.new" / "PG_VERSION").write_text("18\n")
    _make(data_dir)
    assert not (data_dir / "postgres.new").exists()


@pytest.mark.parametrize("name", ["a" * 120, "with space, comma and 'quotes'"])
def test_a_path_that_no_socket_takes_gets_its_socket_elsewhere(data_dir: Path, name: str) -> None:
    server = _started(data_dir / name)
    try:
        assert _query(server.url, "SELECT 1") == 1
        socket_dir = PidFile.read(data_dir / name / "postgres")
        assert socket_dir is not None
        assert socket_dir.socket_dir is not None
        assert stat.S_IMODE(socket_dir.socket_dir.stat().st_mode) == 0o700
    finally:
        server.stop()
    assert not socket_dir.socket_dir.exists()


def test_another_process_finds_the_address_of_a_running_one(data_dir: Path) -> None:
    assert running_url(data_dir) is None
    with _owner(data_dir):
        url = running_url(data_dir)
        assert url is not None
        assert _query(url, "SELECT 1") == 1
    wait_until(lambda: processes_with(str(data_dir)) == [], "PostgreSQL has ended")
    assert running_url(data_dir) is None


async def test_a_cancelled_start_leaves_no_process(data_dir: Path) -> None:
    async def start() -> None:
        async with embedded_postgres(data_dir, is_durable=False):
            await asyncio.sleep(60)

    starting = asyncio.create_task(start())
    while not (data_dir / "server.lock").exists():  # noqa: ASYNC110 nothing tells when the thread has come so far
        await asyncio.sleep(0.001)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert processes_with(str(data_dir)) == []


async def test_its_end_is_noticed(data_dir: Path) -> None:
    async with embedded_postgres(data_dir, is_durable=False) as server:
        os.kill(_postmaster(data_dir), signal.SIGKILL)
        await server.wait_until_gone()
        assert not server.is_running


def test_roots_folders_are_opened_for_passing_only(data_dir: Path) -> None:
    inner = data_dir / "private" / "data"
    inner.mkdir(parents=True)
    inner.parent.chmod(0o700)
    inner.chmod(0o700)
    stranger = DatabaseUser(user_id=os.geteuid() + 12_345, group_id=12_345)
    stranger.reach(inner)
    assert stat.S_IMODE(inner.stat().st_mode) == 0o701
    assert stat.S_IMODE(inner.parent.stat().st_mode) == 0o701
