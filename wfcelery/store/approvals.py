"""Rows of wf_approval: written under their run's lock, read by who decides and by who is asked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from wfcelery.core.approval_machine import next_time
from wfcelery.core.decision import Decision
from wfcelery.core.rows import ApprovalRow
from wfcelery.definition.values import dumps, loads
from wfcelery.errors import RowChanged
from wfcelery.store.columns import Instant, Value
from wfcelery.store.database import Tx
from wfcelery.store.schema import approval, run, wait
from wfcelery.store.statements import Row, Statement, by_the_way, clock, one

_INSERT = Statement(
    sa.insert(approval).values(
        id=one("id", sa.Uuid),
        organization_id=one("organization_id", sa.Text),
        run=one("run", sa.Uuid),
        step=one("step", sa.Uuid),
        name=one("name", sa.Text),
        title=one("title", Value("title")),
        assignees=one("assignees", sa.Text),
        form=one("form", sa.Text),
        remind=one("remind", sa.Float),
        escalate=one("escalate", sa.Text),
        timeout=one("timeout", sa.Float),
    )
)
_CHANGE = Statement(
    sa.update(approval)
    .where(approval.c.id == one("id", sa.Uuid))
    .values(assignees=one("assignees", sa.Text), reminded=one("reminded", sa.Integer), escalated=one("escalated", sa.Integer))
)
_MOVE = Statement(
    sa.update(wait).where(wait.c.id == one("id", sa.Uuid), by_the_way(wait.c.status) == "open").values(due_at=one("due_at", Instant))
)
_ROW = (
    *(approval.c.id, approval.c.step, approval.c.name, approval.c.title, approval.c.assignees, approval.c.form, approval.c.remind),
    *(approval.c.escalate, approval.c.timeout, approval.c.reminded, approval.c.escalated, wait.c.opened_at),
)
_OPEN = sa.and_(wait.c.status == "open", wait.c.kind == "approval")
_OF_RUN = Statement(
    sa.select(*_ROW, clock().label("now"), approval.c.organization_id)
    .join(wait, wait.c.id == approval.c.id)
    .where(wait.c.run == one("run", sa.Uuid), _OPEN)
)


def _listed(*where: Any) -> Statement:
    return Statement(
        sa.select(*_ROW, clock().label("now"), approval.c.organization_id, approval.c.run, run.c.workflow, run.c.key, wait.c.due_at)
        .join(wait, wait.c.id == approval.c.id)
        .join(run, run.c.id == approval.c.run)
        .where(_OPEN, *where)
        .order_by(wait.c.opened_at, wait.c.id)
        .limit(one("many", sa.Integer))
    )


_LIST = _listed()
_OF_ORGANIZATION = _listed(wait.c.organization_id == one("organization", sa.Text))
_OPEN_OF_RUN = _listed(wait.c.run == one("run", sa.Uuid))


@dataclass(frozen=True, slots=True)
class OpenApproval:
    """An approval that nobody has answered, as people are shown it."""

    asked: ApprovalRow
    organization_id: str
    run: UUID
    workflow: str
    key: str | None
    due_at: datetime | None  # when somebody is reminded, others are asked, or it is too late


def save_approvals(tx: Tx, decision: Decision) -> None:
    """What opens, and what has changed. Raises RowChanged."""
    row = decision.run
    for opened in decision.approvals:
        tx.execute(
            _INSERT,
            {
                "id": opened.id,
                "organization_id": row.organization_id,
                "run": row.id,
                "step": opened.step,
                "name": opened.name,
                "title": dumps(opened.title),
                "assignees": json.dumps(opened.assignees),
                "form": None if opened.form is None else dumps(dict(opened.form)),
                "remind": opened.remind,
                "escalate": json.dumps(opened.escalate),
                "timeout": opened.timeout,
            },
        )
    for changed in decision.approvals_changed:
        given = {"id": changed.id, "assignees": json.dumps(changed.assignees), "reminded": changed.reminded}
        if tx.execute(_CHANGE, {**given, "escalated": changed.escalated}).count != 1:
            raise RowChanged(f"an approval of run {row.id}")
        tx.execute(_MOVE, {"id": changed.id, "due_at": next_time(changed)})


def load_approvals(tx: Tx, run_id: UUID, organization_id: str) -> list[ApprovalRow]:
    """The run's open approvals, with the database's time."""
    return [_row(row) for row in tx.execute(_OF_RUN, {"run": run_id, "organization_id": organization_id}).rows]


def open_approvals(tx: Tx, organization: str | None, run_id: UUID | None, many: int) -> Sequence[OpenApproval]:
    """Those that nobody has answered, the oldest first."""
    if run_id is not None:
        rows = tx.execute(_OPEN_OF_RUN, {"run": run_id, "many": many}).rows
    elif organization is not None:
        rows = tx.execute(_OF_ORGANIZATION, {"organization": organization, "many": many}).rows
    else:
        rows = tx.execute(_LIST, {"many": many}).rows
    return [OpenApproval(_row(row), row[13], row[14], row[15], row[16], row[17]) for row in rows]


def _row(row: Row) -> ApprovalRow:
    return ApprovalRow(
        id=row[0],
        step=row[1],
        name=row[2],
        title=loads(row[3]),
        assignees=tuple(json.loads(row[4])),
        form=None if row[5] is None else loads(row[5]),
        remind=row[6],
        escalate=tuple((after, tuple(to)) for after, to in json.loads(row[7])),
        timeout=row[8],
        reminded=row[9],
        escalated=row[10],
        opened_at=row[11],
        now=row[12],
    )
