"""Tables of what comes back from the media: receipts, who hears, codes that are handed over."""

from sqlalchemy import BigInteger, Column, Index, Integer, SmallInteger, String, Table, Text, text

from angelia.stores.tables import metadata


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False, server_default="")


receipts = Table(
    "receipts",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("agent", Text, nullable=False),
    Column("address_id", BigInteger, nullable=False, server_default="0"),
    Column("receipt", Text, nullable=False),
    _text("thread"),
    _text("root"),
    _text("track"),
    Column("is_progress", SmallInteger, nullable=False, server_default="0"),
)
"""What a medium called the letter of a delivery, by its id, for media that answer or edit."""
Index("receipts_receipt", receipts.c.agent, receipts.c.receipt)
_r = receipts.c
Index("receipts_thread", _r.address_id, _r.thread, _r.id, sqlite_where=text("thread <> ''"), postgresql_where=text("thread <> ''"))
Index("receipts_track", _r.address_id, _r.track, _r.id, sqlite_where=text("track <> ''"), postgresql_where=text("track <> ''"))

ears = Table(
    "ears",
    metadata,
    Column("agent", Text, primary_key=True),
    _text("holder"),
    Column("lease_us", BigInteger, nullable=False, server_default="0"),
    _text("position"),
)
"""Which process hears a medium, and how far it was heard."""

link_codes = Table(
    "link_codes",
    metadata,
    Column("link_hash", String(64), primary_key=True),
    Column("agent", Text, nullable=False),
    Column("person_id", BigInteger, nullable=False),
    Column("expires_us", BigInteger, nullable=False),
)
"""Codes that a person hands over at the other end: where they come in is her address."""
Index("link_codes_expires", link_codes.c.expires_us)
Index("link_codes_person", link_codes.c.person_id)
