"""What is stored: the tables, and the constraints, indexes and triggers that keep wrong states out of them.

Checks on long texts measure octets, because PostgreSQL knows those without reading the text, and it checks a row again
on every update of it.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Final

from sqlalchemy import (
    DDL,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    Date,
    DateTime,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    event,
    false,
    func,
    text,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TSVECTOR

from domain.account import Role
from domain.account_link import LinkPurpose
from domain.budget import BudgetPeriod
from domain.generation import ChunkKind, GenerationStatus
from domain.notion import NotionTokenKind
from domain.page_sync import VersionOrigin
from domain.provider import ProviderKind
from domain.provider_attempt import AttemptStatus
from domain.publication import NotionPageState, PublicationStatus, PublishMode
from domain.server_settings import SignUpPolicy

metadata: Final = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

_INSTANT: Final = DateTime(timezone=True)
_NO_OBJECT: Final = text("'{}'::jsonb")
_NO_LIST: Final = text("'[]'::jsonb")


def _one_of(column: str, values: type[StrEnum]) -> CheckConstraint:
    listed = ", ".join(f"'{value.value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=column)


def _ddl(statement: str) -> DDL:
    return DDL(statement)  # type: ignore[no-untyped-call]  # SQLAlchemy has not annotated its constructor


def _failure_columns() -> tuple[Column[str] | Column[int], ...]:
    return (
        Column("failure_code", Text),
        Column("failure_message", Text),
        Column("failure_reason", Text),
        Column("failure_retry_after_seconds", Integer),
    )


def _failure_is_whole() -> CheckConstraint:
    return CheckConstraint(
        "(failure_code IS NULL) = (failure_message IS NULL)"
        " AND (failure_code IS NOT NULL OR num_nonnulls(failure_reason, failure_retry_after_seconds) = 0)",
        name="failure_is_whole",
    )


def _billing_columns() -> tuple[Column[int] | Column[bool] | Column[Decimal] | Column[str], ...]:
    return (
        Column("input_tokens", BigInteger),
        Column("cached_input_tokens", BigInteger),
        Column("cache_write_tokens", BigInteger),
        Column("output_tokens", BigInteger),
        Column("reasoning_tokens", BigInteger),
        Column("usage_is_estimated", Boolean, nullable=False, server_default=false()),
        Column("cost_usd", Numeric),
        Column("price_version", Text),
    )


def _billing_is_right() -> tuple[CheckConstraint, ...]:
    return (
        CheckConstraint(
            "num_nonnulls(input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens)"
            " IN (0, 5)",
            name="usage_is_whole",
        ),
        CheckConstraint(
            "least(input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens) >= 0",
            name="usage_is_not_negative",
        ),
        # Below infinity is neither infinite nor NaN, which PostgreSQL sorts above it.
        CheckConstraint("cost_usd >= 0 AND cost_usd < 'Infinity'::numeric", name="cost_is_not_negative"),
        CheckConstraint("(cost_usd IS NULL) = (price_version IS NULL)", name="cost_has_price_version"),
    )


users: Final = Table(
    "users",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("email", Text, nullable=False),
    # The address folded by this program: lower() of a database depends on its locale, and in many is blind to É and é.
    Column("email_key", Text, nullable=False, unique=True),
    Column("username", Text, nullable=False),
    Column("password_hash", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("is_active", Boolean, nullable=False, server_default=true()),
    Column("created_at", _INSTANT, nullable=False),
    Column("updated_at", _INSTANT, nullable=False),
    CheckConstraint("char_length(email) BETWEEN 3 AND 254", name="email_size"),
    CheckConstraint(
        'octet_length(email) > char_length(email) OR email_key = lower(email COLLATE "C")', name="email_key_is_email"
    ),
    CheckConstraint("char_length(username) BETWEEN 3 AND 40", name="username_size"),
    CheckConstraint("octet_length(username) = char_length(username)", name="username_is_ascii"),
    CheckConstraint("octet_length(password_hash) BETWEEN 1 AND 1024", name="password_hash_size"),
    _one_of("role", Role),
    # Usernames are ASCII, and the C collation folds that alike in every database.
    Index("uq_users_username", text('lower(username COLLATE "C")'), unique=True),
)

sessions: Final = Table(
    "sessions",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("refresh_hash", LargeBinary, nullable=False),
    Column("previous_hash", LargeBinary),
    Column("created_at", _INSTANT, nullable=False),
    Column("last_seen_at", _INSTANT, nullable=False),
    Column("rotated_at", _INSTANT, nullable=False),
    Column("expires_at", _INSTANT, nullable=False),
    Column("revoked_at", _INSTANT),
    Column("user_agent", Text),
    Column("ip", Text),
    Column("rotation_salt", LargeBinary),
    CheckConstraint("octet_length(refresh_hash) = 32", name="refresh_hash_size"),
    CheckConstraint("octet_length(previous_hash) = 32", name="previous_hash_size"),
    CheckConstraint("octet_length(rotation_salt) = 32", name="rotation_salt_size"),
    CheckConstraint("octet_length(user_agent) <= 4096", name="user_agent_size"),
    CheckConstraint("octet_length(ip) <= 128", name="ip_size"),
)

# Of a link's secret only SHA-256 is kept.
account_links: Final = Table(
    "account_links",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("purpose", Text, nullable=False),
    Column("secret_hash", LargeBinary, nullable=False, unique=True),
    Column("role", Text),
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), index=True),
    Column("created_by", ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("created_at", _INSTANT, nullable=False),
    Column("expires_at", _INSTANT, nullable=False),
    Column("used_at", _INSTANT),
    CheckConstraint("octet_length(secret_hash) = 32", name="secret_hash_size"),
    CheckConstraint("(purpose = 'INVITATION') = (role IS NOT NULL)", name="invitation_has_role"),
    CheckConstraint("(purpose = 'PASSWORD_RESET') = (user_id IS NOT NULL)", name="reset_has_user"),
    _one_of("purpose", LinkPurpose),
    _one_of("role", Role),
)

# Tries to sign in that have failed, or not ended yet; the key is a hash of who and where.
sign_in_attempts: Final = Table(
    "sign_in_attempts",
    metadata,
    Column("key", LargeBinary, primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("blocked_until", _INSTANT, nullable=False),
    Column("updated_at", _INSTANT, nullable=False, index=True),
    CheckConstraint("octet_length(key) = 32", name="key_size"),
    CheckConstraint("failures >= 0", name="failures_are_not_negative"),
)

# Of a token's secret only SHA-256 is kept; a revoked token is deleted.
access_tokens: Final = Table(
    "access_tokens",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("name", Text, nullable=False),
    Column("prefix", Text, nullable=False),
    Column("secret_hash", LargeBinary, nullable=False, unique=True),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("created_at", _INSTANT, nullable=False),
    Column("expires_at", _INSTANT),
    Column("last_used_at", _INSTANT),
    CheckConstraint("char_length(name) BETWEEN 1 AND 100", name="name_size"),
    CheckConstraint("char_length(prefix) BETWEEN 1 AND 16", name="prefix_size"),
    CheckConstraint("octet_length(secret_hash) = 32", name="secret_hash_size"),
    CheckConstraint(
        "cardinality(scopes) >= 1 AND scopes <@ ARRAY['READ', 'GENERATE', 'PUBLISH', 'ADMIN']", name="scopes"
    ),
)

signing_keys: Final = Table(
    "signing_keys",
    metadata,
    Column("kid", Text, primary_key=True),
    Column("algorithm", Text, nullable=False),
    Column("encrypted_private_key", LargeBinary, nullable=False),
    Column("encryption_key_id", Text, nullable=False),
    Column("public_key", Text, nullable=False),
    Column("is_active", Boolean, nullable=False, server_default=false()),
    Column("created_at", _INSTANT, nullable=False),
    # From then on its tokens are refused, which is some time after it has signed the last of them.
    Column("retired_at", _INSTANT),
    # NULL before it signs.
    Column("activated_at", _INSTANT),
    CheckConstraint("octet_length(kid) BETWEEN 1 AND 128", name="kid_size"),
    CheckConstraint("NOT is_active OR retired_at IS NULL", name="active_is_not_retired"),
    Index("uq_signing_keys_active", "is_active", unique=True, postgresql_where=text("is_active")),
    Index(
        "uq_signing_keys_next",
        "is_active",
        unique=True,
        postgresql_where=text("NOT is_active AND activated_at IS NULL AND retired_at IS NULL"),
    ),
)

periodic_slots: Final = Table(
    "periodic_slots",
    metadata,
    Column("job", Text, primary_key=True),
    Column("slot", _INSTANT, nullable=False),
)

ai_providers: Final = Table(
    "ai_providers",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    # NULL leaves it to the configuration.
    Column("api_endpoint", Text),
    # Objects of "id", "name" and, as far as known, "context_window", "max_output_tokens" and "parameters".
    Column("models", JSONB, nullable=False, server_default=_NO_LIST),
    Column("config", JSONB, nullable=False, server_default=_NO_OBJECT),
    Column("is_active", Boolean, nullable=False, server_default=true()),
    # The order in which they are offered.
    Column("position", Integer, nullable=False),
    CheckConstraint("octet_length(id) BETWEEN 1 AND 64", name="id_size"),
    CheckConstraint("char_length(name) BETWEEN 1 AND 200", name="name_size"),
    CheckConstraint("jsonb_typeof(models) = 'array'", name="models_is_list"),
    CheckConstraint("jsonb_typeof(config) = 'object'", name="config_is_object"),
    _one_of("kind", ProviderKind),
)

api_keys: Final = Table(
    "api_keys",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("provider_id", ForeignKey("ai_providers.id"), nullable=False),
    Column("encrypted_key", LargeBinary, nullable=False),
    Column("encryption_key_id", Text, nullable=False),
    Column("hint", Text, nullable=False),
    Column("is_active", Boolean, nullable=False, server_default=true()),
    Column("created_at", _INSTANT, nullable=False),
    Column("expires_at", _INSTANT),
    Column("last_used_at", _INSTANT),
    CheckConstraint("octet_length(encrypted_key) BETWEEN 1 AND 8192", name="encrypted_key_size"),
    CheckConstraint("char_length(hint) <= 16", name="hint_size"),
    Index("ix_api_keys_user_id_provider_id_created_at", "user_id", "provider_id", "created_at"),
)

notion_connections: Final = Table(
    "notion_connections",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), nullable=False, unique=True),
    Column("bot_id", Text, nullable=False),
    Column("workspace_id", Text),
    Column("workspace_name", Text, nullable=False),
    Column("encrypted_token", LargeBinary, nullable=False),
    Column("encryption_key_id", Text, nullable=False),
    Column("connected_at", _INSTANT, nullable=False),
    Column("kind", Text, nullable=False, server_default=NotionTokenKind.INTEGRATION.value),
    Column("encrypted_refresh_token", LargeBinary),
    Column("refresh_encryption_key_id", Text),
    # Until then one instance alone exchanges the refresh token.
    Column("renewal_until", _INSTANT),
    Column("rejected_at", _INSTANT),
    CheckConstraint("octet_length(encrypted_token) BETWEEN 1 AND 8192", name="encrypted_token_size"),
    CheckConstraint("octet_length(encrypted_refresh_token) BETWEEN 1 AND 8192", name="encrypted_refresh_token_size"),
    CheckConstraint(
        "(encrypted_refresh_token IS NULL) = (refresh_encryption_key_id IS NULL)", name="refresh_token_has_key"
    ),
    _one_of("kind", NotionTokenKind),
)

# Who has gone to Notion to allow access, and is waited for: one for each sign-in.
notion_authorizations: Final = Table(
    "notion_authorizations",
    metadata,
    Column("session_id", ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True),
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("state_hash", LargeBinary, nullable=False, unique=True),
    Column("browser_hash", LargeBinary, nullable=False),
    Column("return_to", Text),
    Column("expires_at", _INSTANT, nullable=False),
    CheckConstraint("octet_length(state_hash) = 32", name="state_hash_size"),
    CheckConstraint("octet_length(browser_hash) = 32", name="browser_hash_size"),
    CheckConstraint("octet_length(return_to) BETWEEN 1 AND 2000", name="return_to_size"),
)

user_settings: Final = Table(
    "user_settings",
    metadata,
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("default_provider", ForeignKey("ai_providers.id", ondelete="SET NULL")),
    Column("default_model", Text),
    Column("system_prompt", Text),
    # Objects of "provider" and, where it is not the provider's default, "model".
    Column("fallback", JSONB, nullable=False, server_default=_NO_LIST),
    Column("use_cache", Boolean, nullable=False, server_default=false()),
    # An object of "parent_id", "auto_publish" and "property_map".
    Column("notion_config", JSONB, nullable=False, server_default=_NO_OBJECT),
    Column("ui_preferences", JSONB, nullable=False, server_default=_NO_OBJECT),
    # How long generations are kept; NULL leaves it to the server.
    Column("retention_days", Integer),
    Column("updated_at", _INSTANT, nullable=False),
    CheckConstraint("retention_days BETWEEN 1 AND 36500", name="retention_days_range"),
    CheckConstraint("octet_length(system_prompt) <= 4194304", name="system_prompt_size"),
    CheckConstraint("jsonb_typeof(fallback) = 'array'", name="fallback_is_list"),
    CheckConstraint("jsonb_typeof(notion_config) = 'object'", name="notion_config_is_object"),
    CheckConstraint("jsonb_typeof(ui_preferences) = 'object'", name="ui_preferences_is_object"),
)

# A generation. No index holds what a running one changes again and again (its lease, its cancellation, its parameters),
# so that these updates stay on their page and touch no index.
content_history: Final = Table(
    "content_history",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("parent_id", ForeignKey("content_history.id", ondelete="SET NULL")),
    Column("provider", ForeignKey("ai_providers.id"), nullable=False),
    Column("model", Text, nullable=False),
    Column("prompt", Text, nullable=False),
    Column("system_prompt", Text),
    # Both stay empty until the end: what is being written lives in generation_chunks.
    Column("generated_content", Text, nullable=False, server_default=text("''")),
    Column("reasoning", Text, nullable=False, server_default=text("''")),
    Column("parameters", JSONB, nullable=False, server_default=_NO_OBJECT),
    # Objects of "provider" and "model", in the order in which they are asked when those above fail.
    Column("fallback", JSONB, nullable=False, server_default=_NO_LIST),
    Column("metadata", JSONB, nullable=False, server_default=_NO_OBJECT),
    Column("status", Text, nullable=False),
    Column("epoch", Integer, nullable=False, server_default=text("0")),
    Column("fence", Integer, nullable=False, server_default=text("0")),
    Column("owner", Text),
    Column("lease_until", _INSTANT),
    Column("cancel_requested_at", _INSTANT),
    *_billing_columns(),
    # What the budgets keep back for it; given back when it ends.
    Column("reserved_usd", Numeric),
    # Under which its answer is kept for requests that come again, and whether it was answered from there itself.
    Column("cache_key", LargeBinary),
    Column("is_cached", Boolean, nullable=False, server_default=false()),
    Column("finish_reason", Text),
    *_failure_columns(),
    Column("idempotency_key", Text),
    Column("request_hash", LargeBinary, nullable=False),
    Column("created_at", _INSTANT, nullable=False),
    Column("started_at", _INSTANT),
    Column("finished_at", _INSTANT),
    Column("search", TSVECTOR, Computed("searchable_text(prompt, generated_content)", persisted=True)),
    _one_of("status", GenerationStatus),
    CheckConstraint("(status IN ('QUEUED', 'RUNNING')) = (finished_at IS NULL)", name="final_is_finished"),
    CheckConstraint("(status = 'RUNNING') = (owner IS NOT NULL)", name="running_has_owner"),
    CheckConstraint("(status = 'RUNNING') = (lease_until IS NOT NULL)", name="running_has_lease"),
    CheckConstraint("status NOT IN ('RUNNING', 'SUCCEEDED') OR started_at IS NOT NULL", name="run_has_started"),
    CheckConstraint(
        "CASE WHEN status IN ('FAILED', 'INTERRUPTED') THEN failure_code IS NOT NULL"
        " WHEN status <> 'CANCELLED' THEN failure_code IS NULL ELSE true END",
        name="failed_has_failure",
    ),
    _failure_is_whole(),
    CheckConstraint("epoch >= 0 AND fence >= 0", name="counters_are_not_negative"),
    *_billing_is_right(),
    CheckConstraint("reserved_usd > 0 AND reserved_usd < 'Infinity'::numeric", name="reserved_is_positive"),
    CheckConstraint("octet_length(request_hash) = 32", name="request_hash_size"),
    CheckConstraint("octet_length(cache_key) = 32", name="cache_key_size"),
    CheckConstraint("char_length(idempotency_key) BETWEEN 1 AND 255", name="idempotency_key_size"),
    CheckConstraint("octet_length(model) BETWEEN 1 AND 1024", name="model_size"),
    CheckConstraint("octet_length(prompt) BETWEEN 1 AND 16777216", name="prompt_size"),
    CheckConstraint("octet_length(system_prompt) <= 4194304", name="system_prompt_size"),
    CheckConstraint("octet_length(generated_content) <= 67108864", name="generated_content_size"),
    CheckConstraint("octet_length(reasoning) <= 67108864", name="reasoning_size"),
    CheckConstraint("jsonb_typeof(parameters) = 'object'", name="parameters_is_object"),
    CheckConstraint("jsonb_typeof(fallback) = 'array'", name="fallback_is_list"),
    CheckConstraint("jsonb_typeof(metadata) = 'object'", name="metadata_is_object"),
    UniqueConstraint("user_id", "id"),
    Index("ix_content_history_user_id_status_id", "user_id", "status", "id"),
    Index("ix_content_history_user_id_provider_id", "user_id", "provider", "id"),
    Index("ix_content_history_user_id_model_id", "user_id", "model", "id"),
    Index("ix_content_history_user_id_created_at", "user_id", "created_at"),
    Index("ix_content_history_search", "search", postgresql_using="gin"),
    Index("ix_content_history_parent_id", "parent_id", postgresql_where=text("parent_id IS NOT NULL")),
    Index("ix_content_history_queued", "user_id", "id", postgresql_where=text("status = 'QUEUED'")),
    Index("ix_content_history_running", "user_id", postgresql_where=text("status = 'RUNNING'")),
    Index(
        "uq_content_history_idempotency_key",
        "user_id",
        "idempotency_key",
        unique=True,
        postgresql_where=text("idempotency_key IS NOT NULL"),
    ),
    # Room on every page for the next version of a row that is running.
    postgresql_with={"fillfactor": 85},
)

# A call to a provider. It outlives its generation, because what was spent must stay known.
provider_attempts: Final = Table(
    "provider_attempts",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("generation_id", ForeignKey("content_history.id", ondelete="SET NULL"), index=True),
    Column("provider", ForeignKey("ai_providers.id"), nullable=False),
    Column("model", Text, nullable=False),
    # What was really sent, without the texts.
    Column("parameters", JSONB, nullable=False, server_default=_NO_OBJECT),
    Column("status", Text, nullable=False),
    Column("started_at", _INSTANT, nullable=False),
    Column("finished_at", _INSTANT),
    Column("first_token_ms", Integer),
    Column("retry_at", _INSTANT),
    *_billing_columns(),
    *_failure_columns(),
    _one_of("status", AttemptStatus),
    CheckConstraint("(status = 'RUNNING') = (finished_at IS NULL)", name="running_is_unfinished"),
    CheckConstraint("(status IN ('FAILED', 'SKIPPED')) = (failure_code IS NOT NULL)", name="failed_has_failure"),
    _failure_is_whole(),
    *_billing_is_right(),
    CheckConstraint("retry_at IS NULL OR status = 'FAILED'", name="failed_is_retried"),
    CheckConstraint("first_token_ms >= 0", name="first_token_is_not_negative"),
    CheckConstraint("octet_length(model) BETWEEN 1 AND 1024", name="model_size"),
    CheckConstraint("jsonb_typeof(parameters) = 'object'", name="parameters_is_object"),
    Index("ix_provider_attempts_user_id_started_at", "user_id", "started_at"),
    Index("ix_provider_attempts_started_at", "started_at"),
)

# What administrators have set. NULL is no limit at all; without a row the role's counts, then the configuration's.
budget_limits: Final = Table(
    "budget_limits",
    metadata,
    Column("id", Integer, Identity(always=True), primary_key=True),
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE")),
    Column("role", Text),
    Column("period", Text, nullable=False),
    Column("limit_usd", Numeric),
    UniqueConstraint("user_id", "period"),
    UniqueConstraint("role", "period"),
    CheckConstraint("num_nonnulls(user_id, role) = 1", name="has_one_subject"),
    CheckConstraint("limit_usd >= 0 AND limit_usd < 'Infinity'::numeric", name="limit_is_not_negative"),
    _one_of("role", Role),
    _one_of("period", BudgetPeriod),
)

# What a user has spent and reserved, in every day and month (of UTC) in which that was anything.
budget_periods: Final = Table(
    "budget_periods",
    metadata,
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("period", Text, primary_key=True),
    Column("first_day", Date, primary_key=True),
    Column("spent_usd", Numeric, nullable=False, server_default=text("0")),
    Column("reserved_usd", Numeric, nullable=False, server_default=text("0")),
    # Calls whose cost is not known, and so is not in spent_usd.
    Column("unpriced_count", Integer, nullable=False, server_default=text("0")),
    _one_of("period", BudgetPeriod),
    # All that changes again and again is outside of the index, and has room on the page.
    postgresql_with={"fillfactor": 85},
)

generation_chunks: Final = Table(
    "generation_chunks",
    metadata,
    Column("generation_id", ForeignKey("content_history.id", ondelete="CASCADE"), primary_key=True),
    Column("epoch", Integer, primary_key=True, autoincrement=False),
    Column("kind", Text, primary_key=True),
    # In characters from the beginning of the text.
    Column("start", Integer, primary_key=True, autoincrement=False),
    Column("text", Text, nullable=False),
    CheckConstraint("epoch >= 0", name="epoch_is_not_negative"),
    CheckConstraint('"start" >= 0', name="start_is_not_negative"),
    CheckConstraint("octet_length(text) BETWEEN 1 AND 67108864", name="text_size"),
    _one_of("kind", ChunkKind),
)

notion_pages: Final = Table(
    "notion_pages",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("page_id", Text, nullable=False, index=True),
    Column("parent_id", Text),
    Column("title", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("created_at", _INSTANT, nullable=False),
    Column("last_sync", _INSTANT, nullable=False),
    Column("state", Text, nullable=False),
    # False: somebody else's page, to which an answer was appended. Each of these answers has a row of its own.
    Column("is_ours", Boolean, nullable=False, server_default=true()),
    # Numbers of versions: what counts here, what both last agreed on, what Notion showed last.
    Column("current_version", Integer, nullable=False, server_default=text("1")),
    Column("base_version", Integer, nullable=False, server_default=text("1")),
    Column("notion_version", Integer, nullable=False, server_default=text("1")),
    # NULL until the page is read for the first time after this server has written to it.
    Column("base_fingerprint", LargeBinary),
    Column("notion_fingerprint", LargeBinary),
    # By Notion, rounded down to the minute; NULL when the page is to be read in any case.
    Column("edited_at", _INSTANT),
    Column("read_at", _INSTANT),
    Column("next_look_at", _INSTANT, nullable=False, server_default=text("(now() + '00:10:00'::interval)")),
    CheckConstraint("octet_length(page_id) BETWEEN 1 AND 128", name="page_id_size"),
    CheckConstraint("octet_length(url) BETWEEN 1 AND 8192", name="url_size"),
    CheckConstraint("least(current_version, base_version, notion_version) >= 1", name="versions_are_positive"),
    CheckConstraint("octet_length(base_fingerprint) = 32", name="base_fingerprint_size"),
    CheckConstraint("octet_length(notion_fingerprint) = 32", name="notion_fingerprint_size"),
    _one_of("state", NotionPageState),
    Index("uq_notion_pages_page_id", "page_id", unique=True, postgresql_where=text("is_ours")),
    Index("ix_notion_pages_parent_id", "parent_id"),
    Index("ix_notion_pages_next_look_at", "next_look_at"),
)

# What each page has said, here and in Notion. Nothing of it is ever changed; it goes with the answer.
page_versions: Final = Table(
    "page_versions",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("notion_page_id", ForeignKey("notion_pages.id", ondelete="CASCADE"), nullable=False),
    Column("user_id", Uuid, nullable=False),
    Column("generation_id", Uuid, nullable=False),
    Column("number", Integer, nullable=False),
    Column("origin", Text, nullable=False),
    Column("content", Text, nullable=False),
    Column("content_hash", LargeBinary, nullable=False),
    Column("made_by", Text),
    Column("created_at", _INSTANT, nullable=False),
    ForeignKeyConstraint(
        ["user_id", "generation_id"],
        ["content_history.user_id", "content_history.id"],
        ondelete="CASCADE",
        name="fk_page_versions_generation_id",
    ),
    _one_of("origin", VersionOrigin),
    CheckConstraint("number >= 1", name="number_is_positive"),
    CheckConstraint("octet_length(content) <= 67108864", name="content_size"),
    CheckConstraint("octet_length(content_hash) = 32", name="content_hash_size"),
    CheckConstraint("octet_length(made_by) <= 1200", name="made_by_size"),
    UniqueConstraint("notion_page_id", "number"),
    Index("ix_page_versions_user_id_generation_id", "user_id", "generation_id"),
)

publications: Final = Table(
    "publications",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("generation_id", Uuid, nullable=False, unique=True),
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("status", Text, nullable=False),
    Column("parent_id", Text, nullable=False),
    # What else is known of the parent: "kind", "title", "title_property" and "properties".
    Column("parent", JSONB, nullable=False),
    Column("title", Text, nullable=False),
    Column("properties", JSONB, nullable=False, server_default=_NO_OBJECT),
    Column("mode", Text, nullable=False, server_default=text("'CREATE'")),
    # What it writes to, by its id in Notion: the parent until there is a page, then the page. NULL: the parent.
    Column("lane", Text),
    # Of an append, the last block that was there before.
    Column("anchor", Text),
    Column("overwrites", Boolean, nullable=False, server_default=false()),
    # Of an update that overwrites: what it found on the page is kept, and is its base.
    Column("is_begun", Boolean, nullable=False, server_default=false()),
    # Of these the one that holds the generation's id alone, by which its page can be found again.
    Column("external_id_property", Text),
    Column("requested_at", _INSTANT),
    # Notion's id of the bot that asked: whoever connects again may have another.
    Column("requested_by", Text),
    # And those of all bots that may have written to the page, this time or before.
    Column("writers", ARRAY(Text), nullable=False, server_default=text("'{}'::text[]")),
    # Until when something was sent to Notion that may still take effect.
    Column("unsettled_since", _INSTANT),
    Column("notion_page_id", ForeignKey("notion_pages.id"), unique=True),
    Column("completed_at", _INSTANT),
    *_failure_columns(),
    Column("degraded", ARRAY(Text), nullable=False, server_default=text("'{}'::text[]")),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("fence", Integer, nullable=False, server_default=text("0")),
    Column("lease_until", _INSTANT),
    Column("next_attempt_at", _INSTANT, nullable=False),
    Column("created_at", _INSTANT, nullable=False),
    # Both columns: nobody publishes somebody else's answer.
    ForeignKeyConstraint(
        ["user_id", "generation_id"],
        ["content_history.user_id", "content_history.id"],
        ondelete="CASCADE",
        name="fk_publications_generation_id",
    ),
    _one_of("status", PublicationStatus),
    _one_of("mode", PublishMode),
    CheckConstraint("(status = 'PUBLISHING') = (lease_until IS NOT NULL)", name="publishing_has_lease"),
    CheckConstraint("(status = 'PUBLISHED') = (completed_at IS NOT NULL)", name="published_is_completed"),
    CheckConstraint("status <> 'PUBLISHED' OR notion_page_id IS NOT NULL", name="published_has_page"),
    CheckConstraint("notion_page_id IS NULL OR requested_at IS NOT NULL", name="page_was_requested"),
    CheckConstraint(
        "CASE WHEN status IN ('FAILED', 'NEEDS_ATTENTION') THEN failure_code IS NOT NULL"
        " WHEN status = 'PUBLISHED' THEN failure_code IS NULL ELSE true END",
        name="failed_has_failure",
    ),
    _failure_is_whole(),
    CheckConstraint("attempts >= 0 AND fence >= 0", name="counters_are_not_negative"),
    CheckConstraint("octet_length(parent_id) BETWEEN 1 AND 128", name="parent_id_size"),
    CheckConstraint("jsonb_typeof(parent) = 'object'", name="parent_is_object"),
    CheckConstraint("jsonb_typeof(properties) = 'object'", name="properties_is_object"),
    CheckConstraint("char_length(title) BETWEEN 1 AND 2000", name="title_size"),
    Index("ix_publications_due", "next_attempt_at", postgresql_where=text("status = 'PENDING'")),
    # One writer for each parent, so that pages made under it can be told apart, and each page; and a list of those
    # at work.
    Index(
        "uq_publications_writing",
        "user_id",
        text("coalesce(lane, parent_id)"),
        unique=True,
        postgresql_where=text("status = 'PUBLISHING'"),
    ),
    Index("ix_publications_lane", "lane", postgresql_where=text("completed_at IS NULL")),
    # When somebody has last written under a parent.
    Index("ix_publications_requested", "user_id", "parent_id", "requested_at"),
    Index("ix_publications_published", "user_id", "generation_id", postgresql_where=text("status = 'PUBLISHED'")),
)

# The blocks that each publication has on its page. It outlives the publication: while the page is known, nobody takes
# these blocks for another publication's.
notion_bases: Final = Table(
    "notion_bases",
    metadata,
    Column("publication_id", Uuid, primary_key=True),
    Column("notion_page_id", ForeignKey("notion_pages.id", ondelete="CASCADE"), nullable=False, index=True),
    # A list of blocks, each [id, hash as said, hash as shown or null when the same, children if any].
    Column("blocks", JSONB, nullable=False),
    Column("recorded_at", _INSTANT, nullable=False),
    CheckConstraint("jsonb_typeof(blocks) = 'array'", name="blocks_is_array"),
)

# How fast each connection to Notion is used; the key is a hash of its token. All times are the database's own.
notion_paces: Final = Table(
    "notion_paces",
    metadata,
    Column("key", Text, primary_key=True),
    Column("per_minute", Double, nullable=False),
    Column("used_until", _INSTANT, nullable=False, server_default=func.clock_timestamp()),
    Column("seen_at", _INSTANT, nullable=False, server_default=func.clock_timestamp()),
    Column("held_until", _INSTANT),
    Column("is_blocked", Boolean, nullable=False, server_default=false()),
    CheckConstraint("per_minute > 0", name="per_minute_is_positive"),
    # Changed with every request: the next version of a row finds room on its page.
    postgresql_with={"fillfactor": 50},
)

# Each row waits for one verification token of a webhook subscription in Notion, or has it.
notion_webhooks: Final = Table(
    "notion_webhooks",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("opened_at", _INSTANT, nullable=False),
    Column("open_until", _INSTANT, nullable=False),
    Column("encrypted_token", LargeBinary),
    Column("encryption_key_id", Text),
    Column("received_at", _INSTANT),
    CheckConstraint("num_nonnulls(encrypted_token, encryption_key_id, received_at) IN (0, 3)", name="token_is_whole"),
    CheckConstraint("octet_length(encrypted_token) BETWEEN 1 AND 8192", name="encrypted_token_size"),
)

# Which of Notion's events have come in: it sends some of them again.
notion_events: Final = Table(
    "notion_events",
    metadata,
    Column("id", Text, primary_key=True),
    Column("received_at", _INSTANT, nullable=False, index=True),
    CheckConstraint("octet_length(id) BETWEEN 1 AND 128", name="id_size"),
)

# One row, always: what administrators have decided while the server runs.
server_settings: Final = Table(
    "server_settings",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("maintenance_message", Text),
    Column("sign_up_policy", Text),
    CheckConstraint("id = 1", name="is_one"),
    CheckConstraint("octet_length(maintenance_message) BETWEEN 1 AND 4096", name="maintenance_message_size"),
    _one_of("sign_up_policy", SignUpPolicy),
)

# No foreign keys: what happened stays told when an account is gone.
audit_log: Final = Table(
    "audit_log",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("at", _INSTANT, nullable=False, server_default=func.clock_timestamp()),
    Column("action", Text, nullable=False),
    Column("actor_id", Uuid),
    Column("target", Text, nullable=False),
    Column("ip", Text),
    Column("details", JSONB, nullable=False, server_default=_NO_OBJECT),
    CheckConstraint("octet_length(action) BETWEEN 1 AND 64", name="action_size"),
    CheckConstraint("octet_length(target) BETWEEN 1 AND 256", name="target_size"),
    CheckConstraint("octet_length(ip) <= 128", name="ip_size"),
    CheckConstraint("jsonb_typeof(details) = 'object'", name="details_is_object"),
    Index(None, "actor_id", "id"),
)

# What makes PostgreSQL's parser see hyphenated words, addresses, paths, tags and signed numbers. Without them a text is
# words alone: a search finds them wherever they stand, and parsing stays linear (of 150,000 words joined by hyphens it
# takes half a minute).
SEARCH_SEPARATORS: Final = "-+./@_:<>&~"

# A tsvector holds a megabyte, and more is an error, which must not keep an answer from being stored. A character with
# what is noted of its word takes 4 bytes at most, so the beginnings of an overlong text always fit.
_SEARCHABLE_TEXT: Final = _ddl(f"""
CREATE FUNCTION searchable_text(prompt text, answer text) RETURNS tsvector LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    separators constant text := '{SEARCH_SEPARATORS}';
    blanks constant text := repeat(' ', length(separators));
