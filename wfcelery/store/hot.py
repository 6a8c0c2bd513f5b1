"""The hot path: one step succeeded and at most one born, over the version that this worker wrote itself, or has just read.

A sleep is such a step too: it is born with its wait, and succeeds when that has come. On PostgreSQL each is one
statement, and narrow: it names what such a commit changes, and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Literal

import sqlalchemy as sa

from wfcelery.core.decision import Decision
from wfcelery.core.rows import NO_ITEM, RunRow, StepRow
from wfcelery.core.states import RUN_ENDED, RunStatus, StepStatus
from wfcelery.definition.values import dumps
from wfcelery.store.database import Database
from wfcelery.store.inbox import look
from wfcelery.store.payloads import Payloads
from wfcelery.store.saving import history_parameters, ring_in, save
from wfcelery.store.schema import Instant, Value, history, inbox, run, step, wait
from wfcelery.store.statements import Statement, by_the_way, clock, is_one_of, later, one


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
    "waits_met", "waits_closed", "waits_reopened", "dead_letters", "retried", "children", "told", "inbox_done", "gated", "grace",
    "ignored", "run.error", "run.ending", "run.reason"
)  # fmt: skip


Own = Literal["attempt", "sleep"]  # what ended
New = Literal["step", "sleep"]  # what is born


def is_hot(decision: Decision) -> bool:
    """Whether a decision has the shape of the hot path: one attempt or sleep is over, one plain step is born, and nothing beside them."""
    if len(decision.steps) > 2 or any(_beside(decision)):
        return False
    sleeps, slept = bool(decision.waits), bool(decision.waits_came)
    born = ended = 0
    for row in decision.steps:
        if row.seen is None:
            born += 1
        else:
            ended += 1
        if not (_is_plain(row, sleeps) if row.seen is None else _is_over(row, slept)):
            return False
    sleeping = all(opened.kind == "sleep" and opened.name is None for opened in decision.waits)
    return born <= 1 and ended <= 1 and len(decision.waits) <= born and len(decision.waits_came) <= ended and sleeping


def _is_over(row: StepRow, slept: bool) -> bool:
    was = StepStatus.WAITING if slept else StepStatus.RUNNING
    return row.seen is not None and row.seen[0] is was and row.status is StepStatus.SUCCEEDED and row.item == NO_ITEM


def _is_plain(row: StepRow, sleeps: bool) -> bool:
    return (row.status is StepStatus.WAITING if sleeps else row.status in _BORN) and _unsaid(row) == _UNSAID


# -- the statement ------------------------------------------------------------------------------------------------------


def _advanced(own: Own | None) -> Any:
    """The run over its version. What only a run that fails, is cancelled or is reopened has to say stays as it is.

    Who ends a sleep does not wait for a run that somebody has locked: others are due too.
    """
    status = one("status", sa.Text)
    over = is_one_of(status, RUN_ENDED)
    begins = run.c.version == 0
    unchanged: tuple[Any, ...] = run.c.id == one("run", sa.Uuid), run.c.version == one("seen", sa.Integer)
    if own == "sleep":
        free = sa.select(run.c.id).where(*unchanged).with_for_update(key_share=True, skip_locked=True)
        unchanged = (run.c.id == free.scalar_subquery(),)
    changed = sa.update(run).where(*unchanged)
    return (
        changed.values(
            version=run.c.version + 1,
            status=status,
            variables=one("variables", Value("variables")),
            output=one("output", Value("output")),
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


def _counted_on() -> Any:
    """The run over its version where nothing else of it changes: one step of it has followed another."""
    unchanged = run.c.id == one("run", sa.Uuid), run.c.version == one("seen", sa.Integer)
    return sa.update(run).where(*unchanged).values(version=run.c.version + 1).returning(run.c.version).cte("advanced")


def _matched(advanced: Any) -> Any:
    return sa.exists(sa.select(sa.literal_column("1")).select_from(advanced))


def _ended(advanced: Any, own: Own) -> Any:
    """The step: an attempt over its token, a sleep over its status."""
    was = by_the_way(step.c.status)
    seen = (was == "running", step.c.token == one("token", sa.Uuid)) if own == "attempt" else (was == "waiting",)
    return (
        sa.update(step)
        .where(step.c.id == one("step", sa.Uuid), *seen, _matched(advanced))
        .values(
            status="succeeded",
            output=one("result", Value("output")),
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


def _came(advanced: Any) -> Any:
    """The wait of a sleep that is over."""
    still_open = wait.c.id == one("came", sa.Uuid), by_the_way(wait.c.status) == "open"
    came = sa.update(wait).where(*still_open, _matched(advanced)).values(status="due", ended_at=clock())
    return came.returning(wait.c.id).cte("came")


def _born(advanced: Any) -> Any:
    """A new step: ready, kept and so claimed, or asleep."""
    running = one("new_status", sa.Text) == "running"
    ready = one("new_status", sa.Text) == "ready"
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
        "input": one("new_input", Value("input")),
        "due_at": sa.case((ready, clock()), else_=sa.null()),
        "ring_at": later(one("new_ring_in", sa.Float)),
        "claimed_at": sa.case((running, clock()), else_=sa.null()),
        "first_at": sa.case((running, clock()), else_=sa.null()),
        "deadline_at": sa.case((running, later(one("new_timeout", sa.Float))), else_=sa.null()),
    }
    chosen = sa.select(*(value.label(name) for name, value in values.items())).select_from(advanced)
    return sa.insert(step).from_select(list(values), chosen, include_defaults=False).cte("born")


def _opened(advanced: Any) -> Any:
    """The wait of a step that is born asleep."""
    given = one("until", Instant)
    values: dict[str, Any] = {
        "id": one("wait", sa.Uuid),
        "organization_id": one("organization_id", sa.Text),
        "run": one("run", sa.Uuid),
        "step": one("new_id", sa.Uuid),
        "kind": one("kind", sa.Text),
        "status": sa.literal_column("'open'"),
        "due_at": sa.case((given.is_not(None), given), else_=later(one("delay", sa.Float))),
        "opened_at": clock(),
    }
    chosen = sa.select(*(value.label(name) for name, value in values.items())).select_from(advanced)
    return sa.insert(wait).from_select(list(values), chosen, include_defaults=False).cte("opened")


def _told(advanced: Any) -> Any:
    said = sa.select(one("run", sa.Uuid), advanced.c.version, one("organization_id", sa.Text), clock(), one("facts", sa.Text))
    places = ["run", "version", "organization_id", "at", "facts"]
    return sa.insert(history).from_select(places, said.select_from(advanced), include_defaults=False).cte("told")


def _hot(advanced: Any, own: Own | None, new: New | None) -> Statement:
    """One statement: the run, the step that ended, the step that is born, the history; and whether the inbox holds something.

    It fails (division by zero) where the run matched and its step or wait did not: otherwise a data-modifying CTE would
    leave a version whose step has not ended. What is inserted comes from the run's own row, and cannot be missing. It
    looks into the inbox as that was when the statement began: what is put later has a ring of its own, whose dispatcher
    waits for the run's lock.
    """
    over = [] if own is None else [_ended(advanced, own), *([_came(advanced)] if own == "sleep" else [])]
    one_each: Any = sa.literal_column("1")
    for part in over:
        one_each = one_each.op("/")(sa.select(sa.func.count()).select_from(part).scalar_subquery())
    waiting = sa.exists(sa.select(sa.literal_column("1")).where(inbox.c.run == one("run", sa.Uuid)))
    inserted = [*([_born(advanced)] if new else []), *([_opened(advanced)] if new == "sleep" else []), _told(advanced)]
    verdict = sa.case((_matched(advanced), one_each), else_=sa.literal_column("0"))
    # Who wakes a step for others need not wait for the disk: its claim does, which is written behind it, before any code runs.
    hurry = sa.case((one("new_status", sa.Text) == "running", sa.func.current_setting("synchronous_commit")), else_="off")
    unhurried = [sa.func.set_config("synchronous_commit", hurry, sa.true())] if own == "sleep" and new is not None else []
    return Statement(sa.select(verdict, waiting, *unhurried).add_cte(*inserted))


_OWN: tuple[Own | None, ...] = (None, "attempt", "sleep")
_NEW: tuple[New | None, ...] = (None, "step", "sleep")
_HOT = {(own, new): _hot(_advanced(own), own, new) for own in _OWN for new in _NEW}
_ONE_AFTER_ANOTHER = _hot(_counted_on(), "attempt", "step")
_changing = attrgetter("status", "variables", "output", "open_steps", "open_waits")


def save_fast(database: Database, decision: Decision, rings: bool = True, *, before: RunRow | None = None) -> Saved | Stale:
    """Write a decision of the hot shape over the version this worker wrote itself, in its own transaction.

    On PostgreSQL one statement; on SQLite, where a statement costs no round trip, the plain ones. `before`: the run at
    that version, if it is at hand; what has not changed of it is not written. Raises RowChanged where the run matched
    and a step did not: the attempt is not this worker's any more.
    """
    if database.dialect == "sqlite":
        with database.transaction() as tx:
            if not tx.execute(_SAME, {"run": decision.run.id, "seen": decision.seen_version}).rows:
                return Stale()
            save(tx, decision, rings)
            return Saved(look(tx, decision.run.id))
    own: Own | None = None
    new: New | None = None
    values = _of_run(decision, database.payloads)
    for row in decision.steps:
        if row.seen is None:
            new = "step"
            values |= _of_new(decision, row, rings)
        else:
            own = "attempt"
            values |= {"step": row.id, "token": row.seen[1], "result": dumps(row.output)}
    for wait_id in decision.waits_came:
        own = "sleep"
        values |= {"came": wait_id}
    for opened in decision.waits:
        new = "sleep"
        values |= {"wait": opened.id, "kind": opened.kind, "until": opened.due_at, "delay": opened.delay or 0.0}
    steady = own == "attempt" and new == "step" and before is not None and _changing(before) == _changing(decision.run)
    with database.single() as tx:
        verdict, waiting, *_ = tx.execute(_ONE_AFTER_ANOTHER if steady else _HOT[own, new], values).rows[0]
        return Saved(waiting) if verdict == 1 else Stale()


def _of_run(decision: Decision, payloads: Payloads) -> dict[str, Any]:
    row = decision.run
    return {
        "seen": decision.seen_version,
        "status": str(row.status),
        "variables": dumps(row.variables) if row.variables else None,
        "output": dumps(row.output) if row.status is RunStatus.SUCCEEDED else None,
        "open_steps": row.open_steps,
        "open_waits": row.open_waits,
        **history_parameters(decision, payloads),
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
