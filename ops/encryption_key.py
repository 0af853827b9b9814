"""The server's encryption keys: what seals the secrets in the database, and how such keys are written down."""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from dataclasses import dataclass, field
from typing import Final, Self

KEY_SIZE_BYTES: Final = 32
EXPECTED: Final = (
    "a comma-separated list of id:key pairs, the active one first, each key 32 random bytes in base64 "
    "(one is made by: openssl rand -base64 32)"
)
_ID_PATTERN: Final = re.compile(r"[A-Za-z0-9_-]{1,32}")


@dataclass(frozen=True, slots=True, kw_only=True)
class EncryptionKey:
    """A 256-bit key and the id that is stored beside everything it has sealed."""

    id: str
    material: bytes = field(repr=False)

    @classmethod
    def generate(cls) -> Self:
        """A new random key with a new random id."""
        return cls(id=f"k{secrets.token_hex(4)}", material=secrets.token_bytes(KEY_SIZE_BYTES))

    @classmethod
    def parse(cls, pair: str) -> Self:
        """Reads `id:base64`, with either alphabet of base64. Raises ValueError without repeating the text."""
        key_id, separator, encoded = pair.strip().partition(":")
        if not separator or _ID_PATTERN.fullmatch(key_id) is None:
            raise ValueError(EXPECTED)
        try:
            material = base64.b64decode(encoded.strip().translate(str.maketrans("-_", "+/")), validate=True)
        except (binascii.Error, ValueError) as error:
            raise ValueError(EXPECTED) from error
        if len(material) != KEY_SIZE_BYTES:
            raise ValueError(EXPECTED)
        return cls(id=key_id, material=material)

    def written(self) -> str:
        """The form that `parse` reads. It is the secret itself: for the secrets file only."""
        return f"{self.id}:{base64.b64encode(self.material).decode()}"


def parse_keys(text: str) -> tuple[EncryptionKey, ...]:
    """Reads a comma-separated list of keys. Raises ValueError when one is malformed or an id appears twice."""
    keys = tuple(EncryptionKey.parse(pair) for pair in text.split(","))
    if len({key.id for key in keys}) != len(keys):
        raise ValueError(f"{EXPECTED}, with every id used once")
    return keys
