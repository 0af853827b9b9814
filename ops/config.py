"""The process's configuration: read once from the environment and .env, checked, and never changed afterwards."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from enum import StrEnum
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Final, get_args, get_origin
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from annotated_types import Ge, Le
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from domain.budget import UnpricedPolicy
from domain.origin import is_trustworthy
from domain.secret import Secret
from domain.server_settings import SignUpPolicy
from domain.settings_service import MAX_SYSTEM_PROMPT_CHARS
from ops.encryption_key import EncryptionKey, parse_keys

_SHOWN_VALUE_CHARACTERS: Final = 60
_EXPECTED_DATABASE_URL: Final = "a PostgreSQL address such as postgresql://user:password@host:5432/name"
_SSL_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_DATABASE_OPTIONS: Final = frozenset({"sslmode", "host", "target_session_attrs", "passfile"})
_EXPECTED_REDIS_URL: Final = (
    "an address such as redis://user:password@host:6379/0, rediss://host (with TLS) or unix:///run/redis.sock"
)
_REDIS_OPTIONS: Final = frozenset({"db", "username", "password"})
_REDIS_TLS_OPTIONS: Final = frozenset(
    {"ssl_ca_certs", "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname", "ssl_keyfile"}
)
# Of the hosts below one, which must not be as much as all of a top-level domain.
_IMAGE_HOST: Final = re.compile(r"(?:[a-z0-9_-]{1,63}|(?:\*\.)?[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})+)")


class ConfigError(Exception):
    """The configuration is wrong; one sentence for each variable that is."""

    def __init__(self, sentences: Sequence[str]) -> None:
        super().__init__("\n".join(sentences))
        self.sentences = tuple(sentences)


class Environment(StrEnum):
    """Who the server is for: its developers, or everybody."""

    DEVELOPMENT = "development"
    PRODUCTION = "production"


class LogLevel(StrEnum):
    """The least severity that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """How a log line looks; `auto` is console on a terminal and JSON everywhere else."""

    AUTO = "auto"
    JSON = "json"
    CONSOLE = "console"


def _in_any_case(kind: type[StrEnum]) -> BeforeValidator:
    """Takes a member however it is written; what is none stays as it was found."""
    members = {member.lower(): member for member in kind}
    return BeforeValidator(lambda value: members.get(value.lower(), value) if isinstance(value, str) else value)


def _as_key(value: object) -> object:
    if not isinstance(value, str):
        return value
    if re.fullmatch(r"[\x21-\x7e]+", value) is None:
        raise ValueError("a key of visible ASCII characters, without spaces or line breaks")
    return Secret(value)


def _as_keys(value: object) -> object:
    return parse_keys(value) if isinstance(value, str) else value


def _as_client_id(value: object) -> object:
    if isinstance(value, str) and re.fullmatch(r"[\x21-\x39\x3b-\x7e]+", value) is None:
        raise ValueError("an id of visible ASCII characters without colons")
    return value


def _as_usd(value: object) -> object:
    if not isinstance(value, str):
        return value
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,6})?", value) is None:
        raise ValueError("an amount in USD such as 2.50")
    return Decimal(value)


def _as_base_url(value: object) -> object:
    if not isinstance(value, str):
        return value
    expected = "an address such as https://api.example.com/v1, without user, query or fragment"
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError as error:
        raise ValueError(expected) from error
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise ValueError(expected)
    if parts.username is not None or parts.query or parts.fragment or re.search(r"\s", value):
        raise ValueError(expected)
    return value.rstrip("/")


def _as_origin(value: object) -> object:
    if not isinstance(value, str):
        return value
    expected = "an origin such as https://app.example.com, without path"
    try:
        address = _as_base_url(value)
    except ValueError as error:
        raise ValueError(expected) from error
    if not isinstance(address, str) or urlsplit(address).path:
        raise ValueError(expected)
    # Browsers send the scheme and host of an Origin header in lower case.
    return address.lower()


