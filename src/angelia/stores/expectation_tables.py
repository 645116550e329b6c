"""The tables of what people expect to be heard of, and of what came."""

from sqlalchemy import BigInteger, Column, Index, SmallInteger, String, Table

from angelia.stores.columns import big, metadata, partial, serial, small, text

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
