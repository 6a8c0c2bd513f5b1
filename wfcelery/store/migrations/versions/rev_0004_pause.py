"""Runs can be paused, and terminated; `wf_audit` says who did what to which run."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from wfcelery.store.migrations.rewording import reword_function, reword_table
from wfcelery.store.schema import Instant

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

RUN = "'waiting', 'cancelling', 'succeeded'", "'waiting', 'paused', 'cancelling', 'succeeded'"
INBOX = "fact in ('reported', 'cancel', 'retry')", "fact in ('reported', 'cancel', 'terminate', 'pause', 'resume', 'retry')"


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        reword_function("wf_run_rules", *RUN)
        op.drop_constraint("wf_inbox_fact", "wf_inbox", type_="check")
        op.create_check_constraint("wf_inbox_fact", "wf_inbox", INBOX[1])
    else:
        reword_table("wf_run", *RUN)
        reword_table("wf_inbox", *INBOX)
    op.create_table(
        "wf_audit",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("organization_id", sa.Text, nullable=False),
        sa.Column("run", sa.Uuid),
        sa.Column("at", Instant, nullable=False),
        sa.Column("actor", sa.Text),
        sa.Column("verb", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
    )
    op.create_index("wf_audit_run", "wf_audit", ["run", "at"])
    op.create_index("wf_audit_newest", "wf_audit", ["organization_id", "at"])
