"""The rules for input: what is accepted as it is, and what is turned away with its field."""

from dataclasses import replace
from uuid import UUID

import pytest

from domain.account import checked_email, checked_username
from domain.errors import InvalidInput
from domain.generation import Cursor
from domain.page import PageRequest, decode_cursor, encode_cursor
from domain.provider import Parameters, ReasoningEffort
from domain.secret import Secret
from domain.text import checked_text, excerpt, storable

ID = UUID("01890000-0000-7000-8000-00000000abcd")
OTHER_ID = UUID("01890000-0000-7000-8000-00000000abce")


@pytest.mark.parametrize("text", ["", "  \n", "a\x00b", "a\ud800b", "x" * 11])
def test_a_text_that_cannot_be_kept_is_turned_away_with_its_field(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        checked_text(text, field=("prompt",), max_chars=10)
    assert caught.value.field == ("prompt",)


def test_a_text_that_can_be_kept_is_kept_as_it_is() -> None:
    assert checked_text(" a\n😀 ", field=("prompt",), max_chars=10) == " a\n😀 "


def test_somebody_elses_text_is_made_storable() -> None:
    assert storable("a\x00\ud83d\ude00\ud83d") == "a\ufffd😀\ufffd"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("short", "short"),
        ("\n\n  two   words \n more", "two words"),
        ("one two three", "one two…"),
        ("abcdefghijklmnop", "abcdefghi…"),
        ("", ""),
    ],
)
def test_an_excerpt_is_one_line_cut_at_a_word(text: str, expected: str) -> None:
    assert excerpt(text, max_chars=10) == expected


@pytest.mark.parametrize("email", ["", "a", "a@b", "a b@c.de", "a@b.", "@b.de", "a@b.de\x00", "x" * 250 + "@b.de"])
def test_what_is_no_email_is_turned_away(email: str) -> None:
    with pytest.raises(InvalidInput):
        checked_email(email, field=("email",))


def test_an_email_is_trimmed() -> None:
    assert checked_email("  Ada@Example.org ", field=("email",)) == "Ada@Example.org"


@pytest.mark.parametrize("username", ["", "ab", "a b c", "-ada", "ada-", "x" * 41, "ädä", "ada\x00b"])
def test_what_is_no_username_is_turned_away(username: str) -> None:
    with pytest.raises(InvalidInput):
        checked_username(username, field=("username",))


def test_a_cursor_leads_back_to_its_id() -> None:
    assert decode_cursor(encode_cursor(ID), field="after") == ID


@pytest.mark.parametrize(
    "cursor", ["", "x", "§", "AAAA", encode_cursor(ID) + "=", encode_cursor(ID) + "AA", "a" * 5000]
)
def test_a_cursor_that_was_not_made_here_is_turned_away(cursor: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        decode_cursor(cursor, field="after")
    assert caught.value.field == ("after",)


@pytest.mark.parametrize(("first", "last"), [(0, None), (101, None), (None, 0), (None, 101), (-1, None), (1, 1)])
def test_a_page_has_1_to_100_items_from_one_end(first: int | None, last: int | None) -> None:
    with pytest.raises(InvalidInput):
        PageRequest.of(first=first, after=None, last=last, before=None)


def test_a_page_has_20_items_unless_told_otherwise() -> None:
    assert PageRequest.of(first=None, after=None, last=None, before=None).size == 20
    assert PageRequest.of(first=None, after=None, last=3, before=None).is_backward


def test_a_position_in_the_text_survives_its_encoding() -> None:
    cursor = Cursor(epoch=3, text=123_456, reasoning=7)
    assert Cursor.decode(cursor.encode(ID), ID) == cursor
    after_failures = replace(cursor, failed_calls=4)
    assert Cursor.decode(after_failures.encode(ID), ID) == after_failures
    # Without any it is as short as versions read it that know of none.
    assert len(cursor.encode(ID)) < len(after_failures.encode(ID))


@pytest.mark.parametrize("cursor", ["", "AAAA", "!", Cursor(text=1).encode(OTHER_ID), Cursor().encode(ID) + "AAAA"])
def test_a_foreign_position_is_turned_away(cursor: str) -> None:
    with pytest.raises(InvalidInput):
        Cursor.decode(cursor, ID)


def test_parameters_are_stored_as_given() -> None:
    given = Parameters(max_output_tokens=5, reasoning_effort=ReasoningEffort.LOW, stop_sequences=("a",))
    assert given.as_json() == {"max_output_tokens": 5, "reasoning_effort": "low", "stop_sequences": ("a",)}
    assert Parameters.from_json({**given.as_json(), "stop_sequences": ["a"]}) == given


def test_a_secret_shows_itself_to_nobody() -> None:
    secret = Secret("hunter2")
    assert "hunter2" not in f"{secret} {secret!r} {[secret]}"
    assert secret.reveal() == "hunter2"
