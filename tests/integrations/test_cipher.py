"""Sealed secrets open with their key and at their place, and nowhere else."""

from __future__ import annotations

import os

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from domain.cipher import Cipher, Sealed
from domain.errors import Unavailable
from domain.secret import Secret
from integrations.cipher import AesGcmCipher

PLACE = "api_key:3d6e:77aa"
SECRET = Secret("sk-Qx7vR2mK9wLp4TzB8nHs3dJf6yGc1aVe")


@pytest.fixture
def cipher() -> Cipher:
    return AesGcmCipher({"k1": os.urandom(32), "k2": os.urandom(32)}, active="k2")


@pytest.mark.parametrize("text", ["", "plain", "naïve 🚀", "half \ud83d of a pair", "x" * 100_000])
def test_what_is_sealed_opens_again(cipher: Cipher, text: str) -> None:
    assert cipher.open(cipher.seal(Secret(text), place=PLACE), place=PLACE) == Secret(text)


def test_the_active_key_seals(cipher: Cipher) -> None:
    assert cipher.seal(SECRET, place=PLACE).key_id == "k2"


def test_the_same_secret_never_looks_the_same(cipher: Cipher) -> None:
    assert len({cipher.seal(SECRET, place=PLACE).ciphertext for _ in range(100)}) == 100


def test_nothing_of_the_secret_shows(cipher: Cipher) -> None:
    sealed = cipher.seal(SECRET, place=PLACE)

    assert SECRET.reveal().encode() not in sealed.ciphertext
    assert SECRET.reveal() not in repr(sealed)


def test_an_older_key_still_opens_after_a_rotation() -> None:
    old, new = os.urandom(32), os.urandom(32)
    sealed = AesGcmCipher({"k1": old}, active="k1").seal(SECRET, place=PLACE)

    rotated = AesGcmCipher({"k1": old, "k2": new}, active="k2")

    assert rotated.open(sealed, place=PLACE) == SECRET
    assert rotated.seal(SECRET, place=PLACE).key_id == "k2"


@pytest.mark.parametrize("place", ["", "api_key:3d6e:77ab", PLACE + " ", "notion_connection:3d6e"])
def test_a_secret_that_was_moved_does_not_open(cipher: Cipher, place: str) -> None:
    with pytest.raises(Unavailable, match="does not open"):
        cipher.open(cipher.seal(SECRET, place=PLACE), place=place)


def test_the_border_between_key_id_and_place_cannot_be_moved() -> None:
    key = os.urandom(32)
    sealed = AesGcmCipher({"k": key}, active="k").seal(SECRET, place="1:x")
    shifted = Sealed(key_id="k1", ciphertext=sealed.ciphertext)

    with pytest.raises(Unavailable):
        AesGcmCipher({"k1": key}, active="k1").open(shifted, place=":x")


def test_a_secret_of_an_unknown_key_names_the_key(cipher: Cipher) -> None:
    sealed = cipher.seal(SECRET, place=PLACE)

    with pytest.raises(Unavailable, match="“k9”"):
        cipher.open(Sealed(key_id="k9", ciphertext=sealed.ciphertext), place=PLACE)


def test_a_secret_under_another_keys_name_does_not_open(cipher: Cipher) -> None:
    sealed = cipher.seal(SECRET, place=PLACE)

    with pytest.raises(Unavailable, match="does not open"):
        cipher.open(Sealed(key_id="k1", ciphertext=sealed.ciphertext), place=PLACE)


def test_not_one_bit_may_change(cipher: Cipher) -> None:
    sealed = cipher.seal(SECRET, place=PLACE)

    for position in range(len(sealed.ciphertext)):
        changed = bytearray(sealed.ciphertext)
        changed[position] ^= 1
        with pytest.raises(Unavailable):
            cipher.open(Sealed(key_id=sealed.key_id, ciphertext=bytes(changed)), place=PLACE)


def test_not_one_byte_may_be_missing(cipher: Cipher) -> None:
    sealed = cipher.seal(SECRET, place=PLACE)

    for length in range(len(sealed.ciphertext)):
        with pytest.raises(Unavailable):
            cipher.open(Sealed(key_id=sealed.key_id, ciphertext=sealed.ciphertext[:length]), place=PLACE)


def test_the_form_says_its_version(cipher: Cipher) -> None:
    assert cipher.seal(SECRET, place=PLACE).ciphertext[0] == 2


def test_what_was_sealed_before_there_were_envelopes_opens_and_gets_one() -> None:
    old, new = os.urandom(32), os.urandom(32)
    nonce = os.urandom(12)
    bound = b"\x01" + (2).to_bytes(4, "big") + b"k1" + PLACE.encode()
    direct = Sealed(
        key_id="k1", ciphertext=b"\x01" + nonce + AESGCM(old).encrypt(nonce, SECRET.reveal().encode(), bound)
    )
    cipher = AesGcmCipher({"k1": old, "k2": new}, active="k2")

    assert cipher.open(direct, place=PLACE) == SECRET
    wrapped = cipher.rewrap(direct, place=PLACE)
    assert (wrapped.key_id, wrapped.ciphertext[0]) == ("k2", 2)
    assert AesGcmCipher({"k2": new}, active="k2").open(wrapped, place=PLACE) == SECRET


def test_wrapping_anew_leaves_what_is_in_the_envelope_alone() -> None:
    old, new = os.urandom(32), os.urandom(32)
    sealed = AesGcmCipher({"k1": old}, active="k1").seal(SECRET, place=PLACE)

    wrapped = AesGcmCipher({"k1": old, "k2": new}, active="k2").rewrap(sealed, place=PLACE)

    assert wrapped.ciphertext[61:] == sealed.ciphertext[61:]
    assert wrapped.ciphertext[:61] != sealed.ciphertext[:61]
    assert AesGcmCipher({"k2": new}, active="k2").open(wrapped, place=PLACE) == SECRET
    with pytest.raises(Unavailable):
        AesGcmCipher({"k1": old, "k2": new}, active="k2").rewrap(sealed, place="api_key:3d6e:77ab")


def test_a_key_that_was_added_meanwhile_is_used_at_once() -> None:
    """As another process adds it to the file from which this one has its keys."""
    ring: tuple[dict[str, bytes], str] = ({"k1": os.urandom(32)}, "k1")
    cipher = AesGcmCipher(ring[0], active=ring[1], reread=lambda: ring)
    before = cipher.seal(SECRET, place=PLACE)
    ring = ({**ring[0], "k2": os.urandom(32)}, "k2")
    elsewhere = AesGcmCipher(ring[0], active="k2").rewrap(before, place=PLACE)

    assert cipher.open(elsewhere, place=PLACE) == SECRET
    assert cipher.seal(SECRET, place=PLACE).key_id == "k2"


@pytest.mark.parametrize(
    ("keys", "active", "words"),
    [
        ({}, "k1", "not among the keys"),
        ({"k1": bytes(32)}, "k2", "not among the keys"),
        ({"k1": bytes(16)}, "k1", "has 16 bytes; it must have 32"),
        ({"k1": bytes(32), "k2": b""}, "k1", "“k2” has 0 bytes"),
    ],
)
def test_unusable_keys_are_refused_at_once(keys: dict[str, bytes], active: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        AesGcmCipher(keys, active=active)
