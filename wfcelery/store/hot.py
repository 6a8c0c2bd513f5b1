"""The hot path: one step succeeded and at most one born, over the version that this worker wrote itself.

On PostgreSQL that is one statement, and narrow: it names what such a commit changes, and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import sqlalchemy as sa

from wfcelery.core.decision import Decision
from wfcelery.core.rows import NO_ITEM, StepRow
from wfcelery.core.states import RUN_ENDED, RunStatus, StepStatus
from wfcelery.definition.values import dumps
from wfcelery.store.database import Database
from wfcelery.store.inbox import look
from wfcelery.store.saving import history_parameters, ring_in, save
from wfcelery.store.schema import history, inbox, run, step
from wfcelery.store.statements import Statement, clock, is_one_of, later, one


@dataclass(frozen=True, slots=True)
class Saved:
    """The commit landed; `inbox`: something waits for the run."""

    inbox: bool


@dataclass(frozen=True, slots=True)
class Stale:
    """Another writer came between: lock, load and decide again."""


# -- which decisions ----------------------------------------------------------------------------------------------------

_BORN = StepStatus.RUNNING, StepStatus.READY
_unsaid = attrgetter(
    "item", "round", "fan_out", "why", "failures", "lost", "delay", "due_at", "output", "error", "blockers", "wants", "fired", "items_left"
)
_UNSAID = NO_ITEM, 0, None, None, 0, 0, None, None, None, None, 0, 0, 0, None  # what the table's defaults say of a new row
_beside = attrgetter(
    "waits", "waits_came", "waits_closed", "waits_reopened", "dead_letters", "retried", "inbox_done", "grace", "ignored", "run.error",
    "run.ending", "run.reason"
)  # fmt: skip


def is_hot(decision: Decision) -> bool:
    """Whether a decision has the shape of the hot path: one attempt succeeded, one plain step was born, and nothing beside them."""
    if len(decision.steps) > 2 or any(_beside(decision)):
        return False
    born = [row for row in decision.steps if row.seen is None]
    return len(born) <= 1 and all(_is_plain(row) if row.seen is None else _has_succeeded(row) for row in decision.steps)


def _has_succeeded(row: StepRow) -> bool:
    return row.seen is not None and row.seen[0] is StepStatus.RUNNING and row.status is StepStatus.SUCCEEDED and row.item == NO_ITEM


def _is_plain(row: StepRow) -> bool:
    return row.status in _BORN and _unsaid(row) == _UNSAID


# -- the statement ------------------------------------------------------------------------------------------------------


def _advanced() -> Any:
    """The run over its version. What only a run that fails, is cancelled or is reopened has to say stays as it is."""
    status = one("status", sa.Text)
    over = is_one_of(status, RUN_ENDED)
    begins = run.c.version == 0
    changed = sa.update(run).where(run.c.id == one("run", sa.Uuid), run.c.version == one("seen", sa.Integer))
    return (
        changed.values(
            version=run.c.version + 1,
            status=status,
            variables=one("variables", sa.Text),
            output=one("output", sa.Text),
            open_steps=one("open_steps", sa.Integer),
            open_waits=one("open_waits", sa.Integer),
            due_at=sa.case((over, sa.null()), (begins, run.c.deadline), else_=run.c.due_at),
            ring_at=sa.null(),
            started_at=sa.func.coalesce(run.c.started_at, clock()),
            ended_at=sa.case((over, clock()), else_=sa.null()),
        )
        .returning(run.c.version)
        .cte("advanced")
    )


def _ended(advanced: Any) -> Any:
    """The step over its token."""
    return (
        sa.update(step)
        .where(
            step.c.id == one("step", sa.Uuid),
            step.c.status == "running",
            step.c.token == one("token", sa.Uuid),
            sa.exists(sa.select(sa.literal_column("1")).select_from(advanced)),
        )
        .values(
            status="succeeded",
            output=one("result", sa.Text),
            ended_at=clock(),
            why=sa.null(),
            error=sa.null(),
            due_at=sa.null(),
            ring_at=sa.null(),
            deadline_at=sa.null(),
        )
        .returning(step.c.id)
        .cte("ended")
    )


def _born(advanced: Any) -> Any:
    """A new step: ready, or kept and so claimed."""
    running = one("new_status", sa.Text) == "running"
    values: dict[str, Any] = {
        "id": one("new_id", sa.Uuid),
        "organization_id": one("organization_id", sa.Text),
        "run": one("run", sa.Uuid),
        "name": one("new_name", sa.Text),
        "status": one("new_status", sa.Text),
        "attempt": one("new_attempt", sa.Integer),
        "token": one("new_token", sa.Uuid),
        "claimed_by": one("new_claimed_by", sa.Uuid),
        "child": one("new_child", sa.Text),
        "queue": one("new_queue", sa.Text),
        "priority": one("new_priority", sa.Integer),
        "timeout": one("new_timeout", sa.Float),
        "input": one("new_input", sa.Text),
        "due_at": sa.case((running, sa.null()), else_=clock()),
        "ring_at": later(one("new_ring_in", sa.Float)),
        "claimed_at": sa.case((running, clock()), else_=sa.null()),
        "first_at": sa.case((running, clock()), else_=sa.null()),
        "deadline_at": sa.case((running, later(one("new_timeout", sa.Float))), else_=sa.null()),
    }
    chosen = sa.select(*(value.label(name) for name, value in values.items())).select_from(advanced)
    return sa.insert(step).from_select(list(values), chosen, include_defaults=False).cte("born")


def _told(advanced: Any) -> Any:
    said = sa.select(one("run", sa.Uuid), advanced.c.version, one("organization_id", sa.Text), clock(), one("facts", sa.Text))
    places = ["run", "version", "organization_id", "at", "facts"]
    return sa.insert(history).from_select(places, said.select_from(advanced), include_defaults=False).cte("told")


def _hot(own: bool, new: bool) -> Statement:
    """One statement: the run, the step that ended, the step that is born, the history; and whether the inbox holds something.

    It fails (division by zero) where the run matched and its step did not: otherwise a data-modifying CTE would leave a
    version whose step has not ended. What is inserted comes from the run's own row, and cannot be missing. It looks into
    the inbox as that was when the statement began: what is put later has a ring of its own, whose dispatcher waits for
    the run's lock.
    """
    advanced = _advanced()
    matched = sa.exists(sa.select(sa.literal_column("1")).select_from(advanced))
    one_each: Any = sa.literal_column("1")
    if own:
        one_each = one_each.op("/")(sa.select(sa.func.count()).select_from(_ended(advanced)).scalar_subquery())
    waiting = sa.exists(sa.select(sa.literal_column("1")).where(inbox.c.run == one("run", sa.Uuid)))
    inserted = [*([_born(advanced)] if new else []), _told(advanced)]
    return Statement(sa.select(sa.case((matched, one_each), else_=sa.literal_column("0")), waiting).add_cte(*inserted))


_HOT = {(own, new): _hot(own, new) for own in (True, False) for new in (True, False)}


def save_fast(database: Database, decision: Decision, rings: bool = True) -> Saved | Stale:
    """Write a decision of the hot shape over the version this worker wrote itself, in its own transaction.

    On PostgreSQL one statement; on SQLite, where a statement costs no round trip, the plain ones. Raises RowChanged
    where the run matched and a step did not: the attempt is not this worker's any more.
    """
    if database.dialect == "sqlite":
        with database.transaction() as tx:
            if not tx.execute(_SAME, {"run": decision.run.id, "seen": decision.seen_version}).rows:
                return Stale()
            save(tx, decision, rings)
            return Saved(look(tx, decision.run.id))
    own = new = False
    values = _of_run(decision)
    for row in decision.steps:
        if row.seen is None:
            new = True
            values |= _of_new(decision, row, rings)
        else:
            own = True
            values |= {"step": row.id, "token": row.seen[1], "result": dumps(row.output)}
    with database.single() as tx:
        verdict, waiting = tx.execute(_HOT[own, new], values).rows[0]
        return Saved(waiting) if verdict == 1 else Stale()


def _of_run(decision: Decision) -> dict[str, Any]:
    row = decision.run
    return {
        "seen": decision.seen_version,
        "status": str(row.status),
        "variables": dumps(row.variables) if row.variables else None,
        "output": dumps(row.output) if row.status is RunStatus.SUCCEEDED else None,
        "open_steps": row.open_steps,
        "open_waits": row.open_waits,
        **history_parameters(decision),
    }


def _of_new(decision: Decision, row: StepRow, rings: bool) -> Mapping[str, Any]:
    return {
        "new_id": row.id,
        "new_name": row.name,
        "new_status": str(row.status),
        "new_attempt": row.attempt,
        "new_token": row.token,
        "new_claimed_by": row.claimed_by,
        "new_child": row.child,
        "new_queue": row.queue,
        "new_priority": row.priority,
        "new_timeout": row.timeout,
        "new_input": None if row.input is None else dumps(row.input),
        "new_ring_in": ring_in(decision, row, rings),
    }


_SAME = Statement(sa.select(run.c.id).where(run.c.id == one("run", sa.Uuid), run.c.version == one("seen", sa.Integer)))
