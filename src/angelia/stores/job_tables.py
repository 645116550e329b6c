"""The tables of jobs, beside all others (see tables.py)."""

from sqlalchemy import BigInteger, Column, Float, Index, Integer, LargeBinary, SmallInteger, String, Table, Text, text

from angelia.stores.tables import metadata


def _big(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False, server_default="0")


def _small(name: str) -> Column[int]:
    return Column(name, SmallInteger, nullable=False, server_default="0")


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False, server_default="")


def _partial(name: str, where: str, *columns: Column[int] | Column[str], is_unique: bool = False) -> None:
    Index(name, *columns, unique=is_unique, sqlite_where=text(where), postgresql_where=text(where))


jobs = Table(
    "jobs",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    _text("owner"),
    _text("instrument"),
    _text("version"),
    _text("product"),
    _text("parameters"),
    Column("content_hash", String(64), nullable=False),
    _small("is_current"),
    _small("state"),
    _big("due_us"),
    _big("fence"),
    _big("attempt"),
    _big("tries"),
    _big("created_us"),
    _big("changed_us"),
    Column("started_us", BigInteger),
    Column("ended_us", BigInteger),
    Column("deadline_us", BigInteger),
    Column("progress", Float(53), nullable=False, server_default="0"),
    _text("message"),
    _text("reason"),
    _text("session"),
    _text("campaign"),
    _text("alias"),
    _small("is_shared"),
    _text("handle"),
    _big("report_sequence"),
    _big("output_bytes"),
    _big("rows_kept"),
)
"""`is_current`: this is the one job of its content hash that others join. `due_us`: somebody looks at it then; while it is held, its lease."""
_j = jobs.c
_partial("jobs_content", "is_current = 1", _j.content_hash, is_unique=True)
_partial("jobs_waiting", "state = 1", _j.instrument, _j.due_us)
_partial("jobs_held", "state > 1 AND state < 10", _j.instrument, _j.due_us)
_partial("jobs_ended", "state >= 10", _j.ended_us)
Index("jobs_state", _j.state, _j.id)
Index("jobs_of_instrument", _j.instrument, _j.id)
Index("jobs_owner", _j.owner, _j.output_bytes)

job_people = Table(
    "job_people",
    metadata,
    Column("job_id", BigInteger, primary_key=True),
    Column("login", Text, primary_key=True),
    _small("state"),
    _text("alias"),
    _text("session"),
    _text("campaign"),
    _big("joined_us"),
)
"""Who asked for it. `state` is that of the job: hers by state is one look into an index."""
_p = job_people.c
Index("job_people_login", _p.login, _p.job_id)
Index("job_people_state", _p.login, _p.state, _p.job_id)
_partial("job_people_campaign", "campaign <> ''", _p.login, _p.campaign, _p.state)
_partial("job_people_alias", "alias <> ''", _p.alias, _p.job_id)

job_campaigns = Table(
    "job_campaigns",
    metadata,
    Column("login", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    _big("rounds"),
    _big("ended_us"),
    _small("to_tell"),
)
"""Jobs of one person that belong together. `rounds` counts how often the last of them had ended; the end is told when it was so for a while."""
_partial("job_campaigns_to_tell", "to_tell = 1", job_campaigns.c.ended_us)

job_history = Table(
    "job_history",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("job_id", BigInteger, nullable=False),
    _big("at_us"),
    _small("state"),
    _text("by_whom"),
    _big("attempt"),
    Column("progress", Float(53), nullable=False, server_default="0"),
    _text("message"),
    _text("reason"),
    _text("report"),
    _small("to_tell"),
)
"""Also what is still to be said to people: a change and the word about it are written together, so that neither is without the other."""
Index("job_history_job", job_history.c.job_id, job_history.c.id)
_partial("job_history_to_tell", "to_tell = 1", job_history.c.id)

job_products = Table(
    "job_products",
    metadata,
    Column("job_id", BigInteger, primary_key=True),
    Column("name", Text, primary_key=True),
    _big("position"),
    _text("kind"),
    _text("title"),
    _text("content_type"),
    _big("size"),
    _text("sha256"),
    _text("meta"),
    _text("path"),
    Column("content", LargeBinary),
)
"""`content` are the bytes of a small product: it is written with the end of its job, and is no file."""
