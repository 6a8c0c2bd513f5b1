"""Everything the tables say of one run, read at one moment, for whoever compares it with its history."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from wfcelery.core.rows import RunRow, StepRow
from wfcelery.store import dead_letters, reading
from wfcelery.store.database import Database, Tx
from wfcelery.store.dead_letters import Letter
from wfcelery.store.loading import every_step, load_run
from wfcelery.store.reading import HistoryRow
from wfcelery.store.schema import dead_letter, history, inbox, run, step, wait
from wfcelery.store.statements import Statement, fixed, later, one


@dataclass(frozen=True, slots=True)
class Evidence:
    """One run: its row, its steps, its history, and what waits for it."""

    run: RunRow
    has_due_time: bool  # of a run that has not begun, a deadline, or a grace
    steps: list[StepRow]
    history: list[HistoryRow]
    open_waits: list[UUID]  # the steps whose wait is open
    inbox: list[str]  # the facts
    letters: list[Letter]
    strangers: list[str]  # tables that hold a row of this run for another organization


_PAGE = Statement(sa.select(run.c.id).where(run.c.id > one("after", sa.Uuid)).order_by(run.c.id).limit(one("many", sa.Integer)))
_DUE = Statement(sa.select(run.c.due_at.is_not(None)).where(run.c.id == one("run", sa.Uuid)))
_WAITS = Statement(sa.select(wait.c.step).where(wait.c.run == one("run", sa.Uuid), wait.c.status == "open").order_by(wait.c.id))
_INBOX = Statement(sa.select(inbox.c.fact).where(inbox.c.run == one("run", sa.Uuid)).order_by(inbox.c.id))


def _strangers() -> Any:
    found = []
    for table in (step, history, inbox, wait, dead_letter):
        foreign = sa.and_(table.c.run == one("run", sa.Uuid), table.c.organization_id != one("organization_id", sa.Text))
        found.append(sa.select(sa.literal_column(f"'{table.name}'", sa.Text).label("what")).where(sa.exists().where(foreign)))
    return sa.union_all(*found)


_STRANGERS = Statement(_strangers())
_OVERDUE_STEPS = Statement(
    sa.select(step.c.run, step.c.name).where(step.c.ring_at <= fixed(later(-one("bound", sa.Float)))).order_by(step.c.ring_at).limit(100)
)
_OVERDUE_INBOX = Statement(
    sa.select(inbox.c.run, inbox.c.fact).where(inbox.c.at <= fixed(later(-one("bound", sa.Float)))).order_by(inbox.c.at).limit(100)
)


def page(tx: Tx, after: UUID, many: int) -> list[UUID]:
    """The next runs in the order of their ids."""
    return [row[0] for row in tx.execute(_PAGE, {"after": after, "many": many}).rows]


def evidence(database: Database, id: UUID) -> Evidence | None:  # noqa: A002
    """What the tables say of a run, all of it as of one moment; None where there is no such run."""
    with database.transaction("REPEATABLE READ" if database.dialect == "postgresql" else None) as tx:
        row = load_run(tx, id)
        if row is None:
            return None
        return Evidence(
            run=row,
            has_due_time=bool(tx.execute(_DUE, {"run": id}).rows[0][0]),
            steps=every_step(tx, id),
            history=reading.history(tx, id),
            open_waits=[found[0] for found in tx.execute(_WAITS, {"run": id}).rows],
            inbox=[found[0] for found in tx.execute(_INBOX, {"run": id}).rows],
            letters=dead_letters.of_run(tx, id),
            strangers=[found[0] for found in tx.execute(_STRANGERS, {"run": id, "organization_id": row.organization_id}).rows],
        )


def overdue(tx: Tx, bound: float) -> list[tuple[UUID, str]]:
    """Rows that somebody should have rung for more than `bound` seconds ago: (run, which of its things), at most 100 of each kind."""
    steps = [(row[0], f"step {row[1]}") for row in tx.execute(_OVERDUE_STEPS, {"bound": bound}).rows]
    return steps + [(row[0], f"inbox: {row[1]}") for row in tx.execute(_OVERDUE_INBOX, {"bound": bound}).rows]
