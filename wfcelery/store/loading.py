"""Reads that a decision needs, and the claim: the one status change that takes no lock of the run."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from wfcelery.core.rows import NO_ITEM, Ended, RunRow, StepRow
from wfcelery.core.states import STEP_OPEN, RunStatus, StepStatus
from wfcelery.definition.values import loads
from wfcelery.store.database import Tx
from wfcelery.store.schema import run, step, worker
from wfcelery.store.statements import Ids, Row, Statement, Words, among, clock, fixed, is_one_of, later, one, seconds_until

_RUN = (
    run.c.id,
    run.c.organization_id,
    run.c.workflow,
    run.c.definition,
    run.c.status,
    run.c.version,
    run.c.input,
    run.c.variables,
    run.c.output,
    run.c.error,
    run.c.ending,
    run.c.reason,
    run.c.open_steps,
    run.c.open_waits,
    run.c.queue,
    run.c.priority,
    run.c.deadline,
    run.c.created_at,
    run.c.parent_step,
    run.c.key,
)
_STEP = (
    step.c.id,
    step.c.name,
    step.c.item,
    step.c.round,
    step.c.status,
    step.c.fan_out,
    step.c.why,
    step.c.attempt,
    step.c.failures,
    step.c.lost,
    step.c.token,
    step.c.claimed_by,
    step.c.child,
    step.c.claimed_at,
    step.c.queue,
    step.c.priority,
    step.c.timeout,
    step.c.input,
    step.c.output,
    step.c.error,
    step.c.blockers,
    step.c.wants,
    step.c.fired,
    step.c.items_left,
    step.c.expanded,
)


@dataclass(frozen=True, slots=True)
class Claimed:
    """One attempt, this worker's."""

    step: StepRow
    run: RunRow
    claimed_at: datetime
    first_claimed_at: datetime | None


@dataclass(frozen=True, slots=True)
class DueIn:
    """The step is ready, and due in so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class ClaimedGroup:
    """Items of one fan-out, under one token; `unexpanded`: not all of its items are born yet."""

    run: RunRow
    items: list[StepRow]
    unexpanded: bool


def _value(text: str | None) -> Any:
    return None if text is None else loads(text)


def run_row(row: Row) -> RunRow:
    """A row of wf_run, in the order of `_RUN`."""
    return RunRow(
        id=row[0],
        organization_id=row[1],
        workflow=row[2],
        definition=row[3],
        status=RunStatus(row[4]),
        version=row[5],
        input=loads(row[6]),
        variables=_value(row[7]) or {},
        output=_value(row[8]),
        error=_value(row[9]),
        ending=None if row[10] is None else RunStatus(row[10]),
        reason=row[11],
        open_steps=row[12],
        open_waits=row[13],
        queue=row[14],
        priority=row[15],
        deadline=row[16],
        created_at=row[17],
        parent_step=row[18],
        key=row[19],
    )


def step_row(row: Row) -> StepRow:
    """A row of wf_step, in the order of `_STEP`."""
    status, token = StepStatus(row[4]), row[10]
    return StepRow(
        id=row[0],
        name=row[1],
        item=row[2],
        round=row[3],
        status=status,
        seen=(status, token),
        fan_out=row[5],
        why=row[6],
        attempt=row[7],
        failures=row[8],
        lost=row[9],
        token=token,
        claimed_by=row[11],
        child=row[12],
        claimed_at=row[13],
        queue=row[14],
        priority=row[15],
        timeout=row[16],
        input=_value(row[17]),
        output=_value(row[18]),
        error=_value(row[19]),
        blockers=row[20],
        wants=row[21],
        fired=row[22],
        items_left=row[23],
        expanded=row[24],
    )


# -- the run ------------------------------------------------------------------------------------------------------------

_LOCK = Statement(sa.select(*_RUN).where(run.c.id == one("run", sa.Uuid)).with_for_update(key_share=True))
_LOCK_FREE = Statement(sa.select(*_RUN).where(run.c.id == one("run", sa.Uuid)).with_for_update(key_share=True, skip_locked=True))
_LOAD = Statement(sa.select(*_RUN).where(run.c.id == one("run", sa.Uuid)))
_ORGANIZATION = Statement(sa.select(run.c.organization_id).where(run.c.id == one("run", sa.Uuid)))
_DUE = Statement(sa.select(run.c.id).where(run.c.id == one("run", sa.Uuid), run.c.due_at <= clock()))


def lock_run(tx: Tx, id: UUID, *, skip_locked: bool = False) -> RunRow | None:  # noqa: A002
    """Take the run's lock, FOR NO KEY UPDATE: inserts that point at the run go on. Reads nothing but the run's row.

    Waits for whoever holds it, or answers None at once with `skip_locked`. None too where there is no such run.
    """
    rows = tx.execute(_LOCK_FREE if skip_locked else _LOCK, {"run": id}).rows
    return run_row(rows[0]) if rows else None


def load_run(tx: Tx, id: UUID) -> RunRow | None:  # noqa: A002
    """The run's row without its lock."""
    rows = tx.execute(_LOAD, {"run": id}).rows
    return run_row(rows[0]) if rows else None