def _as_origins(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return tuple(_as_origin(part.strip()) for part in value.split(",") if part.strip())
    except ValueError as error:
        raise ValueError(
            "a comma-separated list of origins such as https://app.example.com (neither paths nor *)"
        ) from error


def _as_system_prompt(value: object) -> object:
    if isinstance(value, str) and len(value) > MAX_SYSTEM_PROMPT_CHARS:
        raise ValueError(f"a text of at most {MAX_SYSTEM_PROMPT_CHARS:,} characters")
    return value


def _as_addresses(value: object) -> object:
    if not isinstance(value, str):
        return value
    addresses = tuple(part.strip() for part in value.split(",") if part.strip())
    try:
        # In the one form that uvicorn understands: of 10.0.0.5/8, say, it would quietly believe nobody.
        return tuple(str(ip_network(each, strict=False)).removesuffix("/32").removesuffix("/128") for each in addresses)
    except ValueError as error:
        raise ValueError("a comma-separated list of addresses or networks such as 10.0.0.0/8") from error


def _as_private_endpoints(value: object) -> object:
    if not isinstance(value, str):
        return value
    entries = tuple(part.strip() for part in value.split(",") if part.strip())
    for entry in entries:
        try:
            ip_network(entry, strict=False)
        except ValueError as error:
            # A name, but none that ends in a number: such a thing is an address in another spelling.
            if re.fullmatch(r"(?:[A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{0,62}[A-Za-z][A-Za-z0-9_-]{0,62}\.?", entry):
                continue
            raise ValueError(
                "a comma-separated list of host names, addresses and networks, such as localhost, 10.0.0.0/8"
            ) from error
    return entries


def _as_image_hosts(value: object) -> object:
    if not isinstance(value, str):
        return value
    hosts = tuple(part.strip().lower() for part in value.split(",") if part.strip())
    if not all(_IMAGE_HOST.fullmatch(host) for host in hosts):
        raise ValueError("a comma-separated list of host names such as images.example.org, *.example.org")
    return hosts


def _as_database_url(value: object) -> object:
    """Turns a libpq address into the form of SQLAlchemy's asyncpg dialect, which knows only some of its options."""
    if not isinstance(value, str):
        return value
    try:
        parts = urlsplit(value)
        options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
        has_host = bool(parts.hostname or options.get("host")) and parts.port != 0
    except ValueError as error:
        raise ValueError(_EXPECTED_DATABASE_URL) from error
    if parts.scheme not in ("postgresql", "postgres", "postgresql+asyncpg") or not has_host:
        raise ValueError(_EXPECTED_DATABASE_URL)
    if len(parts.path) < 2 or "/" in parts.path[1:] or parts.fragment:
        raise ValueError(_EXPECTED_DATABASE_URL)
    if "sslrootcert" in options:
        raise ValueError("no sslrootcert in it: name the certificate file in the variable PGSSLROOTCERT instead")
    if unknown := sorted(options.keys() - _DATABASE_OPTIONS):
        raise ValueError(f"no option but {', '.join(sorted(_DATABASE_OPTIONS))} in it, and not {', '.join(unknown)}")
    if "sslmode" in options:
        options["ssl"] = options.pop("sslmode")
        if options["ssl"] not in _SSL_MODES:
            raise ValueError(f"sslmode to be one of {', '.join(_SSL_MODES)}")
    query = f"?{urlencode(options, quote_via=quote, safe='')}" if options else ""
    return Secret(f"postgresql+asyncpg://{parts.netloc}{parts.path}{query}")


def _as_redis_url(value: object) -> object:
    """Lets pass what names a server, and none of the options that would change how the client behaves."""
    if not isinstance(value, str):
        return value
    try:
        parts = urlsplit(value)
        options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
        if parts.scheme == "unix":
            has_place = not parts.hostname and parts.path.startswith("/")
        else:
            has_place = bool(parts.hostname) and parts.port != 0 and bool(re.fullmatch("(/[0-9]*)?", parts.path))
    except ValueError as error:
        raise ValueError(_EXPECTED_REDIS_URL) from error
    if parts.scheme not in ("redis", "rediss", "unix") or not has_place or parts.fragment or re.search(r"\s", value):
        raise ValueError(_EXPECTED_REDIS_URL)
    known = _REDIS_OPTIONS | (_REDIS_TLS_OPTIONS if parts.scheme == "rediss" else frozenset())
    if options.keys() - known:
        raise ValueError(f"no option but {', '.join(sorted(known))} in it")
    if re.fullmatch(r"[0-9]+", options.get("db", "0")) is None:
        raise ValueError("db to be a number")
    if options.get("ssl_cert_reqs", "required") not in ("none", "optional", "required"):
        raise ValueError("ssl_cert_reqs to be one of none, optional, required")
    return Secret(value)


_Key = Annotated[Secret, BeforeValidator(_as_key)]
_BaseUrl = Annotated[str, BeforeValidator(_as_base_url)]
_Seconds = Annotated[int, Ge(1), Le(86_400)]
_Count = Annotated[int, Ge(1), Le(100_000)]
_Points = Annotated[int, Ge(0), Le(10_000_000)]
_Usd = Annotated[Decimal, BeforeValidator(_as_usd)]
_Days = Annotated[int, Ge(1), Le(3_650)]


class Config(BaseModel):
    """Everything that is decided outside the program. Each field is the variable of the same name in capitals.

    Making one directly reads no environment, so tests get exactly what they name; the server uses `load_config`.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", arbitrary_types_allowed=True, str_strip_whitespace=True, validate_default=True
    )

    host: str = Field("127.0.0.1", min_length=1, description="Address to listen on; 0.0.0.0 is every one.")
    port: Annotated[int, Ge(0), Le(65_535)] = Field(8080, description="Port to listen on; 0 takes a free one.")
    public_url: Annotated[str, BeforeValidator(_as_origin)] | None = Field(
        None, description="Where browsers reach the server, if not at http://localhost:PORT."
    )
    allowed_origins: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_as_origins)] = Field(
        (), description="Other origins whose pages may call the server, separated by commas."
    )
    trusted_proxies: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_as_addresses)] = Field(
        (),
        description="Addresses or networks of proxies, and of nobody else, whose X-Forwarded-For and -Proto are "
        "believed.",
    )
    environment: Annotated[Environment, _in_any_case(Environment)] = Field(
        Environment.DEVELOPMENT, description="`development`, or `production`, which refuses weak configurations."
    )

    data_dir: Annotated[Path, AfterValidator(Path.expanduser)] = Field(
        Path("data"), description="Folder of the embedded database and the server's own secrets."
    )
    database_url: Annotated[Secret, BeforeValidator(_as_database_url)] | None = Field(
        None,
        description="PostgreSQL 14 or newer to use instead of the embedded one: postgresql://user:password@host/name.",
    )
    database_pool_size: Annotated[int, Ge(2), Le(90)] = Field(10, description="Most connections to the database.")
    redis_url: Annotated[Secret, BeforeValidator(_as_redis_url)] | None = Field(
        None,
        description="Redis or Valkey that carries live answers between instances; without it they read them from the "
        "database.",
    )
    encryption_keys: Annotated[tuple[EncryptionKey, ...], NoDecode, BeforeValidator(_as_keys)] = Field(
        (),
        description="Keys that seal stored secrets: `id:base64`, the active one first. Needed with DATABASE_URL; "
        "otherwise one is generated into DATA_DIR.",
    )

    openai_api_key: _Key | None = Field(None, description="OpenAI key for everybody who has none of their own.")
    anthropic_api_key: _Key | None = Field(None, description="Anthropic key for everybody who has none of their own.")
    deepseek_api_key: _Key | None = Field(None, description="DeepSeek key for everybody who has none of their own.")
    openai_base_url: _BaseUrl = Field("https://api.openai.com/v1", description="Where OpenAI's API is.")
    anthropic_base_url: _BaseUrl = Field("https://api.anthropic.com", description="Where Anthropic's API is.")
    deepseek_base_url: _BaseUrl = Field("https://api.deepseek.com", description="Where DeepSeek's API is.")
    private_endpoints: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_as_private_endpoints)] = Field(
        (),
        description="Hosts, addresses or networks, separated by commas, where endpoints may be added although they are "
        "not public or have no TLS.",
    )
    notion_base_url: _BaseUrl = Field("https://api.notion.com", description="Where Notion's API is.")
    notion_look_seconds: Annotated[int, Ge(60), Le(86_400)] = Field(
        900, description="How soon, at most, a published page is compared with Notion again; quiet ones later."
    )
    notion_image_hosts: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_as_image_hosts)] = Field(
        (),
        description="Hosts, separated by commas, whose images may be shown on pages; `*.example.org` is all below it. "
        "Other images become links, for loading one tells its host who reads.",
    )
    notion_oauth_client_id: Annotated[str, BeforeValidator(_as_client_id)] | None = Field(
        None,
        description="Client id of a public connection made at Notion, whose redirect address is PUBLIC_URL plus "
        "/notion/callback; with it people connect by signing in there.",
    )
    notion_oauth_client_secret: _Key | None = Field(None, description="Its client secret; needed with the id.")

    notion_requests_per_minute: Annotated[int, Ge(30), Le(6_000)] = Field(
        180, description="Most requests a minute to Notion through one connection; 600 on its business plans."
    )

    notion_settling_seconds: Annotated[int, Ge(1), Le(3_600)] = Field(
        70,
        description="How long a request to Notion whose answer got lost may still take effect, so that nothing is "
        "written anew before; Notion itself gives up after a minute.",
    )

    system_prompt: Annotated[str, BeforeValidator(_as_system_prompt)] | None = Field(
        None,
        description="Instructions before the prompt, when neither the request nor the user's settings have any.",
    )
    max_prompt_chars: Annotated[int, Ge(1), Le(2_000_000)] = Field(
        200_000, description="Longest prompt, in characters."
    )
    retention_days: _Days | None = Field(
        None, description="Delete generations so many days after they were asked for; people may choose fewer."
    )
    max_running_generations: _Count = Field(50, description="Generations that run at once; others wait in line.")
    max_running_generations_per_user: _Count = Field(5, description="Of these, for one user.")
    generation_timeout_seconds: _Seconds = Field(600, description="Longest run of one generation.")
    first_token_timeout_seconds: _Seconds = Field(120, description="Longest wait for a provider's first word.")
    idle_timeout_seconds: _Seconds = Field(60, description="Longest silence within a provider's answer.")
    provider_retries: Annotated[int, Ge(0), Le(10)] = Field(
        2,
        description="How often a call to a provider is made again that failed for a passing reason and without a word.",
    )
    circuit_breaker_failures: _Count = Field(
        5,
        description="After so many outages in a row a model is left alone for a while, or a provider that cannot be "
        "reached, with that key.",
    )
    restart_interrupted: bool = Field(
        False, description="Whether an answer that a crash cut short is written anew, instead of kept as it is."
    )
    drain_timeout_seconds: Annotated[int, Ge(1), Le(3_600)] = Field(
        30, description="How long running generations may go on after the server was told to stop."
    )
    lease_seconds: Annotated[int, Ge(1), Le(600)] = Field(
        15, description="How soon other instances take over what one was running that has died or hangs."
    )
    websocket_ping_seconds: Annotated[int, Ge(1), Le(600)] = Field(
        20, description="How often a WebSocket's client is asked for a sign of life; silent for as long, it is dropped."
    )

    answer_cache_ttl_seconds: Annotated[int, Ge(0), Le(2_592_000)] = Field(
        3_600, description="How long an answer is kept for those who want it when they ask the same again; 0 is never."
    )
    answer_cache_max_bytes: Annotated[int, Ge(1_000_000), Le(10_000_000_000)] = Field(
        64_000_000,
        description="Most memory for kept answers; with REDIS_URL they are there instead, under its own limit.",
    )
    answer_cache_shared: bool = Field(
        False, description="Whether one person may get the answer that another had to the very same request."
    )

    budget_user_day_usd: _Usd | None = Field(
        None, description="What each user may spend in a day (of UTC), in USD, unless an administrator sets another."
    )
    budget_user_month_usd: _Usd | None = Field(None, description="What each user may spend in a month, in USD.")
    budget_admin_day_usd: _Usd | None = Field(None, description="What each administrator may spend in a day, in USD.")
    budget_admin_month_usd: _Usd | None = Field(
        None, description="What each administrator may spend in a month, in USD."
    )
    budget_unpriced: Annotated[UnpricedPolicy, _in_any_case(UnpricedPolicy)] = Field(
        UnpricedPolicy.ALLOW,
        description="Whether somebody with a budget may use a model whose price is not known: `ALLOW`, which counts as "
        "nothing spent, or `REFUSE`.",
    )
    budget_output_tokens: Annotated[int, Ge(1), Le(1_000_000)] = Field(
        4_096, description="Tokens of answer that a budget keeps back for a request that does not say how many."
    )

    sign_up_policy: Annotated[SignUpPolicy, _in_any_case(SignUpPolicy)] = Field(
        SignUpPolicy.OPEN,
        description="Who may make an account, until an administrator decides: `OPEN` anybody, `INVITE` whoever has an "
        "invitation, `CLOSED` nobody.",
    )
    access_token_ttl_seconds: Annotated[int, Ge(30), Le(86_400)] = Field(600, description="Life of an access token.")
    cookie_sessions: bool = Field(
        False,
        description="Whether browsers may have their sign-in kept in cookies, by the header `X-Session: cookie`; needs "
        "https, or localhost.",
    )
    signing_key_days: _Days = Field(30, description="How long one key signs access tokens before the next one does.")
    refresh_token_idle_days: _Days = Field(14, description="A session ends after so many days without use.")
    refresh_token_absolute_days: _Days = Field(90, description="A session ends after so many days in any case.")
    cost_per_minute: _Points = Field(
        100_000,
        description="Points that one user, or one address of visitors, may spend; a field of an answer is one. 0 is no "
        "limit.",
    )
    generations_per_minute: _Points = Field(60, description="Generations that one user may start; 0 is no limit.")
    sign_ins_per_minute: _Points = Field(60, description="Sign-ins from one address; 0 is no limit.")
    sign_ups_per_hour: _Points = Field(100, description="New accounts from one address; 0 is no limit.")
    password_min_chars: Annotated[int, Ge(15), Le(128)] = Field(15, description="Shortest password, in characters.")

    log_level: Annotated[LogLevel, _in_any_case(LogLevel)] = Field(
        LogLevel.INFO, description="`debug`, `info`, `warning` or `error`."
    )
    log_format: Annotated[LogFormat, _in_any_case(LogFormat)] = Field(
        LogFormat.AUTO, description="`json`, `console`, or `auto`: console on a terminal, else JSON."
    )
    metrics_enabled: bool = Field(True, description="Whether /metrics answers.")

    @field_validator("notion_oauth_client_secret", mode="after")
    @classmethod
    def _client_is_whole(cls, secret: Secret | None, info: ValidationInfo) -> Secret | None:
        if "notion_oauth_client_id" in info.data and (info.data["notion_oauth_client_id"] is None) != (secret is None):
            raise ValueError("both NOTION_OAUTH_CLIENT_ID and NOTION_OAUTH_CLIENT_SECRET, or neither")
        return secret

    @field_validator("cookie_sessions", mode="after")
    @classmethod
    def _cookies_are_kept(cls, is_on: bool, info: ValidationInfo) -> bool:
        public_url = info.data.get("public_url")
        if is_on and public_url is not None and not is_trustworthy(public_url):
            raise ValueError(
                "PUBLIC_URL to be an https address, or localhost: browsers keep these cookies for no other"
            )
        return is_on

    @property
    def notion_redirect_uri(self) -> str:
        """Where Notion sends people back to."""
        return f"{self.origin}/notion/callback"

    @property
    def origin(self) -> str:
        """Where browsers reach the server."""
        return self.public_url or f"http://localhost:{self.port}"


class _ConfigFromEnvironment(BaseSettings, Config):
    model_config = SettingsConfigDict(
        frozen=True,
        # The environment is full of other programs' variables.
        extra="ignore",
        env_file_encoding="utf-8",
        # `OPENAI_API_KEY=` means the same as no such line.
        env_ignore_empty=True,
    )


def load_config(env_file: Path | None = Path(".env")) -> Config:
    """Reads the environment, and under it the given file if it exists. Raises ConfigError."""
    try:
        return _ConfigFromEnvironment(_env_file=env_file)
    except ValidationError as error:
        raise ConfigError([_sentence(details["loc"], details) for details in error.errors()]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{env_file} cannot be read as UTF-8 text ({type(error).__name__})."]) from None


def configuration_table() -> str:
    """The variables as a Markdown table, for the README."""
    lines = ["| Variable | Default | Meaning |", "| --- | --- | --- |"]
    for name, field in Config.model_fields.items():
        default = _written(field.default)
        lines.append(f"| `{name.upper()}` | {f'`{default}`' if default else ''} | {field.description} |")
    return "\n".join(lines) + "\n"


def configuration_example() -> str:
    """The variables with their defaults as comments, for .env.example."""
    lines = [
        "# Copy this file to .env and take the # away where a value should be another. The environment wins over it."
    ]
    for name, field in Config.model_fields.items():
        lines += ["", f"# {field.description}", f"#{name.upper()}={_written(field.default)}"]
    return "\n".join(lines) + "\n"


def _written(default: object) -> str:
    match default:
        case None | ():
            return ""
        case bool():
            return str(default).lower()
        case Path():
            return f"./{default}"
        case _:
            return str(default)


def _sentence(location: tuple[int | str, ...], details: Mapping[str, Any]) -> str:  # Any: pydantic's own error type
    name = str(location[0])
    field = Config.model_fields[name]
    error = details.get("ctx", {}).get("error")
    expected = str(error) if isinstance(error, ValueError) else _expectation(field)
    found = str(details["input"])
    # An address may hold a password before its @.
    if _is_secret(field) or "@" in found:
        return f"{name.upper()} is not right (its value is not shown): expected {expected}."
    if len(found) > _SHOWN_VALUE_CHARACTERS:
        found = found[:_SHOWN_VALUE_CHARACTERS] + "…"
    return f'{name.upper()} is "{found}": expected {expected}.'


def _is_secret(field: FieldInfo) -> bool:
    return "Secret" in str(field.annotation) or "EncryptionKey" in str(field.annotation)


def _expectation(field: FieldInfo) -> str:
    annotation = field.annotation
    # Of what may be left out, the type and its limits are inside the union with None.
    inner = next((each for each in get_args(annotation) if get_origin(each) is Annotated), None)
    if inner is not None:
        return _expectation(FieldInfo.from_annotation(inner))
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return "one of " + ", ".join(annotation)
    if annotation is bool:
        return "true or false"
    if annotation is int:
        low = next(limit.ge for limit in field.metadata if isinstance(limit, Ge))
        high = next(limit.le for limit in field.metadata if isinstance(limit, Le))
        return f"a whole number from {low} to {high}"
    return "a text that is not empty"
