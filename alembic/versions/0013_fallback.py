"""A generation may fall back on other models, and a call may be followed by another or not be made at all.

Revision: 0013
Follows: 0012
"""

from __future__ import annotations

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_FALLBACK = """
    ALTER TABLE {table}
    ADD COLUMN fallback jsonb NOT NULL DEFAULT '[]'::jsonb,
    ADD CONSTRAINT ck_{table}_fallback_is_list CHECK (jsonb_typeof(fallback) = 'array')
"""
_ATTEMPTS = """
    ALTER TABLE provider_attempts
    DROP CONSTRAINT ck_provider_attempts_status,
    DROP CONSTRAINT ck_provider_attempts_failed_has_failure,
    ADD CONSTRAINT ck_provider_attempts_status CHECK (status IN ({statuses})),
    ADD CONSTRAINT ck_provider_attempts_failed_has_failure CHECK (({is_failed}) = (failure_code IS NOT NULL))
"""


def upgrade() -> None:
    """Adds what an instance of before leaves at its default."""
    op.execute(_FALLBACK.format(table="content_history"))
    op.execute(_FALLBACK.format(table="user_settings"))
    op.execute(
        _ATTEMPTS.format(
            statuses="'RUNNING', 'SUCCEEDED', 'FAILED', 'CANCELLED', 'INTERRUPTED', 'SKIPPED'",
            is_failed="status IN ('FAILED', 'SKIPPED')",
        )
    )
    op.execute("""
        ALTER TABLE provider_attempts
        ADD COLUMN retry_at timestamptz,
        ADD CONSTRAINT ck_provider_attempts_failed_is_retried CHECK (retry_at IS NULL OR status = 'FAILED')
    """)


def downgrade() -> None:
    """Takes it away again; what was never a call goes too."""
    op.execute("DELETE FROM provider_attempts WHERE status = 'SKIPPED'")
    op.execute("ALTER TABLE provider_attempts DROP COLUMN retry_at")
    op.execute(
        _ATTEMPTS.format(
            statuses="'RUNNING', 'SUCCEEDED', 'FAILED', 'CANCELLED', 'INTERRUPTED'", is_failed="status = 'FAILED'"
        )
    )
    op.execute("ALTER TABLE user_settings DROP COLUMN fallback")
    op.execute("ALTER TABLE content_history DROP COLUMN fallback")