BEGIN
    RETURN to_tsvector(
        'pg_catalog.simple'::regconfig,
        translate(left(prompt, 200000) || ' ' || left(answer, 1000000), separators, blanks)
    );
EXCEPTION WHEN program_limit_exceeded THEN
    RETURN to_tsvector(
        'pg_catalog.simple'::regconfig,
        translate(left(prompt, 50000) || ' ' || left(answer, 150000), separators, blanks)
    );
END
$$
""")

_REFUSE_CHANGE: Final = _ddl("""
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING
        ERRCODE = 'insufficient_privilege', MESSAGE = 'The table ' || TG_TABLE_NAME || ' is append-only';
END
$$
""")

_AUDIT_LOG_IS_APPEND_ONLY: Final = _ddl("""
CREATE TRIGGER audit_log_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
""")

# Whatever ends a generation gives back what was reserved for it: a run's end, a cancellation, the recovery after a
# crash, and an instance of an earlier version too. The day comes before the month, as when they are reserved. After the
# update and not before it: a trigger before updates would have every one of them compute the column `search` anew.
_GIVE_RESERVATION_BACK: Final = _ddl("""
CREATE FUNCTION give_reservation_back() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    day constant date := (NEW.created_at AT TIME ZONE 'UTC')::date;
BEGIN
    UPDATE budget_periods SET reserved_usd = reserved_usd - NEW.reserved_usd
    WHERE user_id = NEW.user_id AND period = 'DAY' AND first_day = day;
    UPDATE budget_periods SET reserved_usd = reserved_usd - NEW.reserved_usd
    WHERE user_id = NEW.user_id AND period = 'MONTH' AND first_day = date_trunc('month', day)::date;
    RETURN NULL;
