"""What few decisions ask for beside rows and results: open waits, approvals, and what a run does before its end."""

from __future__ import annotations

from wfcelery.core.decision import Missing
from wfcelery.core.ends import told
from wfcelery.core.rows import Slice
from wfcelery.store.approvals import load_approvals
from wfcelery.store.database import Tx
from wfcelery.store.loading import load_items, load_line
from wfcelery.store.reading import history
from wfcelery.store.waits import load_waits


def widen(tx: Tx, view: Slice, missing: Missing) -> None:
    """Read it, under the run's lock."""
    run = view.run.id
    if missing.approvals:
        view.approvals = load_approvals(tx, run, view.run.organization_id)
    if missing.waits:
        view.waits = load_waits(tx, run)
    for name in missing.items:
        view.items[name] = load_items(tx, run, name)
    if missing.story:
        view.story = told((row.version, row.facts) for row in history(tx, run))
    if missing.line:
        view.line, view.line_asked = load_line(tx, run, missing.line), missing.line
