"""What there is to know of the fleet as a whole: when somebody last swept, and which queues what is open waits on."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from wfcelery.store.database import Tx
from wfcelery.store.definitions import StoredDefinition, listed
from wfcelery.store.schema import dead_letter, meta, run, step
from wfcelery.store.statements import Statement, is_one_of, seconds_until

LONGEST = 1_000  # queues and actions that are looked at

_SWEPT = Statement(sa.select(meta.c.ns, -seconds_until(meta.c.swept_at)))
_WAITING = Statement(
    sa.select(step.c.queue, sa.func.count())
    .where(is_one_of(step.c.status, ("ready", "waiting")), step.c.ring_at.is_not(None), step.c.queue.is_not(None))
    .group_by(step.c.queue)
    .order_by(step.c.queue)
    .limit(LONGEST)
)
_LETTERS = Statement(sa.select(sa.func.count()).where(dead_letter.c.status == "open"))
_RUN_QUEUES = Statement(sa.select(run.c.queue).distinct().where(run.c.queue.is_not(None), run.c.ended_at.is_(None)).limit(LONGEST))


@dataclass(frozen=True, slots=True)
class State:
    """`swept` is how many seconds ago somebody swept (None: nobody ever has); `waiting` counts rung steps by queue."""

    ns: str
    swept: float | None
    waiting: dict[str, int]
    letters: int


def state(tx: Tx) -> State:
    """The fleet now."""
    ns, swept = tx.execute(_SWEPT).rows[0]
    waiting = {row[0]: row[1] for row in tx.execute(_WAITING).rows}
    return State(str(ns), None if swept is None else float(swept), waiting, tx.execute(_LETTERS).rows[0][0])


def run_queues(tx: Tx) -> list[str]:
    """The queues that runs under way were started with."""
    return [row[0] for row in tx.execute(_RUN_QUEUES).rows]


def newest_definitions(tx: Tx) -> list[StoredDefinition]:
    """The definition that a start by name would take, of every name."""
    found: dict[str, StoredDefinition] = {}
    for row in listed(tx):
        if row.status == "published":
            found.setdefault(row.name, row)
    return sorted(found.values(), key=lambda row: row.name)
