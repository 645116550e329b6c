"""All tables. Times are microseconds since 1970 (UTC), ids 63-bit numbers, documents JSON text: alike on both databases."""

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, MetaData, SmallInteger, String, Table, Text, UniqueConstraint, text

from angelia.model.delivery import State

metadata = MetaData()

ACCEPTED, PLANNED, PARKED = 0, 1, 2
"""`messages.plan_state`."""


def _id() -> Column[int]:
    return Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False)


def _serial() -> Column[int]:
    return Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True)


def _big(name: str, default: int = 0) -> Column[int]:
    return Column(name, BigInteger, nullable=False, server_default=str(default))


def _small(name: str, default: int = 0) -> Column[int]:
    return Column(name, SmallInteger, nullable=False, server_default=str(default))


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False, server_default="")


messages = Table(
    "messages",
    metadata,
    _id(),
    Column("source", Text, nullable=False),
    Column("type", Text, nullable=False),
    _big("received_us"),
    Column("idem_key", Text),
    Column("fingerprint", LargeBinary),
    Column("payload", Text, nullable=False),
    _small("plan_state"),
    _big("plan_due_us"),
    _big("plan_fence"),
    _small("plan_attempts"),
    Column("plan_error", Text),
)
Index("messages_key", messages.c.source, messages.c.idem_key, unique=True, sqlite_where=text("idem_key IS NOT NULL"),
      postgresql_where=text("idem_key IS NOT NULL"))  # fmt: skip
Index("messages_unplanned", messages.c.id, sqlite_where=text("plan_state = 0"), postgresql_where=text("plan_state = 0"))
Index("messages_parked", messages.c.id, sqlite_where=text("plan_state = 2"), postgresql_where=text("plan_state = 2"))

ledger = Table(
    "ledger",
    metadata,
    Column("message_id", BigInteger, primary_key=True),
    Column("person_id", BigInteger, primary_key=True),
    _text("because"),
    _text("decisions"),
    _big("decided_us"),
    sqlite_with_rowid=False,
)
Index("ledger_person", ledger.c.person_id, ledger.c.message_id)

deliveries = Table(
    "deliveries",
    metadata,
    _id(),
    Column("message_id", BigInteger),
    Column("person_id", BigInteger, nullable=False),
    Column("agent", Text, nullable=False),
    _big("address_id"),
    _small("state"),
    _big("due_us"),
    _big("lease_us"),
    Column("fence", Integer, nullable=False, server_default="0"),
    _small("attempts"),
    Column("first_tried_us", BigInteger),
    Column("ended_us", BigInteger),
    Column("digest_id", BigInteger),
    _text("schedule"),
    _text("form"),
    _text("reason"),
    _small("is_locked"),
    _text("last_error"),
    Column("read_us", BigInteger),
    Column("archived_us", BigInteger),
    _small("is_urgent"),
    UniqueConstraint("message_id", "person_id", "agent", "address_id", name="deliveries_once"),
)


def _partial(name: str, where: str, *columns: Column[int]) -> None:
    Index(name, *columns, sqlite_where=text(where), postgresql_where=text(where))


_d = deliveries.c
_partial("deliveries_due", f"state = {State.DUE:d}", _d.agent, _d.due_us, _d.id)
_partial("deliveries_urgent", f"state = {State.DUE:d} AND is_urgent = 1", _d.agent, _d.due_us, _d.id)
_partial("deliveries_held", f"state = {State.HELD:d}", _d.due_us, _d.person_id, _d.agent, _d.address_id, _d.schedule)
_partial("deliveries_sending", f"state = {State.SENDING:d}", _d.lease_us)
_partial("deliveries_failed", f"state IN ({State.BOUNCED:d}, {State.DEAD:d})", _d.id)
_partial("deliveries_digest", "digest_id IS NOT NULL", _d.digest_id)
_partial("deliveries_inbox", f"state = {State.DELIVERED:d} AND agent IN ('web', 'feed')", _d.person_id, _d.agent, _d.id, _d.message_id, _d.read_us,
         _d.archived_us, _d.ended_us, _d.state)  # fmt: skip