def organization_of(tx: Tx, id: UUID) -> str | None:  # noqa: A002
    """Whose run it is."""
    rows = tx.execute(_ORGANIZATION, {"run": id}).rows
    return str(rows[0][0]) if rows else None


def is_due(tx: Tx, id: UUID) -> bool:  # noqa: A002
    """Whether the run's own time (a delayed start, a deadline, the end of a grace) has come."""
    return bool(tx.execute(_DUE, {"run": id}).rows)


# -- steps --------------------------------------------------------------------------------------------------------------

_BY_ID = Statement(sa.select(*_STEP).where(among(step.c.id, one("ids", Ids))))
_BY_NAME = Statement(
    sa.select(*_STEP).where(step.c.run == one("run", sa.Uuid), among(step.c.name, one("names", Words)), step.c.item == NO_ITEM)
)
_OPEN = Statement(
    sa.select(*_STEP)
    .where(step.c.run == one("run", sa.Uuid), is_one_of(step.c.status, STEP_OPEN | {StepStatus.BLOCKED}))
    .order_by(step.c.id)
    .with_for_update(key_share=True)
)
_STOPPED = Statement(
    sa.select(*_STEP)
    .where(
        step.c.run == one("run", sa.Uuid),
        sa.or_(step.c.why.like("stopped:%"), step.c.why.like("failing:%"), step.c.why.like("unadvanced:%"), step.c.why == "unhandled"),
    )
    .order_by(step.c.id)
)


def load_steps(
    tx: Tx, run_id: UUID, *, names: Iterable[str] = (), ids: Collection[UUID] = (), open_locked: bool = False, stopped: bool = False
) -> list[StepRow]:
    """Rows of one run: tasks by name, rows by id, all that are not over (locked, in the order of their ids), or what a stop closed."""
    if open_locked:
        found = tx.execute(_OPEN, {"run": run_id}).rows
    elif stopped:
        found = tx.execute(_STOPPED, {"run": run_id}).rows
    elif ids:
        found = tx.execute(_BY_ID, {"ids": list(ids)}).rows
    else:
        found = tx.execute(_BY_NAME, {"run": run_id, "names": list(names)}).rows
    return [step_row(row) for row in found]


# By the workers' ids, because running steps are found by who claimed them; by the run, all its items would be read.
_KEPT = Statement(
    sa.select(*_STEP).where(step.c.status == "running", step.c.claimed_by.in_(sa.select(worker.c.id)), step.c.token == one("mine", sa.Uuid))
)


def load_kept(tx: Tx, token: UUID) -> StepRow | None:
    """The step that runs under a token this worker chose, if its commit has landed."""
    rows = tx.execute(_KEPT, {"mine": token}).rows
    return step_row(rows[0]) if rows else None


_RESULTS = Statement(
    sa.select(step.c.id, step.c.name, step.c.status, step.c.output, step.c.error, step.c.items_left, step.c.wants).where(
        step.c.run == one("run", sa.Uuid), among(step.c.name, one("names", Words)), step.c.item == NO_ITEM
    )
)
_ITEMS = Statement(
    sa.select(step.c.item, step.c.status, step.c.input, step.c.output, step.c.error)
    .where(step.c.run == one("run", sa.Uuid), step.c.name == one("name", sa.Text), step.c.item > NO_ITEM)
    .order_by(step.c.item)
)


def load_results(tx: Tx, run_id: UUID, names: Iterable[str]) -> dict[str, Ended]:
    """How these tasks ended and what they were worth; a fan-out's results in the order of its items."""
    found: dict[str, Ended] = {}
    for _, name, status, output, error, items_left, wants in tx.execute(_RESULTS, {"run": run_id, "names": list(names)}).rows:
        if items_left is None:
            found[name] = Ended(status, _value(output), _value(error))
        else:
            found[name] = _fanned(tx, run_id, name, status, _value(error), wants)
    return found


def _fanned(tx: Tx, run_id: UUID, name: str, status: str, error: Any, wants: int) -> Ended:
    results: list[Any] = [None] * wants
    failed: list[int] = []
    for item, item_status, given, output, item_error in tx.execute(_ITEMS, {"run": run_id, "name": name}).rows:
        if item_status == "succeeded":
            results[item] = _value(output)
        elif item_status in ("failed", "timed_out"):
            failed.append(item)
            results[item] = {"$wf": ["failed", {"index": item, "item": _value(given), "error": _value(item_error)}]}
    return Ended(status, results, error, tuple(failed))


# -- the claim ----------------------------------------------------------------------------------------------------------

