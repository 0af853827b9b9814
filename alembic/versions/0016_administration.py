"""Maintenance, retention of one's own, and a way to somebody's events in the audit log.

Revision: 0016
Follows: 0015
"""

from __future__ import annotations

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the table, the column and the index."""
    op.execute(
        """
        CREATE TABLE server_settings (
            id integer NOT NULL,
            maintenance_message text,
            CONSTRAINT pk_server_settings PRIMARY KEY (id),
            CONSTRAINT ck_server_settings_is_one CHECK (id = 1),
            CONSTRAINT ck_server_settings_maintenance_message_size
                CHECK (octet_length(maintenance_message) BETWEEN 1 AND 4096)
        )
        """
    )
    op.execute("ALTER TABLE user_settings ADD COLUMN retention_days integer")
    op.execute(
        "ALTER TABLE user_settings ADD CONSTRAINT ck_user_settings_retention_days_range"
        " CHECK (retention_days BETWEEN 1 AND 36500)"
    )
    op.execute("CREATE INDEX ix_audit_log_actor_id_id ON audit_log (actor_id, id)")


def downgrade() -> None:
    """Takes them away."""
    op.execute("DROP INDEX ix_audit_log_actor_id_id")
    op.execute("ALTER TABLE user_settings DROP COLUMN retention_days")
    op.execute("DROP TABLE server_settings")
