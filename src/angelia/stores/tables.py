"""The tables of messages, people and the site. Times are microseconds since 1970 (UTC), ids 63-bit numbers, documents JSON text."""

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, SmallInteger, String, Table, Text, UniqueConstraint

from angelia.model.delivery import State
from angelia.stores.columns import big, key, metadata, partial, serial, small, text

ACCEPTED, PLANNED, PARKED = 0, 1, 2
"""`messages.plan_state`."""

messages = Table(
    "messages",
    metadata,
    key(),
    Column("source", Text, nullable=False),
    Column("type", Text, nullable=False),
    big("received_us"),
    Column("idem_key", Text),
    Column("fingerprint", LargeBinary),
    Column("payload", Text, nullable=False),
    small("plan_state"),
    big("plan_due_us"),
    big("plan_fence"),
    small("plan_attempts"),
    Column("plan_error", Text),
)
partial("messages_key", "idem_key IS NOT NULL", messages.c.source, messages.c.idem_key, is_unique=True)
partial("messages_unplanned", "plan_state = 0", messages.c.id)
partial("messages_parked", "plan_state = 2", messages.c.id)

ledger = Table(
    "ledger",
    metadata,
    Column("message_id", BigInteger, primary_key=True),
    Column("person_id", BigInteger, primary_key=True),
    text("because"),
    text("decisions"),
    big("decided_us"),
    sqlite_with_rowid=False,
)
Index("ledger_person", ledger.c.person_id, ledger.c.message_id)

deliveries = Table(
    "deliveries",
    metadata,
    key(),
    Column("message_id", BigInteger),
    Column("person_id", BigInteger, nullable=False),
    Column("agent", Text, nullable=False),
    big("address_id"),
    small("state"),
    big("due_us"),
    big("lease_us"),
    Column("fence", Integer, nullable=False, server_default="0"),
    small("attempts"),
    Column("first_tried_us", BigInteger),
    Column("ended_us", BigInteger),
    Column("digest_id", BigInteger),
    text("schedule"),
    text("form"),
    text("reason"),
    small("is_locked"),
    text("last_error"),
    Column("read_us", BigInteger),
    Column("archived_us", BigInteger),
    small("is_urgent"),
    UniqueConstraint("message_id", "person_id", "agent", "address_id", name="deliveries_once"),
)

_d = deliveries.c
partial("deliveries_due", f"state = {State.DUE:d}", _d.agent, _d.due_us, _d.id)
partial("deliveries_urgent", f"state = {State.DUE:d} AND is_urgent = 1", _d.agent, _d.due_us, _d.id)
partial("deliveries_held", f"state = {State.HELD:d}", _d.due_us, _d.person_id, _d.agent, _d.address_id, _d.schedule)
partial("deliveries_sending", f"state = {State.SENDING:d}", _d.lease_us)
partial("deliveries_failed", f"state IN ({State.BOUNCED:d}, {State.DEAD:d})", _d.id)
partial("deliveries_digest", "digest_id IS NOT NULL", _d.digest_id)
_shown = (_d.person_id, _d.agent, _d.id, _d.message_id, _d.read_us, _d.archived_us, _d.ended_us, _d.state)
partial("deliveries_inbox", f"state = {State.DELIVERED:d} AND agent IN ('web', 'feed')", *_shown)

digests = Table(
    "digests",
    metadata,
    key(),
    Column("person_id", BigInteger, nullable=False),
    Column("agent", Text, nullable=False),
    big("address_id"),
    Column("schedule", Text, nullable=False),
    big("slot_us"),
    Column("content", Text, nullable=False),
    UniqueConstraint("person_id", "agent", "address_id", "schedule", "slot_us", name="digests_once"),
)

user_types = Table(
    "user_types",
    metadata,
    Column("person_id", BigInteger, primary_key=True),
    Column("type", Text, primary_key=True),
    big("first_us"),
    big("last_us"),
    big("messages"),
    sqlite_with_rowid=False,
)

flood_marks = Table(
    "flood_marks",
    metadata,
    Column("person_id", BigInteger, primary_key=True),
    Column("agent", Text, primary_key=True),
    big("window_us"),
    big("sent"),
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
    big("sent_us"),
)
Index("repeat_marks_age", repeat_marks.c.sent_us)

breakers = Table("breakers", metadata, Column("destination", Text, primary_key=True), text("breaker"))
pauses = Table("pauses", metadata, Column("agent", Text, primary_key=True))
counters = Table("counters", metadata, Column("name", Text, primary_key=True), big("value"))

persons = Table(
    "persons",
    metadata,
    serial(),
    Column("login", Text, nullable=False, unique=True),
    text("name"),
    text("time_zone"),
    text("language"),
    small("is_active", 1),
    small("is_admin"),
    text("document"),
    big("version"),
    big("changed_seq"),
    text("previous"),
)
Index("persons_changed", persons.c.changed_seq)

follows = Table("follows", metadata, Column("object", Text, primary_key=True), Column("person_id", BigInteger, primary_key=True))
Index("follows_person", follows.c.person_id)

rule_index = Table(
    "rule_index",
    metadata,
    serial(),
    Column("person_id", BigInteger, nullable=False),
    Column("pattern", Text, nullable=False),
    text("name"),
    text("value"),
)
Index("rule_index_person", rule_index.c.person_id)

addresses = Table(
    "addresses",
    metadata,
    serial(),
    Column("person_id", BigInteger, nullable=False),
    Column("agent", Text, nullable=False),
    Column("value", Text, nullable=False),
    text("state"),
    small("is_default"),
    text("origin"),
    Column("verified_us", BigInteger),
    Column("code_hash", Text),
    Column("code_expires_us", BigInteger),
    small("code_tries"),
    UniqueConstraint("person_id", "agent", "value", name="addresses_once"),
)