_CLAIM_VALUES = {
    "status": "running",
    "attempt": step.c.attempt + 1,
    "token": one("token", sa.Uuid),
    "claimed_by": one("worker", sa.Uuid),
    "child": one("child", sa.Text),
    "claimed_at": clock(),
    "first_at": sa.func.coalesce(step.c.first_at, clock()),
    "deadline_at": later(step.c.timeout),
    "ring_at": sa.null(),
}


def _claim_one(dialect: str) -> Any:
    change = (
        sa.update(step)
        .where(
            step.c.id == one("step", sa.Uuid),
            step.c.organization_id == one("organization", sa.Text),
            step.c.status == "ready",
            step.c.item == NO_ITEM,
            step.c.due_at <= clock(),
        )
        .values(**_CLAIM_VALUES)
    )
    if dialect == "postgresql":
        return change.where(run.c.id == step.c.run).returning(*_STEP, step.c.first_at, step.c.run, *_RUN)
    return change.returning(*_STEP, step.c.first_at, step.c.run)


_CLAIM = Statement(_claim_one)
_READY_IN = Statement(
    sa.select(seconds_until(step.c.due_at)).where(
        step.c.id == one("step", sa.Uuid),
        step.c.organization_id == one("organization", sa.Text),
        step.c.status == "ready",
        step.c.item == NO_ITEM,
    )
)


def claim(tx: Tx, organization_id: str, id: UUID, token: UUID, worker: UUID, child: str, within: float) -> Claimed | DueIn | None:  # noqa: A002
    """`ready → running`, by compare-and-set on the step's row alone.

    DueIn where the step is ready and due within so many seconds; None where there is nothing to claim: another
    has it, it is over, or it is a fan-out. The run's version, definition and input are read, never its status.
    """
    rows = tx.execute(_CLAIM, {"organization": organization_id, "step": id, "token": token, "worker": worker, "child": child}).rows
    if rows:
        found = rows[0]
        more = len(_STEP) + 2
        row = step_row(found[:more])
        mine = run_row(found[more:]) if len(found) > more else load_run(tx, found[more - 1])
        assert mine is not None
        assert row.claimed_at is not None
        return Claimed(row, mine, row.claimed_at, found[more - 2])
    waiting = tx.execute(_READY_IN, {"organization": organization_id, "step": id}).rows
    if waiting and waiting[0][0] <= within:
        return DueIn(max(waiting[0][0], 0.0))
    return None


_FAN_OUT = Statement(
    sa.select(step.c.run, step.c.expanded, step.c.wants).where(
        step.c.id == one("fan_out", sa.Uuid),
        step.c.organization_id == one("organization", sa.Text),
        step.c.status == "waiting",
        step.c.items_left.is_not(None),
    )
)


def _claim_items(dialect: str) -> Any:
    ready = (
        sa.select(step.c.id)
        .where(step.c.fan_out == one("fan_out", sa.Uuid), step.c.status == "ready", step.c.due_at <= fixed(clock()))
        .order_by(step.c.due_at, step.c.item)
        .limit(one("many", sa.Integer))
        .with_for_update(skip_locked=True, key_share=True)
    )
    # As an array, not `in (select …)`: that form claimed 10,000 rows when it was asked for 50.
    chosen = step.c.id == sa.func.any(sa.func.array(ready.scalar_subquery())) if dialect == "postgresql" else step.c.id.in_(ready)
    # Their locks were taken over `ready`; to say it here again led a planner without statistics through all that are ready.
    return sa.update(step).where(chosen).values(**_CLAIM_VALUES).returning(*_STEP)


_CLAIM_ITEMS = Statement(_claim_items)


def claim_group(tx: Tx, organization_id: str, fan_out: UUID, many: int, token: UUID, worker: UUID, child: str) -> ClaimedGroup | None:
    """Claim up to so many items of a fan-out that are due, in one statement, under one token. None: no open fan-out."""
    rows = tx.execute(_FAN_OUT, {"organization": organization_id, "fan_out": fan_out}).rows
    if not rows:
        return None
    run_id, expanded, wants = rows[0]
    given = {"fan_out": fan_out, "many": many, "token": token, "worker": worker, "child": child}
    items = sorted((step_row(row) for row in tx.execute(_CLAIM_ITEMS, given).rows), key=lambda item: item.item)
    mine = load_run(tx, run_id)
    assert mine is not None
    return ClaimedGroup(mine, items, expanded is not None and expanded < wants)


_SET_DEADLINE = Statement(
    sa.update(step)
    .where(step.c.id == one("id_", sa.Uuid), step.c.token == one("mine", sa.Uuid), step.c.status == "running")
    .values(timeout=one("limit", sa.Float), deadline_at=later(one("limit", sa.Float)))
)


def set_deadline(tx: Tx, id: UUID, token: UUID, timeout: float | None) -> None:  # noqa: A002
    """The worker's code knows another time limit than the row was born with."""
    tx.execute(_SET_DEADLINE, {"id_": id, "mine": token, "limit": timeout})
