"""The configuration is read once, and a wrong value is told in one sentence that shows no secret."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from domain.secret import Secret
from ops.config import Config, ConfigError, LogLevel, load_config
from ops.encryption_key import EncryptionKey

_KEY = EncryptionKey(id="one", material=bytes(range(32)))


def _read(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Config:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return load_config(env_file=None)


def _sentences(monkeypatch: pytest.MonkeyPatch, **variables: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as raised:
        _read(monkeypatch, **variables)
    return raised.value.sentences


def test_nothing_needs_to_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    config = _read(monkeypatch)
    assert config.model_dump() == Config().model_dump()
    assert (config.host, config.port, config.data_dir) == ("127.0.0.1", 8080, Path("data"))
    assert config.database_url is None
    assert config.origin == "http://localhost:8080"


def test_the_environment_wins_over_the_file_and_empty_means_unset(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / ".env"
    file.write_text('PORT=1\nHOST="0.0.0.0"\nOPENAI_API_KEY=\nSOMEBODY_ELSES=1\n')
    monkeypatch.setenv("PORT", "2")
    monkeypatch.setenv("DATABASE_URL", "")
    config = load_config(env_file=file)
    assert (config.host, config.port, config.openai_api_key, config.database_url) == ("0.0.0.0", 2, None, None)


def test_a_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_bytes(b"PORT=\xff\xfe")
    with pytest.raises(ConfigError, match=r"\.env cannot be read as UTF-8 text"):
        load_config(env_file=file)


def test_made_directly_it_reads_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-real")
    assert Config(port=0).openai_api_key is None


def test_half_a_client_at_notion_is_no_client(monkeypatch: pytest.MonkeyPatch) -> None:
    both = {"NOTION_OAUTH_CLIENT_ID": "one", "NOTION_OAUTH_CLIENT_SECRET": "secret_two"}
    config = _read(monkeypatch, PUBLIC_URL="https://notes.example", **both)
    assert config.notion_redirect_uri == "https://notes.example/notion/callback"
    for name, value in both.items():
        monkeypatch.delenv(name)
        (sentence,) = _sentences(monkeypatch)
        assert sentence.endswith("expected both NOTION_OAUTH_CLIENT_ID and NOTION_OAUTH_CLIENT_SECRET, or neither.")
        monkeypatch.setenv(name, value)
    (sentence,) = _sentences(monkeypatch, NOTION_OAUTH_CLIENT_ID="a:b")
    assert "without colons" in sentence


def test_cookies_need_an_address_that_browsers_keep_them_for(monkeypatch: pytest.MonkeyPatch) -> None:
    (sentence,) = _sentences(monkeypatch, COOKIE_SESSIONS="true", PUBLIC_URL="http://ai.internal:8080")
    assert sentence == (
        'COOKIE_SESSIONS is "true": expected PUBLIC_URL to be an https address, or localhost: browsers keep these '
        "cookies for no other."
    )
    for address in ("https://ai.internal", "http://localhost:3000", "http://127.0.0.1:8080", "http://[::1]:8080", ""):
        assert _read(monkeypatch, COOKIE_SESSIONS="true", PUBLIC_URL=address).cookie_sessions
    assert not _read(monkeypatch, COOKIE_SESSIONS="", PUBLIC_URL="http://ai.internal").cookie_sessions


def test_hosts_of_images_are_taken_in_lower_case(monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = "Images.Example.org , *.cdn.example.org,localhost, 192.0.2.7,"
    expected = ("images.example.org", "*.cdn.example.org", "localhost", "192.0.2.7")
    assert _read(monkeypatch, NOTION_IMAGE_HOSTS=hosts).notion_image_hosts == expected


@pytest.mark.parametrize(
    "hosts",
    [
        "https://a.example",
        "a.example:443",
        "a.example/x",
        "*",
        "*.org",
        "a.*.org",
        "*a.org",
        ".a.org",
        "a b",
        "bücher.example",
    ],
)
def test_what_is_no_host_of_images_is_told(monkeypatch: pytest.MonkeyPatch, hosts: str) -> None:
    (sentence,) = _sentences(monkeypatch, NOTION_IMAGE_HOSTS=f"good.example,{hosts}")
    assert sentence == (
        f'NOTION_IMAGE_HOSTS is "good.example,{hosts}": expected a comma-separated list of host names such as '
        "images.example.org, *.example.org."
    )


def test_it_cannot_be_changed() -> None:
    config = Config()
    with pytest.raises(ValidationError):
        config.port = 1  # type: ignore[misc] # what is being tested


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("PORT", "eighty", 'PORT is "eighty": expected a whole number from 0 to 65535.'),
        ("PORT", "65536", 'PORT is "65536": expected a whole number from 0 to 65535.'),
        ("RETENTION_DAYS", "0", 'RETENTION_DAYS is "0": expected a whole number from 1 to 3650.'),
        ("SIGNING_KEY_DAYS", "x", 'SIGNING_KEY_DAYS is "x": expected a whole number from 1 to 3650.'),
        ("SIGN_UP_POLICY", "Maybe", 'SIGN_UP_POLICY is "Maybe": expected one of OPEN, INVITE, CLOSED.'),
        ("BUDGET_UNPRICED", "x", 'BUDGET_UNPRICED is "x": expected one of ALLOW, REFUSE.'),
        ("LOG_LEVEL", "Loud", 'LOG_LEVEL is "Loud": expected one of debug, info, warning, error.'),
        ("HOST", " ", 'HOST is " ": expected a text that is not empty.'),
        ("ENVIRONMENT", "test", 'ENVIRONMENT is "test": expected one of development, production.'),
        ("METRICS_ENABLED", "maybe", 'METRICS_ENABLED is "maybe": expected true or false.'),
        ("PASSWORD_MIN_CHARS", "7", 'PASSWORD_MIN_CHARS is "7": expected a whole number from 15 to 128.'),
        (
            "PUBLIC_URL",
            "https://example.com/path",
            'PUBLIC_URL is "https://example.com/path": expected an origin such as https://app.example.com, '
            "without path.",
        ),
        (
            "ALLOWED_ORIGINS",
            "*",
            'ALLOWED_ORIGINS is "*": expected a comma-separated list of origins such as https://app.example.com '
            "(neither paths nor *).",
        ),
        (
            "TRUSTED_PROXIES",
            "everybody",
            'TRUSTED_PROXIES is "everybody": expected a comma-separated list of addresses or networks such as '
            "10.0.0.0/8.",
        ),
        (
            "NOTION_BASE_URL",
            "x" * 100,
            f'NOTION_BASE_URL is "{"x" * 60}…": expected an address such as https://api.example.com/v1, without user, '
            "query or fragment.",
        ),
    ],
)
def test_a_wrong_value_is_told_with_what_is_expected(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, sentence: str
) -> None:
    assert _sentences(monkeypatch, **{name: value}) == (sentence,)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OPENAI_API_KEY", "sk geheim"),
        ("ANTHROPIC_API_KEY", "geheim\n"),
        ("DEEPSEEK_API_KEY", "gehéim"),
        ("DATABASE_URL", "mysql://user:geheim@host/name"),
        ("DATABASE_URL", "postgresql://user:geheim@host:port/name"),
        ("DATABASE_URL", "postgresql://user:geheim@host"),
        ("DATABASE_URL", "postgresql://user:geheim@host/name?geheim=1"),
        ("DATABASE_URL", "postgresql://user:geheim@host/name?sslmode=geheim"),
        ("DATABASE_URL", "postgresql:///name?password=geheim"),
        ("REDIS_URL", "http://:geheim@host"),
        ("REDIS_URL", "redis://:geheim@"),
        ("REDIS_URL", "redis://:geheim@host:0"),
        ("REDIS_URL", "redis://:geheim@host:port"),
        ("REDIS_URL", "redis://:geheim@host/name"),
        ("REDIS_URL", "redis://:gehe im@host"),
        ("REDIS_URL", "redis://host/0#geheim"),
        ("REDIS_URL", "redis://host?password=geheim&socket_timeout=1"),
        ("REDIS_URL", "redis://host?password=geheim&ssl_cert_reqs=none"),
        ("REDIS_URL", "rediss://host?password=geheim&ssl_cert_reqs=maybe"),
        ("REDIS_URL", "redis://host?db=geheim"),
        ("REDIS_URL", "unix://:geheim@"),
        ("REDIS_URL", "unix://:geheim@host/run/redis.sock"),
        ("ENCRYPTION_KEYS", "one:geheim"),
        ("ENCRYPTION_KEYS", f"{_KEY.written()},{_KEY.written()}"),
        ("ENCRYPTION_KEYS", _KEY.written()[:-5]),
        ("OPENAI_BASE_URL", "https://user:geheim@host/v1"),
    ],
)
def test_a_wrong_secret_is_told_without_it(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    (sentence,) = _sentences(monkeypatch, **{name: value})
    assert sentence.startswith(f"{name} is not right (its value is not shown): expected ")
    assert "geh" not in sentence.replace("geheim in it", "").replace("not geheim", "")
    assert _KEY.written() not in sentence


def test_every_wrong_variable_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sentences = _sentences(monkeypatch, PORT="x", LOG_LEVEL="y", OPENAI_API_KEY="z z")
    assert [sentence.split()[0] for sentence in sentences] == ["PORT", "OPENAI_API_KEY", "LOG_LEVEL"]


@pytest.mark.parametrize(
    ("given", "understood"),
    [
        ("postgresql://u:p%40@h:5433/db", "postgresql+asyncpg://u:p%40@h:5433/db"),
        ("postgres://h/db", "postgresql+asyncpg://h/db"),
        ("postgresql://u@h/db?sslmode=verify-full", "postgresql+asyncpg://u@h/db?ssl=verify-full"),
        ("postgresql:///db?host=/run/postgresql", "postgresql+asyncpg:///db?host=%2Frun%2Fpostgresql"),
        ("postgresql://u@[::1]:5432/db", "postgresql+asyncpg://u@[::1]:5432/db"),
    ],
)
def test_a_database_address_becomes_sqlalchemys(monkeypatch: pytest.MonkeyPatch, given: str, understood: str) -> None:
    assert _read(monkeypatch, DATABASE_URL=given).database_url == Secret(understood)


@pytest.mark.parametrize(
    "address",
    [
        "redis://host",
        "redis://user:p%40@host:6380/2",
        "redis://:p@[::1]:6379/",
        "rediss://host/0?ssl_ca_certs=/etc/ca.pem&ssl_cert_reqs=optional&ssl_check_hostname=false",
        "unix:///run/redis.sock?db=1&password=p",
        "unix://user:p@/run/redis.sock",
    ],
)
def test_an_address_of_redis_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    assert _read(monkeypatch, REDIS_URL=address).redis_url == Secret(address)


def test_lists_keys_and_capitals_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    other = EncryptionKey.generate()
    config = _read(
        monkeypatch,
        ALLOWED_ORIGINS="https://App.example.com/, http://localhost:5173",
        TRUSTED_PROXIES="10.0.0.0/8,::1",
        ENCRYPTION_KEYS=f"{_KEY.written()}, {other.written()}",
        LOG_LEVEL="WARNING",
        OPENAI_BASE_URL="http://127.0.0.1:9/v1/",
    )
    assert config.allowed_origins == ("https://app.example.com", "http://localhost:5173")
    assert config.trusted_proxies == ("10.0.0.0/8", "::1")
    assert config.encryption_keys == (_KEY, other)
    assert config.log_level is LogLevel.WARNING
    assert config.openai_base_url == "http://127.0.0.1:9/v1"


def test_it_prints_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    config = _read(
        monkeypatch,
        OPENAI_API_KEY="sk-geheim",
        DATABASE_URL="postgresql://u:geheim@h/db",
        REDIS_URL="redis://:geheim@h",
        ENCRYPTION_KEYS=_KEY.written(),
    )
    printed = f"{config} {config!r}"
    assert "geheim" not in printed
    assert str(_KEY.material) not in printed
