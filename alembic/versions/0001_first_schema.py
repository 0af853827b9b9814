"""The first schema: accounts, providers, generations, publications, settings and the audit log.

Revision: 0001
Follows: nothing
"""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_TABLES = (
    """
    CREATE TABLE users (
        id uuid NOT NULL,
        email text NOT NULL,
        email_key text NOT NULL,
        username text NOT NULL,
        password_hash text NOT NULL,
        role text NOT NULL,
        is_active boolean NOT NULL DEFAULT true,
        created_at timestamptz NOT NULL,
        updated_at timestamptz NOT NULL,
        CONSTRAINT pk_users PRIMARY KEY (id),
        CONSTRAINT uq_users_email_key UNIQUE (email_key),
        CONSTRAINT ck_users_email_size CHECK (char_length(email) BETWEEN 3 AND 254),
        CONSTRAINT ck_users_email_key_is_email
            CHECK (octet_length(email) > char_length(email) OR email_key = lower(email COLLATE "C")),
        CONSTRAINT ck_users_username_size CHECK (char_length(username) BETWEEN 3 AND 40),
        CONSTRAINT ck_users_username_is_ascii CHECK (octet_length(username) = char_length(username)),
        CONSTRAINT ck_users_password_hash_size CHECK (octet_length(password_hash) BETWEEN 1 AND 1024),
        CONSTRAINT ck_users_role CHECK (role IN ('USER', 'ADMIN'))
    )
    """,
    """
    CREATE TABLE sessions (
        id uuid NOT NULL,
        user_id uuid NOT NULL,
        refresh_hash bytea NOT NULL,
        previous_hash bytea,
        created_at timestamptz NOT NULL,
        last_seen_at timestamptz NOT NULL,
        rotated_at timestamptz NOT NULL,
        expires_at timestamptz NOT NULL,
        revoked_at timestamptz,
        user_agent text,
        ip text,
        CONSTRAINT pk_sessions PRIMARY KEY (id),
        CONSTRAINT fk_sessions_user_id FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
        CONSTRAINT ck_sessions_refresh_hash_size CHECK (octet_length(refresh_hash) = 32),
        CONSTRAINT ck_sessions_previous_hash_size CHECK (octet_length(previous_hash) = 32),
        CONSTRAINT ck_sessions_user_agent_size CHECK (octet_length(user_agent) <= 4096),
        CONSTRAINT ck_sessions_ip_size CHECK (octet_length(ip) <= 128)
    )
    """,
    """
    CREATE TABLE signing_keys (
        kid text NOT NULL,
        algorithm text NOT NULL,
        encrypted_private_key bytea NOT NULL,
        encryption_key_id text NOT NULL,
        public_key text NOT NULL,
        is_active boolean NOT NULL DEFAULT false,
        created_at timestamptz NOT NULL,
        retired_at timestamptz,
        CONSTRAINT pk_signing_keys PRIMARY KEY (kid),
        CONSTRAINT ck_signing_keys_kid_size CHECK (octet_length(kid) BETWEEN 1 AND 128),
        CONSTRAINT ck_signing_keys_active_is_not_retired CHECK (NOT is_active OR retired_at IS NULL)
    )
    """,
    """
    CREATE TABLE periodic_slots (
        job text NOT NULL,
        slot timestamptz NOT NULL,
        CONSTRAINT pk_periodic_slots PRIMARY KEY (job)
    )
    """,
    """
    CREATE TABLE ai_providers (
        id text NOT NULL,
        kind text NOT NULL,
        name text NOT NULL,
        api_endpoint text,
        models jsonb NOT NULL DEFAULT '[]'::jsonb,
        config jsonb NOT NULL DEFAULT '{}'::jsonb,
        is_active boolean NOT NULL DEFAULT true,
        position integer NOT NULL,
        CONSTRAINT pk_ai_providers PRIMARY KEY (id),
        CONSTRAINT ck_ai_providers_id_size CHECK (octet_length(id) BETWEEN 1 AND 64),
        CONSTRAINT ck_ai_providers_name_size CHECK (char_length(name) BETWEEN 1 AND 200),
        CONSTRAINT ck_ai_providers_models_is_list CHECK (jsonb_typeof(models) = 'array'),
        CONSTRAINT ck_ai_providers_config_is_object CHECK (jsonb_typeof(config) = 'object'),
        CONSTRAINT ck_ai_providers_kind CHECK (kind IN ('openai', 'anthropic', 'deepseek', 'demo'))
    )
    """,
    """
    CREATE TABLE api_keys (
        id uuid NOT NULL,
        user_id uuid NOT NULL,
        provider_id text NOT NULL,
        encrypted_key bytea NOT NULL,
        encryption_key_id text NOT NULL,
        hint text NOT NULL,
        is_active boolean NOT NULL DEFAULT true,
        created_at timestamptz NOT NULL,
        expires_at timestamptz,
        last_used_at timestamptz,
        CONSTRAINT pk_api_keys PRIMARY KEY (id),
        CONSTRAINT fk_api_keys_user_id FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
        CONSTRAINT fk_api_keys_provider_id FOREIGN KEY (provider_id) REFERENCES ai_providers (id),
        CONSTRAINT ck_api_keys_encrypted_key_size CHECK (octet_length(encrypted_key) BETWEEN 1 AND 8192),
        CONSTRAINT ck_api_keys_hint_size CHECK (char_length(hint) <= 16)
    )
    """,
    """
    CREATE TABLE notion_connections (
        id uuid NOT NULL,
        user_id uuid NOT NULL,
        bot_id text NOT NULL,
        workspace_id text,
        workspace_name text NOT NULL,
        encrypted_token bytea NOT NULL,
        encryption_key_id text NOT NULL,
        connected_at timestamptz NOT NULL,
        CONSTRAINT pk_notion_connections PRIMARY KEY (id),
        CONSTRAINT uq_notion_connections_user_id UNIQUE (user_id),
        CONSTRAINT fk_notion_connections_user_id FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
        CONSTRAINT ck_notion_connections_encrypted_token_size CHECK (octet_length(encrypted_token) BETWEEN 1 AND 8192)
    )
    """,
    """
    CREATE TABLE user_settings (
        user_id uuid NOT NULL,
        default_provider text,
        default_model text,
        system_prompt text,
        notion_config jsonb NOT NULL DEFAULT '{}'::jsonb,
        ui_preferences jsonb NOT NULL DEFAULT '{}'::jsonb,
        updated_at timestamptz NOT NULL,
        CONSTRAINT pk_user_settings PRIMARY KEY (user_id),
        CONSTRAINT fk_user_settings_user_id FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
        CONSTRAINT fk_user_settings_default_provider
            FOREIGN KEY (default_provider) REFERENCES ai_providers (id) ON DELETE SET NULL,
        CONSTRAINT ck_user_settings_system_prompt_size CHECK (octet_length(system_prompt) <= 4194304),
        CONSTRAINT ck_user_settings_notion_config_is_object CHECK (jsonb_typeof(notion_config) = 'object'),
        CONSTRAINT ck_user_settings_ui_preferences_is_object CHECK (jsonb_typeof(ui_preferences) = 'object')
    )
    """,
    """
    CREATE TABLE content_history (
        id uuid NOT NULL,
        user_id uuid NOT NULL,
        parent_id uuid,
        provider text NOT NULL,
        model text NOT NULL,
        prompt text NOT NULL,
        system_prompt text,
        generated_content text NOT NULL DEFAULT '',
        reasoning text NOT NULL DEFAULT '',
        parameters jsonb NOT NULL DEFAULT '{}'::jsonb,
        metadata jsonb NOT NULL DEFAULT '{}'::jsonb,
        status text NOT NULL,
        epoch integer NOT NULL DEFAULT 0,
        fence integer NOT NULL DEFAULT 0,
        owner text,
        lease_until timestamptz,
        cancel_requested_at timestamptz,
        input_tokens bigint,
        cached_input_tokens bigint,
        cache_write_tokens bigint,
        output_tokens bigint,
        reasoning_tokens bigint,
        cost_usd numeric,
        price_version text,
        finish_reason text,
        failure_code text,
        failure_message text,
        failure_reason text,
        failure_retry_after_seconds integer,
        idempotency_key text,
        request_hash bytea NOT NULL,
        created_at timestamptz NOT NULL,
        started_at timestamptz,
        finished_at timestamptz,
        search tsvector GENERATED ALWAYS AS (searchable_text(prompt, generated_content)) STORED,
        CONSTRAINT pk_content_history PRIMARY KEY (id),
        CONSTRAINT uq_content_history_user_id_id UNIQUE (user_id, id),
        CONSTRAINT fk_content_history_user_id FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
        CONSTRAINT fk_content_history_parent_id
            FOREIGN KEY (parent_id) REFERENCES content_history (id) ON DELETE SET NULL,
        CONSTRAINT fk_content_history_provider FOREIGN KEY (provider) REFERENCES ai_providers (id),
        CONSTRAINT ck_content_history_status
            CHECK (status IN ('QUEUED', 'RUNNING', 'SUCCEEDED', 'FAILED', 'CANCELLED', 'INTERRUPTED')),
        CONSTRAINT ck_content_history_final_is_finished
            CHECK ((status IN ('QUEUED', 'RUNNING')) = (finished_at IS NULL)),
        CONSTRAINT ck_content_history_running_has_owner CHECK ((status = 'RUNNING') = (owner IS NOT NULL)),
        CONSTRAINT ck_content_history_running_has_lease CHECK ((status = 'RUNNING') = (lease_until IS NOT NULL)),
        CONSTRAINT ck_content_history_run_has_started
            CHECK (status NOT IN ('RUNNING', 'SUCCEEDED') OR started_at IS NOT NULL),
        CONSTRAINT ck_content_history_failed_has_failure CHECK (
            CASE
                WHEN status IN ('FAILED', 'INTERRUPTED') THEN failure_code IS NOT NULL
                WHEN status <> 'CANCELLED' THEN failure_code IS NULL
                ELSE true
            END
        ),
        CONSTRAINT ck_content_history_failure_is_whole CHECK (
            (failure_code IS NULL) = (failure_message IS NULL)
            AND (failure_code IS NOT NULL OR num_nonnulls(failure_reason, failure_retry_after_seconds) = 0)
        ),
        CONSTRAINT ck_content_history_counters_are_not_negative CHECK (epoch >= 0 AND fence >= 0),
        CONSTRAINT ck_content_history_usage_is_whole CHECK (
            num_nonnulls(input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens)
            IN (0, 5)
        ),
        CONSTRAINT ck_content_history_usage_is_not_negative CHECK (
            least(input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens) >= 0
        ),
        CONSTRAINT ck_content_history_cost_is_not_negative CHECK (cost_usd >= 0 AND cost_usd < 'Infinity'::numeric),
        CONSTRAINT ck_content_history_cost_has_price_version CHECK ((cost_usd IS NULL) = (price_version IS NULL)),
        CONSTRAINT ck_content_history_request_hash_size CHECK (octet_length(request_hash) = 32),
        CONSTRAINT ck_content_history_idempotency_key_size CHECK (char_length(idempotency_key) BETWEEN 1 AND 255),
        CONSTRAINT ck_content_history_model_size CHECK (octet_length(model) BETWEEN 1 AND 1024),
        CONSTRAINT ck_content_history_prompt_size CHECK (octet_length(prompt) BETWEEN 1 AND 16777216),
        CONSTRAINT ck_content_history_system_prompt_size CHECK (octet_length(system_prompt) <= 4194304),
        CONSTRAINT ck_content_history_generated_content_size CHECK (octet_length(generated_content) <= 67108864),
        CONSTRAINT ck_content_history_reasoning_size CHECK (octet_length(reasoning) <= 67108864),
        CONSTRAINT ck_content_history_parameters_is_object CHECK (jsonb_typeof(parameters) = 'object'),
        CONSTRAINT ck_content_history_metadata_is_object CHECK (jsonb_typeof(metadata) = 'object')
    ) WITH (fillfactor = 85)
    """,
    """
    CREATE TABLE generation_chunks (
        generation_id uuid NOT NULL,
        epoch integer NOT NULL,
        kind text NOT NULL,
        start integer NOT NULL,
        text text NOT NULL,
        CONSTRAINT pk_generation_chunks PRIMARY KEY (generation_id, epoch, kind, start),
        CONSTRAINT fk_generation_chunks_generation_id
            FOREIGN KEY (generation_id) REFERENCES content_history (id) ON DELETE CASCADE,
        CONSTRAINT ck_generation_chunks_epoch_is_not_negative CHECK (epoch >= 0),
        CONSTRAINT ck_generation_chunks_start_is_not_negative CHECK (start >= 0),
        CONSTRAINT ck_generation_chunks_text_size CHECK (octet_length(text) BETWEEN 1 AND 67108864),
        CONSTRAINT ck_generation_chunks_kind CHECK (kind IN ('TEXT', 'REASONING'))
    )
    """,
    """
    CREATE TABLE notion_pages (
        id uuid NOT NULL,
        user_id uuid NOT NULL,
        page_id text NOT NULL,
        parent_id text,
        title text NOT NULL,
        url text NOT NULL,
        created_at timestamptz NOT NULL,
        last_sync timestamptz NOT NULL,
        state text NOT NULL,
        CONSTRAINT pk_notion_pages PRIMARY KEY (id),
        CONSTRAINT uq_notion_pages_page_id UNIQUE (page_id),
        CONSTRAINT fk_notion_pages_user_id FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
        CONSTRAINT ck_notion_pages_page_id_size CHECK (octet_length(page_id) BETWEEN 1 AND 128),
        CONSTRAINT ck_notion_pages_url_size CHECK (octet_length(url) BETWEEN 1 AND 8192),
        CONSTRAINT ck_notion_pages_state
            CHECK (state IN ('IN_SYNC', 'CHANGED_IN_NOTION', 'CHANGED_HERE', 'CONFLICT', 'GONE'))
    )
    """,
    """
    CREATE TABLE publications (
        id uuid NOT NULL,
        generation_id uuid NOT NULL,
        user_id uuid NOT NULL,
        status text NOT NULL,
        parent_id text NOT NULL,
        parent jsonb NOT NULL,
        title text NOT NULL,
        properties jsonb NOT NULL DEFAULT '{}'::jsonb,
        requested_at timestamptz,
        notion_page_id uuid,
        completed_at timestamptz,
        failure_code text,
        failure_message text,
        failure_reason text,
        failure_retry_after_seconds integer,
        degraded text[] NOT NULL DEFAULT '{}'::text[],
        attempts integer NOT NULL DEFAULT 0,
        fence integer NOT NULL DEFAULT 0,
        lease_until timestamptz,
        next_attempt_at timestamptz NOT NULL,
        created_at timestamptz NOT NULL,
        CONSTRAINT pk_publications PRIMARY KEY (id),
        CONSTRAINT uq_publications_generation_id UNIQUE (generation_id),
        CONSTRAINT uq_publications_notion_page_id UNIQUE (notion_page_id),
        CONSTRAINT fk_publications_generation_id
            FOREIGN KEY (user_id, generation_id) REFERENCES content_history (user_id, id) ON DELETE CASCADE,
        CONSTRAINT fk_publications_user_id FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
        CONSTRAINT fk_publications_notion_page_id FOREIGN KEY (notion_page_id) REFERENCES notion_pages (id),
        CONSTRAINT ck_publications_status
            CHECK (status IN ('PENDING', 'PUBLISHING', 'PUBLISHED', 'FAILED', 'NEEDS_ATTENTION')),
        CONSTRAINT ck_publications_publishing_has_lease CHECK ((status = 'PUBLISHING') = (lease_until IS NOT NULL)),
        CONSTRAINT ck_publications_published_is_completed
            CHECK ((status = 'PUBLISHED') = (completed_at IS NOT NULL)),
        CONSTRAINT ck_publications_published_has_page CHECK (status <> 'PUBLISHED' OR notion_page_id IS NOT NULL),
        CONSTRAINT ck_publications_page_was_requested CHECK (notion_page_id IS NULL OR requested_at IS NOT NULL),
        CONSTRAINT ck_publications_failed_has_failure CHECK (
            CASE
                WHEN status IN ('FAILED', 'NEEDS_ATTENTION') THEN failure_code IS NOT NULL
                WHEN status = 'PUBLISHED' THEN failure_code IS NULL
                ELSE true
            END
        ),
        CONSTRAINT ck_publications_failure_is_whole CHECK (
            (failure_code IS NULL) = (failure_message IS NULL)
            AND (failure_code IS NOT NULL OR num_nonnulls(failure_reason, failure_retry_after_seconds) = 0)
        ),
        CONSTRAINT ck_publications_counters_are_not_negative CHECK (attempts >= 0 AND fence >= 0),
        CONSTRAINT ck_publications_parent_id_size CHECK (octet_length(parent_id) BETWEEN 1 AND 128),
        CONSTRAINT ck_publications_parent_is_object CHECK (jsonb_typeof(parent) = 'object'),
        CONSTRAINT ck_publications_properties_is_object CHECK (jsonb_typeof(properties) = 'object'),
        CONSTRAINT ck_publications_title_size CHECK (char_length(title) BETWEEN 1 AND 2000)
    )
    """,
    """
    CREATE TABLE audit_log (
        id uuid NOT NULL,
        at timestamptz NOT NULL DEFAULT clock_timestamp(),
        action text NOT NULL,
        actor_id uuid,
        target text NOT NULL,
        ip text,
        details jsonb NOT NULL DEFAULT '{}'::jsonb,
        CONSTRAINT pk_audit_log PRIMARY KEY (id),
        CONSTRAINT ck_audit_log_action_size CHECK (octet_length(action) BETWEEN 1 AND 64),
        CONSTRAINT ck_audit_log_target_size CHECK (octet_length(target) BETWEEN 1 AND 256),
        CONSTRAINT ck_audit_log_ip_size CHECK (octet_length(ip) <= 128),
        CONSTRAINT ck_audit_log_details_is_object CHECK (jsonb_typeof(details) = 'object')
    )
    """,
)

