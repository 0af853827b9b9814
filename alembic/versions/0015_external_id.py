"""Which property of a page holds its generation's id alone, so that the page can be found by it.

Revision: 0015
Follows: 0014
"""

from __future__ import annotations

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds a column that an older instance leaves empty."""
    op.execute("ALTER TABLE publications ADD COLUMN external_id_property text")


def downgrade() -> None:
    """Pages are looked for by their titles again."""
    op.execute("ALTER TABLE publications DROP COLUMN external_id_property")
