"""Runs that a decision begins, and what it has to say to other runs: nothing but inserts, in the commit of the run that decides."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from uuid import UUID

import sqlalchemy as sa

from wfcelery.core.decision import Decision, NewChild
from wfcelery.core.rows import RunRow
from wfcelery.core.states import RUN_ENDED
from wfcelery.definition.values import dumps
from wfcelery.store import inbox
from wfcelery.store.database import Tx
from wfcelery.store.schema import run, step
from wfcelery.store.starting import NewRun, insert_run
from wfcelery.store.statements import Statement, is_one_of, one

_LOOSE = Statement(
    sa.select(run.c.id, step.c.name)
    .select_from(step.join(run, run.c.parent_step == step.c.id))
    .where(step.c.run == one("run", sa.Uuid), run.c.parent.is_(None), ~is_one_of(run.c.status, sorted(RUN_ENDED)))
    .order_by(run.c.id)
)


def save_children(tx: Tx, decision: Decision, rings: bool) -> None:
    """Begin the children, and then tell whoever is to be told: a child that is born in this commit may be among them."""
    for child in decision.children:
        insert_run(tx, _new_run(decision.run, child, rings))
    for told in decision.told:
        inbox.put(tx, decision.run.organization_id, told.run, told.fact, told.data, told.id)


def _new_run(parent: RunRow, child: NewChild, rings: bool) -> NewRun:
    text = dumps(child.input)
    delay = child.delay or 0.0
    return NewRun(
        id=child.id,
        organization_id=parent.organization_id,
        workflow=child.workflow,
        definition=child.definition,
        input=text,
        input_digest=sha256(text.encode()).hexdigest(),
        queue=child.queue,
        priority=child.priority,
        tags=child.tags,
        delay=delay,
        deadline_in=None if child.timeout is None else child.timeout + delay,
        rings=rings,
        parent_step=child.step,
        parent=parent.id if child.waited else None,
        depth=parent.depth + 1,
        not_after=parent.deadline,
    )


@dataclass(frozen=True, slots=True)
class Child:
    """A run that a step has begun."""

    step: UUID
    id: UUID
    workflow: str
    status: str


_CHILDREN = Statement(
    sa.select(step.c.id, run.c.id, run.c.workflow, run.c.status)
    .select_from(step.join(run, run.c.parent_step == step.c.id))
    .where(step.c.run == one("run", sa.Uuid))
    .order_by(run.c.created_at.desc(), run.c.id.desc())
    .limit(one("many", sa.Integer))
)
_PARENT = Statement(
    sa.select(step.c.run, run.c.parent).select_from(run.join(step, step.c.id == run.c.parent_step)).where(run.c.id == one("run", sa.Uuid))
)


def children_of(tx: Tx, run_id: UUID, many: int) -> list[Child]:
    """The runs that steps of this one have begun, the newest first."""
    return [Child(*row) for row in tx.execute(_CHILDREN, {"run": run_id, "many": many}).rows]


def parent_of(tx: Tx, run_id: UUID) -> tuple[UUID, bool] | None:
    """The run whose step has begun this one, and whether it is told of its end; None: nobody's child."""
    rows = tx.execute(_PARENT, {"run": run_id}).rows
    return (rows[0][0], rows[0][1] is not None) if rows else None


_TOLD = Statement(
    sa.select(run.c.id).where(run.c.id == one("run", sa.Uuid), run.c.parent.is_not(None), is_one_of(run.c.status, sorted(RUN_ENDED)))
)


def has_told(tx: Tx, run_id: UUID) -> bool:
    """Whether a run has ended and its parent is told of that: it does not go on any more."""
    return bool(tx.execute(_TOLD, {"run": run_id}).rows)


def load_loose(tx: Tx, run_id: UUID) -> list[tuple[UUID, str]]:
    """The children of a run that have not ended and whose end no step waits for, each with the name of the task that began it."""
    return [(row[0], row[1]) for row in tx.execute(_LOOSE, {"run": run_id}).rows]
