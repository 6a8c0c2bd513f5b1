"""Waits whose time has come, beside whatever else came for their run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from wfcelery.core.events import Fact, WaitCame
from wfcelery.core.rows import RunRow
from wfcelery.engine.dispatching import Inbox
from wfcelery.store import events
from wfcelery.store.database import Tx
from wfcelery.store.waits import load_due, load_waits

MOST_BEFORE = 20  # events that are looked at for a wait whose time has come: the first of them may not fit it


@dataclass(slots=True)
class Deadlines(Inbox):
    """What has come for a run, and the times of its waits: of an event and a deadline the earlier counts, whoever is looked at first."""

    def __call__(self, tx: Tx, run: RunRow) -> Sequence[Fact]:
        facts = [fact for fact in Inbox.__call__(self, tx, run) if not isinstance(fact, WaitCame)]
        due = load_due(tx, run.id)
        waiting = [wait for wait in load_waits(tx, run.id) if wait.kind == "event"] if due else []
        stored: dict[UUID, None] = {}
        for wait in waiting:
            stored.update(dict.fromkeys(events.first_for(tx, run.organization_id, run.id, wait, MOST_BEFORE)))
        more = events.take(tx, stored.keys() - {fact.event for fact in self.taken})
        self.taken = [*self.taken, *more]
        return [*facts, *more, *(WaitCame(step, wait, at) for wait, step, at in due)]
