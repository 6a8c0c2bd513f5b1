"""A run that goes on for others says for which first one: its parent, and whoever asks something of that one, means the line."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

SAID = sa.text("first_run is not null")


def upgrade() -> None:
    """Null of all others."""
    op.add_column("wf_run", sa.Column("first_run", sa.Uuid))
    op.create_index("wf_run_first", "wf_run", ["first_run"], postgresql_where=SAID, sqlite_where=SAID)
