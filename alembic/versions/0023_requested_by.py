"""Which bot has asked for a publication's page, so that the page is found when another one is connected by then.

Revision: 0023
Follows: 0022
"""

from __future__ import annotations

from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds a column that an older instance leaves empty."""
    op.execute("ALTER TABLE publications ADD COLUMN requested_by text")


def downgrade() -> None:
    """Only what the present bot has made is looked for again."""
    op.execute("ALTER TABLE publications DROP COLUMN requested_by")
