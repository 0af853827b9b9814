"""The document's own rules."""

from __future__ import annotations

import pytest

from domain.document import utf16_units


@pytest.mark.parametrize(
    ("text", "units"), [("", 0), ("abc", 3), ("é中", 2), ("\U0001f600", 2), ("a\U0001f600é", 4), ("\ud83d", 1)]
)
def test_length_is_counted_as_notion_counts_it(text: str, units: int) -> None:
    assert utf16_units(text) == units