digests = Table(
    "digests",
    metadata,
    _id(),
    Column("person_id", BigInteger, nullable=False),
    Column("agent", Text, nullable=False),
    _big("address_id"),
    Column("schedule", Text, nullable=False),
    _big("slot_us"),
    Column("content", Text, nullable=False),
    UniqueConstraint("person_id", "agent", "address_id", "schedule", "slot_us", name="digests_once"),
)

user_types = Table(
    "user_types",
    metadata,
    Column("person_id", BigInteger, primary_key=True),
    Column("type", Text, primary_key=True),
    _big("first_us"),
    _big("last_us"),
    _big("messages"),
    sqlite_with_rowid=False,
)

flood_marks = Table(
    "flood_marks",
    metadata,
    Column("person_id", BigInteger, primary_key=True),
    Column("agent", Text, primary_key=True),
    _big("window_us"),
    _big("sent"),
)

snoozes = Table(
    "snoozes",
    metadata,
    Column("delivery_id", BigInteger, primary_key=True, autoincrement=False),
    Column("person_id", BigInteger, nullable=False),
    Column("until_us", BigInteger, nullable=False),
    Column("is_back", SmallInteger, nullable=False),
)
Index("snoozes_of", snoozes.c.person_id, snoozes.c.is_back)
Index("snoozes_due", snoozes.c.is_back, snoozes.c.until_us)

