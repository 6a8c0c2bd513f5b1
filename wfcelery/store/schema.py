"""The tables, and what each status means, as CHECKs. Migrations create exactly these.

Values an author made (input, output, variables) are JSON in text columns, so that they come back
byte for byte on every database. Times are the database's: `Instant` is timestamptz on PostgreSQL and
seconds since 1970 on SQLite.
"""

from __future__ import annotations

import sqlalchemy as sa

from wfcelery.core.rows import WAIT_KINDS
from wfcelery.core.states import RUN_ENDED, STEP_ENDED, RunStatus, StepStatus, WaitStatus
from wfcelery.definition.document import OVERLAPS
from wfcelery.store import approval_table, columns, event_table, limit_tables
from wfcelery.store.rules import held_by_a_trigger

metadata = columns.metadata
Instant = columns.Instant
approval = approval_table.approval
hold, limit, limit_use = limit_tables.hold, limit_tables.limit, limit_tables.limit_use
event, trigger = event_table.event, event_table.trigger
Value = columns.Value
_one_of, _in, _organization = columns.one_of, columns.word_list, columns.organization

definition = sa.Table(
    "wf_definition",
    metadata,
    sa.Column("signature", sa.Text, primary_key=True),  # sha256 of the canonical JSON
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("version", sa.Text, nullable=False),  # a label; a changed body under a used one is its next revision
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("status", sa.Text, nullable=False, server_default="published"),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("stored_at", Instant, nullable=False),
    sa.Index("wf_definition_newest", "name", "stored_at"),
    _one_of("status", ("draft", "published", "archived"), "wf_definition_status"),
)

run = sa.Table(
    "wf_run",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    _organization(),
    sa.Column("workflow", sa.Text, nullable=False),
    sa.Column("definition", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),  # +1 per commit that holds the run's lock
    sa.Column("input", Value("input"), nullable=False),
    sa.Column("input_digest", sa.Text, nullable=False),
    sa.Column("output", Value("output")),
    sa.Column("variables", Value("variables")),
    sa.Column("error", sa.Text),
    sa.Column("ending", sa.Text),
    sa.Column("reason", sa.Text),
    sa.Column("open_steps", sa.Integer, nullable=False, server_default="0"),
    sa.Column("open_waits", sa.Integer, nullable=False, server_default="0"),
    sa.Column("parent_step", sa.Uuid),
    sa.Column("continued_as", sa.Uuid),  # the run that goes on for it
    sa.Column("first_run", sa.Uuid),  # of a run that goes on for others: the first of them
    sa.Column("parent", sa.Uuid),  # the run that waits for this one's end
    sa.Column("depth", sa.Integer, nullable=False, server_default="0"),  # how many runs are above it
    sa.Column("key", sa.Text),
    sa.Column("active_key", sa.Text),
    sa.Column("queue", sa.Text),
    sa.Column("priority", sa.Integer),
    sa.Column("tags", sa.Text),
    sa.Column("due_at", Instant),  # the earliest of a delayed start, the deadline, the end of a grace
    sa.Column("deadline", Instant),
    sa.Column("resume_at", Instant),  # of a paused run: when it goes on by itself
    sa.Column("ring_at", Instant),  # of a run that nobody has begun: when the sweep rings next
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("started_at", Instant),
    sa.Column("ended_at", Instant),
    sa.UniqueConstraint("organization_id", "workflow", "active_key", name="wf_run_active_key"),
    # Pending runs are found by their ring_at: a backlog of them must not hide what has passed its deadline.
    sa.Index(
        "wf_run_due",
        "due_at",
        postgresql_where=sa.text("due_at is not null and status <> 'pending'"),
        sqlite_where=sa.text("due_at is not null and status <> 'pending'"),
    ),
    sa.Index("wf_run_ring", "ring_at", postgresql_where=sa.text("ring_at is not null"), sqlite_where=sa.text("ring_at is not null")),
    sa.Index("wf_run_resume", "resume_at", postgresql_where=sa.text("status = 'paused'"), sqlite_where=sa.text("status = 'paused'")),
    sa.Index("wf_run_newest", "organization_id", "created_at"),
    sa.Index("wf_run_key", "organization_id", "key", postgresql_where=sa.text("key is not null"), sqlite_where=sa.text("key is not null")),
    sa.Index("wf_run_first", "first_run", postgresql_where=sa.text("first_run is not null"), sqlite_where=sa.text("first_run is not null")),
    sa.Index(
        "wf_run_parent", "parent_step", postgresql_where=sa.text("parent_step is not null"), sqlite_where=sa.text("parent_step is not null")
    ),
    _one_of("status", RunStatus, "wf_run_status"),
    sa.CheckConstraint(f"(ended_at is not null) = (status in {_in(RUN_ENDED)})", name="wf_run_ended"),
    sa.CheckConstraint("(status = 'pending') = (version = 0)", name="wf_run_pending_is_version_0"),
    sa.CheckConstraint("status <> 'cancelling' or ending is not null", name="wf_run_cancelling_has_an_ending"),
    sa.CheckConstraint(f"status not in {_in(RUN_ENDED)} or (open_steps = 0 and due_at is null)", name="wf_run_ended_has_nothing_open"),
    sa.CheckConstraint("open_waits <= open_steps and open_waits >= 0", name="wf_run_counters"),
    postgresql_with={"fillfactor": 70},
)

