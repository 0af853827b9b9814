"""The blocks that publications have on their pages are kept, with hashes to compare with.

Revision: 0002
Follows: 0001
"""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the table."""
    op.execute(
        """
        CREATE TABLE notion_bases (
            publication_id uuid NOT NULL,
            notion_page_id uuid NOT NULL,
            blocks jsonb NOT NULL,
            recorded_at timestamptz NOT NULL,
            CONSTRAINT pk_notion_bases PRIMARY KEY (publication_id),
            CONSTRAINT fk_notion_bases_notion_page_id
                FOREIGN KEY (notion_page_id) REFERENCES notion_pages (id) ON DELETE CASCADE,
            CONSTRAINT ck_notion_bases_blocks_is_array CHECK (jsonb_typeof(blocks) = 'array')
        )
        """
    )
    op.execute("CREATE INDEX ix_notion_bases_notion_page_id ON notion_bases (notion_page_id)")


def downgrade() -> None:
    """Drops it."""
    op.execute("DROP TABLE notion_bases")
