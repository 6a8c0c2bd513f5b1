"""What a decision wrote becomes rows, each over the status and token it was read with; a mismatch rolls all back.

`save` runs under the run's lock; the hot path beside it stands in `hot`.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from wfcelery.clock import uuid7
from wfcelery.core.decision import DeadLetter, Decision
from wfcelery.core.rows import NO_ITEM, RunRow, StepRow
from wfcelery.core.states import RUN_ENDED, STEP_ENDED, RunStatus, StepStatus
from wfcelery.definition.values import dumps
from wfcelery.errors import RowChanged
from wfcelery.store import items
from wfcelery.store.children import save_children
from wfcelery.store.database import Tx
from wfcelery.store.payloads import Payloads, sealed
from wfcelery.store.schema import Instant, Value, dead_letter, history, inbox, run, step
from wfcelery.store.starting import continue_run
from wfcelery.store.statements import Ids, Parameters, Statement, among, by_the_way, clock, is_one_of, later, one
from wfcelery.store.waits import save_waits

RING_AFTER = 5.0  # seconds after which the sweep rings a step that its commit's own ring did not get claimed


# -- the run ------------------------------------------------------------------------------------------------------------


def _due() -> Any:
    """What the run waits for as a whole: its deadline from its begin on, a grace while it is cancelling.

    A run that is reopened after its deadline has none any more: it has fired, and who retries the run wants it to go on.
    """
    status, grace = one("status", sa.Text), one("grace", sa.Float)
    return sa.case(
        (is_one_of(status, RUN_ENDED), sa.null()),
        (grace.is_not(None), later(grace)),
        (status == "compensating", sa.null()),  # its end is decided: no deadline cuts off what is done before
        (run.c.version == 0, run.c.deadline),
        (one("reopened", sa.Boolean), sa.case((run.c.deadline > clock(), run.c.deadline), else_=sa.null())),
        else_=run.c.due_at,
    )


_RUN_VALUES: dict[str, Any] = {
    "version": run.c.version + 1,
    "status": one("status", sa.Text),
    "variables": one("variables", Value("variables")),
    "output": one("output", Value("output")),
    "error": one("error", sa.Text),
    "ending": one("ending", sa.Text),
    "reason": one("reason", sa.Text),
    "open_steps": one("open_steps", sa.Integer),
    "open_waits": one("open_waits", sa.Integer),
}


def advance_run() -> sa.Update:
    """The run's row over the version it was read with."""
    return (
        sa.update(run)
        .where(run.c.id == one("run", sa.Uuid), run.c.version == one("seen", sa.Integer))
        .values(
            **_RUN_VALUES,
            due_at=_due(),
            ring_at=sa.null(),
            started_at=sa.func.coalesce(run.c.started_at, clock()),
            ended_at=sa.case((is_one_of(one("status", sa.Text), RUN_ENDED), clock()), else_=sa.null()),
        )
    )


_SAVE_RUN = Statement(advance_run())
# What a run is asked with stays the digest of what it was started with.
_MOVED = Statement(
    sa.update(run)
    .where(run.c.id == one("run", sa.Uuid), run.c.organization_id == one("organization_id", sa.Text))
    .values(definition=one("definition", sa.Text), input=one("input", Value("input")))
)


def run_parameters(decision: Decision) -> dict[str, Any]:
    """What `advance_run` takes."""
    row: RunRow = decision.run
    return {
        "organization_id": row.organization_id,
        "run": row.id,
        "seen": decision.seen_version,
        "status": str(row.status),
        "variables": dumps(row.variables) if row.variables else None,
        "output": dumps(row.output) if RunStatus.SUCCEEDED in (row.status, row.ending) else None,
        "error": None if row.error is None else dumps(row.error),
        "ending": None if row.ending is None else str(row.ending),
        "reason": row.reason,
        "open_steps": row.open_steps,
        "open_waits": row.open_waits,
        "grace": decision.grace,
        "reopened": any(fact["fact"] == "run_reopened" for fact in decision.facts),
    }


