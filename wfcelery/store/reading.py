"""What people look at: runs, their steps and history, workers. Plain reads, none of which waits for a writer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from wfcelery.core.rows import NO_ITEM
from wfcelery.definition.values import loads
from wfcelery.store import schema
from wfcelery.store.database import Tx
from wfcelery.store.schema import definition, meta, run, step, worker
from wfcelery.store.statements import Row, Statement, Words, among, clock, one, seconds_until
from wfcelery.store.tails import fits, is_tail


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run, without its payloads."""

    id: UUID
    organization_id: str
    workflow: str
    definition: str
    status: str
    version: int
    key: str | None
    queue: str | None
    priority: int | None
    tags: list[str]
    ending: str | None
    reason: str | None
    error: dict[str, Any] | None
    open_steps: int
    open_waits: int
    has_output: bool
    due_at: datetime | None
    deadline: datetime | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    continued_as: UUID | None
    resume_at: datetime | None


@dataclass(frozen=True, slots=True)
class StepRecord:
    """A step or one item of a fan-out, without its payloads."""

    id: UUID
    name: str
    item: int
    round: int
    status: str
    why: str | None
    attempt: int
    failures: int
    lost: int
    queue: str | None
    claimed_by: UUID | None
    child: str | None
    claimed_at: datetime | None
    ended_at: datetime | None
    due_at: datetime | None
    deadline_at: datetime | None
    error: dict[str, Any] | None
    wants: int
    items_left: int | None
    blockers: int


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """The facts of one commit."""

    version: int
    at: datetime
    facts: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Where a run stands; `output` is JSON text, and None where there is no result."""

    workflow: str
    status: str
    output: str | None
    error: dict[str, Any] | None
    reason: str | None
    age: float  # seconds from its start to its end, or until now
    continued_as: UUID | None


@dataclass(frozen=True, slots=True)
class WorkerRecord:
    """One start of a worker. `alive`: its lease is not over."""

    id: UUID
    name: str
    host: str
    process: str
    alive: bool
    lease_until: datetime
    started_at: datetime
    executing: int
    queues: list[str]
    tasks: list[str]
    build: str


_RUN = (
    run.c.id,
    run.c.organization_id,
    run.c.workflow,
    run.c.definition,
    run.c.status,
    run.c.version,
    run.c.key,
    run.c.queue,
    run.c.priority,
    run.c.tags,
    run.c.ending,
    run.c.reason,
    run.c.error,
    run.c.open_steps,
    run.c.open_waits,
    run.c.output.is_not(None),
    run.c.due_at,
    run.c.deadline,
    run.c.created_at,
    run.c.started_at,
    run.c.ended_at,
    run.c.continued_as,
    run.c.resume_at,
)
_STEP = (
    step.c.id,
    step.c.name,
    step.c.item,
    step.c.round,
    step.c.status,
    step.c.why,
    step.c.attempt,
    step.c.failures,
    step.c.lost,
    step.c.queue,
    step.c.claimed_by,
    step.c.child,
    step.c.claimed_at,
    step.c.ended_at,
    step.c.due_at,
    step.c.deadline_at,
    step.c.error,
    step.c.wants,
    step.c.items_left,
    step.c.blockers,
)
_OF_RUN = run.c.id == one("run", sa.Uuid)
_AGE = seconds_until(sa.func.coalesce(run.c.ended_at, clock())) - seconds_until(run.c.created_at)
_OUTCOME = Statement(
    sa.select(run.c.workflow, run.c.status, run.c.output, run.c.error, run.c.reason, _AGE, run.c.continued_as, run.c.organization_id).where(
        _OF_RUN
    )
)
_INPUT = Statement(sa.select(run.c.input, run.c.organization_id).where(_OF_RUN))
_RUN_BY_ID = Statement(sa.select(*_RUN).where(_OF_RUN))
_GOING_BY = Statement(
    sa.select(*_RUN).where(run.c.ended_at.is_(None), among(run.c.definition, one("signatures", Words))).order_by(run.c.id)
)
_STEPS = Statement(sa.select(*_STEP).where(step.c.run == one("run", sa.Uuid)).order_by(step.c.id))
_TASK = Statement(sa.select(*_STEP).where(step.c.run == one("run", sa.Uuid), step.c.name == one("name", sa.Text), step.c.item == NO_ITEM))
_HISTORY = Statement(
    sa.select(schema.history.c.version, schema.history.c.at, schema.history.c.facts)
    .where(schema.history.c.run == one("run", sa.Uuid), schema.history.c.version > one("after", sa.Integer))
    .order_by(schema.history.c.version)
)
_LABEL = Statement(sa.select(definition.c.version).where(definition.c.signature == one("signature", sa.Text)))
_COUNTS = Statement(sa.select(run.c.status, sa.func.count()).group_by(run.c.status))
_NS = Statement(sa.select(meta.c.ns))
_WORKERS = Statement(
    sa.select(
        worker.c.id,
        worker.c.name,
        worker.c.host,
        worker.c.process,
        worker.c.lease_until > clock(),
        worker.c.lease_until,
        worker.c.started_at,
        worker.c.executing,
        worker.c.queues,
        worker.c.tasks,
        worker.c.build,
    ).order_by(worker.c.started_at, worker.c.id)
)


@cache
def _runs(by: frozenset[str]) -> Statement:
    """Runs, the newest first (ids grow with time), by the filters that are given: a statement for each choice of them."""
    conditions = {
        "statuses": among(run.c.status, one("statuses", Words)),
        "workflow": run.c.workflow == one("workflow", sa.Text),
        "organization_id": run.c.organization_id == one("organization_id", sa.Text),
        "key": run.c.key == one("key", sa.Text),
        "tail": fits(run.c.id),
    }
    chosen = [conditions[name] for name in sorted(by)]
    return Statement(sa.select(*_RUN).where(*chosen).order_by(run.c.id.desc()).limit(one("many", sa.Integer)))


def outcome(tx: Tx, id: UUID) -> Outcome | None:  # noqa: A002
    """The run's status and what came of it; None where there is no such run."""
    rows = tx.execute(_OUTCOME, {"run": id}).rows
    if not rows:
        return None
    workflow, status, output, error, reason, age, continued, _ = rows[0]
    return Outcome(workflow, status, output, _value(error), reason, float(age), continued)


