"""What the hub tells of itself waits in the store for its broker: written with what it tells of, and gone once it is confirmed."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Numbers are never given twice, also where the table was empty meanwhile: readers know repeats by them."""
    op.create_table(
        "announcements",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("routing_key", sa.Text, nullable=False, server_default=""),
        sa.Column("body", sa.Text, nullable=False, server_default=""),
        sa.Column("at_us", sa.BigInteger, nullable=False, server_default="0"),
        sqlite_autoincrement=True,
    )
