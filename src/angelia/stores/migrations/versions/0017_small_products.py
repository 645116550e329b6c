"""Small products are rows, written in the transaction of their job's end: a folder and a file for each cost more than to compute them."""

from alembic import op
from sqlalchemy import Column, LargeBinary

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Those that are there have files, and keep them."""
    op.add_column("job_products", Column("content", LargeBinary))
