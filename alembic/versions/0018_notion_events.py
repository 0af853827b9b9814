"""Notion's webhooks: the verification tokens of subscriptions, and which events have come in.

Revision: 0018
Follows: 0017
"""

from __future__ import annotations

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes both tables."""
    op.execute(
        """
        CREATE TABLE notion_webhooks (
            id uuid NOT NULL,
            opened_at timestamptz NOT NULL,
            open_until timestamptz NOT NULL,
            encrypted_token bytea,
            encryption_key_id text,
            received_at timestamptz,
            CONSTRAINT pk_notion_webhooks PRIMARY KEY (id),
            CONSTRAINT ck_notion_webhooks_token_is_whole
                CHECK (num_nonnulls(encrypted_token, encryption_key_id, received_at) IN (0, 3)),
            CONSTRAINT ck_notion_webhooks_encrypted_token_size
                CHECK (octet_length(encrypted_token) BETWEEN 1 AND 8192)
        )
        """
    )
    op.execute(
        """
        CREATE TABLE notion_events (
            id text NOT NULL,
            received_at timestamptz NOT NULL,
            CONSTRAINT pk_notion_events PRIMARY KEY (id),
            CONSTRAINT ck_notion_events_id_size CHECK (octet_length(id) BETWEEN 1 AND 128)
        )
        """
    )
    op.execute("CREATE INDEX ix_notion_events_received_at ON notion_events (received_at)")


def downgrade() -> None:
    """Drops them."""
    op.execute("DROP TABLE notion_events")
    op.execute("DROP TABLE notion_webhooks")
