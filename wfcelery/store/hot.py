"""The hot path: one step ended and at most one born, over the version that this worker wrote itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from wfcelery.core.decision import Decision
from wfcelery.store.database import Database
from wfcelery.store.inbox import look
from wfcelery.store.saving import advance_run, birth, change, history_parameters, run_parameters, save, step_parameters
from wfcelery.store.schema import history, run, step
from wfcelery.store.statements import Statement, clock, one


@dataclass(frozen=True, slots=True)
class Saved:
    """The commit landed; `inbox`: something waits for the run."""

    inbox: bool


@dataclass(frozen=True, slots=True)
class Stale:
    """Another writer came between: lock, load and decide again."""


def _hot(own: bool, new: bool) -> Statement:
    """One statement: the run over its version, the step that ended, the step that is born, the history.

    It fails (division by zero) where the run matched and another part met a row too few: otherwise a data-modifying
    CTE would leave a version without its history, or a step without its run.
    """
    advanced = advance_run().returning(run.c.version).cte("advanced")
    parts: list[Any] = []
    if own:
        matched = sa.exists(sa.select(sa.literal_column("1")).select_from(advanced))
        parts.append(change("own_").where(matched).returning(step.c.id).cte("ended"))
    if new:
        values = birth("new_")
        born = sa.select(*(value.label(name) for name, value in values.items())).select_from(advanced)
        parts.append(sa.insert(step).from_select(list(values), born, include_defaults=False).returning(step.c.id).cte("born"))
    told = sa.select(one("run", sa.Uuid), advanced.c.version, one("organization_id", sa.Text), clock(), one("facts", sa.Text))
    parts.append(
        sa.insert(history).from_select(["run", "version", "organization_id", "at", "facts"], told).returning(history.c.version).cte("told")
    )
    counts = [sa.select(sa.func.count()).select_from(part).scalar_subquery() for part in parts]
    whole: Any = counts[0]
    for count in counts[1:]:
        whole = whole * count
    found = sa.exists(sa.select(sa.literal_column("1")).select_from(advanced))
    return Statement(sa.select(sa.case((found, sa.literal_column("1").op("/")(whole)), else_=sa.literal_column("0"))))


_HOT = {(True, True): _hot(True, True), (True, False): _hot(True, False), (False, True): _hot(False, True)}


def save_fast(database: Database, decision: Decision, rings: bool = True) -> Saved | Stale:
    """Write a decision of the hot shape over the version this worker wrote itself, in its own transaction.

    On PostgreSQL one statement and one look at the inbox; on SQLite, where a statement costs no round trip, the
    plain ones. Raises RowChanged where the run matched and a step did not: the attempt is not this worker's any more.
    """
    if database.dialect == "sqlite":
        with database.transaction() as tx:
            if not tx.execute(_SAME, {"run": decision.run.id, "seen": decision.seen_version}).rows:
                return Stale()
            save(tx, decision, rings)
            return Saved(look(tx, decision.run.id))
    values = run_parameters(decision) | history_parameters(decision)
    own = new = False
    for row in decision.steps:
        if row.seen is None:
            new = True
            place = {"id": row.id, "name": row.name, "item": row.item, "round": row.round, "fan_out": row.fan_out}
            values |= {f"new_{name}": value for name, value in (step_parameters(decision, row, rings) | place).items()}
        else:
            own = True
            values |= {f"own_{name}": value for name, value in step_parameters(decision, row, rings).items()}
            values |= {"step": row.id, "seen_status": str(row.seen[0]), "seen_token": row.seen[1]}
    with database.single() as tx:
        if tx.execute(_HOT[own, new], values).rows[0][0] != 1:
            return Stale()
        return Saved(look(tx, decision.run.id))


_SAME = Statement(sa.select(run.c.id).where(run.c.id == one("run", sa.Uuid), run.c.version == one("seen", sa.Integer)))
