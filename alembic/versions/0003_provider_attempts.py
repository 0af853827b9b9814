"""Every call to an AI provider is a row of its own.

Revision: 0003
Follows: 0002
"""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_TABLE = """
    CREATE TABLE provider_attempts (
        id uuid NOT NULL,
        user_id uuid NOT NULL,
        generation_id uuid,
        provider text NOT NULL,
        model text NOT NULL,
        parameters jsonb NOT NULL DEFAULT '{}'::jsonb,
        status text NOT NULL,
        started_at timestamptz NOT NULL,
        finished_at timestamptz,
        first_token_ms integer,
        input_tokens bigint,
        cached_input_tokens bigint,
        cache_write_tokens bigint,
        output_tokens bigint,
        reasoning_tokens bigint,
        cost_usd numeric,
        price_version text,
        failure_code text,
        failure_message text,
        failure_reason text,
        failure_retry_after_seconds integer,
        CONSTRAINT pk_provider_attempts PRIMARY KEY (id),
        CONSTRAINT fk_provider_attempts_user_id FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
        CONSTRAINT fk_provider_attempts_generation_id
            FOREIGN KEY (generation_id) REFERENCES content_history (id) ON DELETE SET NULL,
        CONSTRAINT fk_provider_attempts_provider FOREIGN KEY (provider) REFERENCES ai_providers (id),
        CONSTRAINT ck_provider_attempts_status
            CHECK (status IN ('RUNNING', 'SUCCEEDED', 'FAILED', 'CANCELLED', 'INTERRUPTED')),
        CONSTRAINT ck_provider_attempts_running_is_unfinished CHECK ((status = 'RUNNING') = (finished_at IS NULL)),
        CONSTRAINT ck_provider_attempts_failed_has_failure CHECK ((status = 'FAILED') = (failure_code IS NOT NULL)),
        CONSTRAINT ck_provider_attempts_failure_is_whole CHECK (
            (failure_code IS NULL) = (failure_message IS NULL)
            AND (failure_code IS NOT NULL OR num_nonnulls(failure_reason, failure_retry_after_seconds) = 0)
        ),
        CONSTRAINT ck_provider_attempts_usage_is_whole CHECK (
            num_nonnulls(input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens)
            IN (0, 5)
        ),
        CONSTRAINT ck_provider_attempts_usage_is_not_negative CHECK (
            least(input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens) >= 0
        ),
        CONSTRAINT ck_provider_attempts_cost_is_not_negative
            CHECK (cost_usd >= 0 AND cost_usd < 'Infinity'::numeric),
        CONSTRAINT ck_provider_attempts_cost_has_price_version CHECK ((cost_usd IS NULL) = (price_version IS NULL)),
        CONSTRAINT ck_provider_attempts_first_token_is_not_negative CHECK (first_token_ms >= 0),
        CONSTRAINT ck_provider_attempts_model_size CHECK (octet_length(model) BETWEEN 1 AND 1024),
        CONSTRAINT ck_provider_attempts_parameters_is_object CHECK (jsonb_typeof(parameters) = 'object')
    )
"""


def upgrade() -> None:
    """Makes the table; generations from before have no attempts."""
    op.execute(_TABLE)
    op.execute("CREATE INDEX ix_provider_attempts_generation_id ON provider_attempts (generation_id)")
    op.execute("CREATE INDEX ix_provider_attempts_user_id_started_at ON provider_attempts (user_id, started_at)")


def downgrade() -> None:
    """Drops the table, with what is known of the calls."""
    op.execute("DROP TABLE provider_attempts")
