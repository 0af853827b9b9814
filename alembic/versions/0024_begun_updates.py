"""An update that overwrites remembers that it has begun, however often it has to wait or is cut short.

Revision: 0024
Follows: 0023
"""

from __future__ import annotations

from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the mark. An update under way begins anew: what it finds is kept once more."""
    op.execute("ALTER TABLE publications ADD COLUMN is_begun boolean NOT NULL DEFAULT false")


def downgrade() -> None:
    """Takes it away."""
    op.execute("ALTER TABLE publications DROP COLUMN is_begun")
