"""What a medium called a letter is found again: for answers that come back by it, for threads, and for news that are brought up to date in place."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, server_default="")


def _partial(name: str, table: str, columns: list[str], where: str) -> None:
    op.create_index(name, table, columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))


def upgrade() -> None:
    """Three tables: receipts, who hears, and codes that are handed over at the other end."""
    op.create_table(
        "receipts",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=False),
        sa.Column("agent", sa.Text, nullable=False),
        sa.Column("address_id", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("receipt", sa.Text, nullable=False),
        _text("thread"),
        _text("root"),
        _text("track"),
        sa.Column("is_progress", sa.SmallInteger, nullable=False, server_default="0"),
    )
    op.create_index("receipts_receipt", "receipts", ["agent", "receipt"])
    _partial("receipts_thread", "receipts", ["address_id", "thread", "id"], "thread <> ''")
    _partial("receipts_track", "receipts", ["address_id", "track", "id"], "track <> ''")
    op.create_table(
        "ears",
        sa.Column("agent", sa.Text, primary_key=True),
        _text("holder"),
        sa.Column("lease_us", sa.BigInteger, nullable=False, server_default="0"),
        _text("position"),
    )
    op.create_table(
        "link_codes",
        sa.Column("link_hash", sa.String(64), primary_key=True),
        sa.Column("agent", sa.Text, nullable=False),
        sa.Column("person_id", sa.BigInteger, nullable=False),
        sa.Column("expires_us", sa.BigInteger, nullable=False),
    )
    op.create_index("link_codes_expires", "link_codes", ["expires_us"])
    op.create_index("link_codes_person", "link_codes", ["person_id"])
