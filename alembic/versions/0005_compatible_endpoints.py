"""Providers of a new kind: endpoints that administrators add.

Revision: 0005
Follows: 0004
"""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Admits the kind `compatible`."""
    op.execute("ALTER TABLE ai_providers DROP CONSTRAINT ck_ai_providers_kind")
    op.execute(
        "ALTER TABLE ai_providers ADD CONSTRAINT ck_ai_providers_kind"
        " CHECK (kind IN ('openai', 'anthropic', 'deepseek', 'compatible', 'demo'))"
    )


def downgrade() -> None:
    """Switches the endpoints off and keeps them: people's histories name them."""
    op.execute("UPDATE ai_providers SET is_active = false WHERE kind = 'compatible'")
    op.execute("ALTER TABLE ai_providers DROP CONSTRAINT ck_ai_providers_kind")
    op.execute(
        "ALTER TABLE ai_providers ADD CONSTRAINT ck_ai_providers_kind"
        " CHECK (kind IN ('openai', 'anthropic', 'deepseek', 'demo')) NOT VALID"
    )
