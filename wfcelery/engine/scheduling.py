"""Schedules, as a sweep finds them: the run of a slot, and the schedule's move to its next one, in one commit.

Any number of sweeps may be at it: the row is written over the version it was read with, and a slot's run has a key that is made of the
schedule's name and the slot, so that a slot is started once whoever comes first and whatever dies.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from wfcelery.clock import uuid7
from wfcelery.core.decision import RingRun
from wfcelery.core.schedules import Policy, Standing, Turn, slot_key, take_turn
from wfcelery.definition.inputs import check_input
from wfcelery.definition.model import Definition
from wfcelery.definition.values import dumps, encode, loads
from wfcelery.engine.runtime import Runtime
from wfcelery.errors import InvalidInput, NotFound, RowChanged, Unavailable
from wfcelery.store import definitions, inbox, schedules
from wfcelery.store.database import Tx
from wfcelery.store.failures import CommitUnknown, LockTimeout, SerializationClash
from wfcelery.store.schedules import Going, StoredSchedule, Terms
from wfcelery.store.starting import NewRun, insert_run

log = logging.getLogger(__name__)

MOST_TURNS = 100  # of one schedule, before the next one's


@dataclass(slots=True)
class Scheduled:
    """What was done about schedules: commits, and schedules that could not be handled."""

    turns: int = 0
    bad: int = 0


def start_slots(runtime: Runtime) -> Scheduled:
    """Start what is due, schedule by schedule. One that cannot be started keeps its error and is tried again later."""
    this, seen = Scheduled(), set[UUID]()
    while True:
        with runtime.database.single() as tx:
            found = [(id_, name) for id_, name in schedules.due(tx, runtime.settings.batch) if id_ not in seen]
        for id_, name in found:
            seen.add(id_)
            try:
                this.turns += _work_off(runtime, id_)
            except (Unavailable, CommitUnknown):
                raise
            except (SerializationClash, LockTimeout):
                continue  # somebody else is at it: the next pass looks again
            except (NotFound, InvalidInput) as problem:
                this.bad += 1
                log.error("schedule %s: %s", name, problem)
                _keep(runtime, id_, problem, str(problem))
            except Exception as problem:  # one swept item
                this.bad += 1
                log.exception("schedule %s could not be handled", name)
                _keep(runtime, id_, problem, "it could not be handled: see the log of the process that swept")
        if not found:
            return this


def _work_off(runtime: Runtime, id_: UUID) -> int:
    """Turn after turn of one schedule, until none is due; how many."""
    turns = 0
    for _ in range(MOST_TURNS):
        with runtime.database.single() as tx:
            found = schedules.read(tx, id_)
        if found is None or found.due_at is None or found.due_at > found.now:
            break
        turns += _take(runtime, found)
    return turns


def _take(runtime: Runtime, found: StoredSchedule) -> bool:
    """One turn, over the row as it was read; False where another was faster."""
    terms = found.terms
    with runtime.database.single() as tx:
        going = schedules.going(tx, found.runs)
    turn = take_turn(
        terms.timetable, Policy(terms.overlap, terms.catch_up), Standing(found.next_slot, found.waiting), found.now, bool(going)
    )
    try:
        with runtime.database.transaction() as tx:
            rings = _write(tx, found, turn, going)
    except RowChanged:
        return False
    runtime.bell.ring(rings)
    return True


def _write(tx: Tx, found: StoredSchedule, turn: Turn, going: list[Going]) -> list[RingRun]:
    """The row first, so that of two the second waits here and then finds that there is nothing to do."""
    new = None if turn.start is None else run_of_slot(tx, found, turn.start)
    held = None if new is None else schedules.run_of_key(tx, found.organization_id, new.key or "")
    started = None if new is None else held or new.id
    if not schedules.move(tx, found, turn, [run.id for run in going], started, held=held is not None):
        raise RowChanged(f"schedule {found.name}")
    rings = []
    if new is not None and held is None:
        if not insert_run(tx, new):  # somebody has taken the key since; who it is, is seen next time
            raise RowChanged(f"the run of {new.key}")
        rings.append(RingRun(new.organization_id, new.id, new.queue))
    for run in going if turn.cancel else ():
        inbox.put(tx, found.organization_id, run.id, "cancel", {"reason": f"the next slot of schedule {found.name} has come", "by": None})
        rings.append(RingRun(found.organization_id, run.id, run.queue))
    return rings


def run_of_slot(tx: Tx, found: StoredSchedule, slot: datetime, *, rings: bool = True) -> NewRun:
    """The run of a slot, by the newest definition first stored. Raises NotFound, and InvalidInput where the input does not fit it."""
    terms = found.terms
    newest = definitions.newest(tx, terms.workflow)
    if newest is None:
        raise NotFound("published definition", terms.workflow)
    definition = Definition.model_validate_json(newest.body)
    text = dumps(check_input(definition, given(terms, slot)))
    return NewRun(
        id=uuid7(),
        organization_id=found.organization_id,
        workflow=terms.workflow,
        definition=newest.signature,
        input=text,
        input_digest=tx.payloads.digest(text.encode(), found.organization_id),
        key=slot_key(found.name, slot),
        queue=terms.queue,
        priority=terms.priority,
        tags=terms.tags or definition.tags,
        deadline_in=terms.deadline if terms.deadline is not None else definition.timeout,
        rings=rings,
    )


def given(terms: Terms, slot: datetime) -> dict[str, object]:
    """The input of a slot's run, in stored form: what was said, and the slot's own time where that is asked for."""
    said: dict[str, object] = loads(terms.input)
    return said if terms.slot_as is None else {**said, terms.slot_as: encode(slot)}


def _keep(runtime: Runtime, id_: UUID, problem: Exception, message: str) -> None:
    """A slot could not be started: why is told by the row until the next one is."""
    with runtime.database.single() as tx:
        schedules.fail(tx, id_, {"type": type(problem).__name__, "code": getattr(problem, "code", None), "message": message})
