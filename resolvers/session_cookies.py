"""The cookies that a browser keeps a sign-in in, where scripts cannot read it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from domain.secret import Secret
from domain.sign_in import SignIn

# The prefix has browsers keep them from https (or localhost) alone, for this very host, and take them from no other.
ACCESS_COOKIE: Final = "__Host-notion-assistant-access"
REFRESH_COOKIE: Final = "__Host-notion-assistant-refresh"


@dataclass(frozen=True, slots=True, kw_only=True)
class CookieSession:
    """A request whose sign-in is kept in cookies, and the refresh token that it has brought."""

    refresh_token: Secret | None


def cookies_of(sign_in: SignIn) -> tuple[str, str]:
    """The Set-Cookie headers that keep a sign-in, each for as long as its token is good."""
    return (
        _cookie(ACCESS_COOKIE, sign_in.access_token, sign_in.access_token_ttl),
        _cookie(REFRESH_COOKIE, sign_in.refresh_token, sign_in.refresh_token_ttl),
    )


def forgotten_cookies() -> tuple[str, str]:
    """The Set-Cookie headers that have a browser forget it."""
    nothing, now = Secret(""), timedelta(0)
    return _cookie(ACCESS_COOKIE, nothing, now), _cookie(REFRESH_COOKIE, nothing, now)


def _cookie(name: str, value: Secret, ttl: timedelta) -> str:
    seconds = max(0, int(ttl.total_seconds()))
    return f"{name}={value.reveal()}; Path=/; Max-Age={seconds}; Secure; HttpOnly; SameSite=Strict"
