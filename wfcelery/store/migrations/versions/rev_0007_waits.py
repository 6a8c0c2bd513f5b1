"""A wait may be for more than a time: an event, an approval, a child; it says which, and how it was met."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from wfcelery.store.migrations.rewording import add_words, reword_table

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

MET = "wf_wait_met_has_an_outcome", "(status = 'met') = (outcome is not null)"
NAMED = sa.text("status = 'open' and name is not null")


def upgrade() -> None:
    """A sleep says nothing of all this."""
    add_words("wf_wait", "wf_wait_kind", "kind", "event", "approval", "child")
    add_words("wf_wait", "wf_wait_status", "status", "met")
    op.add_column("wf_wait", sa.Column("name", sa.Text))
    op.add_column("wf_wait", sa.Column("key", sa.Text))
    op.add_column("wf_wait", sa.Column("keep", sa.Boolean))
    op.add_column("wf_wait", sa.Column("outcome", sa.Text))
    if op.get_bind().dialect.name == "postgresql":
        op.create_check_constraint(MET[0], "wf_wait", MET[1])
    else:
        last = "CONSTRAINT wf_wait_ended CHECK ((status = 'open') = (ended_at is null))"
        reword_table("wf_wait", last, f"{last}, CONSTRAINT {MET[0]} CHECK ({MET[1]})")
    op.create_index("wf_wait_for", "wf_wait", ["organization_id", "name", "key", "opened_at"], postgresql_where=NAMED, sqlite_where=NAMED)