END
$$
""")

_ENDED_GENERATION_GIVES_RESERVATION_BACK: Final = _ddl("""
CREATE TRIGGER ended_generation_gives_reservation_back AFTER UPDATE OF status ON content_history
FOR EACH ROW WHEN (
    OLD.status IN ('QUEUED', 'RUNNING') AND NEW.status NOT IN ('QUEUED', 'RUNNING') AND NEW.reserved_usd IS NOT NULL
)
EXECUTE FUNCTION give_reservation_back()
""")

# Whatever ends a call to a provider books it: a generation's bill is the sum of its calls, and what is spent in a
# period that of the period's calls. The generation is locked before the budgets, as by those who end a generation.
_BOOK_ATTEMPT: Final = _ddl("""
CREATE FUNCTION book_attempt() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    day constant date := (NEW.started_at AT TIME ZONE 'UTC')::date;
    spent numeric := coalesce(NEW.cost_usd, 0);
    unpriced integer := (NEW.cost_usd IS NULL)::integer;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        spent := spent - coalesce(OLD.cost_usd, 0);
        unpriced := unpriced - (OLD.status <> 'RUNNING' AND OLD.cost_usd IS NULL)::integer;
    END IF;
    UPDATE content_history SET (
        input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens, usage_is_estimated,
        cost_usd, price_version
    ) = (
        SELECT
            sum(input_tokens)::bigint, sum(cached_input_tokens)::bigint, sum(cache_write_tokens)::bigint,
            sum(output_tokens)::bigint, sum(reasoning_tokens)::bigint, bool_or(usage_is_estimated),
            CASE WHEN count(*) = count(cost_usd) THEN sum(cost_usd) END,
            CASE WHEN count(*) = count(cost_usd) THEN string_agg(DISTINCT price_version, '; ') END
        FROM provider_attempts WHERE generation_id = NEW.generation_id AND status <> 'RUNNING'
    )
    WHERE id = NEW.generation_id;
    INSERT INTO budget_periods AS own (user_id, period, first_day, spent_usd, unpriced_count)
    VALUES
        (NEW.user_id, 'DAY', day, spent, unpriced),
        (NEW.user_id, 'MONTH', date_trunc('month', day)::date, spent, unpriced)
    ON CONFLICT (user_id, period, first_day) DO UPDATE SET
        spent_usd = own.spent_usd + excluded.spent_usd, unpriced_count = own.unpriced_count + excluded.unpriced_count;
    RETURN NULL;
END
$$
""")

_ENDED_ATTEMPT_IS_BOOKED: Final = _ddl("""
CREATE TRIGGER ended_attempt_is_booked AFTER INSERT OR UPDATE OF status, cost_usd, input_tokens ON provider_attempts
FOR EACH ROW WHEN (NEW.status <> 'RUNNING') EXECUTE FUNCTION book_attempt()
""")

event.listen(metadata, "before_create", _SEARCHABLE_TEXT)
event.listen(metadata, "before_create", _REFUSE_CHANGE)
event.listen(metadata, "before_create", _GIVE_RESERVATION_BACK)
event.listen(metadata, "before_create", _BOOK_ATTEMPT)
event.listen(content_history, "after_create", _ENDED_GENERATION_GIVES_RESERVATION_BACK)
event.listen(provider_attempts, "after_create", _ENDED_ATTEMPT_IS_BOOKED)
event.listen(audit_log, "after_create", _AUDIT_LOG_IS_APPEND_ONLY)