# -- steps --------------------------------------------------------------------------------------------------------------


def _step_values(p: str) -> dict[str, Any]:
    """What a decision says of a step, as parameters whose names begin with `p`."""
    status = one(p + "status", sa.Text)
    plain = {
        name: one(p + name, kind)
        for name, kind in {
            "status": sa.Text,
            "why": sa.Text,
            "attempt": sa.Integer,
            "failures": sa.Integer,
            "lost": sa.Integer,
            "token": sa.Uuid,
            "claimed_by": sa.Uuid,
            "child": sa.Text,
            "queue": sa.Text,
            "priority": sa.Integer,
            "timeout": sa.Float,
            "input": Value("input"),
            "output": Value("output"),
            "error": sa.Text,
            "blockers": sa.Integer,
            "wants": sa.Integer,
            "fired": sa.Integer,
            "items_left": sa.Integer,
            "expanded": sa.Integer,
            "skipped": sa.Integer,
            "gates": sa.Text,
        }.items()
    }
    given = one(p + "due_at", Instant)
    delay = one(p + "delay", sa.Float)
    # What is held keeps the time before which it must not run; it is ready only when it is let go.
    waits = sa.and_(status == "held", delay > 0)
    due = sa.case((given.is_not(None), given), (sa.or_(status == "ready", waits), later(delay)), else_=sa.null())
    ended = sa.case((one(p + "ended", sa.Boolean), clock()), else_=sa.null())
    return plain | {"due_at": due, "ended_at": ended}


def birth(p: str) -> dict[str, Any]:
    """A new row: its place, its values, and what a claim would write where it is born running."""
    running = one(p + "status", sa.Text) == "running"
    ring = one(p + "ring_in", sa.Float)
    return {
        "id": one(p + "id", sa.Uuid),
        "organization_id": one("organization_id", sa.Text),
        "run": one("run", sa.Uuid),
        "name": one(p + "name", sa.Text),
        "item": one(p + "item", sa.Integer),
        "round": one(p + "round", sa.Integer),
        "fan_out": one(p + "fan_out", sa.Uuid),
        **_step_values(p),
        "ring_at": later(ring),
        "claimed_at": sa.case((running, clock()), else_=sa.null()),
        "first_at": sa.case((running, clock()), else_=sa.null()),
        "deadline_at": sa.case((running, later(one(p + "timeout", sa.Float))), else_=sa.null()),
    }


def change(p: str = "") -> sa.Update:
    """A row over the status and token it was read with. A fan-out keeps an earlier ring it still waits for."""
    ring, running = one(p + "ring_in", sa.Float), one(p + "status", sa.Text) == "running"
    sooner = sa.and_(one(p + "status", sa.Text) == "waiting", step.c.ring_at > clock(), step.c.ring_at < later(ring))
    values = _step_values(p)
    del values["ended_at"]
    return (
        sa.update(step)
        .where(
            step.c.id == one("step", sa.Uuid),
            by_the_way(step.c.status) == one("seen_status", sa.Text),
            step.c.token.is_not_distinct_from(one("seen_token", sa.Uuid)),
        )
        .values(
            **values,
            ring_at=sa.case((sooner, step.c.ring_at), else_=later(ring)),
            claimed_at=sa.case((running, clock()), else_=step.c.claimed_at),
            first_at=sa.case((running, sa.func.coalesce(step.c.first_at, clock())), else_=step.c.first_at),
            deadline_at=sa.case((running, later(one(p + "timeout", sa.Float))), else_=sa.null()),
            # What is undone ended when it ended, and not now.
            ended_at=sa.case((one(p + "ended", sa.Boolean), sa.func.coalesce(step.c.ended_at, clock())), else_=sa.null()),
        )
    )


_INSERT_STEP = Statement(sa.insert(step).values(**birth("")))
_UPDATE_STEP = Statement(change())


