"""Events from outside, and what they start. Events are kept until they are consumed, and a while longer.

What a status means: `stored`, nobody has it yet; `consumed`, one wait has, or a trigger; `refused`, by the wait that it met;
`sent`, to every wait that was open, and kept for none that opens later.
"""

from __future__ import annotations

import sqlalchemy as sa

from wfcelery.store.columns import Instant, Value, metadata, one_of, organization

trigger = sa.Table(
    "wf_trigger",
    metadata,
    sa.Column("signature", sa.Text, primary_key=True),  # of the definition
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("workflow", sa.Text, nullable=False),
    sa.Column("event", sa.Text, nullable=False),
    sa.Column("spec", sa.Text, nullable=False),  # JSON: its filter, input and key
    sa.Index("wf_trigger_event", "event"),
)

event = sa.Table(
    "wf_event",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    organization(),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("key", sa.Text, nullable=False),  # empty: none
    sa.Column("run", sa.Uuid),  # the only one that it is for; no foreign key: what was sent outlives it
    sa.Column("to_all", sa.Boolean, nullable=False),
    sa.Column("data", Value("event"), nullable=False),
    sa.Column("dedup", sa.Text),
    sa.Column("actor", sa.Text),
    sa.Column("role", sa.Text),
    sa.Column("at", Instant, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("match_at", Instant),  # when a sweep looks for a wait that it meets
    sa.Column("consumed_by", sa.Uuid),  # the step, or the run that it has started
    sa.Column("consumed_at", Instant),  # when nobody had to keep it any more
    sa.Column("why", sa.Text),  # it was refused, or a trigger was not asked
    sa.UniqueConstraint("organization_id", "name", "dedup", name="wf_event_dedup"),
    sa.Index(
        *("wf_event_stored", "organization_id", "name", "key", "at"),
        postgresql_where=sa.text("status = 'stored'"),
        sqlite_where=sa.text("status = 'stored'"),
    ),
    sa.Index("wf_event_run", "run", postgresql_where=sa.text("run is not null"), sqlite_where=sa.text("run is not null")),
    sa.Index("wf_event_match", "match_at", postgresql_where=sa.text("match_at is not null"), sqlite_where=sa.text("match_at is not null")),
    sa.Index(
        *("wf_event_consumed", "consumed_at"),
        postgresql_where=sa.text("consumed_at is not null"),
        sqlite_where=sa.text("consumed_at is not null"),
    ),
    sa.Index("wf_event_newest", "organization_id", "at"),
    one_of("status", ("stored", "consumed", "refused", "sent"), "wf_event_status"),
    sa.CheckConstraint("(status = 'stored') = (consumed_at is null)", name="wf_event_consumed_at"),
    sa.CheckConstraint("match_at is null or status = 'stored'", name="wf_event_matched"),
)
