"""Urgent deliveries are claimed before those that wait: a flag, and an index of its own, which is nearly always empty."""

from alembic import op
from sqlalchemy import Column, SmallInteger, text

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_IS_URGENT = text("state = 2 AND is_urgent = 1")


def upgrade() -> None:
    """What waits already keeps its place."""
    op.add_column("deliveries", Column("is_urgent", SmallInteger, nullable=False, server_default="0"))
    op.create_index("deliveries_urgent", "deliveries", ["agent", "due_us", "id"], sqlite_where=_IS_URGENT, postgresql_where=_IS_URGENT)
