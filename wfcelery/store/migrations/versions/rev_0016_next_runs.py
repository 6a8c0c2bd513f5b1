"""A run that continues as a new one says as which."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Null of all others."""
    op.add_column("wf_run", sa.Column("continued_as", sa.Uuid))
