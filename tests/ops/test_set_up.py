"""The set-up finds a Python that fits, and says in one sentence what to do when there is none."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]


def _make_venv(tmp_path: Path, **pythons: str) -> subprocess.CompletedProcess[str]:
    """Runs ops/venv.sh in an empty folder on a machine that has only these Pythons (name: shell script)."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("sh", "rm", "head"):
        (programs / name).symlink_to(shutil.which(name) or "")
    for name, script in pythons.items():
        program = programs / name.replace("_", ".")
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    project = tmp_path / "project"
    project.mkdir()
    return subprocess.run(
        ["sh", str(_ROOT / "ops" / "venv.sh")],
        cwd=project,
        env={"PATH": str(programs)},
        capture_output=True,
        text=True,
        check=False,
    )


_OLD = 'case "$1" in --version) echo Python 3.9.2;; *) exit 1;; esac'
_WITHOUT_VENV = f'case "$*" in *ensurepip*) exit 1;; *) exec {sys.executable} "$@";; esac'


def test_no_python_at_all_is_told(tmp_path: Path) -> None:
    result = _make_venv(tmp_path)
    assert result.returncode == 1
    assert result.stderr == (
        "Python 3.11, 3.12, 3.13 or 3.14 is needed (found: none): install one, or name it by make "
        "PYTHON=/path/to/python3.\n"
    )


def test_an_old_python_is_told(tmp_path: Path) -> None:
    result = _make_venv(tmp_path, python3=_OLD)
    assert result.returncode == 1
    assert "is needed (found: Python 3.9.2): install one" in result.stderr


def test_of_a_program_that_is_no_python_one_line_is_told(tmp_path: Path) -> None:
    result = _make_venv(tmp_path, python3='case "$1" in --version) echo false 9.1; echo License;; *) exit 1;; esac')
    assert result.returncode == 1
    assert "is needed (found: false 9.1): install one" in result.stderr


def test_a_python_without_venv_is_told_with_the_cure(tmp_path: Path) -> None:
    result = _make_venv(tmp_path, python3=_WITHOUT_VENV)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert result.returncode == 1
    assert result.stderr == (
        f"Python {version} is here without its module venv: on Debian or Ubuntu, run apt-get install "
        f"python{version}-venv as root.\n"
    )


@pytest.mark.parametrize("other", [_OLD, _WITHOUT_VENV], ids=["old", "without venv"])
def test_a_python_that_fits_is_preferred_to_one_that_does_not(tmp_path: Path, other: str) -> None:
    # Called as the real interpreter is, for venv looks at its own path.
    fitting = f'case "$*" in "-m venv .venv") echo made; exit 0;; *) exec {sys.executable} "$@";; esac'
    result = _make_venv(tmp_path, python3=other, python3_11=fitting)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "made"


def test_a_sound_environment_is_kept(tmp_path: Path) -> None:
    result = _make_venv(tmp_path, python3=f'exec {sys.executable} "$@"')
    assert result.returncode == 0, result.stderr
    marker = tmp_path / "project" / ".venv" / "marker"
    marker.touch()
    again = subprocess.run(
        ["sh", str(_ROOT / "ops" / "venv.sh")], cwd=tmp_path / "project", capture_output=True, text=True, check=True
    )
    assert again.stdout == ""
    assert marker.exists()
    (tmp_path / "project" / ".venv" / "bin" / "python").unlink()
    mended = subprocess.run(
        ["sh", str(_ROOT / "ops" / "venv.sh")], cwd=tmp_path / "project", capture_output=True, text=True, check=True
    )
    assert mended.stdout.startswith("Making the environment .venv with Python 3.")
    assert not marker.exists()


def test_in_ci_a_skipped_test_is_a_failure(tmp_path: Path) -> None:
    test = tmp_path / "test_skipped.py"
    test.write_text(
        "import pytest\n\n\ndef test_one():\n    pytest.skip('no browser')\n\n\ndef test_two():\n    pass\n"
    )
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider", "-q", str(test)]
    outcomes = {}
    for ci in ("true", "false"):
        result = subprocess.run(
            command, cwd=_ROOT, env={"PATH": "/usr/bin:/bin", "CI": ci}, capture_output=True, text=True, check=False
        )
        outcomes[ci] = (result.returncode, result.stdout)
    assert outcomes["false"][0] == 0, outcomes["false"][1]
    assert outcomes["true"][0] == 1
    assert "1 failed, 1 passed" in outcomes["true"][1]
    assert "Skipped, which is a failure in CI: Skipped: no browser" in outcomes["true"][1]
