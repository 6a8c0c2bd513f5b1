"""What is due: selected without locks, in batches, the oldest first. Rings move their own time on in the same statement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from wfcelery.core.decision import Ring, RingRun, RingStep
from wfcelery.core.rows import NO_ITEM, RunRow, StepRow
from wfcelery.store.database import Tx
from wfcelery.store.loading import RUN, STEP, run_row, step_row
from wfcelery.store.schema import inbox, run, step, wait
from wfcelery.store.statements import Ids, Row, Statement, Words, among, by_the_way, clock, fixed, half_of, is_one_of, later, one
from wfcelery.store.waits import is_plain


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt under way, by its token: a later attempt of the same step is another one."""

    run: UUID
    step: UUID
    token: UUID
    name: str


@dataclass(frozen=True, slots=True)
class Wait:
    """An open wait whose time has come; with its run and its step as they were, in one moment, when it was found."""

    run: UUID
    step: UUID
    wait: UUID
    seen: tuple[RunRow, StepRow] | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Run:
    """A run that is due by itself: by its deadline, the end of its grace, or what waits in its inbox."""

    run: UUID


@dataclass(frozen=True, slots=True)
class Paused(Run):
    """A run whose pause is over, and why it was paused."""

    organization_id: str
    workflow: str
    reason: str | None


OVERDUE = 0.25  # seconds after which a sweeping process that has nothing of its own takes of the other's half, too

_many = one("many", sa.Integer)

_ATTEMPTS = Statement(
    sa.select(step.c.run, step.c.id, step.c.token, step.c.name)
    .where(step.c.status == "running", step.c.deadline_at <= fixed(clock()))
    .order_by(step.c.deadline_at)
    .limit(_many)
)
_half = one("half", sa.Integer)


# A run that is about to be ended is left alone: `is null`, so that it is looked at row by row.
_ending: Any = sa.select(sa.literal_column("1")).where(inbox.c.run == wait.c.run, is_one_of(inbox.c.fact, ("cancel", "terminate"))).limit(1)


def _chosen(order: Any, *where: Any) -> Any:
    """Plain sleeps that are over."""
    return (
        sa.select(wait.c.run, wait.c.step, wait.c.id, wait.c.due_at)
        .where(wait.c.status == "open", wait.c.due_at <= fixed(clock()), is_plain(), _ending.scalar_subquery().is_(None), *where)
        .order_by(order)
        .limit(_many)
        .subquery("chosen")
    )


def _waits(order: Any, *where: Any) -> Statement:
    """These with their runs and steps, which are read for those alone that are chosen."""
    chosen = _chosen(order, *where)
    joined = chosen.join(run, run.c.id == chosen.c.run).outerjoin(step, step.c.id == chosen.c.step)
    return Statement(sa.select(chosen.c.run, chosen.c.step, chosen.c.id, *RUN, *STEP).select_from(joined).order_by(chosen.c.due_at))


def _ringable(*where: Any) -> Statement:
    """These with what a ring needs."""
    chosen = _chosen(wait.c.due_at, *where)
    said = chosen.c.run, chosen.c.step, chosen.c.id, run.c.organization_id, run.c.queue
    return Statement(sa.select(*said).select_from(chosen.join(run, run.c.id == chosen.c.run)).order_by(chosen.c.due_at))


_long_due = wait.c.due_at <= fixed(later(-one("since", sa.Float)))
_WAITS = _waits(wait.c.due_at, _long_due)
_MINE = _waits(wait.c.due_at, _long_due, half_of(wait.c.id) == _half)
_newly_due = wait.c.due_at > fixed(later(-one("within", sa.Float)))
_NEW, _MY_NEW = _ringable(_newly_due), _ringable(_newly_due, half_of(wait.c.id) == _half)
_ALL_OF_NEW = _waits(wait.c.due_at, _newly_due)
# From the other end than the one whose half it is.
_LEFT = _waits(wait.c.due_at.desc(), half_of(wait.c.id) != _half, wait.c.due_at <= fixed(later(sa.literal(-OVERDUE, sa.Float))))
_STILL_OPEN = Statement(sa.select(wait.c.id).where(wait.c.id == one("wait", sa.Uuid), by_the_way(wait.c.status) == "open"))
_RUNS = Statement(sa.select(run.c.id).where(run.c.due_at <= fixed(clock()), run.c.status != "pending").order_by(run.c.due_at).limit(_many))

