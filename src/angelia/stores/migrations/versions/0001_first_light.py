"""The first schema, written out: later steps change it, this one stays as the tables were in 0.1."""

from alembic import op
from sqlalchemy import BigInteger, Column, Integer, LargeBinary, SmallInteger, String, Text, UniqueConstraint, text

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_TABLES = (
    "messages",
    "ledger",
    "deliveries",
    "digests",
    "user_types",
    "flood_marks",
    "repeat_marks",
    "breakers",
    "pauses",
    "counters",
    "persons",
    "follows",
    "rule_index",
    "addresses",
    "codes",
    "groups",
    "members",
    "relations",
    "documents",
    "sources",
    "tokens",
    "types",
    "type_aliases",
    "feeds",
    "templates",
    "audit",
)


def upgrade() -> None:
    """Create everything."""
    _messages()
    _deliveries()
    _marks()
    _people()
    _site()


def downgrade() -> None:
    """Take everything away."""
    for name in _TABLES:
        op.drop_table(name)


def _id(*, is_counted: bool = False) -> Column[int]:
    return Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=is_counted)


def _serial() -> Column[int]:
    return _id(is_counted=True)


def _big(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False, server_default="0")


def _small(name: str, default: int = 0) -> Column[int]:
    return Column(name, SmallInteger, nullable=False, server_default=str(default))


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False, server_default="")


def _partial(name: str, table: str, where: str, *columns: str, is_unique: bool = False) -> None:
    op.create_index(name, table, list(columns), unique=is_unique, sqlite_where=text(where), postgresql_where=text(where))


def _messages() -> None:
    """What was said, and what was decided of it."""
    op.create_table(
        "messages",
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
    _partial("messages_key", "messages", "idem_key IS NOT NULL", "source", "idem_key", is_unique=True)
    _partial("messages_unplanned", "messages", "plan_state = 0", "id")
    op.create_table(
        "ledger",
        Column("message_id", BigInteger, primary_key=True),
        Column("person_id", BigInteger, primary_key=True),
        _text("because"),
        _text("decisions"),
        _big("decided_us"),
        sqlite_with_rowid=False,
    )
    op.create_index("ledger_person", "ledger", ["person_id", "message_id"])


def _deliveries() -> None:
    """What goes out, and the digests."""
    op.create_table(
        "deliveries",
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
        UniqueConstraint("message_id", "person_id", "agent", "address_id", name="deliveries_once"),
    )
    _partial("deliveries_due", "deliveries", "state = 2", "agent", "due_us", "id")
    _partial("deliveries_held", "deliveries", "state = 1", "due_us", "person_id", "agent", "address_id", "schedule")
    _partial("deliveries_sending", "deliveries", "state = 3", "lease_us")
    _partial("deliveries_failed", "deliveries", "state IN (11, 14)", "id")
    _partial("deliveries_digest", "deliveries", "digest_id IS NOT NULL", "digest_id")
    _partial("deliveries_inbox", "deliveries", "state = 10 AND agent IN ('web', 'feed')", "person_id", "agent", "id")
    op.create_table(
        "digests",
        _id(),
        Column("person_id", BigInteger, nullable=False),
        Column("agent", Text, nullable=False),
        _big("address_id"),
        Column("schedule", Text, nullable=False),
        _big("slot_us"),
        Column("content", Text, nullable=False),
        UniqueConstraint("person_id", "agent", "address_id", "schedule", "slot_us", name="digests_once"),
    )
    op.create_table(
        "user_types",
        Column("person_id", BigInteger, primary_key=True),
        Column("type", Text, primary_key=True),
        _big("first_us"),
        _big("last_us"),
        _big("messages"),
        sqlite_with_rowid=False,
    )


def _marks() -> None:
    """What the stages remember between turns."""
    op.create_table(
        "flood_marks",
        Column("person_id", BigInteger, primary_key=True),
        Column("agent", Text, primary_key=True),
        _big("window_us"),
        _big("sent"),
    )
    op.create_table(
        "repeat_marks",
        Column("person_id", BigInteger, primary_key=True),
        Column("agent", Text, primary_key=True),
        Column("key", Text, primary_key=True),
        _big("sent_us"),
    )
    op.create_index("repeat_marks_age", "repeat_marks", ["sent_us"])
    op.create_table("breakers", Column("destination", Text, primary_key=True), _text("breaker"))
    op.create_table("pauses", Column("agent", Text, primary_key=True))
    op.create_table("counters", Column("name", Text, primary_key=True), _big("value"))


def _people() -> None:
    """Who can be told, where, and what they want."""
    op.create_table(
        "persons",
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
    )
    op.create_index("persons_changed", "persons", ["changed_seq"])
    op.create_table("follows", Column("object", Text, primary_key=True), Column("person_id", BigInteger, primary_key=True))
    op.create_index("follows_person", "follows", ["person_id"])
    op.create_table(
        "rule_index",
        _serial(),
        Column("person_id", BigInteger, nullable=False),
        Column("pattern", Text, nullable=False),
        _text("name"),
        _text("value"),
    )
    op.create_index("rule_index_person", "rule_index", ["person_id"])
    op.create_table(
        "addresses",
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
    op.create_table("codes", _serial(), Column("agent", Text, nullable=False), Column("value", Text, nullable=False), _big("sent_us"))
    op.create_index("codes_place", "codes", ["agent", "value", "sent_us"])
    op.create_table("groups", _serial(), Column("name", Text, nullable=False, unique=True), _text("title"))
    op.create_table("members", Column("group_id", BigInteger, primary_key=True), Column("person_id", BigInteger, primary_key=True))
    op.create_index("members_person", "members", ["person_id"])
    op.create_table(
        "relations",
        Column("object", Text, primary_key=True),
        Column("role", Text, primary_key=True),
        Column("principal", Text, primary_key=True),
    )


def _site() -> None:
    """The site: sources, types, tokens, feeds, templates, audit."""
    op.create_table("documents", Column("name", Text, primary_key=True), _text("document"), _big("version"))
    op.create_table("sources", _serial(), Column("name", Text, nullable=False, unique=True), _text("document"))
    op.create_table(
        "tokens",
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
    op.create_table(
        "types",
        Column("key", Text, primary_key=True),
        _big("first_us"),
        _big("last_us"),
        _text("document"),
    )
    op.create_table("type_aliases", Column("alias", Text, primary_key=True), Column("key", Text, nullable=False))
    op.create_table(
        "feeds",
        _serial(),
        Column("person_id", BigInteger, nullable=False),
        _text("title"),
        _text("query"),
        Column("secret_hash", String(64), nullable=False, unique=True),
        _big("created_us"),
        _small("is_revoked"),
    )
    op.create_table("templates", Column("key", Text, primary_key=True), _text("source"))
    op.create_table(
        "audit",
        _serial(),
        _big("at_us"),
        Column("actor", Text, nullable=False),
        Column("action", Text, nullable=False),
        _text("target"),
        _text("detail"),
    )