def input_of(tx: Tx, id: UUID) -> Any:  # noqa: A002
    """The run's input in stored form; None where there is no such run."""
    rows = tx.execute(_INPUT, {"run": id}).rows
    return loads(rows[0][0]) if rows else None


def going_by(tx: Tx, signatures: Sequence[str]) -> list[RunRecord]:
    """Every run that has not ended and goes by one of these definitions, the oldest first."""
    return [_run_record(row) for row in tx.execute(_GOING_BY, {"signatures": list(signatures)}).rows]


def find_runs(tx: Tx, id_or_key: str, workflow: str | None = None, *, limit: int = 2) -> list[RunRecord]:
    """The run of an id; or else the newest of a key; or else those whose id ends so (four characters or more)."""
    try:
        found = tx.execute(_RUN_BY_ID, {"run": UUID(id_or_key)}).rows
    except ValueError:
        found = []
    more = {} if workflow is None else {"workflow": workflow}
    if not found:
        found = _listed(tx, {"key": id_or_key, **more}, 1)
    if not found and is_tail(id_or_key):
        found = _listed(tx, {"tail": id_or_key, **more}, limit)
    return [_run_record(row) for row in found]


def list_runs(
    tx: Tx, *, statuses: Sequence[str] = (), workflow: str | None = None, organization_id: str | None = None, limit: int = 50
) -> list[RunRecord]:
    """The newest runs, of these statuses, this workflow and this organization where they are given."""
    given: dict[str, Any] = {"workflow": workflow, "organization_id": organization_id, "statuses": list(statuses) or None}
    return [_run_record(row) for row in _listed(tx, {name: value for name, value in given.items() if value is not None}, limit)]


def steps(tx: Tx, id: UUID) -> list[StepRecord]:  # noqa: A002
    """The steps and items of a run in the order of their birth."""
    return [_step_record(row) for row in tx.execute(_STEPS, {"run": id}).rows]


def task(tx: Tx, id: UUID, name: str) -> StepRecord | None:  # noqa: A002
    """The row of one task of a run, if it has one; not those of its items."""
    rows = tx.execute(_TASK, {"run": id, "name": name}).rows
    return _step_record(rows[0]) if rows else None


def history(tx: Tx, id: UUID, after: int = 0) -> list[HistoryRow]:  # noqa: A002
    """One row a commit, oldest first; those after a version."""
    return [HistoryRow(row[0], row[1], loads(row[2])) for row in tx.execute(_HISTORY, {"run": id, "after": after}).rows]


def definition_label(tx: Tx, signature: str) -> str | None:
    """The version label of a definition."""
    rows = tx.execute(_LABEL, {"signature": signature}).rows
    return rows[0][0] if rows else None


def counts(tx: Tx) -> dict[str, int]:
    """How many runs are in each status."""
    return {row[0]: row[1] for row in tx.execute(_COUNTS).rows}


def workers(tx: Tx) -> list[WorkerRecord]:
    """Every worker that has a row, oldest first."""
    return [_worker_record(row) for row in tx.execute(_WORKERS).rows]


def ns(tx: Tx) -> str:
    """The short random id of this database."""
    return str(tx.execute(_NS).rows[0][0])


def _listed(tx: Tx, given: dict[str, Any], limit: int) -> list[Row]:
    return tx.execute(_runs(frozenset(given)), {**given, "many": limit}).rows


def _run_record(row: Row) -> RunRecord:
    values = list(row)
    values[9], values[12], values[15] = _value(row[9]) or [], _value(row[12]), bool(row[15])
    return RunRecord(*values)


def _step_record(row: Row) -> StepRecord:
    values = list(row)
    values[16] = _value(row[16])
    return StepRecord(*values)


def _worker_record(row: Row) -> WorkerRecord:
    values = list(row)
    values[4] = bool(row[4])
    values[7] = len(row[7] if isinstance(row[7], list) else loads(row[7]))
    values[8], values[9] = loads(row[8]), loads(row[9])
    return WorkerRecord(*values)


def _value(text: str | None) -> Any:
    return None if text is None else loads(text)
