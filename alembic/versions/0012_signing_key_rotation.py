"""A signing key is the next one before it is active.

Revision: 0012
Follows: 0011
"""

from __future__ import annotations

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE signing_keys ADD COLUMN activated_at timestamptz")
    op.execute("UPDATE signing_keys SET activated_at = created_at")
    op.execute("""
        CREATE UNIQUE INDEX uq_signing_keys_next ON signing_keys (is_active)
        WHERE NOT is_active AND activated_at IS NULL AND retired_at IS NULL
    """)


def downgrade() -> None:
    # Whoever knows nothing of the time before and after a key's activity takes every key that is not retired.
    op.execute("UPDATE signing_keys SET retired_at = NULL WHERE retired_at > now()")
    op.execute("ALTER TABLE signing_keys DROP COLUMN activated_at")
