"""Personal access tokens.

Revision: 0004
Follows: 0003
"""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE access_tokens (
            id uuid NOT NULL,
            user_id uuid NOT NULL,
            name text NOT NULL,
            prefix text NOT NULL,
            secret_hash bytea NOT NULL,
            scopes text[] NOT NULL,
            created_at timestamptz NOT NULL,
            expires_at timestamptz,
            last_used_at timestamptz,
            CONSTRAINT pk_access_tokens PRIMARY KEY (id),
            CONSTRAINT fk_access_tokens_user_id FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
            CONSTRAINT uq_access_tokens_secret_hash UNIQUE (secret_hash),
            CONSTRAINT ck_access_tokens_name_size CHECK (char_length(name) BETWEEN 1 AND 100),
            CONSTRAINT ck_access_tokens_prefix_size CHECK (char_length(prefix) BETWEEN 1 AND 16),
            CONSTRAINT ck_access_tokens_secret_hash_size CHECK (octet_length(secret_hash) = 32),
            CONSTRAINT ck_access_tokens_scopes
                CHECK (cardinality(scopes) >= 1 AND scopes <@ ARRAY['READ', 'GENERATE', 'PUBLISH', 'ADMIN'])
        )
    """)
    op.execute("CREATE INDEX ix_access_tokens_user_id ON access_tokens (user_id)")


def downgrade() -> None:
    op.execute("DROP TABLE access_tokens")
