"""What a text must be to be stored and shown: no NUL, no lone surrogate, not too long."""

from __future__ import annotations

import re

from domain.errors import InvalidInput

_SURROGATE = re.compile("[\ud800-\udfff]")
REPLACEMENT = "\ufffd"


def checked_text(text: str, *, field: tuple[str, ...], max_chars: int) -> str:
    """The text unchanged. Raises InvalidInput when it is blank, too long, or holds what no text may hold."""
    if not text.strip():
        raise InvalidInput("This must not be empty.", field=field)
    if len(text) > max_chars:
        raise InvalidInput(f"This has {len(text):,} characters; at most {max_chars:,} are allowed.", field=field)
    if "\x00" in text:
        raise InvalidInput("This holds a NUL character (U+0000).", field=field)
    if _SURROGATE.search(text):
        raise InvalidInput("This holds half of a surrogate pair, so it is not valid Unicode.", field=field)
    return text


def is_storable(text: str) -> bool:
    """Whether it is valid Unicode without NUL."""
    return "\x00" not in text and _SURROGATE.search(text) is None


def storable(text: str) -> str:
    """Somebody else's text with what cannot be stored replaced by U+FFFD; halves of a pair that meet are joined."""
    if _SURROGATE.search(text):
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text.replace("\x00", REPLACEMENT)


def excerpt(text: str, *, max_chars: int) -> str:
    """The first line that says something, white space folded, cut at a word with an ellipsis."""
    line = next((" ".join(part.split()) for part in text.splitlines() if part.strip()), "")
    if len(line) <= max_chars:
        return line
    head, _, _ = line[:max_chars].rpartition(" ")
    return (head or line[: max_chars - 1]) + "…"
