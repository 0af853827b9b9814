"""Seals secrets for storage with AES-256-GCM, each under a key of its own that the server's key wraps."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from domain.cipher import Sealed
from domain.errors import Unavailable
from domain.secret import Secret

KEY_BYTES: Final = 32
# 96 random bits: NIST SP 800-38D, 8.3 allows 2^32 secrets under one key before a repeated nonce becomes thinkable.
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_WRAPPED_BYTES: Final = _NONCE_BYTES + KEY_BYTES + _TAG_BYTES
# The first byte of every ciphertext tells how it is made: by the server's key itself (no more), or in an envelope.
_DIRECT: Final = b"\x01"
_ENVELOPE: Final = b"\x02"
_DAMAGED: Final = "A stored secret has a form that this server cannot read. Enter the secret again."

Keyring: TypeAlias = tuple[Mapping[str, bytes], str]


class AesGcmCipher:
    """`keys` maps key ids to 32 bytes each: those that open. `active` names the one that seals.

    `reread`, where the keys can change while the server runs, gives them as they are by now.
    """

    def __init__(self, keys: Mapping[str, bytes], *, active: str, reread: Callable[[], Keyring] | None = None) -> None:
        self._take(keys, active)
        self._reread = reread

    @property
    def active_key_id(self) -> str:
        """The key that seals."""
        self._refresh()
        return self._active

    def seal(self, secret: Secret, *, place: str) -> Sealed:
        """The envelope: format byte, the wrapped key, then what that key has encrypted."""
        self._refresh()
        data_key = AESGCM.generate_key(8 * KEY_BYTES)
        plain = secret.reveal().encode("utf-8", "surrogatepass")
        body = _encrypt(AESGCM(data_key), plain, _bound_to_place(place))
        return self._enveloped(data_key, body, place)

    def open(self, sealed: Sealed, *, place: str) -> Secret:
        """Raises Unavailable when the key is not here, or the ciphertext was not made for this place with it."""
        key, packed = self._key_of(sealed), sealed.ciphertext
        if packed[:1] == _DIRECT:
            plain = _decrypt(key, packed[1:], _bound_to_key_and_place(_DIRECT, sealed.key_id, place))
        else:
            data_key, body = _unwrapped(key, sealed, place)
            plain = _decrypt(AESGCM(data_key), body, _bound_to_place(place))
        return Secret(plain.decode("utf-8", "surrogatepass"))

    def rewrap(self, sealed: Sealed, *, place: str) -> Sealed:
        """The same secret under the active key; in an envelope it is not opened for that, only its key is."""
        self._refresh()
        if sealed.ciphertext[:1] == _DIRECT:
            return self.seal(self.open(sealed, place=place), place=place)
        data_key, body = _unwrapped(self._key_of(sealed), sealed, place)
        return self._enveloped(data_key, body, place)

    def _enveloped(self, data_key: bytes, body: bytes, place: str) -> Sealed:
        bound = _bound_to_key_and_place(_ENVELOPE, self._active, place)
        wrapped = _encrypt(self._keys[self._active], data_key, bound)
        return Sealed(key_id=self._active, ciphertext=_ENVELOPE + wrapped + body)

    def _key_of(self, sealed: Sealed) -> AESGCM:
        if sealed.key_id not in self._keys:
            self._refresh()
        key = self._keys.get(sealed.key_id)
        if key is None:
            raise Unavailable(
                f"A stored secret was sealed with the encryption key “{sealed.key_id}”, which this server does not "
                "have. Give the key back to the server, or enter the secret again."
            )
        return key

    def _refresh(self) -> None:
        if self._reread is not None:
            self._take(*self._reread())

    def _take(self, keys: Mapping[str, bytes], active: str) -> None:
        if active not in keys:
            raise ValueError(f"The active encryption key “{active}” is not among the keys.")
        for key_id, key in keys.items():
            if len(key) != KEY_BYTES:
                raise ValueError(f"The encryption key “{key_id}” has {len(key)} bytes; it must have {KEY_BYTES}.")
        self._keys = {key_id: AESGCM(key) for key_id, key in keys.items()}
        self._active = active


def _unwrapped(key: AESGCM, sealed: Sealed, place: str) -> tuple[bytes, bytes]:
    """The secret's own key, and what that key has encrypted."""
    packed = sealed.ciphertext
    if packed[:1] != _ENVELOPE:
        raise Unavailable(_DAMAGED)
    wrapped, body = packed[1 : 1 + _WRAPPED_BYTES], packed[1 + _WRAPPED_BYTES :]
    return _decrypt(key, wrapped, _bound_to_key_and_place(_ENVELOPE, sealed.key_id, place)), body


def _encrypt(key: AESGCM, plain: bytes, bound: bytes) -> bytes:
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + key.encrypt(nonce, plain, bound)


def _decrypt(key: AESGCM, packed: bytes, bound: bytes) -> bytes:
    if len(packed) < _NONCE_BYTES + _TAG_BYTES:
        raise Unavailable(_DAMAGED)
    try:
        return key.decrypt(packed[:_NONCE_BYTES], packed[_NONCE_BYTES:], bound)
    except InvalidTag as error:
        raise Unavailable(
            "A stored secret does not open: it was changed, moved, or sealed with another key of the same name. "
            "Enter the secret again."
        ) from error


def _bound_to_place(place: str) -> bytes:
    """What is authenticated beside a secret in an envelope: nothing that another key of the server's would change."""
    return _ENVELOPE + place.encode("utf-8")


def _bound_to_key_and_place(form: bytes, key_id: str, place: str) -> bytes:
    """What is authenticated beside what the server's key has encrypted; the length keeps the two names apart."""
    name = key_id.encode("utf-8")
    return form + len(name).to_bytes(4, "big") + name + place.encode("utf-8")