_INDEXES = (
    'CREATE UNIQUE INDEX uq_users_username ON users (lower(username COLLATE "C"))',
    "CREATE INDEX ix_sessions_user_id ON sessions (user_id)",
    "CREATE UNIQUE INDEX uq_signing_keys_active ON signing_keys (is_active) WHERE is_active",
    "CREATE INDEX ix_api_keys_user_id_provider_id_created_at ON api_keys (user_id, provider_id, created_at)",
    "CREATE INDEX ix_content_history_user_id_status_id ON content_history (user_id, status, id)",
    "CREATE INDEX ix_content_history_user_id_provider_id ON content_history (user_id, provider, id)",
    "CREATE INDEX ix_content_history_user_id_model_id ON content_history (user_id, model, id)",
    "CREATE INDEX ix_content_history_user_id_created_at ON content_history (user_id, created_at)",
    "CREATE INDEX ix_content_history_search ON content_history USING gin (search)",
    "CREATE INDEX ix_content_history_parent_id ON content_history (parent_id) WHERE parent_id IS NOT NULL",
    "CREATE INDEX ix_content_history_queued ON content_history (user_id, id) WHERE status = 'QUEUED'",
    "CREATE INDEX ix_content_history_running ON content_history (user_id) WHERE status = 'RUNNING'",
    """
    CREATE UNIQUE INDEX uq_content_history_idempotency_key ON content_history (user_id, idempotency_key)
    WHERE idempotency_key IS NOT NULL
    """,
    "CREATE INDEX ix_notion_pages_user_id ON notion_pages (user_id)",
    "CREATE INDEX ix_publications_user_id ON publications (user_id)",
    "CREATE INDEX ix_publications_due ON publications (next_attempt_at) WHERE status = 'PENDING'",
    """
    CREATE UNIQUE INDEX uq_publications_publishing ON publications (user_id, parent_id)
    WHERE status = 'PUBLISHING'
    """,
    "CREATE INDEX ix_publications_published ON publications (user_id, generation_id) WHERE status = 'PUBLISHED'",
)

