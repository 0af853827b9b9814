"""Every variable of the configuration is documented, and only those."""

from __future__ import annotations

from pathlib import Path

from ops.config import configuration_example, configuration_table

_ROOT = Path(__file__).parents[2]


def test_the_readme_lists_every_variable() -> None:
    assert configuration_table() in (_ROOT / "README.md").read_text(encoding="utf-8")


def test_the_example_file_lists_every_variable() -> None:
    assert (_ROOT / ".env.example").read_text(encoding="utf-8") == configuration_example()
