"""Jobs that belong together are told of once, when the last of them has ended, whoever dies in between."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_NAMED = sa.text("campaign <> ''")
_TO_TELL = sa.text("to_tell = 1")


def upgrade() -> None:
    """A name at jobs and at who asked for them, and a table of what is to be told."""
    for table in ("jobs", "job_people"):
        op.add_column(table, sa.Column("campaign", sa.Text, nullable=False, server_default=""))
    op.create_index("job_people_campaign", "job_people", ["login", "campaign", "state"], sqlite_where=_NAMED, postgresql_where=_NAMED)
    op.create_table(
        "job_campaigns",
        sa.Column("login", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("rounds", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("ended_us", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("to_tell", sa.SmallInteger, nullable=False, server_default="0"),
    )
    op.create_index("job_campaigns_to_tell", "job_campaigns", ["ended_us"], sqlite_where=_TO_TELL, postgresql_where=_TO_TELL)
