"""When a publication last sent something to Notion of which nobody knows what has come.

Revision: 0022
Follows: 0021
"""

from __future__ import annotations

from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds a column that an older instance leaves empty."""
    op.execute("ALTER TABLE publications ADD COLUMN unsettled_since timestamptz")


def downgrade() -> None:
    """What was sent is taken for settled."""
    op.execute("ALTER TABLE publications DROP COLUMN unsettled_since")
