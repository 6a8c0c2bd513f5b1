"""What is asked of people, beside the wait for their answer."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from wfcelery.store.migrations.rewording import add_words

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

OPEN = sa.text("status = 'open' and kind = 'approval'")


def upgrade() -> None:
    """One table, the way to what is open, and three more facts for an inbox."""
    add_words("wf_inbox", "wf_inbox_fact", "fact", "approve", "reject", "assign")
    op.create_table(
        "wf_approval",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("run", sa.Uuid(), nullable=False),
        sa.Column("step", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("assignees", sa.Text(), nullable=False),
        sa.Column("form", sa.Text()),
        sa.Column("remind", sa.Float()),
        sa.Column("escalate", sa.Text(), nullable=False),
        sa.Column("timeout", sa.Float()),
        sa.Column("reminded", sa.Integer(), server_default="0", nullable=False),
        sa.Column("escalated", sa.Integer(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["run"], ["wf_run.id"]),
        sa.PrimaryKeyConstraint("id", name="wf_approval_pk"),
    )
    op.create_index("wf_approval_run", "wf_approval", ["run"])
    op.create_index("wf_approval_step", "wf_approval", ["step"])
    op.create_index("wf_wait_approvals", "wf_wait", ["organization_id", "opened_at"], postgresql_where=OPEN, sqlite_where=OPEN)
