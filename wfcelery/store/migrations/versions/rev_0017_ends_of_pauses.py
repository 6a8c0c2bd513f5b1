"""A pause may end by itself, at a time."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from wfcelery.store.schema import Instant

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

PAUSED = sa.text("status = 'paused'")


def upgrade() -> None:
    """Of the pauses so far none does."""
    op.add_column("wf_run", sa.Column("resume_at", Instant))
    op.create_index("wf_run_resume", "wf_run", ["resume_at"], postgresql_where=PAUSED, sqlite_where=PAUSED)
