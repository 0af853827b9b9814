"""When somebody has last written under a parent is found quickly, so that people take turns there.

Revision: 0021
Follows: 0020
"""

from __future__ import annotations

from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the index."""
    op.execute("CREATE INDEX ix_publications_requested ON publications (user_id, parent_id, requested_at)")


def downgrade() -> None:
    """Takes it away."""
    op.execute("DROP INDEX ix_publications_requested")
