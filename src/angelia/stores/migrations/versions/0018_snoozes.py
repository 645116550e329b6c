"""Entries of an inbox can be put off until a moment."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A table beside the deliveries: few entries are put off at any time."""
    op.create_table(
        "snoozes",
        sa.Column("delivery_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("person_id", sa.BigInteger, nullable=False),
        sa.Column("until_us", sa.BigInteger, nullable=False),
        sa.Column("is_back", sa.SmallInteger, nullable=False),
    )
    op.create_index("snoozes_of", "snoozes", ["person_id", "is_back"])
    op.create_index("snoozes_due", "snoozes", ["is_back", "until_us"])
