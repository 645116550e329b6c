"""The tables of jobs."""

from sqlalchemy import BigInteger, Column, Float, Index, Integer, LargeBinary, String, Table, Text

from angelia.stores.columns import big, key, metadata, partial, small, text

jobs = Table(
    "jobs",
    metadata,
    key(),
    text("owner"),
    text("instrument"),
    text("version"),
    text("product"),
    text("parameters"),
    Column("content_hash", String(64), nullable=False),
    small("is_current"),
    small("state"),
    big("due_us"),
    big("fence"),
    big("attempt"),
    big("tries"),
    big("created_us"),
    big("changed_us"),
    Column("started_us", BigInteger),
    Column("ended_us", BigInteger),
    Column("deadline_us", BigInteger),
    Column("progress", Float(53), nullable=False, server_default="0"),
    text("message"),
    text("reason"),
    text("session"),
    text("campaign"),
    text("alias"),
    small("is_shared"),
    text("handle"),
    big("report_sequence"),
    big("output_bytes"),
    big("rows_kept"),
)
"""`is_current`: this is the one job of its content hash that others join. `due_us`: somebody looks at it then; while it is held, its lease."""
_j = jobs.c
partial("jobs_content", "is_current = 1", _j.content_hash, is_unique=True)
partial("jobs_waiting", "state = 1", _j.instrument, _j.due_us)
partial("jobs_held", "state > 1 AND state < 10", _j.instrument, _j.due_us)
partial("jobs_ended", "state >= 10", _j.ended_us)
Index("jobs_state", _j.state, _j.id)
Index("jobs_of_instrument", _j.instrument, _j.id)
Index("jobs_owner", _j.owner, _j.output_bytes)

job_people = Table(
    "job_people",
    metadata,
    Column("job_id", BigInteger, primary_key=True),
    Column("login", Text, primary_key=True),
    small("state"),
    text("alias"),
    text("session"),
    text("campaign"),
    big("joined_us"),
)
"""Who asked for it. `state` is that of the job: hers by state is one look into an index."""
_p = job_people.c
Index("job_people_login", _p.login, _p.job_id)
Index("job_people_state", _p.login, _p.state, _p.job_id)
partial("job_people_campaign", "campaign <> ''", _p.login, _p.campaign, _p.state)
partial("job_people_alias", "alias <> ''", _p.alias, _p.job_id)

job_campaigns = Table(
    "job_campaigns",
    metadata,
    Column("login", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    big("rounds"),
    big("ended_us"),
    small("to_tell"),
)
"""Jobs of one person that belong together. `rounds` counts how often the last of them had ended; the end is told when it was so for a while."""
partial("job_campaigns_to_tell", "to_tell = 1", job_campaigns.c.ended_us)

job_history = Table(
    "job_history",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("job_id", BigInteger, nullable=False),
    big("at_us"),
    small("state"),
    text("by_whom"),
    big("attempt"),
    Column("progress", Float(53), nullable=False, server_default="0"),
    text("message"),
    text("reason"),
    text("report"),
    small("to_tell"),
)
"""Also what is still to be said to people: a change and the word about it are written together, so that neither is without the other."""
Index("job_history_job", job_history.c.job_id, job_history.c.id)
partial("job_history_to_tell", "to_tell = 1", job_history.c.id)

job_products = Table(
    "job_products",
    metadata,
    Column("job_id", BigInteger, primary_key=True),
    Column("name", Text, primary_key=True),
    big("position"),
    text("kind"),
    text("title"),
    text("content_type"),
    big("size"),
    text("sha256"),
    text("meta"),
    text("path"),
    Column("content", LargeBinary),
)
"""`content` are the bytes of a small product: it is written with the end of its job, and is no file."""
