"""Undo: a person's document as it was before the last change."""

from alembic import op
from sqlalchemy import Column, Text

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A column more; what was there before the next change is not known, so it is empty."""
    op.add_column("persons", Column("previous", Text, nullable=False, server_default=""))