_EXPIRED = Statement(
    sa.select(wait.c.run)
    .where(wait.c.status == "open", wait.c.due_at <= fixed(clock()), sa.not_(is_plain()))
    .order_by(wait.c.due_at)
    .limit(_many)
)
_RESUMES = Statement(
    sa.select(run.c.id, run.c.organization_id, run.c.workflow, run.c.reason)
    .where(run.c.resume_at <= fixed(clock()), run.c.status == "paused")
    .order_by(run.c.resume_at)
    .limit(_many)
)
_PUT_OFF = Statement(
    sa.update(run)
    .where(run.c.id == one("run", sa.Uuid), by_the_way(run.c.status) == "paused", run.c.resume_at <= clock())
    .values(resume_at=later(one("pause", sa.Float)))
)
_RESUMABLE = Statement(
    sa.select(run.c.id).where(run.c.id == one("run", sa.Uuid), by_the_way(run.c.status) == "paused", run.c.resume_at <= clock())
)
_INBOXES = Statement(
    sa.select(inbox.c.run).where(inbox.c.ring_at <= clock()).group_by(inbox.c.run).order_by(sa.func.min(inbox.c.ring_at)).limit(_many)
)


def attempts(tx: Tx, many: int) -> Sequence[Attempt]:
    """Attempts past their deadline."""
    return [Attempt(*row) for row in tx.execute(_ATTEMPTS, {"many": many}).rows]


def waits(tx: Tx, many: int, half: int | None = None, since: float = 0.0) -> Sequence[Wait]:
    """Open waits whose time has come, `since` seconds ago at least, the oldest first; of one half only, if one is given."""
    given = {"many": many, "since": since}
    return [_wait(row) for row in (tx.execute(_WAITS, given) if half is None else tx.execute(_MINE, given | {"half": half})).rows]


def waits_left(tx: Tx, many: int, half: int) -> Sequence[Wait]:
    """Of the other half than this what has been due for a while: the latest, since who comes to them begins with the oldest."""
    return [_wait(row) for row in tx.execute(_LEFT, {"many": many, "half": half}).rows]


def new_waits(tx: Tx, many: int, within: float, half: int | None = None) -> Sequence[tuple[Wait, Ring]]:
    """Open waits whose time has come `within` these seconds, the oldest first, with a ring for each; of one half only, if one is given."""
    given = {"many": many, "within": within}
    rows = (tx.execute(_NEW, given) if half is None else tx.execute(_MY_NEW, given | {"half": half})).rows
    return [(Wait(row[0], row[1], row[2]), RingRun(row[3], row[0], row[4])) for row in rows]


def new_wait(tx: Tx, many: int, within: float, number: int) -> Wait | None:
    """One of the oldest of these, by any number; None: there is none."""
    rows = tx.execute(_ALL_OF_NEW, {"many": many, "within": within}).rows
    return _wait(rows[number % len(rows)]) if rows else None


def is_open(tx: Tx, wait_id: UUID) -> bool:
    """Whether nobody has ended this wait."""
    return bool(tx.execute(_STILL_OPEN, {"wait": wait_id}).rows)


def _wait(row: Row) -> Wait:
    its_run, its_step = row[3 : 3 + len(RUN)], row[3 + len(RUN) :]
    return Wait(row[0], row[1], row[2], None if its_step[0] is None else (run_row(its_run), step_row(its_step)))


def expired(tx: Tx, many: int) -> Sequence[Run]:
    """Runs with a wait whose deadline has passed, or one that is over and was in a race."""
    return [Run(id_) for id_ in dict.fromkeys(row[0] for row in tx.execute(_EXPIRED, {"many": many}).rows)]


def runs(tx: Tx, many: int) -> Sequence[Run]:
    """Runs past their deadline or their grace."""
    return [Run(row[0]) for row in tx.execute(_RUNS, {"many": many}).rows]


def resumes(tx: Tx, many: int) -> Sequence[Paused]:
    """Paused runs whose pause is over."""
    return [Paused(*row) for row in tx.execute(_RESUMES, {"many": many}).rows]


def is_over(tx: Tx, run_id: UUID) -> bool:
    """Whether the run is paused, and its pause over."""
    return bool(tx.execute(_RESUMABLE, {"run": run_id}).rows)


def put_off(tx: Tx, run_id: UUID, seconds: float) -> None:
    """A pause that is over lasts for so much longer."""
    tx.execute(_PUT_OFF, {"run": run_id, "pause": seconds})


def inboxes(tx: Tx, many: int) -> Sequence[Run]:
    """Runs whose inbox nobody has drained in time."""
    return [Run(row[0]) for row in tx.execute(_INBOXES, {"many": many}).rows]


# -- rings --------------------------------------------------------------------------------------------------------------


# Between two bounds a planner without statistics expects few rows, and asks the index.
_LONG_AGO = {"postgresql": "timestamptz 'epoch'", "sqlite": "0"}


def _ring(table: sa.Table, key: sa.Column[Any], *returned: Any) -> Statement:
    """Move the ring time of what is due on by `pause`, skipping what another sweep has locked."""

    def make(dialect: str) -> Any:
        overdue = (
            sa.select(key)
            .where(table.c.ring_at <= fixed(clock()), table.c.ring_at > sa.literal_column(_LONG_AGO[dialect]))
            .order_by(table.c.ring_at)
            .limit(_many)
            .with_for_update(skip_locked=True, key_share=True)
        )
        chosen = key == sa.func.any(sa.func.array(overdue.scalar_subquery())) if dialect == "postgresql" else key.in_(overdue)
        return sa.update(table).where(chosen).values(ring_at=later(one("pause", sa.Float))).returning(*returned)

    return Statement(make)


