"""What people answer outlives a restart, and so does how far a message that nobody answered has gone on."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, server_default="")


def upgrade() -> None:
    """Two tables."""
    op.create_table(
        "answers",
        sa.Column("message_id", sa.BigInteger, primary_key=True),
        sa.Column("person_id", sa.BigInteger, primary_key=True),
        sa.Column("seen_us", sa.BigInteger, nullable=False, server_default="0"),
        _text("seen_by"),
        sa.Column("acknowledged_us", sa.BigInteger),
        _text("acknowledged_by"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "escalations",
        sa.Column("message_id", sa.BigInteger, primary_key=True),
        sa.Column("person_id", sa.BigInteger, primary_key=True),
        _text("plan"),
        sa.Column("step", sa.SmallInteger, nullable=False, server_default="0"),
        sa.Column("due_us", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("fence", sa.Integer, nullable=False, server_default="0"),
        sa.Column("ended_us", sa.BigInteger),
        _text("ending"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "escalations_due", "escalations", ["due_us"], sqlite_where=sa.text("ended_us IS NULL"), postgresql_where=sa.text("ended_us IS NULL")
    )
