"""Notion connected by OAuth: refresh tokens, and who has gone to Notion to allow access.

Revision: 0007
Follows: 0006
"""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds columns that an older instance leaves at their defaults, and a table that it does not know."""
    op.execute(
        """
        ALTER TABLE notion_connections
            ADD COLUMN kind text NOT NULL DEFAULT 'INTEGRATION',
            ADD COLUMN encrypted_refresh_token bytea,
            ADD COLUMN refresh_encryption_key_id text,
            ADD COLUMN renewal_until timestamptz,
            ADD COLUMN rejected_at timestamptz,
            ADD CONSTRAINT ck_notion_connections_encrypted_refresh_token_size
                CHECK (octet_length(encrypted_refresh_token) BETWEEN 1 AND 8192),
            ADD CONSTRAINT ck_notion_connections_refresh_token_has_key
                CHECK ((encrypted_refresh_token IS NULL) = (refresh_encryption_key_id IS NULL)),
            ADD CONSTRAINT ck_notion_connections_kind CHECK (kind IN ('INTEGRATION', 'OAUTH'))
        """
    )
    op.execute(
        """
        CREATE TABLE notion_authorizations (
            session_id uuid NOT NULL,
            user_id uuid NOT NULL,
            state_hash bytea NOT NULL,
            browser_hash bytea NOT NULL,
            return_to text,
            expires_at timestamptz NOT NULL,
            CONSTRAINT pk_notion_authorizations PRIMARY KEY (session_id),
            CONSTRAINT fk_notion_authorizations_session_id
                FOREIGN KEY (session_id) REFERENCES sessions (id) ON DELETE CASCADE,
            CONSTRAINT fk_notion_authorizations_user_id FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
            CONSTRAINT uq_notion_authorizations_state_hash UNIQUE (state_hash),
            CONSTRAINT ck_notion_authorizations_state_hash_size CHECK (octet_length(state_hash) = 32),
            CONSTRAINT ck_notion_authorizations_browser_hash_size CHECK (octet_length(browser_hash) = 32),
            CONSTRAINT ck_notion_authorizations_return_to_size CHECK (octet_length(return_to) BETWEEN 1 AND 2000)
        )
        """
    )
    op.execute("CREATE INDEX ix_notion_authorizations_user_id ON notion_authorizations (user_id)")


def downgrade() -> None:
    """Connections made by OAuth stay until Notion rejects their token."""
    op.execute("DROP TABLE notion_authorizations")
    op.execute(
        """
        ALTER TABLE notion_connections
            DROP COLUMN kind,
            DROP COLUMN encrypted_refresh_token,
            DROP COLUMN refresh_encryption_key_id,
            DROP COLUMN renewal_until,
            DROP COLUMN rejected_at
        """
    )