_RING_STEPS = _ring(
    step, step.c.id, step.c.organization_id, step.c.run, step.c.id, step.c.queue, step.c.priority, step.c.name, step.c.status
)
_RING_RUNS = _ring(run, run.c.id, run.c.organization_id, run.c.id, run.c.queue)
_RING_INBOX = _ring(inbox, inbox.c.id, inbox.c.organization_id, inbox.c.run)


_item = step.alias("item")
_READY_ITEM = sa.and_(_item.c.fan_out == step.c.id, _item.c.status == "ready")
# By the least, which an index gives: asked whether there `exists` one, a planner that knows of many ready items and of a
# million finished ones reads the table until it meets the first.
_next_due = sa.select(sa.func.min(_item.c.due_at)).where(_READY_ITEM).scalar_subquery()
# Every commit that makes an item ready writes its fan-out's row too, and so sets the next ring again.
_NOTHING_TO_TAKE = Statement(
    sa.update(step)
    .where(
        among(step.c.id, one("ids", Ids)),
        sa.func.coalesce(step.c.expanded, step.c.wants) >= step.c.wants,
        sa.func.coalesce(_next_due > fixed(clock()), sa.true()),
    )
    .values(ring_at=_next_due)
    .returning(step.c.id)
)


def ring_steps(tx: Tx, many: int, pause: float) -> Sequence[Ring]:
    """Ready steps and fan-outs that nobody took in time; each is not found again for `pause` seconds.

    A fan-out none of whose items can be taken now is not rung: its next ring is at the time of its next ready item.
    """
    found = tx.execute(_RING_STEPS, {"many": many, "pause": pause}).rows
    fan_outs = [row[2] for row in found if row[6] == "waiting"]
    idle = {row[0] for row in tx.execute(_NOTHING_TO_TAKE, {"ids": fan_outs}).rows} if fan_outs else set()
    return [RingStep(*row[:6]) for row in found if row[2] not in idle]


def ring_runs(tx: Tx, many: int, pause: float) -> Sequence[Ring]:
    """Runs that nobody has begun, and runs whose inbox nobody has drained in time."""
    given = {"many": many, "pause": pause}
    begun = [RingRun(*row) for row in tx.execute(_RING_RUNS, given).rows]
    waiting = {(row[0], row[1]) for row in tx.execute(_RING_INBOX, given).rows}
    return [*begun, *(RingRun(organization, run_id) for organization, run_id in sorted(waiting))]


# -- the database as bell -----------------------------------------------------------------------------------------------

MOST_CHOSEN_AMONG = 1_000  # of the steps that are due the longest those of the highest priority come first
_due_longest = (
    sa.select(step.c.organization_id, step.c.run, step.c.id, step.c.queue, step.c.priority, step.c.name, step.c.ring_at)
    .where(
        step.c.ring_at.is_not(None),
        step.c.item == NO_ITEM,
        among(step.c.queue, one("queues", Words)),
        sa.or_(step.c.due_at <= fixed(clock()), step.c.status == "waiting"),
    )
    .order_by(step.c.ring_at)
    .limit(MOST_CHOSEN_AMONG)
    .subquery("longest")
)
_BELL_STEPS = Statement(
    sa.select(*(column for column in _due_longest.c if column.name != "ring_at"))
    .order_by(sa.func.coalesce(_due_longest.c.priority, 0).desc(), _due_longest.c.ring_at)
    .limit(_many)
)
_BELL_RUNS = Statement(
    sa.select(run.c.organization_id, run.c.id, run.c.queue)
    .where(run.c.ring_at.is_not(None), run.c.due_at <= fixed(clock()))
    .order_by(run.c.ring_at)
    .limit(_many)
)
_BELL_INBOX = Statement(sa.select(inbox.c.organization_id, inbox.c.run).order_by(inbox.c.ring_at).limit(_many))


def ringable(tx: Tx, queues: Sequence[str], many: int) -> Sequence[Ring]:
    """Everything a worker without a broker can take now, whoever else was told: the claim decides."""
    steps: list[Ring] = [RingStep(*row) for row in tx.execute(_BELL_STEPS, {"queues": list(queues), "many": many}).rows]
    runs_: list[Ring] = [RingRun(*row) for row in tx.execute(_BELL_RUNS, {"many": many}).rows]
    inboxes = {(row[0], row[1]) for row in tx.execute(_BELL_INBOX, {"many": many}).rows}
    return [*steps, *runs_, *(RingRun(organization, run_id) for organization, run_id in sorted(inboxes))]
