"""A run can be moved to another definition."""

from __future__ import annotations

from wfcelery.store.migrations.rewording import add_words

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing else: which definition a run goes by stands in its row, and where it came from in its history."""
    add_words("wf_inbox", "wf_inbox_fact", "fact", "move")
