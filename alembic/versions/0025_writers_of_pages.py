"""Which bots have written to a publication's page, so that what they wrote is known when another one is connected.

Revision: 0025
Follows: 0024
"""

from __future__ import annotations

from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds a column that an older instance leaves as it is; whoever asked for a page has written there."""
    op.execute("ALTER TABLE publications ADD COLUMN writers text[] NOT NULL DEFAULT '{}'")
    op.execute("UPDATE publications SET writers = ARRAY[requested_by] WHERE requested_by IS NOT NULL")


def downgrade() -> None:
    """Whoever asked for the page and whoever is connected count as its writers again."""
    op.execute("ALTER TABLE publications DROP COLUMN writers")
