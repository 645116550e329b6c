"""Every version of a site template; ways into the audit log by actor and by action."""

from alembic import op
from sqlalchemy import BigInteger, Column, Integer, Text

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """One new table, two new indexes; what is there stays as it is, and gets a version with its next change."""
    op.create_table(
        "template_versions",
        Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
        Column("key", Text, nullable=False),
        Column("source", Text),
        Column("actor", Text, nullable=False, server_default=""),
        Column("at_us", BigInteger, nullable=False, server_default="0"),
    )
    op.create_index("template_versions_key", "template_versions", ["key", "id"])
    op.create_index("audit_actor", "audit", ["actor", "id"])
    op.create_index("audit_action", "audit", ["action", "id"])
