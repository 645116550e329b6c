"""Requests to be told once when a task ends outlive a restart, and so does how far their exchange was read."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, server_default="")


def upgrade() -> None:
    """Two tables."""
    op.create_table(
        "task_requests",
        sa.Column("id", sa.String(24), primary_key=True),
        sa.Column("user_id", sa.Text, nullable=False),
        _text("event"),
        _text("task_id"),
        _text("instance_id"),
        _text("document"),
        sa.Column("created_us", sa.BigInteger, nullable=False),
        sa.Column("matched_us", sa.BigInteger),
        sa.Column("triggered_us", sa.BigInteger),
    )
    op.create_index("task_requests_user", "task_requests", ["user_id", "id"])
    op.create_table("stream_positions", sa.Column("name", sa.Text, primary_key=True), _text("position"))
