"""Limits, locks, breakers and rates by key, and who uses or waits for them; steps say which gates they pass."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from wfcelery.store.migrations.rewording import add_words

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

INSTANT = sa.Float().with_variant(sa.DateTime(timezone=True), "postgresql")
RING = "ring_at is not null"


def upgrade() -> None:
    op.add_column("wf_step", sa.Column("gates", sa.Text))
    add_words("wf_inbox", "wf_inbox_fact", "fact", "gate_opened")
    _limits()
    _uses()


def _limits() -> None:
    op.create_table(
        "wf_limit",
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("slots", sa.Integer()),
        sa.Column("every", sa.Float()),
        sa.Column("burst", sa.Integer()),
        sa.Column("failures", sa.Integer()),
        sa.Column("within", sa.Float()),
        sa.Column("open_for", sa.Float()),
        sa.Column("turn_at", INSTANT),
        sa.Column("failed", sa.Integer(), server_default="0", nullable=False),
        sa.Column("failed_since", INSTANT),
        sa.Column("open_until", INSTANT),
        sa.Column("probe", sa.Uuid()),
        sa.Column("ring_at", INSTANT),
        sa.CheckConstraint("kind in ('limit', 'lock', 'breaker', 'rate')", name="wf_limit_kind"),
        sa.PrimaryKeyConstraint("organization_id", "kind", "key", name="wf_limit_pk"),
        postgresql_with={"fillfactor": 50},
    )
    op.create_index("wf_limit_ring", "wf_limit", ["ring_at"], postgresql_where=sa.text(RING), sqlite_where=sa.text(RING))


def _uses() -> None:
    op.create_table(
        "wf_limit_use",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("run", sa.Uuid(), nullable=False),
        sa.Column("step", sa.Uuid(), nullable=False),
        sa.Column("granted", sa.Integer(), nullable=False),
        sa.Column("wanted", sa.Integer(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("asked_at", INSTANT, nullable=False),
        sa.Column("due_at", INSTANT),
        sa.CheckConstraint("granted >= 0 and wanted >= 0 and granted + wanted > 0", name="wf_limit_use_counts"),
        sa.PrimaryKeyConstraint("id", name="wf_limit_use_pk"),
        sa.UniqueConstraint("step", "kind", "key", name="wf_limit_use_step"),
        postgresql_with={"autovacuum_vacuum_scale_factor": 0, "autovacuum_vacuum_threshold": 1000},
    )
    op.create_index("wf_limit_use_run", "wf_limit_use", ["run"])
    place = ["organization_id", "kind", "key"]
    for name, columns, which in (
        ("wf_limit_use_granted", place, "granted > 0"),
        ("wf_limit_use_wanted", [*place, "priority", "id"], "wanted > 0"),
    ):
        op.create_index(name, "wf_limit_use", columns, postgresql_where=sa.text(which), sqlite_where=sa.text(which))
