"""Cuts text where Notion's limits demand it, and never inside what a reader sees as one character."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Final

from domain.document import utf16_units

if TYPE_CHECKING:
    from collections.abc import Iterator

_ZERO_WIDTH_JOINER: Final = "\u200d"
_VIRAMA: Final = 9
"""The combining class of the signs that join Indic consonants into one."""


def cut(text: str, units: int) -> Iterator[str]:
    """The text in pieces of at most so many UTF-16 units, at least 2, each ending at the end of a character.

    A character as the reader sees it is a grapheme cluster; one that is itself too long is cut between code points.
    """
    if len(text) <= units and text.isascii():
        if text:
            yield text
        return
    start = 0
    while start < len(text):
        end = start + units
        while (excess := utf16_units(text[start:end]) - units) > 0:
            end = min(end, len(text)) - (excess + 1) // 2
        fitting = end
        while start < end < len(text) and _is_joined(text, end, start):
            end -= 1
        if end == start:
            end = fitting
        yield text[start:end]
        start = end


def _is_joined(text: str, position: int, start: int) -> bool:
    """Whether the code points before and after a position belong to one grapheme cluster, by Unicode's annex 29.

    `start` is where some cluster starts, as far back as need be looked.

    Stricter in one point: after a virama it joins any letter, not only those of the scripts that form conjuncts.
    """
    before, after = text[position - 1], text[position]
    if before.isascii() and after.isascii():
        return before == "\r" and after == "\n"
    if _extends(after) or before == _ZERO_WIDTH_JOINER:
        return True
    if _is_regional_indicator(before) and _is_regional_indicator(after):
        first = position - 1
        while first > start and _is_regional_indicator(text[first - 1]):
            first -= 1
        return (position - first) % 2 == 1
    if unicodedata.combining(before) == _VIRAMA:
        return unicodedata.category(after) == "Lo"
    return _is_hangul_syllable_part(before, after) or _is_prepended(before)


def _extends(character: str) -> bool:
    code = ord(character)
    return (
        unicodedata.category(character)[0] == "M"
        or code in (0x200C, 0x200D, 0xFF9E, 0xFF9F)
        or 0x1F3FB <= code <= 0x1F3FF  # skin tones
        or 0xE0020 <= code <= 0xE007F  # the tags that spell the flags of regions
    )


def _is_regional_indicator(character: str) -> bool:
    return 0x1F1E6 <= ord(character) <= 0x1F1FF


def _is_prepended(character: str) -> bool:
    return 0x600 <= ord(character) <= 0x605 or ord(character) in (0x6DD, 0x70F, 0x8E2, 0x110BD, 0x110CD)


def _is_hangul_syllable_part(before: str, after: str) -> bool:
    first, second = _hangul(before), _hangul(after)
    return (
        (first == "L" and second in ("L", "V", "LV", "LVT"))
        or (first in ("V", "LV") and second in ("V", "T"))
        or (first in ("T", "LVT") and second == "T")
    )


def _hangul(character: str) -> str:
    """The kind of a Hangul letter or syllable; empty for anything else."""
    code = ord(character)
    if 0xAC00 <= code <= 0xD7A3:
        return "LV" if (code - 0xAC00) % 28 == 0 else "LVT"
    if 0x1100 <= code <= 0x115F or 0xA960 <= code <= 0xA97C:
        return "L"
    if 0x1160 <= code <= 0x11A7 or 0xD7B0 <= code <= 0xD7C6:
        return "V"
    if 0x11A8 <= code <= 0x11FF or 0xD7CB <= code <= 0xD7FB:
        return "T"
    return ""
