"""The claim: the one status change that takes no lock of the run. By a step's id, or a group of a fan-out's items."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from wfcelery.core.rows import NO_ITEM, RunRow, StepRow
from wfcelery.store.database import Tx
from wfcelery.store.holds import STANDING
from wfcelery.store.loading import RUN, STEP, load_run, run_row, step_row
from wfcelery.store.schema import run, step
from wfcelery.store.statements import Statement, by_the_way, clock, fixed, later, one, seconds_until


@dataclass(frozen=True, slots=True)
class Claimed:
    """One attempt, this worker's."""

    step: StepRow
    run: RunRow
    claimed_at: datetime
    first_claimed_at: datetime | None
    holds: int = 0  # that stand


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
    holds: int = 0  # that stand


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


_holds = STANDING.label("holds")


def _claim_one(dialect: str) -> Any:
    change = (
        sa.update(step)
        .where(
            step.c.id == one("step", sa.Uuid),
            step.c.organization_id == one("organization", sa.Text),
            by_the_way(step.c.status) == "ready",
            step.c.item == NO_ITEM,
            step.c.due_at <= clock(),
        )
        .values(**_CLAIM_VALUES)
    )
    if dialect == "postgresql":
        return change.where(run.c.id == step.c.run).returning(*STEP, step.c.first_at, _holds, step.c.run, *RUN)
    return change.returning(*STEP, step.c.first_at, _holds, step.c.run)


_CLAIM = Statement(_claim_one)
_READY_IN = Statement(
    sa.select(seconds_until(step.c.due_at)).where(
        step.c.id == one("step", sa.Uuid),
        step.c.organization_id == one("organization", sa.Text),
        by_the_way(step.c.status) == "ready",
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
        more = len(STEP) + 3
        row = step_row(found[:more])
        mine = run_row(found[more:]) if len(found) > more else load_run(tx, found[more - 1])
        assert mine is not None
        assert row.claimed_at is not None
        return Claimed(row, mine, row.claimed_at, found[more - 3], found[more - 2])
    waiting = tx.execute(_READY_IN, {"organization": organization_id, "step": id}).rows
    if waiting and waiting[0][0] <= within:
        return DueIn(max(waiting[0][0], 0.0))
    return None


_FAN_OUT = Statement(
    sa.select(step.c.expanded, step.c.wants, _holds, *RUN)
    .select_from(step.join(run, run.c.id == step.c.run))
    .where(
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
    return sa.update(step).where(chosen).values(**_CLAIM_VALUES).returning(*STEP)


_CLAIM_ITEMS = Statement(_claim_items)


def claim_group(tx: Tx, organization_id: str, fan_out: UUID, many: int, token: UUID, worker: UUID, child: str) -> ClaimedGroup | None:
    """Claim up to so many items of a fan-out that are due, in one statement, under one token. None: no open fan-out.

    What is read before need not be of the same transaction: an open fan-out is closed only with the last of its items.
    """
    rows = tx.execute(_FAN_OUT, {"organization": organization_id, "fan_out": fan_out}).rows
    if not rows:
        return None
    expanded, wants, standing, *mine = rows[0]
    given = {"fan_out": fan_out, "many": many, "token": token, "worker": worker, "child": child}
    items = sorted((step_row(row) for row in tx.execute(_CLAIM_ITEMS, given).rows), key=lambda item: item.item)
    return ClaimedGroup(run_row(tuple(mine)), items, expanded is not None and expanded < wants, standing)


_SET_DEADLINE = Statement(
    sa.update(step)
    .where(step.c.id == one("id_", sa.Uuid), step.c.token == one("mine", sa.Uuid), by_the_way(step.c.status) == "running")
    .values(timeout=one("limit", sa.Float), deadline_at=later(one("limit", sa.Float)))
)


def set_deadline(tx: Tx, id: UUID, token: UUID, timeout: float | None) -> None:  # noqa: A002
    """The worker's code knows another time limit than the row was born with."""
    tx.execute(_SET_DEADLINE, {"id_": id, "mine": token, "limit": timeout})
