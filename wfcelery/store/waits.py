"""Rows of wf_wait: opened, ended and read under their run's lock."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from wfcelery.core.decision import Decision
from wfcelery.core.rows import RunRow, WaitRow
from wfcelery.errors import RowChanged
from wfcelery.store.approvals import save_approvals
from wfcelery.store.database import Tx
from wfcelery.store.schema import Instant, wait
from wfcelery.store.statements import Ids, Parameters, Statement, among, by_the_way, clock, later, one


def is_plain() -> Any:
    """A wait for nothing but its time: who ends it need not look for anything that came before."""
    return sa.and_(wait.c.kind == "sleep", wait.c.name.is_(None))


LOOK_AGAIN = 1.0  # seconds after which a sweep looks once more for what an event wait may have missed (`store.events`)
_INSERT_WAIT = Statement(
    sa.insert(wait).values(
        id=one("id", sa.Uuid),
        organization_id=one("organization_id", sa.Text),
        run=one("run", sa.Uuid),
        step=one("step", sa.Uuid),
        kind=one("kind", sa.Text),
        status="open",
        due_at=sa.case((one("due_at", Instant).is_not(None), one("due_at", Instant)), else_=later(one("delay", sa.Float))),
        opened_at=clock(),
        name=one("name", sa.Text),
        key=one("key", sa.Text),
        keep=one("keep", sa.Boolean),
        match_at=sa.case((one("kind", sa.Text) == "event", later(sa.literal(LOOK_AGAIN, sa.Float))), else_=sa.null()),
    )
)
_WAIT_CAME = Statement(
    sa.update(wait).where(among(wait.c.id, one("ids", Ids)), by_the_way(wait.c.status) == "open").values(status="due", ended_at=clock())
)
_WAIT_MET = Statement(
    sa.update(wait)
    .where(wait.c.run == one("run", sa.Uuid), wait.c.step == one("step", sa.Uuid), by_the_way(wait.c.status) == "open")
    .values(status="met", outcome=one("outcome", sa.Text), ended_at=clock())
)
_WAITS_CLOSED = Statement(
    sa.update(wait)
    .where(wait.c.run == one("run", sa.Uuid), among(wait.c.step, one("ids", Ids)), by_the_way(wait.c.status) == "open")
    .values(status="cancelled", ended_at=clock())
)
_WAITS_REOPENED = Statement(
    sa.update(wait)
    .where(wait.c.run == one("run", sa.Uuid), among(wait.c.step, one("ids", Ids)), wait.c.status == "cancelled")
    .values(
        status="open",
        ended_at=sa.null(),
        match_at=sa.case((wait.c.kind == "event", later(sa.literal(LOOK_AGAIN, sa.Float))), else_=sa.null()),
    )
)
_WAITS = Statement(
    sa.select(wait.c.id, wait.c.step, wait.c.kind, wait.c.due_at, wait.c.name, wait.c.key, wait.c.keep, wait.c.opened_at)
    .where(wait.c.run == one("run", sa.Uuid), by_the_way(wait.c.status) == "open")
    .order_by(wait.c.opened_at, wait.c.id)
)


def load_waits(tx: Tx, run_id: UUID) -> list[WaitRow]:
    """The run's open waits, the oldest first."""
    found = tx.execute(_WAITS, {"run": run_id}).rows
    return [WaitRow(row[0], row[1], row[2], None, row[3], row[4], row[5], row[6] is not False, row[7]) for row in found]


_DUE = Statement(
    sa.select(wait.c.id, wait.c.step, wait.c.due_at)
    .where(wait.c.run == one("run", sa.Uuid), by_the_way(wait.c.status) == "open", wait.c.due_at <= clock())
    .order_by(wait.c.due_at, wait.c.id)
)


def load_due(tx: Tx, run_id: UUID) -> list[tuple[UUID, UUID, datetime]]:
    """The run's open waits whose time has come, by their times: wait, step and time."""
    return [(row[0], row[1], row[2]) for row in tx.execute(_DUE, {"run": run_id}).rows]


def save_waits(tx: Tx, decision: Decision) -> None:
    """Under the run's lock: what opens, opens again, comes, is met and is closed, in this order. Raises RowChanged."""
    row = decision.run
    for one_wait in decision.waits:
        tx.execute(_INSERT_WAIT, _wait_parameters(row, one_wait))
    if decision.approvals or decision.approvals_changed:
        save_approvals(tx, decision)
    if decision.waits_reopened:
        tx.execute(_WAITS_REOPENED, {"run": row.id, "ids": decision.waits_reopened})
    if decision.waits_came and tx.execute(_WAIT_CAME, {"ids": decision.waits_came}).count != len(decision.waits_came):
        raise RowChanged(f"a wait of run {row.id}")
    for step_id, outcome in decision.waits_met:
        if tx.execute(_WAIT_MET, {"run": row.id, "step": step_id, "outcome": outcome}).count != 1:
            raise RowChanged(f"a wait of run {row.id}")
    if decision.waits_closed:
        tx.execute(_WAITS_CLOSED, {"run": row.id, "ids": decision.waits_closed})


def _wait_parameters(row: RunRow, opened: WaitRow) -> Parameters:
    return {
        "id": opened.id,
        "organization_id": row.organization_id,
        "run": row.id,
        "step": opened.step,
        "kind": opened.kind,
        "due_at": opened.due_at,
        "delay": opened.delay,
        "name": opened.name,
        "key": opened.key,
        "keep": None if opened.name is None else opened.keep,
    }
