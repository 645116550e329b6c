"""Jobs outlive a restart: what was asked, how it stands, what happened and what came of it."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, server_default="")


def _big(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, server_default="0")


def _small(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.SmallInteger, nullable=False, server_default="0")


def _partial(name: str, table: str, columns: list[str], where: str, *, is_unique: bool = False) -> None:
    op.create_index(name, table, columns, unique=is_unique, sqlite_where=sa.text(where), postgresql_where=sa.text(where))


def upgrade() -> None:
    """Four tables."""
    op.create_table(
        "jobs",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=False),
        _text("owner"),
        _text("instrument"),
        _text("version"),
        _text("product"),
        _text("parameters"),
        sa.Column("content_hash", sa.String(64), nullable=False),
        _small("is_current"),
        _small("state"),
        _big("due_us"),
        _big("fence"),
        _big("attempt"),
        _big("tries"),
        _big("created_us"),
        _big("changed_us"),
        sa.Column("started_us", sa.BigInteger),
        sa.Column("ended_us", sa.BigInteger),
        sa.Column("deadline_us", sa.BigInteger),
        sa.Column("progress", sa.Float(53), nullable=False, server_default="0"),
        _text("message"),
        _text("reason"),
        _text("session"),
        _text("alias"),
        _small("is_shared"),
        _text("handle"),
        _big("report_sequence"),
        _big("output_bytes"),
        _big("rows_kept"),
    )
    _partial("jobs_content", "jobs", ["content_hash"], "is_current = 1", is_unique=True)
    _partial("jobs_waiting", "jobs", ["instrument", "due_us"], "state = 1")
    _partial("jobs_held", "jobs", ["instrument", "due_us"], "state > 1 AND state < 10")
    _partial("jobs_ended", "jobs", ["ended_us"], "state >= 10")
    op.create_index("jobs_state", "jobs", ["state", "id"])
    op.create_index("jobs_of_instrument", "jobs", ["instrument", "id"])
    op.create_index("jobs_owner", "jobs", ["owner", "output_bytes"])
    op.create_table(
        "job_people",
        sa.Column("job_id", sa.BigInteger, primary_key=True),
        sa.Column("login", sa.Text, primary_key=True),
        _small("state"),
        _text("alias"),
        _text("session"),
        _big("joined_us"),
    )
    op.create_index("job_people_login", "job_people", ["login", "job_id"])
    op.create_index("job_people_state", "job_people", ["login", "state", "job_id"])
    _partial("job_people_alias", "job_people", ["alias", "job_id"], "alias <> ''")
    op.create_table(
        "job_history",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("job_id", sa.BigInteger, nullable=False),
        _big("at_us"),
        _small("state"),
        _text("by_whom"),
        _big("attempt"),
        sa.Column("progress", sa.Float(53), nullable=False, server_default="0"),
        _text("message"),
        _text("reason"),
        _text("report"),
        _small("to_tell"),
    )
    op.create_index("job_history_job", "job_history", ["job_id", "id"])
    _partial("job_history_to_tell", "job_history", ["id"], "to_tell = 1")
    op.create_table(
        "job_products",
        sa.Column("job_id", sa.BigInteger, primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        _big("position"),
        _text("kind"),
        _text("title"),
        _text("content_type"),
        _big("size"),
        _text("sha256"),
        _text("meta"),
        _text("path"),
    )
