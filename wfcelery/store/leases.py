"""Leases of workers, and attempts whose worker is gone. A lease is the worker's, not the step's.

A running step is lost when its worker's lease is over or its row gone, or when its token is not among
those the worker says it executes although it was claimed more than a lease ago.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from wfcelery.store.database import Tx
from wfcelery.store.due import Attempt
from wfcelery.store.schema import Instant, meta, run, step, sweeper, worker
from wfcelery.store.statements import Statement, clock, later, one

WorkerId = UUID


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """What a worker says of itself when it starts."""

    id: UUID
    name: str
    host: str
    process: str
    queues: Sequence[str]
    tasks: Sequence[str]
    build: str


class executes(FunctionElement[bool]):  # noqa: N801
    """`executes(worker.executing, step.token)`: whether the list holds the token."""

    type = sa.Boolean()
    inherit_cache = True
    name = "executes"


@compiles(executes, "postgresql")
def _executes_postgresql(element: executes, compiler: SQLCompiler, **more: Any) -> str:
    listed, token = (compiler.process(clause, **more) for clause in element.clauses)
    return f"position(replace({token}::text, '-', '') in {listed}) > 0"


@compiles(executes, "sqlite")
def _executes_sqlite(element: executes, compiler: SQLCompiler, **more: Any) -> str:
    listed, token = (compiler.process(clause, **more) for clause in element.clauses)
    return f"instr({listed}, {token}) > 0"


_REGISTER = Statement(
    sa.insert(worker).values(
        id=one("id", sa.Uuid),
        name=one("name", sa.Text),
        host=one("host", sa.Text),
        process=one("process", sa.Text),
        lease_until=later(one("lease", sa.Float)),
        executing="[]",
        queues=one("queues", sa.Text),
        tasks=one("tasks", sa.Text),
        build=one("build", sa.Text),
        started_at=clock(),
    )
)
_FREE_PLACE = sa.exists(sa.select(sweeper.c.place).where(sa.or_(sweeper.c.owner.is_(None), sweeper.c.until < clock())))
_RENEW = Statement(
    sa.update(worker)
    .where(worker.c.id == one("worker", sa.Uuid))
    .values(lease_until=later(one("lease", sa.Float)), executing=one("executing", sa.Text))
    .returning(_FREE_PLACE)
)
_RETIRE = Statement(sa.delete(worker).where(worker.c.id == one("worker", sa.Uuid)))
_EXECUTED = Statement(
    sa.select(step.c.token, run.c.status)
    .join(run, run.c.id == step.c.run)
    .where(step.c.claimed_by == one("worker", sa.Uuid), step.c.status == "running")
)
_FORGET = Statement(
    sa.delete(worker).where(
        worker.c.lease_until < later(one("past", sa.Float)),
        ~sa.exists(sa.select(step.c.id).where(step.c.claimed_by == worker.c.id, step.c.status == "running")),
    )
)


def register(tx: Tx, row: WorkerRow, lease: float) -> None:
    """A worker has started: one row per start."""
    given = {"id": row.id, "name": row.name, "host": row.host, "process": row.process, "build": row.build, "lease": lease}
    tx.execute(_REGISTER, given | {"queues": json.dumps(list(row.queues)), "tasks": json.dumps(sorted(row.tasks))})


_ALIVE = Statement(sa.select(worker.c.id, worker.c.queues, worker.c.tasks).where(worker.c.lease_until > clock()))


def knows(tx: Tx, task: str, queue: str, but: WorkerId | None) -> bool:
    """Whether a worker of this queue that is alive, another than this one, has the task."""
    return any(id_ != but and queue in json.loads(queues) and task in json.loads(tasks) for id_, queues, tasks in tx.execute(_ALIVE).rows)


@dataclass(frozen=True, slots=True)
class Renewed:
    """`known`: the attempts that the database knows as this worker's, and the status of each one's run."""

    known: dict[UUID, str]
    free_place: bool  # whether one of the two places of sweeping processes is nobody's


def renew(tx: Tx, id: WorkerId, tokens: Collection[UUID], lease: float) -> Renewed | None:  # noqa: A002
    """Renew the worker's lease with what it executes, in one write. None: it was declared lost.

    One statement where it executes nothing, so that an idle fleet asks for little.
    """
    executing = json.dumps([token.hex for token in sorted(tokens)])
    rows = tx.execute(_RENEW, {"worker": id, "lease": lease, "executing": executing}).rows
    if not rows:
        return None
    return Renewed(dict(tx.execute(_EXECUTED, {"worker": id}).rows) if tokens else {}, bool(rows[0][0]))


def retire(tx: Tx, id: WorkerId) -> None:  # noqa: A002
    """The worker has ended in peace; what it may still have claimed is lost at once."""
    tx.execute(_RETIRE, {"worker": id})


def forget(tx: Tx, past: float) -> int:
    """Delete rows of workers that ended longer ago than this and of whom nothing is under way."""
    return tx.execute(_FORGET, {"past": -past}).count


# -- who judges, and since when -----------------------------------------------------------------------------------------


def _server_start(dialect: str) -> Any:
    return sa.func.pg_postmaster_start_time(type_=Instant()) if dialect == "postgresql" else sa.null()


def _stamp(dialect: str) -> Any:
    slept = sa.or_(meta.c.swept_at.is_(None), meta.c.swept_at < later(one("past", sa.Float)))
    restarted = meta.c.server_started_at.is_distinct_from(_server_start(dialect))
    return sa.update(meta).values(
        swept_at=clock(),
        judge_from=sa.case((sa.or_(slept, restarted), later(one("lease", sa.Float))), else_=meta.c.judge_from),
        server_started_at=_server_start(dialect),
    )


_STAMP = Statement(_stamp)


def stale_stamp(dialect: str, fresh: Any) -> Any:
    """Whether the stamp is older than `fresh` seconds, or the server younger than it: until it is anew, no lease may be judged."""
    old = sa.or_(meta.c.swept_at.is_(None), meta.c.swept_at < later(-fresh))
    return sa.select(sa.or_(old, meta.c.server_started_at.is_distinct_from(_server_start(dialect)))).scalar_subquery()


def stamp(tx: Tx, lease: float) -> None:
    """Say that somebody sweeps. After a pause of half a lease, or a restart of the server, no lease is judged for a whole one.

    Time in which the database was away counts against nobody.
    """
    tx.execute(_STAMP, {"past": -lease / 2, "lease": lease})


_other = sweeper.alias("other")
_TAKE_PLACE = Statement(
    sa.update(sweeper)
    .where(
        sweeper.c.place
        == sa.select(sa.func.min(sweeper.c.place))
        .where(sa.or_(sweeper.c.owner == one("owner", sa.Text), sweeper.c.owner.is_(None), sweeper.c.until < clock()))
        .scalar_subquery()
    )
    .values(owner=one("owner", sa.Text), until=later(one("keep", sa.Float)))
    .returning(
        sweeper.c.place, sa.exists(sa.select(_other.c.place).where(_other.c.owner != one("owner", sa.Text), _other.c.until >= clock()))
    )
)


@dataclass(frozen=True, slots=True)
class Place:
    """One of the two places of sweeping processes, and whether the other is taken too."""

    number: int
    shared: bool

    @property
    def half(self) -> int | None:
        """Which half of what is due such a process takes first; None: all."""
        return self.number % 2 if self.shared else None


def take_place(tx: Tx, owner: str, keep: float) -> Place | None:
    """The place of this process, if it is one of the two that sweep each second. Only load depends on it, never what is right."""
    rows = tx.execute(_TAKE_PLACE, {"owner": owner, "keep": keep}).rows
    return Place(int(rows[0][0]), bool(rows[0][1])) if rows else None


# -- the lost -----------------------------------------------------------------------------------------------------------

_ATTEMPT = (step.c.run, step.c.id, step.c.token, step.c.name)
_ALL_LOST = (
    sa.select(*_ATTEMPT)
    .select_from(step.outerjoin(worker, worker.c.id == step.c.claimed_by))
    .where(
        step.c.status == "running",
        sa.select(sa.or_(meta.c.judge_from.is_(None), meta.c.judge_from <= clock())).scalar_subquery(),
        sa.or_(
            worker.c.id.is_(None),
            worker.c.lease_until < clock(),
            sa.and_(step.c.claimed_at < later(one("past", sa.Float)), ~executes(worker.c.executing, step.c.token)),
        ),
    )
)
ANY_LOST = sa.exists(_ALL_LOST)  # takes `past`, as `_LOST` does
_LOST = Statement(_ALL_LOST.limit(one("many", sa.Integer)))
_OF_CHILD = Statement(
    sa.select(*_ATTEMPT)
    .where(step.c.status == "running", step.c.claimed_by == one("worker", sa.Uuid), step.c.child == one("child", sa.Text))
    .limit(one("many", sa.Integer))
)
_CHILDREN = Statement(
    sa.select(step.c.child)
    .distinct()
    .join(worker, worker.c.id == step.c.claimed_by)
    .where(step.c.status == "running", worker.c.host == one("host", sa.Text))
)
_OF_CHILD_ON = Statement(
    sa.select(*_ATTEMPT)
    .join(worker, worker.c.id == step.c.claimed_by)
    .where(step.c.status == "running", worker.c.host == one("host", sa.Text), step.c.child == one("child", sa.Text))
    .limit(one("many", sa.Integer))
)


def lost(tx: Tx, lease: float, many: int) -> Sequence[Attempt]:
    """Attempts that nobody executes any more, as far as leases tell and may be judged."""
    return [Attempt(*row) for row in tx.execute(_LOST, {"past": -lease, "many": many}).rows]


def of_child(tx: Tx, id: WorkerId, child: str, many: int) -> Sequence[Attempt]:  # noqa: A002
    """What a dead child of a living worker was executing: its parent's word, which waits for no lease."""
    return [Attempt(*row) for row in tx.execute(_OF_CHILD, {"worker": id, "child": child, "many": many}).rows]


def children_of_host(tx: Tx, host: str) -> Sequence[str]:
    """The processes of a host, as "pid:birth", that the rows say are executing something."""
    return [row[0] for row in tx.execute(_CHILDREN, {"host": host}).rows]


def of_child_on(tx: Tx, host: str, child: str, many: int) -> Sequence[Attempt]:
    """What a process of this host was executing: the word of somebody there who has seen that it is gone."""
    return [Attempt(*row) for row in tx.execute(_OF_CHILD_ON, {"host": host, "child": child, "many": many}).rows]
