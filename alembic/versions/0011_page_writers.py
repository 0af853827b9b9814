"""Answers can be appended to pages, and pages brought up to date: each page has one writer at a time.

Revision: 0011
Follows: 0010
"""

from __future__ import annotations

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds what is asked of a publication, and which page it writes to."""
    op.execute(
        """
        ALTER TABLE publications
            ADD COLUMN mode text NOT NULL DEFAULT 'CREATE'
                CONSTRAINT ck_publications_mode CHECK (mode IN ('CREATE', 'APPEND', 'UPDATE')),
            ADD COLUMN lane text,
            ADD COLUMN anchor text,
            ADD COLUMN overwrites boolean NOT NULL DEFAULT false
        """
    )
    op.execute("CREATE INDEX ix_publications_lane ON publications (lane) WHERE completed_at IS NULL")
    op.execute("DROP INDEX uq_publications_publishing")
    op.execute(
        """
        CREATE UNIQUE INDEX uq_publications_writing ON publications (user_id, coalesce(lane, parent_id))
        WHERE status = 'PUBLISHING'
        """
    )
    op.execute(
        """
        ALTER TABLE notion_pages
            ADD COLUMN is_ours boolean NOT NULL DEFAULT true,
            DROP CONSTRAINT uq_notion_pages_page_id
        """
    )
    op.execute("CREATE UNIQUE INDEX uq_notion_pages_page_id ON notion_pages (page_id) WHERE is_ours")
    op.execute("CREATE INDEX ix_notion_pages_page_id ON notion_pages (page_id)")


def downgrade() -> None:
    """Forgets what was appended: there is no place for it."""
    op.execute(
        "DELETE FROM publications WHERE mode = 'APPEND'"
        " OR notion_page_id IN (SELECT id FROM notion_pages WHERE NOT is_ours)"
    )
    op.execute("DELETE FROM notion_pages WHERE NOT is_ours")
    op.execute("DROP INDEX uq_notion_pages_page_id")
    op.execute("DROP INDEX ix_notion_pages_page_id")
    op.execute("ALTER TABLE notion_pages DROP COLUMN is_ours, ADD CONSTRAINT uq_notion_pages_page_id UNIQUE (page_id)")
    op.execute("DROP INDEX uq_publications_writing")
    op.execute("DROP INDEX ix_publications_lane")
    op.execute(
        """
        ALTER TABLE publications
            DROP COLUMN mode, DROP COLUMN lane, DROP COLUMN anchor, DROP COLUMN overwrites
        """
    )
    op.execute(
        """
        CREATE UNIQUE INDEX uq_publications_publishing ON publications (user_id, parent_id)
        WHERE status = 'PUBLISHING'
        """
    )
