"""Signing in: passwords, identities at providers, sessions."""

from alembic import op
from sqlalchemy import BigInteger, Column, Integer, String, Text

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Three new tables; what is there stays as it is."""
    op.create_table(
        "credentials",
        Column("person_id", BigInteger, primary_key=True, autoincrement=False),
        Column("password_hash", Text, nullable=False),
        Column("changed_us", BigInteger, nullable=False, server_default="0"),
    )
    op.create_table(
        "identities",
        Column("issuer", Text, primary_key=True),
        Column("subject", Text, primary_key=True),
        Column("person_id", BigInteger, nullable=False),
    )
    op.create_index("identities_person", "identities", ["person_id"])
    op.create_table(
        "sessions",
        Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
        Column("person_id", BigInteger, nullable=False),
        Column("secret_hash", String(64), nullable=False, unique=True),
        Column("provider", Text, nullable=False, server_default=""),
        Column("provider_session", Text, nullable=False, server_default=""),
        Column("device", Text, nullable=False, server_default=""),
        Column("created_us", BigInteger, nullable=False, server_default="0"),
        Column("seen_us", BigInteger, nullable=False, server_default="0"),
        Column("ends_us", BigInteger, nullable=False, server_default="0"),
    )
    op.create_index("sessions_person", "sessions", ["person_id"])
    op.create_index("sessions_ends", "sessions", ["ends_us"])
