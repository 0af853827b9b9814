"""Who may make an account can be decided while the server runs.

Revision: 0019
Follows: 0018
"""

from __future__ import annotations

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the column, and the only row: what is there can be locked."""
    op.execute("ALTER TABLE server_settings ADD COLUMN sign_up_policy text")
    op.execute(
        "ALTER TABLE server_settings ADD CONSTRAINT ck_server_settings_sign_up_policy"
        " CHECK (sign_up_policy IN ('OPEN', 'INVITE', 'CLOSED'))"
    )
    op.execute("INSERT INTO server_settings (id) VALUES (1) ON CONFLICT DO NOTHING")


def downgrade() -> None:
    """Takes the column away; a row that says nothing is as good as none."""
    op.execute("ALTER TABLE server_settings DROP COLUMN sign_up_policy")
