"""Rows to begin with, written as the engine writes them; and what stands in the tables, to look at."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa

from wfcelery.clock import uuid7
from wfcelery.core.decision import Decision
from wfcelery.core.events import note
from wfcelery.core.rows import RunRow, StepRow
from wfcelery.core.states import RunStatus, StepStatus
from wfcelery.store.claims import Claimed, claim
from wfcelery.store.database import Database
from wfcelery.store.leases import WorkerRow, register
from wfcelery.store.loading import load_run
from wfcelery.store.saving import save
from wfcelery.store.starting import NewRun, insert_run

WORKER = UUID(int=7)
CHILD = "100:1"


def started(database: Database, **given: Any) -> UUID:
    """A run of version 0."""
    new = NewRun(
        **{"id": uuid7(), "organization_id": "default", "workflow": "order", "definition": "s", "input": '{"n":1}', "input_digest": "d"}
        | given
    )
    with database.transaction() as tx:
        assert insert_run(tx, new)
    return new.id


def run_of(database: Database, run: UUID) -> RunRow:
    with database.transaction() as tx:
        found = load_run(tx, run)
    assert found is not None
    return found


def commit(database: Database, run: UUID, *rows: StepRow, **given: Any) -> Decision:
    """One commit that writes these rows; the run goes on as running unless told otherwise."""
    seen = run_of(database, run)
    changes = {"status": RunStatus.RUNNING, "open_steps": 10, **given.pop("row", {})}
    decision = Decision(
        replace(seen, **changes), seen.version, steps=list(rows), facts=[note("step_ready", row.name) for row in rows], **given
    )
    with database.transaction() as tx:
        save(tx, decision)
    return decision


def ready(name: str = "a", **given: Any) -> StepRow:
    return StepRow(uuid7(), name, **{"queue": "celery", **given})


def begun(database: Database, *rows: StepRow, **given: Any) -> UUID:
    """A run with these steps."""
    run = started(database, **given)
    commit(database, run, *rows)
    return run


def claimed(database: Database, row: StepRow, token: UUID | None = None, worker: UUID = WORKER, child: str = CHILD) -> StepRow:
    with database.transaction() as tx:
        found = claim(tx, "default", row.id, token or uuid4(), worker, child, 0.0)
    assert isinstance(found, Claimed), f"{row.name} cannot be claimed"
    return found.step


def succeeded(row: StepRow, output: Any = None) -> StepRow:
    return replace(row, status=StepStatus.SUCCEEDED, output=output)


def working(database: Database, id_: UUID = WORKER, lease: float = 30.0, host: str = "here") -> UUID:
    with database.transaction() as tx:
        register(tx, WorkerRow(id_, "w@here", host, "99:1", ["celery"], ["shop.pay"], "b1"), lease)
    return id_


def look(database: Database, text: str, **given: Any) -> list[tuple[Any, ...]]:
    """The rows of a query, on a connection beside the store's own."""
    with database.engine.connect() as connection:
        rows = connection.execute(sa.text(text).bindparams(*(_typed(name, value) for name, value in given.items())), given).all()
    return [tuple(row) for row in rows]


def change(database: Database, text: str, **given: Any) -> int:
    """What no function of the store would write: a row as time, or a bug, would leave it."""
    with database.engine.connect() as connection:
        done = connection.execute(sa.text(text).bindparams(*(_typed(name, value) for name, value in given.items())), given)
        connection.commit()
    return done.rowcount


def column(database: Database, table: str, name: str, id: UUID) -> Any:
    [(value,)] = look(database, f"select {name} from {table} where id = :id", id=id)
    return value


def _typed(name: str, value: Any) -> sa.BindParameter[Any]:
    return sa.bindparam(name, type_=sa.Uuid() if isinstance(value, UUID) else None)


def ago(database: Database, seconds: float) -> str:
    """SQL for a moment so many seconds ago; negative ones are to come."""
    if database.dialect == "postgresql":
        return f"clock_timestamp() - make_interval(secs => {seconds})"
    return f"((julianday('now') - 2440587.5) * 86400.0 - {seconds})"
