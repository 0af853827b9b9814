"""What a new password must be."""

import time

import pytest

from domain.errors import InvalidInput
from domain.password import PasswordRules, password_to_try
from domain.secret import Secret
from integrations.common_passwords import common_passwords

RULES = PasswordRules(min_chars=15, common=common_passwords())
ABOUT = ("Ada.Lovelace@example.org", "ada-lovelace")


def _checked(password: str) -> Secret:
    return RULES.checked(password, about=ABOUT, field=("password",))


@pytest.mark.parametrize("password", ["x7" * 7, "x" * 1025, "long enough but \x00", "long enough but \ud800"])
def test_a_password_of_a_wrong_length_or_text_is_turned_away(password: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        _checked(password)
    assert caught.value.field == ("password",)


@pytest.mark.parametrize(
    "password",
    [
        "passwordpassword",
        "P@ssw0rdP@ssw0rd",
        "password123456789",
        "qwertyuiopasdfghjkl",
        "poiuytrewqlkjhgfdsa",
        "1q2w3e4r5t6y7u8i9o0p",
        "111111111111111111",
        "abcdefghijklmnopqrst",
        "987654321987654321",
        "iloveyouforever!",
        "ada.lovelace@example.org",
        "lovelacelovelace1",
        "ADALOVELACEADALOVELACE",
        "NotionAssistant1",
        "notion assistant!",
    ],
)
def test_a_password_that_is_easy_to_guess_is_turned_away(password: str) -> None:
    with pytest.raises(InvalidInput, match="too easy to guess"):
        _checked(password)


@pytest.mark.parametrize(
    "password",
    [
        "correct horse battery staple",
        "verschlüsselte Grüße",
        "sn0w-lamp-river-7",
        "Qx7!vR2#pL9$kT4",
        "これはとても長いパスワードです",
        "a monkey eats 4 bananas",
    ],
)
def test_any_other_password_will_do(password: str) -> None:
    assert _checked(password).reveal() == password


def test_a_password_is_compared_in_its_normal_form() -> None:
    composed = _checked("caf\u00e9 au lait, s.v.p.")
    assert password_to_try("cafe\u0301 au lait, s.v.p.") == composed
    assert password_to_try("x\ud800" * 10) == Secret("")


@pytest.mark.parametrize("unit", ["a", "ab", "1q2w3e4r5t6y7u8i9o0p", "4@8({[<369!1|0$5+7%2", "qwertyuiop", "abcdefgh"])
def test_no_password_takes_long_to_look_at(unit: str) -> None:
    password = (unit * 1024)[:1020] + "#x~y"
    started = time.process_time()
    RULES._is_guessable(password, ABOUT)
    assert time.process_time() - started < 2.0


def test_the_common_ones_are_known_and_in_lower_case() -> None:
    common = common_passwords()
    assert len(common) == 3000
    assert all(each == each.lower() and len(each) >= 4 for each in common)
