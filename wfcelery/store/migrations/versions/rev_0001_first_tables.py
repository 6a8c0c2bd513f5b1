"""The first tables."""

from __future__ import annotations

from secrets import token_hex

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

INSTANT = sa.Float().with_variant(sa.DateTime(timezone=True), "postgresql")


def upgrade() -> None:
    """Every table, the database's own name, and the places of sweeping processes."""
    for create in (_definition, _idempotency, _meta, _run, _sweeper, _worker, _dead_letter, _history, _inbox, _step, _wait):
        create()
    meta = sa.table("wf_meta", sa.column("id"), sa.column("ns"), sa.column("incarnation"))
    op.bulk_insert(meta, [{"id": 1, "ns": token_hex(4), "incarnation": 1}])
    op.bulk_insert(sa.table("wf_sweeper", sa.column("place")), [{"place": 1}, {"place": 2}])


def _definition() -> None:
    op.create_table(
        "wf_definition",
        sa.Column("signature", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("status", sa.Text(), server_default="published", nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("stored_at", INSTANT, nullable=False),
        sa.CheckConstraint("status in ('draft', 'published', 'archived')", name="wf_definition_status"),
        sa.PrimaryKeyConstraint("signature", name="wf_definition_pk"),
    )
    op.create_index("wf_definition_newest", "wf_definition", ["name", "stored_at"], unique=False)


def _idempotency() -> None:
    op.create_table(
        "wf_idempotency",
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("token", sa.Uuid(), nullable=True),
        sa.Column("attempt", sa.Boolean(), nullable=False),
        sa.Column("result", sa.Text(), nullable=True),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("expires_at", INSTANT, nullable=False),
        sa.CheckConstraint("(token is null) = (result is not null)", name="wf_idempotency_result"),
        sa.PrimaryKeyConstraint("organization_id", "scope", "key", name="wf_idempotency_pk"),
    )
    op.create_index("wf_idempotency_expires", "wf_idempotency", ["expires_at"], unique=False)


def _meta() -> None:
    op.create_table(
        "wf_meta",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("ns", sa.Text(), nullable=False),
        sa.Column("incarnation", sa.Integer(), nullable=False),
        sa.Column("swept_at", INSTANT, nullable=True),
        sa.Column("judge_from", INSTANT, nullable=True),
        sa.Column("server_started_at", INSTANT, nullable=True),
        sa.CheckConstraint("id = 1", name="wf_meta_one_row"),
        sa.PrimaryKeyConstraint("id", name="wf_meta_pk"),
    )


def _run() -> None:
    op.create_table(
        "wf_run",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("workflow", sa.Text(), nullable=False),
        sa.Column("definition", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("input", sa.Text(), nullable=False),
        sa.Column("input_digest", sa.Text(), nullable=False),
        sa.Column("output", sa.Text(), nullable=True),
        sa.Column("variables", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("ending", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("open_steps", sa.Integer(), server_default="0", nullable=False),
        sa.Column("open_waits", sa.Integer(), server_default="0", nullable=False),
        sa.Column("parent_step", sa.Uuid(), nullable=True),
        sa.Column("key", sa.Text(), nullable=True),
        sa.Column("active_key", sa.Text(), nullable=True),
        sa.Column("queue", sa.Text(), nullable=True),
        sa.Column("priority", sa.Integer(), nullable=True),
        sa.Column("tags", sa.Text(), nullable=True),
        sa.Column("due_at", INSTANT, nullable=True),
        sa.Column("deadline", INSTANT, nullable=True),
        sa.Column("ring_at", INSTANT, nullable=True),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("started_at", INSTANT, nullable=True),
        sa.Column("ended_at", INSTANT, nullable=True),
        *_run_rules(),
        sa.PrimaryKeyConstraint("id", name="wf_run_pk"),
        sa.UniqueConstraint("organization_id", "workflow", "active_key", name="wf_run_active_key"),
        postgresql_with={"fillfactor": 70},
    )
    _run_indexes()


def _run_rules() -> list[sa.CheckConstraint]:
    return [
        sa.CheckConstraint("(ended_at is not null) = (status in ('cancelled', 'failed', 'succeeded', 'timed_out'))", name="wf_run_ended"),
        sa.CheckConstraint("(status = 'pending') = (version = 0)", name="wf_run_pending_is_version_0"),
        sa.CheckConstraint("status <> 'cancelling' or ending is not null", name="wf_run_cancelling_has_an_ending"),
        sa.CheckConstraint(
            "status in ('pending', 'running', 'waiting', 'cancelling', 'succeeded', 'failed', 'cancelled', 'timed_out')",
            name="wf_run_status",
        ),
        sa.CheckConstraint(
            "status not in ('cancelled', 'failed', 'succeeded', 'timed_out') or (open_steps = 0 and due_at is null)",
            name="wf_run_ended_has_nothing_open",
        ),
        sa.CheckConstraint("open_waits <= open_steps and open_waits >= 0", name="wf_run_counters"),
    ]


def _run_indexes() -> None:
    op.create_index(
        "wf_run_due",
        "wf_run",
        ["due_at"],
        unique=False,
        postgresql_where=sa.text("due_at is not null and status <> 'pending'"),
        sqlite_where=sa.text("due_at is not null and status <> 'pending'"),
    )
    op.create_index(
        "wf_run_key",
        "wf_run",
        ["organization_id", "key"],
        unique=False,
        postgresql_where=sa.text("key is not null"),
        sqlite_where=sa.text("key is not null"),
    )
    op.create_index("wf_run_newest", "wf_run", ["organization_id", "created_at"], unique=False)
    op.create_index(
        "wf_run_parent",
        "wf_run",
        ["parent_step"],
        unique=False,
        postgresql_where=sa.text("parent_step is not null"),
        sqlite_where=sa.text("parent_step is not null"),
    )
    op.create_index(
        "wf_run_ring",
        "wf_run",
        ["ring_at"],
        unique=False,
        postgresql_where=sa.text("ring_at is not null"),
        sqlite_where=sa.text("ring_at is not null"),
    )


def _sweeper() -> None:
    op.create_table(
        "wf_sweeper",
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("until", INSTANT, nullable=True),
        sa.PrimaryKeyConstraint("place", name="wf_sweeper_pk"),
    )


def _worker() -> None:
    op.create_table(
        "wf_worker",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("process", sa.Text(), nullable=False),
        sa.Column("lease_until", INSTANT, nullable=False),
        sa.Column("executing", sa.Text(), nullable=False),
        sa.Column("queues", sa.Text(), nullable=False),
        sa.Column("tasks", sa.Text(), nullable=False),
        sa.Column("build", sa.Text(), nullable=False),
        sa.Column("started_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="wf_worker_pk"),
        postgresql_with={"fillfactor": 50},
    )
    op.create_index("wf_worker_lease", "wf_worker", ["lease_until"], unique=False)


def _dead_letter() -> None:
    op.create_table(
        "wf_dead_letter",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("run", sa.Uuid(), nullable=False),
        sa.Column("workflow", sa.Text(), nullable=False),
        sa.Column("step", sa.Uuid(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("item", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("episode", sa.Integer(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("ended_at", INSTANT, nullable=True),
        sa.CheckConstraint("status in ('open', 'handled', 'retried')", name="wf_dead_letter_status"),
        sa.ForeignKeyConstraint(
            ["run"],
            ["wf_run.id"],
        ),
        sa.PrimaryKeyConstraint("id", name="wf_dead_letter_pk"),
        sa.UniqueConstraint("step", "episode", name="wf_dead_letter_episode"),
    )
    op.create_index("wf_dead_letter_newest", "wf_dead_letter", ["organization_id", "status", "created_at"], unique=False)
    op.create_index("wf_dead_letter_run", "wf_dead_letter", ["run"], unique=False)


def _history() -> None:
    op.create_table(
        "wf_history",
        sa.Column("run", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.Column("facts", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run"],
            ["wf_run.id"],
        ),
        sa.PrimaryKeyConstraint("run", "version", name="wf_history_pk"),
    )


def _inbox() -> None:
    op.create_table(
        "wf_inbox",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("run", sa.Uuid(), nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.Column("ring_at", INSTANT, nullable=False),
        sa.Column("fact", sa.Text(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.CheckConstraint("fact in ('reported', 'cancel', 'retry')", name="wf_inbox_fact"),
        sa.ForeignKeyConstraint(
            ["run"],
            ["wf_run.id"],
        ),
        sa.PrimaryKeyConstraint("id", name="wf_inbox_pk"),
        postgresql_with={"autovacuum_vacuum_scale_factor": 0, "autovacuum_vacuum_threshold": 1000},
    )
    op.create_index("wf_inbox_ring", "wf_inbox", ["ring_at"], unique=False)
    op.create_index("wf_inbox_run", "wf_inbox", ["run"], unique=False)


def _step() -> None:
    op.create_table(
        "wf_step",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("run", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("item", sa.Integer(), server_default="-1", nullable=False),
        sa.Column("round", sa.Integer(), server_default="0", nullable=False),
        sa.Column("fan_out", sa.Uuid(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=True),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("lost", sa.Integer(), server_default="0", nullable=False),
        sa.Column("token", sa.Uuid(), nullable=True),
        sa.Column("claimed_by", sa.Uuid(), nullable=True),
        sa.Column("child", sa.Text(), nullable=True),
        sa.Column("claimed_at", INSTANT, nullable=True),
        sa.Column("first_at", INSTANT, nullable=True),
        sa.Column("ended_at", INSTANT, nullable=True),
        sa.Column("queue", sa.Text(), nullable=True),
        sa.Column("priority", sa.Integer(), nullable=True),
        sa.Column("due_at", INSTANT, nullable=True),
        sa.Column("ring_at", INSTANT, nullable=True),
        sa.Column("timeout", sa.Float(), nullable=True),
        sa.Column("deadline_at", INSTANT, nullable=True),
        sa.Column("input", sa.Text(), nullable=True),
        sa.Column("output", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("blockers", sa.Integer(), server_default="0", nullable=False),
        sa.Column("wants", sa.Integer(), server_default="0", nullable=False),
        sa.Column("fired", sa.Integer(), server_default="0", nullable=False),
        sa.Column("items_left", sa.Integer(), nullable=True),
        sa.Column("expanded", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(
            ["run"],
            ["wf_run.id"],
        ),
        *_step_rules(),
        sa.PrimaryKeyConstraint("id", name="wf_step_pk"),
        sa.UniqueConstraint("run", "name", "item", "round", name="wf_step_place"),
        postgresql_with={"fillfactor": 70},
    )
    _step_indexes()


def _step_rules() -> list[sa.CheckConstraint]:
    return [
        sa.CheckConstraint(
            "(ended_at is not null) = (status in ('cancelled', 'failed', 'skipped', 'succeeded', 'timed_out'))", name="wf_step_ended"
        ),
        sa.CheckConstraint(
            "ring_at is null or status not in ('cancelled', 'failed', 'skipped', 'succeeded', 'timed_out')",
            name="wf_step_ended_is_not_rung",
        ),
        sa.CheckConstraint("status <> 'blocked' or blockers > 0", name="wf_step_blocked_has_blockers"),
        sa.CheckConstraint("status <> 'held' or why is not null", name="wf_step_held_has_a_reason"),
        sa.CheckConstraint("status <> 'ready' or due_at is not null", name="wf_step_ready_has_a_time"),
        sa.CheckConstraint(
            "status in ('blocked', 'ready', 'held', 'running', 'reported', 'waiting', "
            "'succeeded', 'failed', 'skipped', 'cancelled', 'timed_out')",
            name="wf_step_status",
        ),
        sa.CheckConstraint("status not in ('ready', 'held', 'blocked', 'waiting') or token is null", name="wf_step_idle_has_no_token"),
        sa.CheckConstraint(
            "status not in ('running', 'reported') or (token is not null and claimed_by is not null and attempt > 0)",
            name="wf_step_under_way_has_a_token",
        ),
        sa.CheckConstraint("items_left is null or items_left >= 0", name="wf_step_items_left"),
    ]


def _step_indexes() -> None:
    op.create_index(
        "wf_step_claimed",
        "wf_step",
        ["claimed_by"],
        unique=False,
        postgresql_where=sa.text("status = 'running'"),
        sqlite_where=sa.text("status = 'running'"),
    )
    op.create_index(
        "wf_step_deadline",
        "wf_step",
        ["deadline_at"],
        unique=False,
        postgresql_where=sa.text("status = 'running' and deadline_at is not null"),
        sqlite_where=sa.text("status = 'running' and deadline_at is not null"),
    )
    op.create_index(
        "wf_step_items",
        "wf_step",
        ["fan_out", "due_at", "item"],
        unique=False,
        postgresql_where=sa.text("status = 'ready'"),
        sqlite_where=sa.text("status = 'ready'"),
    )
    op.create_index(
        "wf_step_ring",
        "wf_step",
        ["ring_at"],
        unique=False,
        postgresql_where=sa.text("ring_at is not null"),
        sqlite_where=sa.text("ring_at is not null"),
    )


def _wait() -> None:
    op.create_table(
        "wf_wait",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("run", sa.Uuid(), nullable=False),
        sa.Column("step", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("due_at", INSTANT, nullable=True),
        sa.Column("opened_at", INSTANT, nullable=False),
        sa.Column("ended_at", INSTANT, nullable=True),
        sa.CheckConstraint("(status = 'open') = (ended_at is null)", name="wf_wait_ended"),
        sa.CheckConstraint("kind in ('sleep')", name="wf_wait_kind"),
        sa.CheckConstraint("status in ('open', 'due', 'cancelled')", name="wf_wait_status"),
        sa.ForeignKeyConstraint(
            ["run"],
            ["wf_run.id"],
        ),
        sa.PrimaryKeyConstraint("id", name="wf_wait_pk"),
    )
    op.create_index(
        "wf_wait_due",
        "wf_wait",
        ["due_at"],
        unique=False,
        postgresql_where=sa.text("status = 'open'"),
        sqlite_where=sa.text("status = 'open'"),
    )
    op.create_index("wf_wait_run", "wf_wait", ["run"], unique=False)
