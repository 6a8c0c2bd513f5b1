"""What authors keep beside a run."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

INSTANT = sa.Float().with_variant(sa.DateTime(timezone=True), "postgresql")
EXPIRES = "expires_at is not null"
LOOSE = "loose_at is not null"


def upgrade() -> None:
    """One table; and payloads that may be nobody's are found again."""
    op.add_column("wf_payload", sa.Column("loose_at", INSTANT))
    op.create_index(
        "wf_payload_loose", "wf_payload", ["loose_at"], unique=False, postgresql_where=sa.text(LOOSE), sqlite_where=sa.text(LOOSE)
    )
    op.create_table(
        "wf_data",
        sa.Column("run", sa.Uuid(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("expires_at", INSTANT, nullable=True),
        sa.Column("at", INSTANT, nullable=False),
        sa.ForeignKeyConstraint(["run"], ["wf_run.id"]),
        sa.PrimaryKeyConstraint("run", "key", name="wf_data_pk"),
    )
    op.create_index(
        "wf_data_expires", "wf_data", ["expires_at"], unique=False, postgresql_where=sa.text(EXPIRES), sqlite_where=sa.text(EXPIRES)
    )
