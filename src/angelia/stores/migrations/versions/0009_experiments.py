"""Experiments, their resources and what was reported of them; what is not published or told yet waits in the same table."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def _serial() -> sa.Column[int]:
    return sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True)


def _big(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, server_default="0")


def _small(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.SmallInteger, nullable=False, server_default="0")


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, server_default="")


def upgrade() -> None:
    """Three tables."""
    op.create_table(
        "experiments",
        _serial(),
        sa.Column("path", sa.Text, nullable=False, unique=True),
        sa.Column("event_key", sa.Text, nullable=False),
        _small("state"),
        _small("is_created"),
        _text("name"),
        _text("owner"),
        _text("group_name"),
        _text("reporter"),
        sa.Column("duration", sa.BigInteger),
        sa.Column("started_us", sa.BigInteger),
        sa.Column("stopped_us", sa.BigInteger),
        _big("changed_us"),
        _big("seen_us"),
    )
    op.create_index("experiments_owner", "experiments", ["owner"])
    op.create_index("experiments_group", "experiments", ["group_name"])
    op.create_index("experiments_seen", "experiments", ["seen_us"])
    op.create_table(
        "experiment_resources",
        sa.Column("path", sa.Text, primary_key=True),
        sa.Column("experiment_id", sa.BigInteger, nullable=False),
        _text("object_type"),
        _text("name"),
        _text("state"),
        _big("changed_us"),
    )
    op.create_index("experiment_resources_of", "experiment_resources", ["experiment_id"])
    op.create_table(
        "transitions",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=False),
        sa.Column("fingerprint", sa.LargeBinary, nullable=False, unique=True),
        sa.Column("experiment_id", sa.BigInteger),
        _big("received_us"),
        sa.Column("payload", sa.Text, nullable=False),
        _small("to_publish"),
        _small("to_tell"),
    )
    op.create_index("transitions_of", "transitions", ["experiment_id", "id"])
    op.create_index("transitions_received", "transitions", ["received_us"])
    for column in ("to_publish", "to_tell"):
        where = sa.text(f"{column} = 1")
        op.create_index(f"transitions_{column}", "transitions", ["id"], sqlite_where=where, postgresql_where=where)
