"""Signs and verifies access tokens: JWTs signed with Ed25519 (RFC 8037) that follow the profile of RFC 9068."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID, uuid4

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from domain.account import AccessClaims, SigningKey
from domain.cipher import Cipher, signing_key_place
from domain.errors import Unauthenticated, Unavailable
from domain.secret import Secret

ALGORITHM: Final = "EdDSA"
TOKEN_TYPE: Final = "at+jwt"  # noqa: S105  (RFC 9068, 2.1: the type's name)
# Instances of one server may disagree about the time by so much: a token is good this long after its end, and when it
# was issued this far in the future.
LEEWAY_SECONDS: Final = 5
# Ours have some 500 characters; what is longer is not worth decoding.
MAX_TOKEN_CHARS: Final = 4096
REQUIRED_CLAIMS: Final = ("iss", "aud", "sub", "sid", "jti", "iat", "exp")

_FORGED = "This access token is not valid. Sign in again."
_EXPIRED = "This access token has expired. Refresh the session."


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessTokenKey:
    """A signing key ready for use; its private half never prints."""

    kid: str
    private_key: Ed25519PrivateKey
    public_key: Ed25519PublicKey


def new_signing_key(cipher: Cipher, now: datetime) -> SigningKey:
    """A fresh Ed25519 key as it is stored. Its `kid` is its public key's fingerprint."""
    private_key = Ed25519PrivateKey.generate()
    public_key = private_key.public_key()
    kid = _fingerprint(public_key)
    pem = private_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return SigningKey(
        kid=kid,
        algorithm=ALGORITHM,
        private_key=cipher.seal(Secret(pem.decode()), place=signing_key_place(kid)),
        public_key=_public_pem(public_key),
        created_at=now,
    )


def open_signing_keys(keys: Sequence[SigningKey], cipher: Cipher) -> tuple[AccessTokenKey, ...]:
    """The stored keys, ready for use, in their order.

    Every public half is taken from its sealed private half: a row that somebody has put into the table, or changed
    there, verifies nothing. Raises Unavailable when one does not open or is not what it claims to be.
    """
    return tuple(_open(key, cipher) for key in keys)


class AccessTokenSigner:
    """Signs with the first key, verifies with all of them."""

    def __init__(self, keys: Sequence[AccessTokenKey], *, issuer: str, audience: str) -> None:
        self._issuer = issuer
        self._audience = audience
        self.replace_keys(keys)

    def replace_keys(self, keys: Sequence[AccessTokenKey]) -> None:
        """Puts other keys in place, the active one first. Raises ValueError when there is none."""
        if not keys:
            raise ValueError("Access tokens need at least one signing key.")
        self._active = keys[0]
        self._public_keys = {key.kid: key.public_key for key in keys}

    def issue(self, claims: AccessClaims, *, now: datetime) -> Secret:
        """A signed token; times are whole seconds, so it may end up to a second before `expires_at`."""
        payload = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": str(claims.user_id),
            "sid": str(claims.session_id),
            "jti": str(uuid4()),
            "iat": int(now.timestamp()),
            "exp": int(claims.expires_at.timestamp()),
        }
        headers = {"kid": self._active.kid, "typ": TOKEN_TYPE}
        return Secret(jwt.encode(payload, self._active.private_key, algorithm=ALGORITHM, headers=headers))

    def verify(self, token: str, *, now: datetime) -> AccessClaims:
        """Raises Unauthenticated; `expired` is set only for a token that is genuine in every other way."""
        try:
            payload = self._genuine_payload(token)
            issued_at, expires_at = _time(payload["iat"]), _time(payload["exp"])
            claims = AccessClaims(user_id=UUID(payload["sub"]), session_id=UUID(payload["sid"]), expires_at=expires_at)
        except (jwt.InvalidTokenError, ValueError, TypeError, AttributeError, OverflowError):
            # Not chained: the library's words may repeat parts of the token.
            raise Unauthenticated(_FORGED) from None
        if (issued_at - now).total_seconds() > LEEWAY_SECONDS:
            raise Unauthenticated(_FORGED)
        if (now - expires_at).total_seconds() >= LEEWAY_SECONDS:
            raise Unauthenticated(_EXPIRED, expired=True)
        return claims

    def _genuine_payload(self, token: str) -> dict[str, Any]:
        """The claims, as they were signed: anything that JSON has (hence Any)."""
        if len(token) > MAX_TOKEN_CHARS:
            raise ValueError("too long")
        header = jwt.get_unverified_header(token)
        public_key = self._public_keys.get(header.get("kid", ""))
        if public_key is None or header.get("typ") != TOKEN_TYPE:
            raise ValueError("unknown key or another type")
        return jwt.decode(
            token,
            public_key,
            # Pinned: what the token says of its algorithm decides nothing.
            algorithms=[ALGORITHM],
            issuer=self._issuer,
            audience=self._audience,
            # The times are compared with the caller's clock, after everything else.
            options={
                "require": list(REQUIRED_CLAIMS),
                "strict_aud": True,
                "verify_exp": False,
                "verify_iat": False,
                "verify_nbf": False,
            },
        )


