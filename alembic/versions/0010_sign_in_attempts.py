"""Tries to sign in are counted, and a refresh token is computed from the one before.

Revision: 0010
Follows: 0009
"""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        ALTER TABLE sessions
            ADD COLUMN rotation_salt bytea,
            ADD CONSTRAINT ck_sessions_rotation_salt_size CHECK (octet_length(rotation_salt) = 32)
    """)
    op.execute("""
        CREATE TABLE sign_in_attempts (
            key bytea NOT NULL,
            failures integer NOT NULL,
            blocked_until timestamptz NOT NULL,
            updated_at timestamptz NOT NULL,
            CONSTRAINT pk_sign_in_attempts PRIMARY KEY (key),
            CONSTRAINT ck_sign_in_attempts_key_size CHECK (octet_length(key) = 32),
            CONSTRAINT ck_sign_in_attempts_failures_are_not_negative CHECK (failures >= 0)
        )
    """)
    op.execute("CREATE INDEX ix_sign_in_attempts_updated_at ON sign_in_attempts (updated_at)")


def downgrade() -> None:
    op.execute("DROP TABLE sign_in_attempts")
    op.execute("ALTER TABLE sessions DROP COLUMN rotation_salt")
