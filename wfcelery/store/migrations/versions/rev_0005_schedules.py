"""Schedules: which workflow is started when, and what became of the latest slots."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

INSTANT = sa.Float().with_variant(sa.DateTime(timezone=True), "postgresql")
DUE = "due_at is not null"


def upgrade() -> None:
    """One table."""
    op.create_table(
        "wf_schedule",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("workflow", sa.Text(), nullable=False),
        sa.Column("input", sa.Text(), nullable=False),
        sa.Column("slot_as", sa.Text(), nullable=True),
        sa.Column("cron", sa.Text(), nullable=True),
        sa.Column("every", sa.Integer(), nullable=True),
        sa.Column("time_zone", sa.Text(), nullable=False),
        sa.Column("overlap", sa.Text(), nullable=False),
        sa.Column("catch_up", sa.Float(), nullable=False),
        sa.Column("queue", sa.Text(), nullable=True),
        sa.Column("priority", sa.Integer(), nullable=True),
        sa.Column("tags", sa.Text(), nullable=True),
        sa.Column("deadline", sa.Float(), nullable=True),
        sa.Column("published", sa.Text(), nullable=True),
        sa.Column("paused", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("next_slot", INSTANT, nullable=True),
        sa.Column("waiting", INSTANT, nullable=True),
        sa.Column("due_at", INSTANT, nullable=True),
        sa.Column("runs", sa.Text(), nullable=False),
        sa.Column("recent", sa.Text(), nullable=False),
        sa.Column("started", sa.Integer(), server_default="0", nullable=False),
        sa.Column("skipped", sa.Integer(), server_default="0", nullable=False),
        sa.Column("missed", sa.Integer(), server_default="0", nullable=False),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("changed_at", INSTANT, nullable=False),
        sa.CheckConstraint("overlap in ('skip', 'buffer', 'allow', 'cancel')", name="wf_schedule_overlap"),
        sa.CheckConstraint("(cron is null) <> (every is null)", name="wf_schedule_cron_or_every"),
        sa.CheckConstraint("not paused or (next_slot is null and waiting is null and due_at is null)", name="wf_schedule_paused"),
        sa.PrimaryKeyConstraint("id", name="wf_schedule_pk"),
        sa.UniqueConstraint("organization_id", "name", name="wf_schedule_name"),
    )
    op.create_index("wf_schedule_due", "wf_schedule", ["due_at"], unique=False, postgresql_where=sa.text(DUE), sqlite_where=sa.text(DUE))
