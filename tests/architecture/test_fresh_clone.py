"""A fresh clone on a machine with nothing of ours: the README's commands do what they say."""

import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.ops.processes import ROOT, processes_with, wait_until

# Whoever downloads all packages for the first time, over a slow line, needs some minutes.
pytestmark = [pytest.mark.fresh_clone, pytest.mark.timeout(600)]

_SERVING_SECONDS = 300
_PASSWORD = re.compile(r"^    password  (\S+)$", re.MULTILINE)
# What make and the environment of these tests have set for their own purposes.
_NOT_INHERITED = {"MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEOVERRIDES", "VIRTUAL_ENV", "PYTHON"}
_CACHES = re.compile(r"(^|/)(__pycache__|\.[a-z_]+_cache|\.hypothesis)/|\.pyc$")


@pytest.fixture(autouse=True)
def _git_trusts_everybody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The project's folder may be somebody else's than the user's who runs the tests."""
    (tmp_path / "gitconfig").write_text("[safe]\n\tdirectory = *\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))


@pytest.fixture
def clone(tmp_path: Path) -> Iterator[Path]:
    """The committed state of the project, cloned into an empty folder."""
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("there is nothing to clone: the project's folder is not a checkout of git, or git is missing")
    folder = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", f"file://{ROOT}", str(folder)], check=True, env=environment())
    yield folder
    # Half a gigabyte of packages, which pytest would keep for three runs.
    shutil.rmtree(folder)


def environment(**settings: str) -> dict[str, str]:
    """This environment without what make and the tests have added to it."""
    own = {name for name in os.environ if name.startswith(("PYTEST", "GIT_"))} - {"GIT_CONFIG_GLOBAL"}
    return {name: value for name, value in os.environ.items() if name not in own | _NOT_INHERITED} | settings


class Run:
    """A `make run`, in a process group of its own like a job of a terminal."""

    def __init__(self, folder: Path, output: Path, **settings: str) -> None:
        self._output = output
        with output.open("wb") as file:
            self.process = subprocess.Popen(
                ["make", "run"],
                cwd=folder,
                env=environment(**settings),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )

    def printed(self) -> str:
        """Everything it has said so far."""
        return self._output.read_text(encoding="utf-8", errors="replace")

    def press_ctrl_c(self) -> None:
        """Interrupts the whole group, as a terminal does; the server must end as if all were well."""
        os.killpg(self.process.pid, signal.SIGINT)
        # make itself ends by the signal, when the server has; it would complain of an exit code other than 0.
        assert self.process.wait(timeout=150) in (0, -signal.SIGINT)
        assert "***" not in self.printed()
        assert "Traceback" not in self.printed()


@contextmanager
def make_run(folder: Path, output: Path, *, port: int, data_dir: Path) -> Iterator[Run]:
    """Runs it until it serves, and whatever comes, not longer than this context."""
    run = Run(folder, output, PORT=str(port), DATA_DIR=str(data_dir))
    try:
        deadline = time.monotonic() + _SERVING_SECONDS
        while not _is_ready(port):
            assert run.process.poll() is None, f"make run has ended: {run.printed()}"
            assert time.monotonic() < deadline, f"it does not serve: {run.printed()}"
            time.sleep(0.1)
        yield run
    finally:
        if run.process.poll() is None:
            os.killpg(run.process.pid, signal.SIGKILL)
            run.process.wait()
        wait_until(lambda: not processes_with(str(data_dir)), "PostgreSQL has ended")


def test_a_fresh_clone_serves_and_finds_its_data_again(clone: Path, data_dir: Path, tmp_path: Path) -> None:
    port = _free_port()
    with make_run(clone, tmp_path / "first", port=port, data_dir=data_dir) as first:
        assert ask(port, "{ __typename }") == {"__typename": "Query"}
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60) as page:
            assert b'id="playground"' in page.read()
        (password,) = _PASSWORD.findall(first.printed())
        token = sign_in(port, password)
        generation_id = generate(port, token)
        first.press_ctrl_c()
    said = first.printed()
    assert said.count(password) == 1
    assert f"Ready at http://localhost:{port} " in said
    # Each long step says what it does.
    for step in ("Making the environment", "Installing the server's packages", "Building the browser assets"):
        assert step in said

    with make_run(clone, tmp_path / "second", port=port, data_dir=data_dir) as second:
        token = sign_in(port, password)
        query = "{ viewer { history { nodes { id status content } } } }"
        (found,) = ask(port, query, token=token)["viewer"]["history"]["nodes"]
        assert (found["id"], found["status"]) == (generation_id, "SUCCEEDED")
        assert found["content"].startswith("# Bees\n")
        second.press_ctrl_c()
    said = second.printed()
    assert "password" not in said
    assert "Installing" not in said
    # What was made is either ignored or was there before.
    assert git(clone, "status", "--porcelain") == ""


def test_make_test_would_run_every_check(clone: Path) -> None:
    planned = subprocess.run(
        ["make", "--dry-run", "test"], cwd=clone, env=environment(), capture_output=True, text=True, check=True
    ).stdout
    for tool in ("ruff check", "ruff format --check", "mypy", "lint_imports_command", "run --silent check", "pytest"):
        assert tool in planned


def test_no_file_that_the_project_needs_is_ignored_by_git() -> None:
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("the project's folder is not a checkout of git, or git is missing")
    ignored = git(ROOT, "ls-files", "--others", "--ignored", "--exclude-standard", "--directory").splitlines()
    made = {".venv", "data", "web/dist", "web/node_modules", ".env"}
    unexpected = [
        name for name in ignored if name.rstrip("/") not in made and not _CACHES.search(name) and name != "uv.lock"
    ]
    assert unexpected == []


def git(folder: Path, *arguments: str) -> str:
    """What git says in a folder."""
    return subprocess.run(
        ["git", *arguments], cwd=folder, env=environment(), capture_output=True, text=True, check=True
    ).stdout


def sign_in(port: int, password: str) -> str:
    """The administrator's access token."""
    query = "mutation ($input: LoginInput!) { login(input: $input) { accessToken errors { message } } }"
    payload = ask(port, query, {"input": {"login": "admin", "password": password}})["login"]
    assert payload["errors"] == []
    return str(payload["accessToken"])


def generate(port: int, token: str) -> str:
    """The id of an answer that is complete."""
    query = """mutation ($input: GenerateContentInput!) {
      generateContent(input: $input) { generation { id status } errors { message } }
    }"""
    payload = ask(port, query, {"input": {"prompt": "Bees", "wait": True}}, token=token)["generateContent"]
    assert payload["errors"] == []
    assert payload["generation"]["status"] == "SUCCEEDED"
    return str(payload["generation"]["id"])


def ask(port: int, query: str, variables: object = None, *, token: str | None = None) -> Any:
    """The data of an operation."""
    headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {token}"} if token else {})
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/graphql", body, headers)
    with urllib.request.urlopen(request, timeout=150) as response:
        answer = json.load(response)
    assert "errors" not in answer, answer["errors"]
    return answer["data"]


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=20) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _free_port() -> int:
    """Below the ports that systems hand out by themselves, so that nobody takes it before it is used."""
    while True:
        with socket.socket() as taken, suppress(OSError):
            port = random.randrange(20_000, 32_000)
            taken.bind(("127.0.0.1", port))
            return port
