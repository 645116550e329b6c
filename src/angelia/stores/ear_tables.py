"""Tables of what comes back from the media: receipts, who hears, codes that are handed over."""

from sqlalchemy import BigInteger, Column, Index, String, Table, Text

from angelia.stores.columns import big, key, metadata, partial, small, text

receipts = Table(
    "receipts",
    metadata,
    key(),
    Column("agent", Text, nullable=False),
    big("address_id"),
    Column("receipt", Text, nullable=False),
    text("thread"),
    text("root"),
    text("track"),
    small("is_progress"),
)
"""What a medium called the letter of a delivery, by its id, for media that answer or edit."""
Index("receipts_receipt", receipts.c.agent, receipts.c.receipt)
_r = receipts.c
partial("receipts_thread", "thread <> ''", _r.address_id, _r.thread, _r.id)
partial("receipts_track", "track <> ''", _r.address_id, _r.track, _r.id)

ears = Table(
    "ears",
    metadata,
    Column("agent", Text, primary_key=True),
    text("holder"),
    big("lease_us"),
    text("position"),
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
