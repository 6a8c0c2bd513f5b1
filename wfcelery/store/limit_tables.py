"""Limits by key, and who uses or waits for them; and what people hold, of which nothing begins until it is released."""

from __future__ import annotations

import sqlalchemy as sa

from wfcelery.store.columns import Instant, metadata, one_of, organization

limit = sa.Table(
    "wf_limit",
    metadata,
    sa.Column("organization_id", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    # What the step says that asked last.
    sa.Column("slots", sa.Integer),
    sa.Column("every", sa.Float),  # seconds between two
    sa.Column("burst", sa.Integer),
    sa.Column("failures", sa.Integer),
    sa.Column("within", sa.Float),
    sa.Column("open_for", sa.Float),
    sa.Column("turn_at", Instant),  # of a rate: when the next may begin
    sa.Column("failed", sa.Integer, nullable=False, server_default="0"),  # of a breaker: attempts since `failed_since`
    sa.Column("failed_since", Instant),
    sa.Column("open_until", Instant),
    sa.Column("probe", sa.Uuid),  # the one step that a breaker lets through to see
    sa.Column("ring_at", Instant),  # when a sweep looks after it
    sa.Index("wf_limit_ring", "ring_at", postgresql_where=sa.text("ring_at is not null"), sqlite_where=sa.text("ring_at is not null")),
    one_of("kind", ("limit", "lock", "breaker", "rate"), "wf_limit_kind"),
    postgresql_with={"fillfactor": 50},
)

limit_use = sa.Table(
    "wf_limit_use",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),  # in the order of asking
    organization(),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("run", sa.Uuid, nullable=False),  # no foreign key: to have one would lock the run
    sa.Column("step", sa.Uuid, nullable=False),
    sa.Column("granted", sa.Integer, nullable=False),
    sa.Column("wanted", sa.Integer, nullable=False),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("asked_at", Instant, nullable=False),
    sa.Column("due_at", Instant),  # before which it wants nothing: a retry
    sa.UniqueConstraint("step", "kind", "key", name="wf_limit_use_step"),
    sa.Index("wf_limit_use_run", "run"),
    sa.Index(
        "wf_limit_use_granted",
        "organization_id",
        "kind",
        "key",
        postgresql_where=sa.text("granted > 0"),
        sqlite_where=sa.text("granted > 0"),
    ),
    sa.Index(
        "wf_limit_use_wanted",
        *("organization_id", "kind", "key", "priority", "id"),
        postgresql_where=sa.text("wanted > 0"),
        sqlite_where=sa.text("wanted > 0"),
    ),
    sa.CheckConstraint("granted >= 0 and wanted >= 0 and granted + wanted > 0", name="wf_limit_use_counts"),
    postgresql_with={"autovacuum_vacuum_scale_factor": 0, "autovacuum_vacuum_threshold": 1000},
)

hold = sa.Table(
    "wf_hold",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("organization_id", sa.Text, nullable=False),  # empty: of all
    sa.Column("scope", sa.Text, nullable=False),  # step:charge, workflow:order, queue:payments, org:acme
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("reason", sa.Text),
    sa.Column("actor", sa.Text),
    sa.Column("held_at", Instant, nullable=False),
    sa.Column("until", Instant),
    sa.Column("released_at", Instant),
    sa.Column("every", sa.Float),  # seconds between two steps that are released
    sa.Column("turn_at", Instant),  # of the next of them
    sa.Column("ring_at", Instant),  # when a sweep has something to do about it
    sa.UniqueConstraint("organization_id", "scope", name="wf_hold_scope"),
    sa.Index("wf_hold_standing", "status"),  # how many stand is read with each claim
    one_of("status", ("held", "releasing"), "wf_hold_status"),
)