class SealedAccessTokens:
    """Behind the port SigningKeyring: keys as they are stored, each opened once."""

    def __init__(self, cipher: Cipher, *, issuer: str, audience: str) -> None:
        self._cipher = cipher
        self._issuer = issuer
        self._audience = audience
        self._keys: dict[str, AccessTokenKey] = {}
        self._signer: AccessTokenSigner | None = None

    def new_key(self, now: datetime) -> SigningKey:
        """A fresh key, sealed."""
        return new_signing_key(self._cipher, now)

    def use(self, keys: Sequence[SigningKey]) -> None:
        """Puts these keys in place, the active one first. Raises Unavailable when one does not open."""
        opened = {key.kid: self._keys.get(key.kid) or _open(key, self._cipher) for key in keys}
        if opened.keys() != self._keys.keys() or next(iter(opened)) != next(iter(self._keys)):
            self._signer = AccessTokenSigner(tuple(opened.values()), issuer=self._issuer, audience=self._audience)
            self._keys = opened

    def knows_key_of(self, token: str) -> bool:
        """Whether the key that the token names is in place; True for what is no token."""
        try:
            kid = jwt.get_unverified_header(token).get("kid") if len(token) <= MAX_TOKEN_CHARS else None
        except jwt.InvalidTokenError:
            return True
        return not isinstance(kid, str) or kid in self._keys

    def published(self) -> tuple[Mapping[str, str], ...]:
        """The public halves as JSON Web Keys (RFC 8037, 2)."""
        return tuple(
            {"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": ALGORITHM, "kid": key.kid, "x": _x(key.public_key)}
            for key in self._keys.values()
        )

    def issue(self, claims: AccessClaims, *, now: datetime) -> Secret:
        """As AccessTokenSigner."""
        return self._opened().issue(claims, now=now)

    def verify(self, token: str, *, now: datetime) -> AccessClaims:
        """As AccessTokenSigner."""
        return self._opened().verify(token, now=now)

    def _opened(self) -> AccessTokenSigner:
        if self._signer is None:
            raise Unavailable("The signing keys have not been read yet. Try again in a moment.")
        return self._signer


def _x(public_key: Ed25519PublicKey) -> str:
    raw = public_key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _open(key: SigningKey, cipher: Cipher) -> AccessTokenKey:
    pem = cipher.open(key.private_key, place=signing_key_place(key.kid)).reveal()
    private_key = serialization.load_pem_private_key(pem.encode(), password=None)
    if key.algorithm != ALGORITHM or not isinstance(private_key, Ed25519PrivateKey):
        raise Unavailable(f"The signing key “{key.kid}” is of a kind that this server does not use.")
    return AccessTokenKey(kid=key.kid, private_key=private_key, public_key=private_key.public_key())


def _public_pem(public_key: Ed25519PublicKey) -> str:
    return public_key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


def _fingerprint(public_key: Ed25519PublicKey) -> str:
    raw = public_key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return base64.urlsafe_b64encode(hashlib.sha256(raw).digest()[:12]).decode()


def _time(claim: object) -> datetime:
    # bool is an int, and floats may be NaN: only what we write ourselves is a time.
    if type(claim) is not int:
        raise ValueError("not a time in seconds")
    return datetime.fromtimestamp(claim, UTC)