held_by_a_trigger(run)

step = sa.Table(
    "wf_step",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    _organization(),
    sa.Column("run", sa.Uuid, sa.ForeignKey("wf_run.id"), nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("item", sa.Integer, nullable=False, server_default="-1"),
    sa.Column("round", sa.Integer, nullable=False, server_default="0"),
    sa.Column("fan_out", sa.Uuid),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("why", sa.Text),
    sa.Column("attempt", sa.Integer, nullable=False, server_default="0"),
    sa.Column("failures", sa.Integer, nullable=False, server_default="0"),
    sa.Column("lost", sa.Integer, nullable=False, server_default="0"),
    sa.Column("token", sa.Uuid),
    sa.Column("claimed_by", sa.Uuid),
    sa.Column("child", sa.Text),  # "pid:birth"
    sa.Column("claimed_at", Instant),  # of the latest attempt; first_at: of the first
    sa.Column("first_at", Instant),
    sa.Column("ended_at", Instant),
    sa.Column("queue", sa.Text),
    sa.Column("priority", sa.Integer),
    sa.Column("due_at", Instant),
    sa.Column("ring_at", Instant),
    sa.Column("timeout", sa.Float),  # seconds an attempt may take; deadline_at is made of it by the claim
    sa.Column("deadline_at", Instant),
    sa.Column("input", Value("input")),
    sa.Column("output", Value("output")),
    sa.Column("error", sa.Text),
    sa.Column("blockers", sa.Integer, nullable=False, server_default="0"),
    sa.Column("wants", sa.Integer, nullable=False, server_default="0"),
    sa.Column("fired", sa.Integer, nullable=False, server_default="0"),
    sa.Column("items_left", sa.Integer),
    sa.Column("expanded", sa.Integer),
    sa.Column("skipped", sa.Integer),  # of a fan-out: items that their own condition left out
    sa.Column("gates", sa.Text),  # JSON list: what it passes before each attempt
    sa.UniqueConstraint("run", "name", "item", "round", name="wf_step_place"),
    sa.Index("wf_step_ring", "ring_at", postgresql_where=sa.text("ring_at is not null"), sqlite_where=sa.text("ring_at is not null")),
    sa.Index(
        "wf_step_items", "fan_out", "due_at", "item", postgresql_where=sa.text("status = 'ready'"), sqlite_where=sa.text("status = 'ready'")
    ),
    sa.Index(
        *("wf_step_held_by", "why", "run"),
        postgresql_where=sa.text("status = 'held' and why >= 'hold:' and why < 'hold;'"),
        sqlite_where=sa.text("status = 'held' and why >= 'hold:' and why < 'hold;'"),
    ),
    sa.Index("wf_step_claimed", "claimed_by", postgresql_where=sa.text("status = 'running'"), sqlite_where=sa.text("status = 'running'")),
    sa.Index(
        "wf_step_deadline",
        "deadline_at",
        postgresql_where=sa.text("status = 'running' and deadline_at is not null"),
        sqlite_where=sa.text("status = 'running' and deadline_at is not null"),
    ),
    _one_of("status", StepStatus, "wf_step_status"),
    sa.CheckConstraint("status <> 'ready' or due_at is not null", name="wf_step_ready_has_a_time"),
    sa.CheckConstraint(
        "status not in ('running', 'reported') or (token is not null and claimed_by is not null and attempt > 0)",
        name="wf_step_under_way_has_a_token",
    ),
    sa.CheckConstraint("status not in ('ready', 'held', 'blocked', 'waiting') or token is null", name="wf_step_idle_has_no_token"),
    sa.CheckConstraint("status <> 'blocked' or blockers > 0", name="wf_step_blocked_has_blockers"),
    sa.CheckConstraint("status <> 'held' or why is not null", name="wf_step_held_has_a_reason"),
    sa.CheckConstraint(f"(ended_at is not null) = (status in {_in(STEP_ENDED)})", name="wf_step_ended"),
    sa.CheckConstraint(f"ring_at is null or status not in {_in(STEP_ENDED)}", name="wf_step_ended_is_not_rung"),
    sa.CheckConstraint("items_left is null or items_left >= 0", name="wf_step_items_left"),
    postgresql_with={"fillfactor": 70},
)

held_by_a_trigger(step)

history = sa.Table(
    "wf_history",
    metadata,
    sa.Column("run", sa.Uuid, sa.ForeignKey("wf_run.id"), primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    _organization(),
    sa.Column("at", Instant, nullable=False),
    sa.Column("facts", sa.Text, nullable=False),
)

inbox = sa.Table(
    "wf_inbox",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    _organization(),
    sa.Column("run", sa.Uuid, sa.ForeignKey("wf_run.id"), nullable=False),
    sa.Column("at", Instant, nullable=False),
    sa.Column("ring_at", Instant, nullable=False),
    sa.Column("fact", sa.Text, nullable=False),
    sa.Column("data", Value("data"), nullable=False),
    sa.Index("wf_inbox_run", "run"),
    sa.Index("wf_inbox_ring", "ring_at"),
    _one_of(
        "fact",
        (
            *("reported", "cancel", "terminate", "pause", "resume", "retry", "rerun_failed", "add_items", "complete_items", "skip"),
            *("complete", "gate_opened", "move", "cancel_step", "hold_over", "event", "approve", "reject", "assign", "take_over"),
            "child_ended",
        ),
        "wf_inbox_fact",
    ),
    # A queue: nearly all rows are dead ones, so a share of the table's size says nothing.
    postgresql_with={"autovacuum_vacuum_scale_factor": 0, "autovacuum_vacuum_threshold": 1000},
)

wait = sa.Table(
    "wf_wait",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    _organization(),
    sa.Column("run", sa.Uuid, sa.ForeignKey("wf_run.id"), nullable=False),
    sa.Column("step", sa.Uuid, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("due_at", Instant),  # of a sleep its end, of the others their deadline
    sa.Column("opened_at", Instant, nullable=False),
    sa.Column("ended_at", Instant),
    sa.Column("name", sa.Text),  # what is waited for, and which of them
    sa.Column("key", sa.Text),
    sa.Column("keep", sa.Boolean),  # whether what came before the wait opened meets it
    sa.Column("outcome", sa.Text),  # of one that was met
    sa.Column("match_at", Instant),  # when a sweep looks once more for an event that came while it opened
    sa.Index("wf_wait_due", "due_at", postgresql_where=sa.text("status = 'open'"), sqlite_where=sa.text("status = 'open'")),
    sa.Index("wf_wait_run", "run"),
    sa.Index("wf_wait_for", "organization_id", "name", "key", "opened_at", **columns.only("status = 'open' and name is not null")),
    sa.Index("wf_wait_match", "match_at", **columns.only("status = 'open' and match_at is not null")),
    sa.Index("wf_wait_approvals", "organization_id", "opened_at", **columns.only("status = 'open' and kind = 'approval'")),
    _one_of("kind", WAIT_KINDS, "wf_wait_kind"),
    _one_of("status", WaitStatus, "wf_wait_status"),
    sa.CheckConstraint("(status = 'open') = (ended_at is null)", name="wf_wait_ended"),
    sa.CheckConstraint("(status = 'met') = (outcome is not null)", name="wf_wait_met_has_an_outcome"),
)

dead_letter = sa.Table(
    "wf_dead_letter",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    _organization(),
    sa.Column("run", sa.Uuid, sa.ForeignKey("wf_run.id"), nullable=False),
    sa.Column("workflow", sa.Text, nullable=False),
    sa.Column("step", sa.Uuid),  # null: a run that was quarantined
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("item", sa.Integer, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("error", sa.Text),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("episode", sa.Integer, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("ended_at", Instant),
    sa.UniqueConstraint("step", "episode", name="wf_dead_letter_episode"),
    sa.Index("wf_dead_letter_newest", "organization_id", "status", "created_at"),
    sa.Index("wf_dead_letter_run", "run"),
    _one_of("status", ("open", "handled", "retried"), "wf_dead_letter_status"),
)

idempotency = sa.Table(
    "wf_idempotency",
    metadata,
    sa.Column("organization_id", sa.Text, primary_key=True),
    sa.Column("scope", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("token", sa.Uuid),  # who runs it; null once the result is kept
    sa.Column("attempt", sa.Boolean, nullable=False),  # whether that is the token of a step's attempt, which can be lost
    sa.Column("result", Value("result")),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("expires_at", Instant, nullable=False),
    sa.Index("wf_idempotency_expires", "expires_at"),
    sa.CheckConstraint("(token is null) = (result is not null)", name="wf_idempotency_result"),
)

payload = sa.Table(
    "wf_payload",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),  # made of the run and the digest: the same value of a run is kept once
    _organization(),
    sa.Column("run", sa.Uuid, nullable=False),  # no foreign key: the payload is there before the run's row
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("size", sa.Integer, nullable=False),
    sa.Column("body", sa.Text),  # null: another store has it
    sa.Column("at", Instant, nullable=False),
    sa.Column("loose_at", Instant),  # of a start, whose run may never come to be: looked at once, and null from then on
    sa.Index("wf_payload_run", "run"),
    sa.Index(
        "wf_payload_loose", "loose_at", postgresql_where=sa.text("loose_at is not null"), sqlite_where=sa.text("loose_at is not null")
    ),
)

run_data = sa.Table(
    "wf_data",
    metadata,
    sa.Column("run", sa.Uuid, sa.ForeignKey("wf_run.id"), primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    _organization(),
    sa.Column("value", Value("data"), nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),  # +1 with each write
    sa.Column("expires_at", Instant),
    sa.Column("at", Instant, nullable=False),
    sa.Index(
        "wf_data_expires", "expires_at", postgresql_where=sa.text("expires_at is not null"), sqlite_where=sa.text("expires_at is not null")
    ),
)

audit = sa.Table(
    "wf_audit",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    _organization(),
    sa.Column("run", sa.Uuid),  # no foreign key: what was done to a run outlives it
    sa.Column("at", Instant, nullable=False),
    sa.Column("actor", sa.Text),
    sa.Column("verb", sa.Text, nullable=False),
    sa.Column("reason", sa.Text),
    sa.Index("wf_audit_run", "run", "at"),
    sa.Index("wf_audit_newest", "organization_id", "at"),
)

schedule = sa.Table(
    "wf_schedule",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    _organization(),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("workflow", sa.Text, nullable=False),
    sa.Column("input", Value("input"), nullable=False),
    sa.Column("slot_as", sa.Text),  # the parameter that is given the slot's time
    sa.Column("cron", sa.Text),
    sa.Column("every", sa.Integer),  # seconds
    sa.Column("time_zone", sa.Text, nullable=False),
    sa.Column("overlap", sa.Text, nullable=False),
    sa.Column("catch_up", sa.Float, nullable=False),  # seconds that a slot may be late
    sa.Column("queue", sa.Text),
    sa.Column("priority", sa.Integer),
    sa.Column("tags", sa.Text),
    sa.Column("deadline", sa.Float),  # seconds from a run's start
    sa.Column("published", sa.Text),  # digest of what a definition file said of it last
    sa.Column("paused", sa.Boolean, nullable=False),
    sa.Column("reason", sa.Text),
    sa.Column("next_slot", Instant),
    sa.Column("waiting", Instant),  # a slot that is started when earlier runs have ended
    sa.Column("due_at", Instant),  # when a sweep has something to do about it
    sa.Column("runs", sa.Text, nullable=False),  # JSON list of the runs that had not ended when it was looked at last
    sa.Column("recent", sa.Text, nullable=False),  # JSON list: what became of the latest slots
    sa.Column("started", sa.Integer, nullable=False, server_default="0"),
    sa.Column("skipped", sa.Integer, nullable=False, server_default="0"),
    sa.Column("missed", sa.Integer, nullable=False, server_default="0"),
    sa.Column("failures", sa.Integer, nullable=False, server_default="0"),  # tries in a row to start a slot
    sa.Column("error", sa.Text),
    sa.Column("version", sa.Integer, nullable=False),  # +1 per write; it is written over the version it was read with
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("changed_at", Instant, nullable=False),  # by people
    sa.UniqueConstraint("organization_id", "name", name="wf_schedule_name"),
    sa.Index("wf_schedule_due", "due_at", postgresql_where=sa.text("due_at is not null"), sqlite_where=sa.text("due_at is not null")),
    _one_of("overlap", OVERLAPS, "wf_schedule_overlap"),
    sa.CheckConstraint("(cron is null) <> (every is null)", name="wf_schedule_cron_or_every"),
    sa.CheckConstraint("not paused or (next_slot is null and waiting is null and due_at is null)", name="wf_schedule_paused"),
)

worker = sa.Table(
    "wf_worker",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),  # one row per start of a worker
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("process", sa.Text, nullable=False),  # "pid:birth" of the parent
    sa.Column("lease_until", Instant, nullable=False),
    sa.Column("executing", sa.Text, nullable=False),  # JSON list of tokens
    sa.Column("queues", sa.Text, nullable=False),
    sa.Column("tasks", sa.Text, nullable=False),
    sa.Column("build", sa.Text, nullable=False),
    sa.Column("started_at", Instant, nullable=False),
    sa.Index("wf_worker_lease", "lease_until"),
    postgresql_with={"fillfactor": 50},
)

meta = sa.Table(
    "wf_meta",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),  # 1
    sa.Column("ns", sa.Text, nullable=False),
    sa.Column("incarnation", sa.Integer, nullable=False),
    sa.Column("swept_at", Instant),
    sa.Column("judge_from", Instant),
    sa.Column("server_started_at", Instant),
    sa.CheckConstraint("id = 1", name="wf_meta_one_row"),
)

sweeper = sa.Table(
    "wf_sweeper",
    metadata,
    sa.Column("place", sa.Integer, primary_key=True),  # 1 and 2: at most two processes sweep each second
    sa.Column("owner", sa.Text),
    sa.Column("until", Instant),
)
