"""Links to make an account or to choose another password.

Revision: 0014
Follows: 0013
"""

from __future__ import annotations

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE account_links (
            id uuid NOT NULL,
            purpose text NOT NULL,
            secret_hash bytea NOT NULL,
            role text,
            user_id uuid,
            created_by uuid NOT NULL,
            created_at timestamptz NOT NULL,
            expires_at timestamptz NOT NULL,
            CONSTRAINT pk_account_links PRIMARY KEY (id),
            CONSTRAINT fk_account_links_user_id FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
            CONSTRAINT fk_account_links_created_by FOREIGN KEY (created_by) REFERENCES users (id) ON DELETE CASCADE,
            CONSTRAINT uq_account_links_secret_hash UNIQUE (secret_hash),
            CONSTRAINT ck_account_links_secret_hash_size CHECK (octet_length(secret_hash) = 32),
            CONSTRAINT ck_account_links_invitation_has_role CHECK ((purpose = 'INVITATION') = (role IS NOT NULL)),
            CONSTRAINT ck_account_links_reset_has_user CHECK ((purpose = 'PASSWORD_RESET') = (user_id IS NOT NULL)),
            CONSTRAINT ck_account_links_purpose CHECK (purpose IN ('INVITATION', 'PASSWORD_RESET')),
            CONSTRAINT ck_account_links_role CHECK (role IN ('USER', 'ADMIN'))
        )
    """)
    op.execute("CREATE INDEX ix_account_links_user_id ON account_links (user_id)")
    op.execute("CREATE INDEX ix_account_links_created_by ON account_links (created_by)")


def downgrade() -> None:
    op.execute("DROP TABLE account_links")