_FUNCTIONS = (
    """
    CREATE FUNCTION searchable_text(prompt text, answer text) RETURNS tsvector LANGUAGE plpgsql IMMUTABLE AS $$
    DECLARE
        separators constant text := '-+./@_:<>&~';
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
    """,
    """
    CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION USING
            ERRCODE = 'insufficient_privilege', MESSAGE = 'The table ' || TG_TABLE_NAME || ' is append-only';
    END
    $$
    """,
)

_TRIGGERS = (
    """
    CREATE TRIGGER audit_log_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
    """,
)

_REASONING = ["MAX_OUTPUT_TOKENS", "REASONING_EFFORT"]

# By id, name and models; the first model is the one that is used when nobody names another.
_PROVIDERS: tuple[tuple[str, str, list[dict[str, object]]], ...] = (
    (
        "openai",
        "OpenAI",
        [
            {"id": "gpt-6.1-sol", "name": "GPT-6.1 Sol", "context_window": 1_050_000, "parameters": _REASONING},
            {"id": "gpt-6.1-terra", "name": "GPT-6.1 Terra", "context_window": 1_050_000, "parameters": _REASONING},
            {"id": "gpt-6-luna", "name": "GPT-6 Luna", "context_window": 1_050_000, "parameters": _REASONING},
            {"id": "gpt-6.2-sol", "name": "GPT-6.2 Sol", "parameters": _REASONING},
            {"id": "gpt-6.2-astra", "name": "GPT-6.2 Astra", "parameters": _REASONING},
        ],
    ),
    (
        "anthropic",
        "Anthropic",
        [
            {
                "id": f"claude-{size.lower()}-5-5",
                "name": f"Claude {size} 5.5",
                "context_window": 1_000_000,
                "parameters": [*_REASONING, "STOP_SEQUENCES"],
            }
            for size in ("Sonnet", "Opus", "Haiku")
        ],
    ),
    (
        "deepseek",
        "DeepSeek",
        [
            {
                "id": model_id,
                "name": name,
                "context_window": 1_000_000,
                "parameters": [*_REASONING, "STOP_SEQUENCES", "TEMPERATURE"],
            }
            for model_id, name in (("deepseek-flash", "DeepSeek Flash"), ("deepseek-v4-pro", "DeepSeek V4 Pro"))
        ],
    ),
    (
        "demo",
        "Demo (offline, no AI)",
        [
            {
                "id": "demo-writer",
                "name": "Demo writer",
                "context_window": 200_000,
                "max_output_tokens": 2_000,
                "parameters": ["MAX_OUTPUT_TOKENS", "STOP_SEQUENCES"],
            }
        ],
    ),
)


