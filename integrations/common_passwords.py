"""The passwords that many people have, from the file that comes with the program: nothing is asked of anybody."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_FILE: Final = Path(__file__).with_suffix(".txt")


def common_passwords() -> frozenset[str]:
    """The most common ones, in lower case. The file tells where they come from."""
    lines = _FILE.read_text(encoding="ascii").splitlines()
    return frozenset(line for line in lines if not line.startswith("#"))
