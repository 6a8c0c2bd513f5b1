"""The rules of runs and steps are asked where a write names a column that they speak of, and no longer at every write."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

SPOKEN_OF = {
    "wf_run": "status, ending, open_steps, open_waits, due_at, ended_at",
    "wf_step": "status, why, attempt, token, claimed_by, ended_at, due_at, ring_at, blockers, items_left",
}


def upgrade() -> None:
    """SQLite has CHECKs."""
    if op.get_bind().dialect.name != "postgresql":
        return
    for table, columns in SPOKEN_OF.items():
        op.execute(f"drop trigger {table}_rules on {table}")
        op.execute(
            f"create trigger {table}_rules before insert or update of {columns} on {table} for each row execute function {table}_rules()"
        )
