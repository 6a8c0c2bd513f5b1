"""What people hold: of a step, a workflow, a queue or an organization nothing begins until it is released."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from wfcelery.store.migrations.rewording import add_words

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

INSTANT = sa.Float().with_variant(sa.DateTime(timezone=True), "postgresql")
HELD = "status = 'held' and why >= 'hold:' and why < 'hold;'"


def upgrade() -> None:
    add_words("wf_inbox", "wf_inbox_fact", "fact", "hold_over")
    op.create_table(
        "wf_hold",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("actor", sa.Text()),
        sa.Column("held_at", INSTANT, nullable=False),
        sa.Column("until", INSTANT),
        sa.Column("released_at", INSTANT),
        sa.Column("every", sa.Float()),
        sa.Column("turn_at", INSTANT),
        sa.Column("ring_at", INSTANT),
        sa.CheckConstraint("status in ('held', 'releasing')", name="wf_hold_status"),
        sa.PrimaryKeyConstraint("id", name="wf_hold_pk"),
        sa.UniqueConstraint("organization_id", "scope", name="wf_hold_scope"),
    )
    op.create_index("wf_hold_standing", "wf_hold", ["status"])
    op.create_index("wf_step_held_by", "wf_step", ["why", "run"], postgresql_where=sa.text(HELD), sqlite_where=sa.text(HELD))
