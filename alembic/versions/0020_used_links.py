"""Links that were used are kept until they would have run out.

Revision: 0020
Follows: 0019
"""

from __future__ import annotations

from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the moment of use."""
    op.execute("ALTER TABLE account_links ADD COLUMN used_at timestamptz")


def downgrade() -> None:
    """Takes it away, with the links that would seem good again."""
    op.execute("DELETE FROM account_links WHERE used_at IS NOT NULL")
    op.execute("ALTER TABLE account_links DROP COLUMN used_at")