codes = Table("codes", metadata, serial(), Column("agent", Text, nullable=False), Column("value", Text, nullable=False), big("sent_us"))
Index("codes_place", codes.c.agent, codes.c.value, codes.c.sent_us)

groups = Table("groups", metadata, serial(), Column("name", Text, nullable=False, unique=True), text("title"))
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

documents = Table("documents", metadata, Column("name", Text, primary_key=True), text("document"), big("version"))

sources = Table("sources", metadata, serial(), Column("name", Text, nullable=False, unique=True), text("document"))

tokens = Table(
    "tokens",
    metadata,
    serial(),
    Column("owner", Text, nullable=False),
    text("title"),
    text("scopes"),
    Column("secret_hash", String(64), nullable=False, unique=True),
    big("created_us"),
    Column("expires_us", BigInteger),
    Column("last_used_us", BigInteger),
    small("is_revoked"),
)

credentials = Table(
    "credentials",
    metadata,
    Column("person_id", BigInteger, primary_key=True, autoincrement=False),
    Column("password_hash", Text, nullable=False),
    big("changed_us"),
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
    serial(),
    Column("person_id", BigInteger, nullable=False),
    Column("secret_hash", String(64), nullable=False, unique=True),
    text("provider"),
    text("provider_session"),
    text("device"),
    big("created_us"),
    big("seen_us"),
    big("ends_us"),
)
Index("sessions_person", sessions.c.person_id)
Index("sessions_ends", sessions.c.ends_us)

types = Table(
    "types",
    metadata,
    Column("key", Text, primary_key=True),
    big("first_us"),
    big("last_us"),
    text("document"),
)
type_aliases = Table("type_aliases", metadata, Column("alias", Text, primary_key=True), Column("key", Text, nullable=False))

feeds = Table(
    "feeds",
    metadata,
    serial(),
    Column("person_id", BigInteger, nullable=False),
    text("title"),
    text("query"),
    Column("secret_hash", String(64), nullable=False, unique=True),
    big("created_us"),
    small("is_revoked"),
    Column("last_read_us", BigInteger),
)

templates = Table("templates", metadata, Column("key", Text, primary_key=True), text("source"))
template_versions = Table(
    "template_versions",
    metadata,
    serial(),
    Column("key", Text, nullable=False),
    Column("source", Text),
    text("actor"),
    big("at_us"),
)
Index("template_versions_key", template_versions.c.key, template_versions.c.id)

audit = Table(
    "audit",
    metadata,
    serial(),
    big("at_us"),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    text("target"),
    text("detail"),
)
Index("audit_actor", audit.c.actor, audit.c.id)
Index("audit_action", audit.c.action, audit.c.id)

answers = Table(
    "answers",
    metadata,
    Column("message_id", BigInteger, primary_key=True),
    Column("person_id", BigInteger, primary_key=True),
    big("seen_us"),
    text("seen_by"),
    Column("acknowledged_us", BigInteger),
    text("acknowledged_by"),
    sqlite_with_rowid=False,
)
"""That somebody saw a message, or takes it over: told by any means, once each. `_by` is the means."""
escalations = Table(
    "escalations",
    metadata,
    Column("message_id", BigInteger, primary_key=True),
    Column("person_id", BigInteger, primary_key=True),
    text("plan"),
    small("step"),
    big("due_us"),
    Column("fence", Integer, nullable=False, server_default="0"),
    Column("ended_us", BigInteger),
    text("ending"),
    sqlite_with_rowid=False,
)
"""Messages that go on until somebody answers: `plan` as it stood when the message came, `step` the one that is next at `due_us`."""
partial("escalations_due", "ended_us IS NULL", escalations.c.due_us)
announcements = Table("announcements", metadata, serial(), text("routing_key"), text("body"), big("at_us"), sqlite_autoincrement=True)
"""What the hub tells of its own doings, until its broker has it. A number is never given twice: readers know repeats by it."""

expectations = Table(
    "expectations",
    metadata,
    serial(),
    Column("person_id", BigInteger, nullable=False),
    text("terms"),
    Column("secret_hash", String(64), unique=True),
    small("hears"),
    small("state"),
    small("is_paused"),
    big("created_us"),
    big("since_us"),
    Column("seen_us", BigInteger),
    Column("started_us", BigInteger),
    Column("alarm_us", BigInteger),
    sqlite_autoincrement=True,
)
"""`terms` is what she asks for, as JSON; `alarm_us` is when silence will be told, from the terms and the three times before it."""
Index("expectations_person", expectations.c.person_id)
partial("expectations_alarm", "alarm_us IS NOT NULL", expectations.c.alarm_us)
partial("expectations_hears", "hears = 1", expectations.c.id)

expectation_history = Table(
    "expectation_history",
    metadata,
    serial(),
    Column("expectation_id", BigInteger, nullable=False),
    big("at_us"),
    text("kind"),
    small("state_before"),
    small("state_after"),
    big("since_us"),
    Column("took_us", BigInteger),
    Column("exit_code", SmallInteger),
    text("said"),
    small("to_tell"),
    sqlite_autoincrement=True,
)
"""Also what is still to be told: a change and the word about it are written together, so that neither is without the other."""
Index("expectation_history_of", expectation_history.c.expectation_id, expectation_history.c.id)
partial("expectation_history_to_tell", "to_tell = 1", expectation_history.c.id)
