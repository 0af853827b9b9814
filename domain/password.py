"""What a new password must be: long, and not among the first that somebody would guess. No rules of composition.

After NIST SP 800-63B-4, 3.1.1.2: at least 15 characters, any characters, and a comparison with what is commonly used.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from domain.errors import InvalidInput
from domain.secret import Secret
from domain.text import is_storable

MAX_PASSWORD_CHARS: Final = 1024
_PRODUCT_WORDS: Final = ("notion", "assistant", "notionassistant")
# A password of so many pieces that are easily guessed, each of them a word, a run or a single character, is refused.
_GUESSABLE_PIECES: Final = 3
_MIN_WORD_CHARS: Final = 3
_MAX_WORD_CHARS: Final = 40
_MIN_RUN_CHARS: Final = 3
_KEYBOARD: Final = tuple(
    row[::direction]
    for row in (
        "qwertyuiopasdfghjklzxcvbnm",
        "qwertzuiopasdfghjklyxcvbnm",
        "azertyuiopqsdfghjklmwxcvbn",
        "1234567890",
        "1q2w3e4r5t6y7u8i9o0p",
        "q1w2e3r4t5y6u7i8o9p0",
        "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p",
        "qazwsxedcrfvtgbyhnujmikolp",
    )
    for direction in (1, -1)
)
_PLAIN: Final = str.maketrans("@4310$57!", "aaeiosstl")


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordRules:
    """The rules; `common` are the words that many people use, in lower case."""

    min_chars: int
    common: frozenset[str]

    def checked(self, password: str, *, about: Sequence[str], field: tuple[str, ...]) -> Secret:
        """The password in NFC. Raises InvalidInput; `about` is what anybody knows of the person, such as the name."""
        normal = unicodedata.normalize("NFC", password)
        if len(normal) < self.min_chars:
            message = f"A password has at least {self.min_chars} characters; any characters will do."
            raise InvalidInput(message, field=field)
        if len(normal) > MAX_PASSWORD_CHARS:
            raise InvalidInput(f"A password has at most {MAX_PASSWORD_CHARS} characters.", field=field)
        if not is_storable(normal):
            raise InvalidInput("This holds a NUL character or half of a surrogate pair.", field=field)
        if self._is_guessable(normal.casefold(), about):
            message = "This password is too easy to guess: it is made of names, common passwords, repetitions or runs."
            raise InvalidInput(message, field=field)
        return Secret(normal)

    def _is_guessable(self, password: str, about: Sequence[str]) -> bool:
        words = self.common | _words_of(about)
        unit = _repeated_unit(password)
        letters = "".join(letter for letter in unit if letter.isalnum())
        spellings = {unit, unit.translate(_PLAIN)}
        if len(letters) >= len(unit) / 2:
            spellings |= {letters}
        return any(_pieces(spelling, words) <= _GUESSABLE_PIECES for spelling in spellings)


def password_to_try(password: str) -> Secret:
    """What is compared at sign-in; what cannot be anybody's password becomes the empty text, which is nobody's."""
    normal = unicodedata.normalize("NFC", password)
    if len(normal) > MAX_PASSWORD_CHARS or not is_storable(normal):
        return Secret("")
    return Secret(normal)


def _words_of(about: Sequence[str]) -> frozenset[str]:
    """What is known of the person, whole and in parts, and the product's name."""
    words = {*_PRODUCT_WORDS}
    for each in about:
        folded = unicodedata.normalize("NFC", each).casefold()
        words.add(folded)
        words.update("".join(letter if letter.isalnum() else " " for letter in folded).split())
    return frozenset(word for word in words if len(word) >= _MIN_WORD_CHARS)


def _repeated_unit(text: str) -> str:
    """The shortest beginning of which the whole is a repetition."""
    return text[: (text + text).find(text, 1)]


def _pieces(text: str, words: frozenset[str]) -> int:
    """The fewest pieces that the text can be put together of. Time grows with its length alone."""
    fewest = [0] * (len(text) + 1)
    for start in range(len(text) - 1, -1, -1):
        longest_run = _run_length(text, start)
        fewest[start] = 1 + min(
            fewest[end]
            for end in range(start + 1, min(start + max(_MAX_WORD_CHARS, longest_run), len(text)) + 1)
            if end == start + 1 or _MIN_RUN_CHARS <= end - start <= longest_run or text[start:end] in words
        )
    return fewest[0]


def _run_length(text: str, start: int) -> int:
    """How far a run goes from here: of one character, of neighbours in the alphabet, or of neighbours on a keyboard."""
    longest = 1
    for step in (-1, 0, 1):
        end = start + 1
        while end < len(text) and ord(text[end]) - ord(text[end - 1]) == step:
            end += 1
        longest = max(longest, end - start)
    for row in _KEYBOARD:
        end = start + 1
        while end < len(text) and text[start : end + 1] in row:
            end += 1
        longest = max(longest, end - start)
    return longest