_WORTH = StepStatus.SUCCEEDED, StepStatus.REPORTED, StepStatus.COMPENSATED


def step_parameters(decision: Decision, row: StepRow, rings: bool) -> dict[str, Any]:
    """What `birth` and `change` take of a row."""
    ended = row.status in STEP_ENDED
    return {
        "status": str(row.status),
        "why": row.why,
        "attempt": row.attempt,
        "failures": row.failures,
        "lost": row.lost,
        "token": row.token,
        "claimed_by": row.claimed_by,
        "child": row.child,
        "queue": row.queue,
        "priority": row.priority,
        "timeout": row.timeout,
        "input": None if row.input is None else dumps(row.input),
        "output": dumps(row.output) if row.status in _WORTH and row.items_left is None else None,
        "error": None if row.error is None else dumps(row.error),
        "blockers": row.blockers,
        "wants": row.wants,
        "fired": row.fired,
        "items_left": row.items_left,
        "expanded": row.expanded,
        "skipped": row.skipped,
        "gates": None if row.gates is None else dumps(row.gates),
        "due_at": row.due_at if row.status is StepStatus.READY and row.due_at is not None else None,
        "delay": row.delay or 0.0,
        "ring_in": ring_in(decision, row, rings),
        "ended": ended,
    }


def ring_in(decision: Decision, row: StepRow, rings: bool) -> float | None:
    """Seconds until the sweep shall ring for a row, or None where nobody rings for it.

    A ready step: at its time, or a while after the commit's own ring. An item: never, its fan-out is rung as
    one thing. A fan-out: a while after each change of its counter; at once while items are to be born; at the
    earliest time of the items this commit puts back.
    """
    if row.status is StepStatus.READY and row.item == NO_ITEM:
        return RING_AFTER if row.ring and rings else (row.delay or 0.0)
    if row.status is StepStatus.WAITING and row.items_left is not None:
        if row.expanded is not None and row.expanded < row.wants:
            return 0.0 if not rings else 1.0
        delays = [item.delay or 0.0 for item in decision.steps if item.fan_out == row.id and item.status is StepStatus.READY]
        later_ones = [delay for delay in delays if delay > 0.0]
        return min([RING_AFTER, *later_ones])
    return None


_LET_GO = Statement(
    sa.update(step)
    .where(
        step.c.run == one("run", sa.Uuid),
        step.c.name == one("name", sa.Text),
        step.c.item >= one("first", sa.Integer),
        step.c.item < one("last", sa.Integer),
        step.c.status == "held",
    )
    .values(status="ready", why=sa.null(), due_at=clock())
)
_HISTORY = Statement(
    sa.insert(history).values(
        run=one("run", sa.Uuid),
        version=one("version", sa.Integer),
        organization_id=one("organization_id", sa.Text),
        at=clock(),
        facts=one("facts", sa.Text),
    )
)
_RESUMES = Statement(
    sa.update(run)
    .where(run.c.id == one("run", sa.Uuid))
    .values(resume_at=sa.func.coalesce(one("until", Instant), later(one("delay", sa.Float))))
)
_APPLIED = Statement(sa.delete(inbox).where(among(inbox.c.id, one("ids", Ids))))
_EPISODE = sa.select(sa.func.coalesce(sa.func.max(dead_letter.c.episode), 0) + 1).where(dead_letter.c.step == one("step", sa.Uuid))
_BURY = Statement(
    sa.insert(dead_letter).values(
        id=one("id", sa.Uuid),
        organization_id=one("organization_id", sa.Text),
        run=one("run", sa.Uuid),
        workflow=one("workflow", sa.Text),
        step=one("step", sa.Uuid),
        name=one("name", sa.Text),
        item=one("item", sa.Integer),
        reason=one("reason", sa.Text),
        error=one("error", sa.Text),
        attempts=one("attempts", sa.Integer),
        episode=_EPISODE.scalar_subquery(),
        status=one("status", sa.Text),
        created_at=clock(),
        ended_at=sa.case((one("status", sa.Text) == "handled", clock()), else_=sa.null()),
    )
)
_RETRIED = Statement(
    sa.update(dead_letter)
    .where(among(dead_letter.c.step, one("ids", Ids)), is_one_of(dead_letter.c.status, ("open", "handled")))
    .values(status="retried", ended_at=clock())
)


