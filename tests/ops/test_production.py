"""A production server is not started on a weak configuration, and each weakness is named with its cure."""

from typing import Any

import pytest

from ops.config import Config, ConfigError
from ops.encryption_key import EncryptionKey
from ops.production import ensure_fit

_FIT: dict[str, Any] = {
    "environment": "production",
    "public_url": "https://ai.example.com",
    "trusted_proxies": "10.0.0.0/8",
    "encryption_keys": (EncryptionKey.generate(),),
}


def _config(**settings: object) -> Config:
    return Config.model_validate({**_FIT, **settings})


def test_a_fit_configuration() -> None:
    ensure_fit(_config())
    ensure_fit(_config(database_url="postgresql:///assistant?host=/run/postgresql", redis_url="redis://localhost/0"))


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"public_url": None}, "PUBLIC_URL"),
        ({"public_url": "http://ai.example.com"}, "PUBLIC_URL"),
        ({"trusted_proxies": ()}, "TRUSTED_PROXIES"),
        ({"encryption_keys": ()}, "ENCRYPTION_KEYS"),
        ({"allowed_origins": "https://a.example,http://b.example"}, "ALLOWED_ORIGINS"),
        ({"database_url": "postgresql://app:app@db/assistant"}, "DATABASE_URL"),
        ({"database_url": "postgresql://app:postgres@db/assistant"}, "DATABASE_URL"),
        ({"redis_url": "redis://cache:6379/0"}, "REDIS_URL"),
        ({"sign_ins_per_minute": 0}, "SIGN_INS_PER_MINUTE"),
    ],
)
def test_each_weakness_is_named_with_its_cure(settings: dict[str, object], name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ensure_fit(_config(**settings))
    (sentence,) = caught.value.sentences
    assert sentence.startswith(f"ENVIRONMENT is production, but {name} ")
    assert ": " in sentence
    assert "app:app" not in sentence


def test_an_origin_is_never_a_wildcard() -> None:
    with pytest.raises(ValueError, match="neither paths nor"):
        _config(allowed_origins="*")


def test_all_weaknesses_are_told_at_once_and_only_to_production() -> None:
    with pytest.raises(ConfigError) as caught:
        ensure_fit(Config.model_validate({"environment": "production"}))
    assert len(caught.value.sentences) == 3
    ensure_fit(Config())
