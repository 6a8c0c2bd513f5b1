"""Runs can be compensating, and steps compensated."""

from __future__ import annotations

from alembic import op

from wfcelery.store.migrations.rewording import reword_function, reword_table

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

RUN = "'cancelling', 'succeeded'", "'cancelling', 'compensating', 'succeeded'"
STEP = "'cancelled', 'timed_out')", "'cancelled', 'timed_out', 'compensated')"
STEP_ENDED = "'cancelled', 'failed', 'skipped'", "'cancelled', 'compensated', 'failed', 'skipped'"


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        reword_function("wf_run_rules", *RUN)
        reword_function("wf_step_rules", *STEP)
        reword_function("wf_step_rules", *STEP_ENDED)
    else:
        reword_table("wf_run", *RUN)
        reword_table("wf_step", *STEP)
        reword_table("wf_step", *STEP_ENDED)
