"""Events from outside, and what an inbox says of them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from wfcelery.store.columns import Instant
from wfcelery.store.migrations.rewording import add_words

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

STATUSES = "status in ('stored', 'consumed', 'refused', 'sent')"


def upgrade() -> None:
    """Each index holds the few rows that somebody asks for."""
    add_words("wf_inbox", "wf_inbox_fact", "fact", "event")
    op.add_column("wf_wait", sa.Column("match_at", Instant))
    _index("wf_wait", "match", ["match_at"], "status = 'open' and match_at is not null")
    op.create_table(
        "wf_event",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("organization_id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("run", sa.Uuid),
        sa.Column("to_all", sa.Boolean, nullable=False),
        sa.Column("data", sa.Text, nullable=False),
        sa.Column("dedup", sa.Text),
        sa.Column("actor", sa.Text),
        sa.Column("role", sa.Text),
        sa.Column("at", Instant, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("match_at", Instant),
        sa.Column("consumed_by", sa.Uuid),
        sa.Column("consumed_at", Instant),
        sa.Column("why", sa.Text),
        sa.PrimaryKeyConstraint("id", name="wf_event_pk"),
        sa.UniqueConstraint("organization_id", "name", "dedup", name="wf_event_dedup"),
        sa.CheckConstraint(STATUSES, name="wf_event_status"),
        sa.CheckConstraint("(status = 'stored') = (consumed_at is null)", name="wf_event_consumed_at"),
        sa.CheckConstraint("match_at is null or status = 'stored'", name="wf_event_matched"),
    )
    _index("wf_event", "stored", ["organization_id", "name", "key", "at"], "status = 'stored'")
    _index("wf_event", "run", ["run"], "run is not null")
    _index("wf_event", "match", ["match_at"], "match_at is not null")
    _index("wf_event", "consumed", ["consumed_at"], "consumed_at is not null")
    op.create_index("wf_event_newest", "wf_event", ["organization_id", "at"])


def _index(table: str, name: str, columns: list[str], where: str) -> None:
    op.create_index(f"{table}_{name}", table, columns, postgresql_where=sa.text(where), sqlite_where=sa.text(where))
