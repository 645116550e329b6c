"""Messages that could not be planned have an index: the board looks for them every five seconds, among all that there are."""

from alembic import op
from sqlalchemy import text

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_PARKED = text("plan_state = 2")


def upgrade() -> None:
    """It holds hardly any row, and costs nothing where a message is planned."""
    op.create_index("messages_parked", "messages", ["id"], sqlite_where=_PARKED, postgresql_where=_PARKED)
