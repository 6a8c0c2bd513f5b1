"""A step is skipped, or completed, by hand."""

from __future__ import annotations

from wfcelery.store.migrations.rewording import add_words

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Two more facts for an inbox."""
    add_words("wf_inbox", "wf_inbox_fact", "fact", "skip", "complete")
