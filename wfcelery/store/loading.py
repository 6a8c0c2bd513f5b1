"""Reads that a decision needs."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from wfcelery.core.asking import DECIDED
from wfcelery.core.rows import NO_ITEM, Ended, ItemRow, RunRow, StepRow
from wfcelery.core.states import STEP_OPEN, RunStatus, StepStatus
from wfcelery.definition.values import loads
from wfcelery.store.database import Tx
from wfcelery.store.holds import STANDING
from wfcelery.store.items import results_of
from wfcelery.store.schema import inbox, run, step, worker
from wfcelery.store.statements import Ids, Row, Statement, Words, among, by_the_way, clock, is_one_of, one

RUN = (
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
    run.c.parent,
    run.c.depth,
    run.c.first_run,
)
STEP = (
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
    step.c.skipped,
    step.c.organization_id,  # whose values they are
    step.c.gates,
)


@dataclass(frozen=True, slots=True)
class Seen:
    """A run as it was a moment ago, without its lock; whether its own time had come, and whether its inbox held something."""

    run: RunRow
    due: bool
    inbox: bool
    holds: int  # that stand


def _value(text: str | None) -> Any:
    return None if text is None else loads(text)


def run_row(row: Row) -> RunRow:
    """A row of wf_run, in the order of `RUN`."""
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
        parent=row[20],
        depth=row[21],
        first_run=row[22],
    )


def step_row(row: Row) -> StepRow:
    """A row of wf_step, in the order of `STEP`."""
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
        skipped=row[25],
        gates=_value(row[27]),
    )


# -- the run ------------------------------------------------------------------------------------------------------------

_LOCK = Statement(sa.select(*RUN).where(run.c.id == one("run", sa.Uuid)).with_for_update(key_share=True))
_LOCK_FREE = Statement(sa.select(*RUN).where(run.c.id == one("run", sa.Uuid)).with_for_update(key_share=True, skip_locked=True))
_LOAD = Statement(sa.select(*RUN).where(run.c.id == one("run", sa.Uuid)))
_SEE = Statement(
    sa.select(
        *RUN,
        sa.func.coalesce(run.c.due_at <= clock(), sa.false()).label("due"),
        sa.exists(sa.select(sa.literal_column("1")).where(inbox.c.run == run.c.id)).label("waits"),
        STANDING.label("holds"),
    ).where(run.c.id == one("run", sa.Uuid))
)
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


def see(tx: Tx, id: UUID) -> Seen | None:  # noqa: A002
    """All that a dispatcher asks of a run before it begins it, in one statement."""
    rows = tx.execute(_SEE, {"run": id}).rows
    return Seen(run_row(rows[0]), bool(rows[0][-3]), bool(rows[0][-2]), int(rows[0][-1])) if rows else None


def organization_of(tx: Tx, id: UUID) -> str | None:  # noqa: A002
    """Whose run it is."""
    rows = tx.execute(_ORGANIZATION, {"run": id}).rows
    return str(rows[0][0]) if rows else None


def is_due(tx: Tx, id: UUID) -> bool:  # noqa: A002
    """Whether the run's own time (a delayed start, a deadline, the end of a grace) has come."""
    return bool(tx.execute(_DUE, {"run": id}).rows)


# -- steps --------------------------------------------------------------------------------------------------------------

_BY_ID = Statement(sa.select(*STEP).where(among(step.c.id, one("ids", Ids))))
_BY_NAME = Statement(
    sa.select(*STEP).where(step.c.run == one("run", sa.Uuid), among(step.c.name, one("names", Words)), step.c.item == NO_ITEM)
)
_OPEN = Statement(
    sa.select(*STEP)
    .where(step.c.run == one("run", sa.Uuid), is_one_of(step.c.status, STEP_OPEN | {StepStatus.BLOCKED}))
    .order_by(step.c.id)
    .with_for_update(key_share=True)
)
_STOPPED = Statement(
    sa.select(*STEP)
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


_LINE = Statement(
    sa.select(*STEP)
    .where(step.c.run == one("run", sa.Uuid), by_the_way(step.c.status) == "blocked")
    .order_by(step.c.wants)
    .limit(one("number", sa.Integer))
)
_ITEMS = Statement(
    sa.select(step.c.item, step.c.status, step.c.attempt)
    .where(step.c.run == one("run", sa.Uuid), step.c.name == one("name", sa.Text), step.c.item > NO_ITEM)
    .order_by(step.c.item)
)


def load_line(tx: Tx, run_id: UUID, number: int) -> list[StepRow]:
    """The next of what a run that is being closed has still to do, in its order."""
    return [step_row(row) for row in tx.execute(_LINE, {"run": run_id, "number": number}).rows]


def load_items(tx: Tx, run_id: UUID, name: str) -> list[ItemRow]:
    """How the items of a fan-out stand."""
    return [ItemRow(*row) for row in tx.execute(_ITEMS, {"run": run_id, "name": name}).rows]


_ITEM = Statement(
    sa.select(*STEP).where(step.c.run == one("run", sa.Uuid), step.c.name == one("name", sa.Text), step.c.item == one("item", sa.Integer))
)


def load_item(tx: Tx, run_id: UUID, name: str, item: int) -> StepRow | None:
    """One item of a fan-out."""
    rows = tx.execute(_ITEM, {"run": run_id, "name": name, "item": item}).rows
    return step_row(rows[0]) if rows else None


# By the workers' ids, because running steps are found by who claimed them; by the run, all its items would be read.
_KEPT = Statement(
    sa.select(*STEP).where(step.c.status == "running", step.c.claimed_by.in_(sa.select(worker.c.id)), step.c.token == one("mine", sa.Uuid))
)


def load_kept(tx: Tx, token: UUID) -> StepRow | None:
    """The step that runs under a token this worker chose, if its commit has landed."""
    rows = tx.execute(_KEPT, {"mine": token}).rows
    return step_row(rows[0]) if rows else None


_MINE = Statement(
    sa.select(step.c.id).where(
        among(step.c.id, one("ids", Ids)), by_the_way(step.c.status) == "running", step.c.token == one("mine", sa.Uuid)
    )
)


def load_mine(tx: Tx, token: UUID, ids: Collection[UUID]) -> frozenset[UUID]:
    """Which of these still run under this token."""
    return frozenset(row[0] for row in tx.execute(_MINE, {"ids": list(ids), "mine": token}).rows)


_RESULTS = Statement(
    sa.select(
        step.c.id,
        step.c.name,
        step.c.status,
        step.c.output,
        step.c.error,
        step.c.items_left,
        step.c.wants,
        step.c.why,
        step.c.organization_id,
    ).where(step.c.run == one("run", sa.Uuid), among(step.c.name, one("names", Words)), step.c.item == NO_ITEM)
)


def load_results(tx: Tx, run_id: UUID, names: Iterable[str]) -> dict[str, Ended]:
    """How these tasks ended and what they were worth; a fan-out's results in the order of its items.

    One of which enough items have succeeded is worth what it was when the run went on, whatever the others come to.
    """
    found: dict[str, Ended] = {}
    for _, name, status, output, error, items_left, wants, why, _ in tx.execute(_RESULTS, {"run": run_id, "names": list(names)}).rows:
        if items_left is None:
            found[name] = Ended(status, _value(output), _value(error))
        else:
            results, failed = results_of(tx, run_id, name, wants)
            found[name] = Ended(str(StepStatus.SUCCEEDED) if why == DECIDED else status, results, _value(error), failed)
    return found
