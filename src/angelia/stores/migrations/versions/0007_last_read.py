"""Feeds know when they were last read; relations are found by whom they name."""

from alembic import op
from sqlalchemy import BigInteger, Column

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A column more, empty until a reader comes; and an index that tells all of a principal's roles by itself."""
    op.add_column("feeds", Column("last_read_us", BigInteger))
    op.create_index("relations_principal", "relations", ["principal", "object", "role"])
