"""A run begins with what another run has."""

from __future__ import annotations

from wfcelery.store.migrations.rewording import add_words

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """One more fact for an inbox."""
    add_words("wf_inbox", "wf_inbox_fact", "fact", "take_over")
