"""Access tokens: only what this server has signed, for itself, and recently, is believed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from domain.account import AccessClaims, AccessTokens, SigningKey
from domain.cipher import Cipher
from domain.errors import Unauthenticated, Unavailable
from domain.secret import Secret
from integrations.cipher import AesGcmCipher
from integrations.tokens import (
    LEEWAY_SECONDS,
    REQUIRED_CLAIMS,
    AccessTokenKey,
    AccessTokenSigner,
    new_signing_key,
    open_signing_keys,
)

ISSUER, AUDIENCE = "https://notes.example", "notes-api"
NOW = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
CLAIMS = AccessClaims(user_id=uuid4(), session_id=uuid4(), expires_at=NOW + timedelta(minutes=10))


@pytest.fixture(scope="module")
def cipher() -> Cipher:
    return AesGcmCipher({"k1": os.urandom(32)}, active="k1")


@pytest.fixture(scope="module")
def row(cipher: Cipher) -> SigningKey:
    return new_signing_key(cipher, NOW)


@pytest.fixture(scope="module")
def key(row: SigningKey, cipher: Cipher) -> AccessTokenKey:
    return open_signing_keys([row], cipher)[0]


@pytest.fixture
def tokens(key: AccessTokenKey) -> AccessTokenSigner:
    return AccessTokenSigner([key], issuer=ISSUER, audience=AUDIENCE)


def segment(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def parts(token: str) -> tuple[dict[str, Any], dict[str, Any], str]:
    head, body, signature = token.split(".")
    decoded = [json.loads(base64.urlsafe_b64decode(part + "==")) for part in (head, body)]
    return decoded[0], decoded[1], signature


def signed(key: AccessTokenKey, payload: object, **headers: Any) -> str:
    """A token with any content, truly signed."""
    header = {"alg": "EdDSA", "kid": key.kid, "typ": "at+jwt"} | headers
    signing_input = f"{segment(header)}.{segment(payload)}"
    signature = key.private_key.sign(signing_input.encode())
    return f"{signing_input}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


def payload_of(tokens: AccessTokens) -> dict[str, Any]:
    return parts(tokens.issue(CLAIMS, now=NOW).reveal())[1]


def refusal(tokens: AccessTokens, token: str, now: datetime = NOW) -> Unauthenticated:
    with pytest.raises(Unauthenticated) as caught:
        tokens.verify(token, now=now)
    assert len(token) < 20 or token not in str(caught.value)
    return caught.value


class TestAToken:
    def test_says_after_verification_what_was_issued(self, tokens: AccessTokens) -> None:
        assert tokens.verify(tokens.issue(CLAIMS, now=NOW).reveal(), now=NOW) == CLAIMS

    def test_has_all_that_it_must_have(self, tokens: AccessTokens, key: AccessTokenKey) -> None:
        header, payload, _ = parts(tokens.issue(CLAIMS, now=NOW).reveal())

        assert header == {"alg": "EdDSA", "kid": key.kid, "typ": "at+jwt"}
        UUID(payload.pop("jti"))
        assert payload == {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": str(CLAIMS.user_id),
            "sid": str(CLAIMS.session_id),
            "iat": int(NOW.timestamp()),
            "exp": int(NOW.timestamp()) + 600,
        }

    def test_is_one_of_a_kind(self, tokens: AccessTokens) -> None:
        assert tokens.issue(CLAIMS, now=NOW) != tokens.issue(CLAIMS, now=NOW)

    def test_does_not_print(self, tokens: AccessTokens) -> None:
        token = tokens.issue(CLAIMS, now=NOW)

        assert token.reveal() not in f"{token} {token!r}"


class TestTime:
    def test_ends_it(self, tokens: AccessTokens) -> None:
        token = tokens.issue(CLAIMS, now=NOW).reveal()
        end = CLAIMS.expires_at + timedelta(seconds=LEEWAY_SECONDS)

        assert tokens.verify(token, now=end - timedelta(milliseconds=1)) == CLAIMS
        assert refusal(tokens, token, end).expired is True

    def test_before_it_was_issued_does_not_count(self, tokens: AccessTokens) -> None:
        token = tokens.issue(CLAIMS, now=NOW).reveal()

        assert tokens.verify(token, now=NOW - timedelta(seconds=LEEWAY_SECONDS)) == CLAIMS
        assert refusal(tokens, token, NOW - timedelta(seconds=LEEWAY_SECONDS + 1)).expired is False

    def test_is_the_callers_and_not_the_machines(self, tokens: AccessTokens) -> None:
        long_ago = datetime(2001, 1, 1, tzinfo=UTC)
        claims = replace(CLAIMS, expires_at=long_ago + timedelta(minutes=10))

        assert tokens.verify(tokens.issue(claims, now=long_ago).reveal(), now=long_ago) == claims

    @pytest.mark.parametrize("change", [{"iss": "https://evil.example"}, {"aud": "another"}, {"sub": "me"}])
    def test_that_has_run_out_is_only_told_of_a_genuine_token(
        self, tokens: AccessTokens, key: AccessTokenKey, change: dict[str, str]
    ) -> None:
        token = signed(key, payload_of(tokens) | change)

        assert refusal(tokens, token, NOW + timedelta(days=1)).expired is False


class TestAForgery:
    @pytest.mark.parametrize("claim", REQUIRED_CLAIMS)
    def test_lacks_a_claim(self, tokens: AccessTokens, key: AccessTokenKey, claim: str) -> None:
        payload = payload_of(tokens)
        del payload[claim]

        assert refusal(tokens, signed(key, payload)).expired is False
        assert refusal(tokens, signed(key, payload | {claim: None})).expired is False

    @pytest.mark.parametrize(
        "change",
        [
            {"iss": ISSUER + "/"},
            {"iss": [ISSUER]},
            {"aud": AUDIENCE.upper()},
            {"aud": [AUDIENCE, "another"]},
            {"aud": {}},
            {"sub": "not-a-uuid"},
            {"sub": 7},
            {"sid": "not-a-uuid"},
            {"sid": ["x"]},
            {"jti": 7},
            {"exp": "1900000000"},
            {"exp": True},
            {"exp": 1e30},
            {"exp": 10**30},
            {"exp": float("nan")},
            {"exp": float("inf")},
            {"exp": -(10**20)},
            {"iat": "now"},
            {"iat": 10**30},
            {"iat": False},
        ],
        ids=str,
    )
    def test_has_a_claim_of_another_kind(
        self, tokens: AccessTokens, key: AccessTokenKey, change: dict[str, object]
    ) -> None:
        assert refusal(tokens, signed(key, payload_of(tokens) | change)).expired is False

    @pytest.mark.parametrize("payload", [[], "text", 7, None])
    def test_has_no_claims(self, tokens: AccessTokens, key: AccessTokenKey, payload: object) -> None:
        refusal(tokens, signed(key, payload))

    @pytest.mark.parametrize(
        "headers",
        [
            {"kid": "another"},
            {"kid": None},
            {"kid": 7},
            {"kid": ["a"]},
            {"typ": "JWT"},
            {"typ": None},
            {"alg": "none"},
            {"alg": "None"},
            {"alg": "HS256"},
            {"alg": "RS256"},
            {"alg": "ES256"},
            {"alg": None},
            {"crit": ["exp"]},
            {"crit": ["https://example.com/extension"]},
            {"b64": False},
            {"b64": False, "crit": ["b64"]},
        ],
        ids=str,
    )
    def test_has_another_header(self, tokens: AccessTokens, key: AccessTokenKey, headers: dict[str, object]) -> None:
        token = signed(key, payload_of(tokens), **headers)

        assert refusal(tokens, token).expired is False

    def test_brings_its_own_key(self, tokens: AccessTokens, key: AccessTokenKey) -> None:
        own = Ed25519PrivateKey.generate()
        mine = replace(key, private_key=own, public_key=own.public_key())
        jwk = {"kty": "OKP", "crv": "Ed25519", "x": "AAAA"}

        refusal(tokens, signed(mine, payload_of(tokens)))
        refusal(tokens, signed(mine, payload_of(tokens), jwk=jwk, jku="https://evil.example/jwks", x5u="https://e"))

    @pytest.mark.parametrize(
        "secret_of", [lambda row: row.public_key.encode(), lambda row: row.kid.encode(), lambda _: b""]
    )
    def test_takes_the_public_key_for_a_shared_secret(
        self, tokens: AccessTokens, row: SigningKey, secret_of: Callable[[SigningKey], bytes]
    ) -> None:
        signing_input = f"{segment({'alg': 'HS256', 'kid': row.kid, 'typ': 'at+jwt'})}.{segment(payload_of(tokens))}"
        mac = hmac.digest(secret_of(row), signing_input.encode(), hashlib.sha256)

        refusal(tokens, f"{signing_input}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}")

    def test_has_no_signature(self, tokens: AccessTokens, key: AccessTokenKey) -> None:
        head, body, signature = tokens.issue(CLAIMS, now=NOW).reveal().split(".")
        unsigned = segment({"alg": "none", "kid": key.kid, "typ": "at+jwt"})

        for token in (f"{head}.{body}.", f"{unsigned}.{body}.", f"{head}.{body}", f"{unsigned}.{body}.{signature}"):
            refusal(tokens, token)

    def test_changes_a_character(self, tokens: AccessTokens) -> None:
        token = tokens.issue(CLAIMS, now=NOW).reveal()

        for position in range(0, len(token), 7):
            other = "A" if token[position] != "A" else "B"
            refusal(tokens, token[:position] + other + token[position + 1 :])

    @pytest.mark.parametrize(
        "token",
        [
            "",
            ".",
            "..",
            "...",
            "a.b.c",
            "Bearer x",
            "🚀.🚀.🚀",
            "\ud800.\ud800.\ud800",
            "e30.e30.",
            "x" * 100_000,
            "\0",
        ],
        ids=lambda token: repr(token[:12]),
    )
    def test_is_nonsense(self, tokens: AccessTokens, token: str) -> None:
        assert refusal(tokens, token).expired is False

    def test_is_nested_without_end(self, tokens: AccessTokens, key: AccessTokenKey) -> None:
        deep = base64.urlsafe_b64encode(b"[" * 2000).decode().rstrip("=")

        refusal(tokens, f"{deep}.{deep}.{deep}")

    def test_is_too_long_although_signed(self, tokens: AccessTokens, key: AccessTokenKey) -> None:
        refusal(tokens, signed(key, payload_of(tokens) | {"note": "x" * 5000}))

    def test_is_not_chained_to_the_librarys_words(self, tokens: AccessTokens, key: AccessTokenKey) -> None:
        error = refusal(tokens, signed(key, payload_of(tokens) | {"iss": "https://evil.example"}))

        assert error.__cause__ is None
        assert error.__suppress_context__


class TestKeys:
    def test_can_be_replaced_while_running(
        self, tokens: AccessTokenSigner, key: AccessTokenKey, cipher: Cipher
    ) -> None:
        (newer,) = open_signing_keys([new_signing_key(cipher, NOW)], cipher)
        old_token = tokens.issue(CLAIMS, now=NOW).reveal()

        tokens.replace_keys([newer, key])
        new_token = tokens.issue(CLAIMS, now=NOW).reveal()
        assert parts(new_token)[0]["kid"] == newer.kid != key.kid
        assert tokens.verify(old_token, now=NOW) == tokens.verify(new_token, now=NOW) == CLAIMS

        tokens.replace_keys([newer])
        assert tokens.verify(new_token, now=NOW) == CLAIMS
        refusal(tokens, old_token)

    def test_are_needed(self, tokens: AccessTokenSigner) -> None:
        with pytest.raises(ValueError, match="at least one"):
            tokens.replace_keys([])

    def test_are_stored_sealed_at_their_place(self, row: SigningKey, cipher: Cipher) -> None:
        assert row.algorithm == "EdDSA"
        assert row.created_at == NOW
        private = cipher.open(row.private_key, place=f"signing_key:{row.kid}").reveal()
        assert private.startswith("-----BEGIN PRIVATE KEY-----")
        assert row.public_key.startswith("-----BEGIN PUBLIC KEY-----")
        assert private.splitlines()[1] not in repr(row)

    def test_of_two_servers_verify_each_other(self, row: SigningKey, cipher: Cipher, tokens: AccessTokens) -> None:
        other = AccessTokenSigner(open_signing_keys([row], cipher), issuer=ISSUER, audience=AUDIENCE)

        assert other.verify(tokens.issue(CLAIMS, now=NOW).reveal(), now=NOW) == CLAIMS

    def test_publish_what_others_need_to_verify(self, row: SigningKey, tokens: AccessTokens) -> None:
        public_key = serialization.load_pem_public_key(row.public_key.encode())
        token = tokens.issue(replace(CLAIMS, expires_at=datetime.now(UTC) + timedelta(hours=1)), now=NOW).reveal()

        claims = jwt.decode(
            token,
            public_key,  # type: ignore[arg-type]  # any kind of key, as far as the loader tells
            algorithms=["EdDSA"],
            audience=AUDIENCE,
            options={"verify_iat": False},
        )

        assert claims["sub"] == str(CLAIMS.user_id)

    def test_in_a_row_under_another_name_do_not_open(self, row: SigningKey, cipher: Cipher) -> None:
        with pytest.raises(Unavailable):
            open_signing_keys([replace(row, kid="renamed")], cipher)

    def test_whose_public_half_was_exchanged_verify_by_the_private_one(
        self, row: SigningKey, cipher: Cipher, tokens: AccessTokens
    ) -> None:
        attacker = new_signing_key(cipher, NOW)
        (opened,) = open_signing_keys([replace(row, public_key=attacker.public_key)], cipher)
        exchanged = AccessTokenSigner([opened], issuer=ISSUER, audience=AUDIENCE)

        assert exchanged.verify(tokens.issue(CLAIMS, now=NOW).reveal(), now=NOW) == CLAIMS

    def test_of_another_kind_are_refused(self, row: SigningKey, cipher: Cipher) -> None:
        pem = Ed448PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        sealed = cipher.seal(Secret(pem.decode()), place=f"signing_key:{row.kid}")

        with pytest.raises(Unavailable, match="does not use"):
            open_signing_keys([replace(row, private_key=sealed)], cipher)
        with pytest.raises(Unavailable, match="does not use"):
            open_signing_keys([replace(row, algorithm="HS256")], cipher)
