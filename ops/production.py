"""What a server for everybody must not be started with: each weakness with its cure."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl, urlsplit

from ops.config import Config, ConfigError, Environment

_GUESSED_FIRST: Final = frozenset({"", "postgres", "password", "secret", "admin", "changeme"})


def ensure_fit(config: Config) -> None:
    """Raises ConfigError for a production server that is configured weakly; development may be what it likes."""
    if config.environment is Environment.PRODUCTION and (found := weaknesses(config)):
        raise ConfigError([f"ENVIRONMENT is production, but {each}" for each in found])


def weaknesses(config: Config) -> list[str]:
    """One sentence for each."""
    found = []
    if config.public_url is None or not config.public_url.startswith("https://"):
        found.append(
            "PUBLIC_URL is not an https address: give the one that browsers use, such as https://ai.example.com."
        )
    if not config.trusted_proxies:
        found.append(
            "TRUSTED_PROXIES is empty: name the addresses of the proxy where https ends, or all clients look like one."
        )
    if not config.encryption_keys:
        found.append(
            "ENCRYPTION_KEYS is missing: a key beside the data protects nothing. Set k1:$(openssl rand -base64 32)."
        )
    if plain := [each for each in config.allowed_origins if each.startswith("http://") or each == "*"]:
        found.append(f"ALLOWED_ORIGINS has {', '.join(plain)}: allow https addresses only, each by its name.")
    if config.database_url is not None and _is_guessable(config.database_url.reveal()):
        found.append("DATABASE_URL has a password that is guessed first: give the database user another.")
    if config.redis_url is not None and _is_open(config.redis_url.reveal()):
        found.append("REDIS_URL names a server on the network without a password: set one there, and here.")
    unlimited = ("cost_per_minute", "generations_per_minute", "sign_ins_per_minute", "sign_ups_per_hour")
    found += [
        f"{name.upper()} is 0, which is no limit: leave it out, or set it to what people need."
        for name in unlimited
        if getattr(config, name) == 0
    ]
    return found


def _is_guessable(url: str) -> bool:
    parts = urlsplit(url)
    # Without one, the server's own rules (a socket's owner, a certificate, a password file) decide.
    return parts.password is not None and parts.password.lower() in _GUESSED_FIRST | {parts.username or ""}


def _is_open(url: str) -> bool:
    parts = urlsplit(url)
    is_far = parts.scheme != "unix" and parts.hostname not in ("localhost", "127.0.0.1", "::1")
    return is_far and not parts.password and not dict(parse_qsl(parts.query)).get("password")