def save(tx: Tx, decision: Decision, rings: bool = True) -> None:
    """Write everything a decision says, under the run's lock. `rings`: whether a ring of this process reaches a worker.

    Raises RowChanged where any row is no longer what it was read as; the transaction must then be rolled back.
    """
    row = decision.run
    if decision.ignored is None:
        if tx.execute(_SAVE_RUN, run_parameters(decision)).count != 1:
            raise RowChanged(f"run {row.id}", f"version {decision.seen_version}")
        if decision.moved is not None:
            given = {"run": row.id, "organization_id": row.organization_id, "definition": row.definition, "input": dumps(row.input)}
            tx.execute(_MOVED, given)
        if decision.next_run is not None:
            continue_run(tx, row, decision.next_run, rings=rings)
        if decision.resumes is not None:
            tx.execute(_RESUMES, {"run": row.id, "delay": decision.resumes[0], "until": decision.resumes[1]})
        _save_steps(tx, decision, rings)
        save_waits(tx, decision)
        save_children(tx, decision, rings)
        if decision.retried:  # before the letters of those that have failed again in this very commit
            tx.execute(_RETRIED, {"ids": decision.retried})
        for letter in decision.dead_letters:
            tx.execute(_BURY, _letter_parameters(row, letter))
        tx.execute(_HISTORY, history_parameters(decision, tx.payloads))
    if decision.inbox_done:
        tx.execute(_APPLIED, {"ids": decision.inbox_done})


def _save_steps(tx: Tx, decision: Decision, rings: bool) -> None:
    born: list[Parameters] = []
    changed: list[Parameters] = []
    place = {"organization_id": decision.run.organization_id, "run": decision.run.id}
    # Changes in the order of their ids: no two transactions of one run are open at once, but claims lock rows too.
    for row in items.save_alike(tx, decision, RING_AFTER if rings else 0.0):
        values = step_parameters(decision, row, rings)
        if row.seen is None:
            values |= place | {"id": row.id, "name": row.name, "item": row.item, "round": row.round, "fan_out": row.fan_out}
            born.append(values)
        else:
            values |= place | {"step": row.id, "seen_status": str(row.seen[0]), "seen_token": row.seen[1]}
            changed.append(values)
    changed.sort(key=lambda values: values["step"])
    if changed and tx.many(_UPDATE_STEP, changed) != len(changed):
        raise RowChanged(f"a step of run {decision.run.id}")
    tx.many(_INSERT_STEP, born)
    for row in decision.steps:
        for first, last in row.let_go:
            tx.execute(_LET_GO, {"run": decision.run.id, "name": row.name, "first": first, "last": last})


def _letter_parameters(row: RunRow, letter: DeadLetter) -> Parameters:
    return {
        "id": uuid7(),
        "organization_id": row.organization_id,
        "run": row.id,
        "workflow": row.workflow,
        "step": letter.step,
        "name": letter.name,
        "item": letter.item,
        "reason": letter.reason,
        "error": None if letter.error is None else dumps(letter.error),
        "attempts": letter.attempts,
        "status": "handled" if letter.handled else "open",
    }


def history_parameters(decision: Decision, payloads: Payloads) -> dict[str, Any]:
    """The one row of history that a commit writes."""
    row = decision.run
    seal = payloads.sealer(row.organization_id)
    return {
        "run": row.id,
        "version": decision.seen_version + 1,
        "organization_id": row.organization_id,
        "facts": dumps(decision.facts if seal is None else sealed(decision.facts, seal)),
    }
