"""People can expect sources to speak: what they expect, where it stands, what was heard, and what is to be told of it."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
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


def _partial(name: str, table: str, columns: list[str], where: str) -> None:
    op.create_index(name, table, columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))


def upgrade() -> None:
    """Two tables. Ids are never given twice: messages have keys made of them."""
    op.create_table(
        "expectations",
        _serial(),
        sa.Column("person_id", sa.BigInteger, nullable=False),
        _text("terms"),
        sa.Column("secret_hash", sa.String(64), unique=True),
        _small("hears"),
        _small("state"),
        _small("is_paused"),
        _big("created_us"),
        _big("since_us"),
        sa.Column("seen_us", sa.BigInteger),
        sa.Column("started_us", sa.BigInteger),
        sa.Column("alarm_us", sa.BigInteger),
        sqlite_autoincrement=True,
    )
    op.create_index("expectations_person", "expectations", ["person_id"])
    _partial("expectations_alarm", "expectations", ["alarm_us"], "alarm_us IS NOT NULL")
    _partial("expectations_hears", "expectations", ["id"], "hears = 1")
    op.create_table(
        "expectation_history",
        _serial(),
        sa.Column("expectation_id", sa.BigInteger, nullable=False),
        _big("at_us"),
        _text("kind"),
        _small("state_before"),
        _small("state_after"),
        _big("since_us"),
        sa.Column("took_us", sa.BigInteger),
        sa.Column("exit_code", sa.SmallInteger),
        _text("said"),
        _small("to_tell"),
        sqlite_autoincrement=True,
    )
    op.create_index("expectation_history_of", "expectation_history", ["expectation_id", "id"])
    _partial("expectation_history_to_tell", "expectation_history", ["id"], "to_tell = 1")
