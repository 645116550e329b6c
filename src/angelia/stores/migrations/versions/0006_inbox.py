"""The index of the inbox holds all that a view reads of a delivery: thousands of rows are told without a look at the table."""

from alembic import op
from sqlalchemy import text

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_READABLE = text("state = 10 AND agent IN ('web', 'feed')")


def upgrade() -> None:
    """The old index goes, a wider one of its name comes."""
    op.drop_index("deliveries_inbox", table_name="deliveries")
    columns = ["person_id", "agent", "id", "message_id", "read_us", "archived_us", "ended_us", "state"]
    op.create_index("deliveries_inbox", "deliveries", columns, sqlite_where=_READABLE, postgresql_where=_READABLE)
