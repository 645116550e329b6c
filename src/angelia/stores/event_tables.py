"""The tables of events on exchanges, and of what is known by events: experiments, last states, requests for tasks."""

from sqlalchemy import BigInteger, Column, Index, LargeBinary, String, Table, Text

from angelia.stores.columns import big, key, metadata, partial, serial, small, text

exchanges = Table(
    "exchanges",
    metadata,
    Column("name", Text, primary_key=True),
    Column("epoch", String(32), nullable=False),
    big("head"),
    big("pruned"),
    big("total"),
)
"""Where each stands: sequences up to `head` were given, those up to `pruned` are forgotten, `total` bytes were published."""
events = Table(
    "events",
    metadata,
    Column("exchange", Text, primary_key=True),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    big("at_us"),
    big("total"),
    Column("routing_key", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    text("content_type"),
    text("headers"),
    text("properties"),
)
"""`total` counts the bytes of the exchange up to and with this event, so that a budget is a comparison."""

experiments = Table(
    "experiments",
    metadata,
    serial(),
    Column("path", Text, nullable=False, unique=True),
    Column("event_key", Text, nullable=False),
    small("state"),
    small("is_created"),
    text("name"),
    text("owner"),
    text("group_name"),
    text("reporter"),
    Column("duration", BigInteger),
    Column("started_us", BigInteger),
    Column("stopped_us", BigInteger),
    big("changed_us"),
    big("seen_us"),
)
"""`changed_us` is what was reported, `seen_us` when it came here: only that says how long it is kept."""
Index("experiments_owner", experiments.c.owner)
Index("experiments_group", experiments.c.group_name)
Index("experiments_seen", experiments.c.seen_us)
experiment_resources = Table(
    "experiment_resources",
    metadata,
    Column("path", Text, primary_key=True),
    Column("experiment_id", BigInteger, nullable=False),
    text("object_type"),
    text("name"),
    text("state"),
    big("changed_us"),
)
Index("experiment_resources_of", experiment_resources.c.experiment_id)
transitions = Table(
    "transitions",
    metadata,
    key(),
    Column("fingerprint", LargeBinary, nullable=False, unique=True),
    Column("experiment_id", BigInteger),
    big("received_us"),
    Column("payload", Text, nullable=False),
    small("to_publish"),
    small("to_tell"),
)
Index("transitions_of", transitions.c.experiment_id, transitions.c.id)
Index("transitions_received", transitions.c.received_us)
partial("transitions_to_publish", "to_publish = 1", transitions.c.id)
partial("transitions_to_tell", "to_tell = 1", transitions.c.id)

last_states = Table("last_states", metadata, Column("name", Text, primary_key=True), text("state"), big("at_us"))
"""What inlets saw last of what they watch: only a change is a message."""
Index("last_states_at", last_states.c.at_us)

task_requests = Table(
    "task_requests",
    metadata,
    Column("id", String(24), primary_key=True),
    Column("user_id", Text, nullable=False),
    text("event"),
    text("task_id"),
    text("instance_id"),
    text("document"),
    Column("created_us", BigInteger, nullable=False),
    Column("matched_us", BigInteger),
    Column("triggered_us", BigInteger),
)
Index("task_requests_user", task_requests.c.user_id, task_requests.c.id)
stream_positions = Table("stream_positions", metadata, Column("name", Text, primary_key=True), text("position"))
"""How far those who must miss nothing have read an exchange."""
