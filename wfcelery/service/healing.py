"""`runs verify --fix`: what can be healed without deciding anything, said first, done only when asked for.

Only what folding does not cover, or recounts, is written: rings, deadlines, counters, a report whose inbox row is
gone. A status, a result, a lost row or a gap in the history is never made up: that is told, and left to people.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from wfcelery.core.decision import RingRun
from wfcelery.core.events import note
from wfcelery.core.fan_out import is_open
from wfcelery.core.rows import NO_ITEM, StepRow
from wfcelery.core.states import UNDER_WAY, RunStatus, StepStatus
from wfcelery.service.context import Context
from wfcelery.service.invariants import Evidence, Ledgers
from wfcelery.service.invariants.case import Case, called
from wfcelery.service.invariants.state import deadline_is_forgotten
from wfcelery.store import healing, inbox
from wfcelery.store.database import Tx
from wfcelery.store.loading import lock_run
from wfcelery.store.verifying import evidence, gather


@dataclass(frozen=True, slots=True)
class Cure:
    """One write that heals, and the sentence that says so."""

    says: str
    what: str  # of `store.healing.STATEMENTS`, or `report`
    parameters: Mapping[str, Any]


def cures(found: Evidence) -> list[Cure]:
    """What could be healed of a run, in the order in which it would be written."""
    case = Case(found, Ledgers())
    if case.quarantined or case.gap is not None or case.bad_definition is not None:
        return []  # nobody knows what it should be
    return [*_run(case), *(cure for row in found.steps for cure in _step(case, row)), *_counters(case)]


def planned(context: Context, run: UUID) -> list[str]:
    """What `heal` would do, in sentences."""
    found = evidence(context.database, run)
    return [] if found is None else [cure.says for cure in cures(found)]


def heal(context: Context, run: UUID) -> list[str]:
    """Heal what can be healed of a run, in one transaction under its lock; what was done, in sentences.

    What is wrong is read again under the lock. A run that has begun gets a version and a history row that says what
    was written, so that no worker writes over what it read before. Raises RowChanged where a row changed meanwhile.
    """
    with context.transaction() as tx:
        row = lock_run(tx, run)
        if row is None:
            return []
        [found] = gather(tx, [run])
        wanted = cures(found)
        for cure in wanted:
            _write(tx, found, cure)
        said = [cure.says for cure in wanted]
        if wanted and row.version > 0:
            healing.tell(tx, row.organization_id, run, row.version, [note("run_healed", says=said)])
    if wanted:
        context.bell.ring([RingRun(row.organization_id, run, row.queue)])
    return said


def _write(tx: Tx, found: Evidence, cure: Cure) -> None:
    if cure.what == "report":
        inbox.put(tx, found.run.organization_id, found.run.id, "reported", dict(cure.parameters))
    else:
        healing.write(tx, cure.what, cure.parameters)


def _run(case: Case) -> Iterator[Cure]:
    found, run = case.found, case.run
    this = {"id_": run.id}
    pending = run.status is RunStatus.PENDING
    if pending and (found.ring_at is None or found.due_at is None):
        yield Cure("the run is rung for at its time, to begin", "begin run", this)
    if not pending and found.ring_at is not None:
        yield Cure("the run is no longer rung for as if it had not begun", "silence run", this)
    if deadline_is_forgotten(case):
        yield Cure("the run's deadline is waited for", "keep deadline", this)
    if any((fact.ring_at - found.now).total_seconds() > 3600 for fact in found.inbox):
        yield Cure("the run's inbox is rung for now", "ring inbox", this)


def _step(case: Case, row: StepRow) -> Iterator[Cure]:
    times = case.found.times[row.id]
    this = {"id_": row.id, "seen_status": str(row.status)}
    task = row.item == NO_ITEM
    if row.status is StepStatus.READY and (times.ring_at is None) is task:
        yield Cure(f"step {called(row)} is {'rung for now' if task else 'rung for with its fan-out'}", "ring" if task else "unring", this)
    if task and row.items_left is not None and row.status is StepStatus.WAITING and times.ring_at is None:
        to_take = any(item.status is StepStatus.READY for item in case.items.get(row.id, ()))
        if to_take or (is_open(row) and (row.expanded or 0) < row.wants and case.run.ending is None):
            yield Cure(f"step {called(row)} is rung for now, for its items", "ring", this)
    if row.status in UNDER_WAY and times.ring_at is not None:
        yield Cure(f"step {called(row)} is not rung for while it is {row.status}", "unring", this)
    if times.deadline_at is not None and row.status is not StepStatus.RUNNING:
        yield Cure(f"step {called(row)} has no deadline any more", "no deadline", this)
    known = {(fact.data.get("step"), fact.data.get("token")) for fact in case.found.inbox if fact.fact == "reported"}
    if row.status is StepStatus.REPORTED and (str(row.id), str(row.token)) not in known:
        yield Cure(f"step {called(row)} reports again", "report", {"step": str(row.id), "token": str(row.token)})


def _counters(case: Case) -> Iterator[Cure]:
    """Counters become what the recount says, where something is left to be counted down: what is to end now, decides itself."""
    folded, run = case.folded, case.run
    if folded is None or folded.status != run.status:
        return
    counted, waits = folded.open_steps(), len(folded.waits)
    if (counted, waits) != (run.open_steps, run.open_waits) and (counted > 0) is not case.ended:
        numbers = {"seen": run.open_steps, "seen_waits": run.open_waits, "counted": counted, "counted_waits": waits}
        yield Cure(f"the run has {counted} open steps, {waits} of them waits", "counters", {"id_": run.id, **numbers})
    for row in case.tasks():
        left = folded.items_left(row.name) if row.name in folded.sizes else None
        if left and row.status is StepStatus.WAITING and row.items_left not in (None, left):
            this = {"id_": row.id, "seen_status": str(row.status), "seen": row.items_left, "counted": left}
            yield Cure(f"step {row.name} has {left} items left", "items left", this)
