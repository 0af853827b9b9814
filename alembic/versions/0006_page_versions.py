"""Pages are compared with what Notion shows of them, and every version of what they say is kept.

Revision: 0006
Follows: 0005
"""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_COLUMNS = {
    "current_version": "integer NOT NULL DEFAULT 1",
    "base_version": "integer NOT NULL DEFAULT 1",
    "notion_version": "integer NOT NULL DEFAULT 1",
    "base_fingerprint": "bytea",
    "notion_fingerprint": "bytea",
    "edited_at": "timestamptz",
    "read_at": "timestamptz",
    "next_look_at": "timestamptz NOT NULL DEFAULT (now() + '00:10:00'::interval)",
}
_CHECKS = {
    "ck_notion_pages_versions_are_positive": "least(current_version, base_version, notion_version) >= 1",
    "ck_notion_pages_base_fingerprint_size": "octet_length(base_fingerprint) = 32",
    "ck_notion_pages_notion_fingerprint_size": "octet_length(notion_fingerprint) = 32",
}
_PAGE_VERSIONS = """
    CREATE TABLE page_versions (
        id uuid NOT NULL,
        notion_page_id uuid NOT NULL,
        user_id uuid NOT NULL,
        generation_id uuid NOT NULL,
        number integer NOT NULL,
        origin text NOT NULL,
        content text NOT NULL,
        content_hash bytea NOT NULL,
        made_by text,
        created_at timestamptz NOT NULL,
        CONSTRAINT pk_page_versions PRIMARY KEY (id),
        CONSTRAINT uq_page_versions_notion_page_id_number UNIQUE (notion_page_id, number),
        CONSTRAINT fk_page_versions_notion_page_id
            FOREIGN KEY (notion_page_id) REFERENCES notion_pages (id) ON DELETE CASCADE,
        CONSTRAINT fk_page_versions_generation_id FOREIGN KEY (user_id, generation_id)
            REFERENCES content_history (user_id, id) ON DELETE CASCADE,
        CONSTRAINT ck_page_versions_origin CHECK (origin IN ('ANSWER', 'NOTION', 'EDIT')),
        CONSTRAINT ck_page_versions_number_is_positive CHECK (number >= 1),
        CONSTRAINT ck_page_versions_content_size CHECK (octet_length(content) <= 67108864),
        CONSTRAINT ck_page_versions_content_hash_size CHECK (octet_length(content_hash) = 32),
        CONSTRAINT ck_page_versions_made_by_size CHECK (octet_length(made_by) <= 1200)
    )
"""


def upgrade() -> None:
    """Adds the columns, with values for the pages that are there, and the table."""
    for name, definition in _COLUMNS.items():
        op.execute(f"ALTER TABLE notion_pages ADD COLUMN {name} {definition}")
    for name, condition in _CHECKS.items():
        op.execute(f"ALTER TABLE notion_pages ADD CONSTRAINT {name} CHECK ({condition})")
    op.execute("CREATE INDEX ix_notion_pages_parent_id ON notion_pages (parent_id)")
    op.execute("CREATE INDEX ix_notion_pages_next_look_at ON notion_pages (next_look_at)")
    op.execute(_PAGE_VERSIONS)
    op.execute("CREATE INDEX ix_page_versions_user_id_generation_id ON page_versions (user_id, generation_id)")


def downgrade() -> None:
    """Takes all of it back, what was noticed in Notion included."""
    op.execute("DROP TABLE page_versions")
    op.execute("DROP INDEX ix_notion_pages_next_look_at")
    op.execute("DROP INDEX ix_notion_pages_parent_id")
    for name in _CHECKS:
        op.execute(f"ALTER TABLE notion_pages DROP CONSTRAINT {name}")
    for name in _COLUMNS:
        op.execute(f"ALTER TABLE notion_pages DROP COLUMN {name}")