repeat_marks = Table(
    "repeat_marks",
    metadata,
    Column("person_id", BigInteger, primary_key=True),
    Column("agent", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    _big("sent_us"),
)
Index("repeat_marks_age", repeat_marks.c.sent_us)

breakers = Table("breakers", metadata, Column("destination", Text, primary_key=True), _text("breaker"))
pauses = Table("pauses", metadata, Column("agent", Text, primary_key=True))
counters = Table("counters", metadata, Column("name", Text, primary_key=True), _big("value"))

persons = Table(
    "persons",
    metadata,
    _serial(),
    Column("login", Text, nullable=False, unique=True),
    _text("name"),
    _text("time_zone"),
    _text("language"),
    _small("is_active", 1),
    _small("is_admin"),
    _text("document"),
    _big("version"),
    _big("changed_seq"),
    _text("previous"),
)
Index("persons_changed", persons.c.changed_seq)

follows = Table("follows", metadata, Column("object", Text, primary_key=True), Column("person_id", BigInteger, primary_key=True))
Index("follows_person", follows.c.person_id)

rule_index = Table(
    "rule_index",
    metadata,
    _serial(),
    Column("person_id", BigInteger, nullable=False),
    Column("pattern", Text, nullable=False),
    _text("name"),
    _text("value"),
)
Index("rule_index_person", rule_index.c.person_id)

addresses = Table(
    "addresses",
    metadata,
    _serial(),
    Column("person_id", BigInteger, nullable=False),
    Column("agent", Text, nullable=False),
    Column("value", Text, nullable=False),
    _text("state"),
    _small("is_default"),
    _text("origin"),
    Column("verified_us", BigInteger),
    Column("code_hash", Text),
    Column("code_expires_us", BigInteger),
    _small("code_tries"),
    UniqueConstraint("person_id", "agent", "value", name="addresses_once"),
)

codes = Table("codes", metadata, _serial(), Column("agent", Text, nullable=False), Column("value", Text, nullable=False), _big("sent_us"))
Index("codes_place", codes.c.agent, codes.c.value, codes.c.sent_us)

groups = Table("groups", metadata, _serial(), Column("name", Text, nullable=False, unique=True), _text("title"))
members = Table("members", metadata, Column("group_id", BigInteger, primary_key=True), Column("person_id", BigInteger, primary_key=True))
Index("members_person", members.c.person_id)

relations = Table(
    "relations",
    metadata,
    Column("object", Text, primary_key=True),
    Column("role", Text, primary_key=True),
    Column("principal", Text, primary_key=True),
)
Index("relations_principal", relations.c.principal, relations.c.object, relations.c.role)

documents = Table("documents", metadata, Column("name", Text, primary_key=True), _text("document"), _big("version"))

sources = Table("sources", metadata, _serial(), Column("name", Text, nullable=False, unique=True), _text("document"))

tokens = Table(
    "tokens",
    metadata,
    _serial(),
    Column("owner", Text, nullable=False),
    _text("title"),
    _text("scopes"),
    Column("secret_hash", String(64), nullable=False, unique=True),
    _big("created_us"),
    Column("expires_us", BigInteger),
    Column("last_used_us", BigInteger),
    _small("is_revoked"),
)

credentials = Table(
    "credentials",
    metadata,
    Column("person_id", BigInteger, primary_key=True, autoincrement=False),
    Column("password_hash", Text, nullable=False),
    _big("changed_us"),
)

identities = Table(
    "identities",
    metadata,
    Column("issuer", Text, primary_key=True),
    Column("subject", Text, primary_key=True),
    Column("person_id", BigInteger, nullable=False),
)
Index("identities_person", identities.c.person_id)

sessions = Table(
    "sessions",
    metadata,
    _serial(),
    Column("person_id", BigInteger, nullable=False),
    Column("secret_hash", String(64), nullable=False, unique=True),
    _text("provider"),
    _text("provider_session"),
    _text("device"),
    _big("created_us"),
    _big("seen_us"),
    _big("ends_us"),
)
Index("sessions_person", sessions.c.person_id)
Index("sessions_ends", sessions.c.ends_us)

types = Table(
    "types",
    metadata,
    Column("key", Text, primary_key=True),
    _big("first_us"),
    _big("last_us"),
    _text("document"),
)
type_aliases = Table("type_aliases", metadata, Column("alias", Text, primary_key=True), Column("key", Text, nullable=False))

feeds = Table(
    "feeds",
    metadata,
    _serial(),
    Column("person_id", BigInteger, nullable=False),
    _text("title"),
    _text("query"),
    Column("secret_hash", String(64), nullable=False, unique=True),
    _big("created_us"),
    _small("is_revoked"),
    Column("last_read_us", BigInteger),
)

templates = Table("templates", metadata, Column("key", Text, primary_key=True), _text("source"))
template_versions = Table(
    "template_versions",
    metadata,
    _serial(),
    Column("key", Text, nullable=False),
    Column("source", Text),
    _text("actor"),
    _big("at_us"),
)
Index("template_versions_key", template_versions.c.key, template_versions.c.id)

audit = Table(
    "audit",
    metadata,
    _serial(),
    _big("at_us"),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    _text("target"),
    _text("detail"),
)
Index("audit_actor", audit.c.actor, audit.c.id)
Index("audit_action", audit.c.action, audit.c.id)

exchanges = Table(
    "exchanges",
    metadata,
    Column("name", Text, primary_key=True),
    Column("epoch", String(32), nullable=False),
    _big("head"),
    _big("pruned"),
    _big("total"),
)
"""Where each stands: sequences up to `head` were given, those up to `pruned` are forgotten, `total` bytes were published."""
events = Table(
    "events",
    metadata,
    Column("exchange", Text, primary_key=True),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    _big("at_us"),
    _big("total"),
    Column("routing_key", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    _text("content_type"),
    _text("headers"),
    _text("properties"),
)
"""`total` counts the bytes of the exchange up to and with this event, so that a budget is a comparison."""

experiments = Table(
    "experiments",
    metadata,
    _serial(),
    Column("path", Text, nullable=False, unique=True),
    Column("event_key", Text, nullable=False),
    _small("state"),
    _small("is_created"),
    _text("name"),
    _text("owner"),
    _text("group_name"),
    _text("reporter"),
    Column("duration", BigInteger),
    Column("started_us", BigInteger),
    Column("stopped_us", BigInteger),
    _big("changed_us"),
    _big("seen_us"),
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
    _text("object_type"),
    _text("name"),
    _text("state"),
    _big("changed_us"),
)
Index("experiment_resources_of", experiment_resources.c.experiment_id)
transitions = Table(
    "transitions",
    metadata,
    _id(),
    Column("fingerprint", LargeBinary, nullable=False, unique=True),
    Column("experiment_id", BigInteger),
    _big("received_us"),
    Column("payload", Text, nullable=False),
    _small("to_publish"),
    _small("to_tell"),
)
Index("transitions_of", transitions.c.experiment_id, transitions.c.id)
Index("transitions_received", transitions.c.received_us)
_partial("transitions_to_publish", "to_publish = 1", transitions.c.id)
_partial("transitions_to_tell", "to_tell = 1", transitions.c.id)

last_states = Table("last_states", metadata, Column("name", Text, primary_key=True), _text("state"), _big("at_us"))
"""What inlets saw last of what they watch: only a change is a message."""
Index("last_states_at", last_states.c.at_us)

task_requests = Table(
    "task_requests",
    metadata,
    Column("id", String(24), primary_key=True),
    Column("user_id", Text, nullable=False),
    _text("event"),
    _text("task_id"),
    _text("instance_id"),
    _text("document"),
    Column("created_us", BigInteger, nullable=False),
    Column("matched_us", BigInteger),
    Column("triggered_us", BigInteger),
)
Index("task_requests_user", task_requests.c.user_id, task_requests.c.id)
stream_positions = Table("stream_positions", metadata, Column("name", Text, primary_key=True), _text("position"))
"""How far those who must miss nothing have read an exchange."""

answers = Table(
    "answers",
    metadata,
    Column("message_id", BigInteger, primary_key=True),
    Column("person_id", BigInteger, primary_key=True),
    _big("seen_us"),
    _text("seen_by"),
    Column("acknowledged_us", BigInteger),
    _text("acknowledged_by"),
    sqlite_with_rowid=False,
)
"""That somebody saw a message, or takes it over: told by any means, once each. `_by` is the means."""
escalations = Table(
    "escalations",
    metadata,
    Column("message_id", BigInteger, primary_key=True),
    Column("person_id", BigInteger, primary_key=True),
    _text("plan"),
    _small("step"),
    _big("due_us"),
    Column("fence", Integer, nullable=False, server_default="0"),
    Column("ended_us", BigInteger),
    _text("ending"),
    sqlite_with_rowid=False,
)
"""Messages that go on until somebody answers: `plan` as it stood when the message came, `step` the one that is next at `due_us`."""
_partial("escalations_due", "ended_us IS NULL", escalations.c.due_us)
announcements = Table("announcements", metadata, _serial(), _text("routing_key"), _text("body"), _big("at_us"), sqlite_autoincrement=True)
"""What the hub tells of its own doings, until its broker has it. A number is never given twice: readers know repeats by it."""

expectations = Table(
    "expectations",
    metadata,
    _serial(),
    Column("person_id", BigInteger, nullable=False),
    _text("terms"),
    Column("secret_hash", String(64), unique=True),
    _small("hears"),
    _small("state"),
    _small("is_paused"),
    _big("created_us"),
    _big("since_us"),
    Column("seen_us", BigInteger),
    Column("started_us", BigInteger),
    Column("alarm_us", BigInteger),
    sqlite_autoincrement=True,
)
"""`terms` is what she asks for, as JSON; `alarm_us` is when silence will be told, from the terms and the three times before it."""
Index("expectations_person", expectations.c.person_id)
_partial("expectations_alarm", "alarm_us IS NOT NULL", expectations.c.alarm_us)
_partial("expectations_hears", "hears = 1", expectations.c.id)

expectation_history = Table(
    "expectation_history",
    metadata,
    _serial(),
    Column("expectation_id", BigInteger, nullable=False),
    _big("at_us"),
    _text("kind"),
    _small("state_before"),
    _small("state_after"),
    _big("since_us"),
    Column("took_us", BigInteger),
    Column("exit_code", SmallInteger),
    _text("said"),
    _small("to_tell"),
    sqlite_autoincrement=True,
)
"""Also what is still to be told: a change and the word about it are written together, so that neither is without the other."""
Index("expectation_history_of", expectation_history.c.expectation_id, expectation_history.c.id)
_partial("expectation_history_to_tell", "to_tell = 1", expectation_history.c.id)
