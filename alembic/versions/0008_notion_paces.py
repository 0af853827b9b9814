"""One allowance of requests for each connection to Notion, shared by all instances.

Revision: 0008
Follows: 0007
"""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the table."""
    op.execute(
        """
        CREATE TABLE notion_paces (
            key text NOT NULL,
            per_minute double precision NOT NULL,
            used_until timestamptz NOT NULL DEFAULT clock_timestamp(),
            seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            held_until timestamptz,
            is_blocked boolean NOT NULL DEFAULT false,
            CONSTRAINT pk_notion_paces PRIMARY KEY (key),
            CONSTRAINT ck_notion_paces_per_minute_is_positive CHECK (per_minute > 0)
        ) WITH (fillfactor = 50)
        """
    )


def downgrade() -> None:
    """Drops it."""
    op.execute("DROP TABLE notion_paces")
