"""A run may have a parent that waits for its end, and says how many are above it; the inbox takes a child's end."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from wfcelery.store.migrations.rewording import add_words

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("wf_run", sa.Column("parent", sa.Uuid))
    op.add_column("wf_run", sa.Column("depth", sa.Integer, nullable=False, server_default="0"))
    add_words("wf_inbox", "wf_inbox_fact", "fact", "child_ended")
