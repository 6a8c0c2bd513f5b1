"""A fan-out counts the items that their own condition left out."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Null where nobody has counted: of plain steps, and of fan-outs that began before."""
    op.add_column("wf_step", sa.Column("skipped", sa.Integer))
