"""What GraphQL itself finds wrong with an input, told with its place, in JSON's words and without the value.

graphql-core quotes what it does not understand, and that may be a key in the wrong field. Where it was, only its
sentences tell.
"""

from __future__ import annotations

import re
from typing import Final

_OF_A_VARIABLE: Final = re.compile(r"Variable '\$(?P<name>\w+)' has invalid value(?: at (?P<path>[.\w\[\]]+))?: ")
_WRONG_FIELD: Final = re.compile(r"include (?:required|unknown) field '(\w+)'")
_WORDS: Final = (
    (re.compile(r"\bnot to be None\."), "not to be null."),
    (re.compile(r", but encountered error .*", re.DOTALL), "."),
    (re.compile(r", found: .*", re.DOTALL), "."),
    (re.compile(r" Found: .*", re.DOTALL), ""),
    (re.compile(r"( cannot represent (?:\S+ ){0,4}?value): .*?( Did you mean .*\?)?$", re.DOTALL), r"\1.\2"),
    (re.compile(r"\bValue '.*' does not exist in ", re.DOTALL), "This value does not exist in "),
)


def field_at_fault(message: str) -> list[str] | None:
    """The path of what is wrong in a variable, which it begins with; None when the sentence is of something else."""
    found = _OF_A_VARIABLE.match(message)
    if found is None:
        return None
    # A field that is missing, or is none, counts as at fault itself, and not what it is missing from.
    wrong = _WRONG_FIELD.search(message, found.end())
    return [found["name"], *re.findall(r"\w+", found["path"] or ""), *([wrong[1]] if wrong else [])]


def without_values(message: str) -> str:
    """The sentence without what the client has given."""
    for pattern, words in _WORDS:
        message = pattern.sub(words, message)
    return message
