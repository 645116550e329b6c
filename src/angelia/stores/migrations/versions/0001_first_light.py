"""The first schema."""

from alembic import op

from angelia.stores.tables import metadata

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create everything. Later steps change it; this one stays as the tables were in 0.1."""
    metadata.create_all(op.get_bind())


def downgrade() -> None:
    """Take everything away."""
    metadata.drop_all(op.get_bind())