def upgrade() -> None:
    """Makes everything and knows the built-in providers."""
    # The table of generations computes a column by a function.
    for statement in (*_FUNCTIONS, *_TABLES, *_INDEXES, *_TRIGGERS):
        op.execute(statement)
    providers = sa.table(
        "ai_providers",
        sa.column("id", sa.Text),
        sa.column("kind", sa.Text),
        sa.column("name", sa.Text),
        sa.column("models", JSONB),
        sa.column("position", sa.Integer),
    )
    for place, (provider_id, name, models) in enumerate(_PROVIDERS, start=1):
        # As text with a cast, for a script (--sql) has no parameters.
        written = sa.cast(sa.literal(json.dumps(models), sa.Text), JSONB)
        values = {"id": provider_id, "kind": provider_id, "name": name, "models": written, "position": place}
        op.execute(sa.insert(providers).values(values))


def downgrade() -> None:
    """Drops everything, with all data."""
    for table in (
        "audit_log",
        "publications",
        "notion_pages",
        "generation_chunks",
        "content_history",
        "user_settings",
        "notion_connections",
        "api_keys",
        "ai_providers",
        "signing_keys",
        "periodic_slots",
        "sessions",
        "users",
    ):
        op.execute(f"DROP TABLE {table}")
    op.execute("DROP FUNCTION refuse_change()")
    op.execute("DROP FUNCTION searchable_text(text, text)")
