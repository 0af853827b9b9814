"""Answers are kept for requests that come again, for those who want that.

Revision: 0017
Follows: 0016
"""

from __future__ import annotations

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nobody wants it until they say so."""
    op.execute(
        "ALTER TABLE content_history ADD COLUMN cache_key bytea, ADD COLUMN is_cached boolean NOT NULL DEFAULT false,"
        " ADD CONSTRAINT ck_content_history_cache_key_size CHECK (octet_length(cache_key) = 32)"
    )
    op.execute("ALTER TABLE user_settings ADD COLUMN use_cache boolean NOT NULL DEFAULT false")


def downgrade() -> None:
    """Forgets who wanted it."""
    op.execute("ALTER TABLE user_settings DROP COLUMN use_cache")
    op.execute("ALTER TABLE content_history DROP COLUMN cache_key, DROP COLUMN is_cached")
