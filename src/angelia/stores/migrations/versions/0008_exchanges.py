"""Events on exchanges are kept for a while, so that who was away can catch up without a broker beside the hub."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0006"
branch_labels = None
depends_on = None


def _big(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, server_default="0")


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, server_default="")


def upgrade() -> None:
    """Where each exchange stands, its events; and the last state of what inlets watch."""
    op.create_table("last_states", sa.Column("name", sa.Text, primary_key=True), _text("state"), _big("at_us"))
    op.create_index("last_states_at", "last_states", ["at_us"])
    op.create_table(
        "exchanges",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("epoch", sa.String(32), nullable=False),
        _big("head"),
        _big("pruned"),
        _big("total"),
    )
    op.create_table(
        "events",
        sa.Column("exchange", sa.Text, primary_key=True),
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        _big("at_us"),
        _big("total"),
        sa.Column("routing_key", sa.Text, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        _text("content_type"),
        _text("headers"),
        _text("properties"),
    )
