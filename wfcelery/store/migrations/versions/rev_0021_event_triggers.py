"""Events start workflows."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Rows of definitions, which never change."""
    op.create_table(
        "wf_trigger",
        sa.Column("signature", sa.Text, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("workflow", sa.Text, nullable=False),
        sa.Column("event", sa.Text, nullable=False),
        sa.Column("spec", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("signature", "number", name="wf_trigger_pk"),
    )
    op.create_index("wf_trigger_event", "wf_trigger", ["event"])
