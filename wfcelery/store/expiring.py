"""What is kept no longer: trees of ended runs, every row of them. No other place deletes a run."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import sqlalchemy as sa

from wfcelery.clock import first_of
from wfcelery.core.states import RUN_ENDED
from wfcelery.store.database import Tx
from wfcelery.store.event_rows import delete_of_runs
from wfcelery.store.schema import approval, dead_letter, history, inbox, payload, run, run_data, step, wait
from wfcelery.store.statements import Ids, Statement, among, fixed, is_one_of, later, one

_RUNS = one("runs", Ids)
_EXPIRED = sa.and_(is_one_of(run.c.status, sorted(RUN_ENDED)), run.c.ended_at <= fixed(later(-one("kept_for", sa.Float))))
_OPEN_LETTER = sa.exists(sa.select(dead_letter.c.id).where(dead_letter.c.run == run.c.id, dead_letter.c.status == "open"))

_THEN = Statement(sa.select(later(-one("kept_for", sa.Float))))
_ROOTS = Statement(
    sa.select(run.c.id)
    .where(run.c.id > one("after", sa.Uuid), run.c.id < one("before", sa.Uuid), run.c.parent_step.is_(None), _EXPIRED, ~_OPEN_LETTER)
    .order_by(run.c.id)
    .limit(one("many", sa.Integer))
)
_CHILDREN = Statement(sa.select(step.c.run, run.c.id).join(step, step.c.id == run.c.parent_step).where(among(step.c.run, _RUNS)))
_LOCK = Statement(sa.select(run.c.id).where(among(run.c.id, _RUNS), _EXPIRED).order_by(run.c.id).with_for_update(skip_locked=True))
_WANTED = Statement(
    sa.union(
        sa.select(inbox.c.run).where(among(inbox.c.run, _RUNS)),
        sa.select(dead_letter.c.run).where(among(dead_letter.c.run, _RUNS), dead_letter.c.status == "open"),
    )
)
_DELETE = [Statement(sa.delete(table).where(among(table.c.run, _RUNS))) for table in (history, approval, wait, dead_letter, run_data, step)]
_LOOSE = payload.c.loose_at <= fixed(later(-one("older", sa.Float)))
_NOBODYS = ~sa.exists(sa.select(run.c.id).where(run.c.id == payload.c.run))
_ORPHANS = Statement(sa.delete(payload).where(_LOOSE, payload.c.body.is_not(None), _NOBODYS))
_ORPHANS_ELSEWHERE = Statement(sa.select(payload.c.id).where(_LOOSE, payload.c.body.is_(None), _NOBODYS).limit(one("many", sa.Integer)))
_FORGET = Statement(sa.delete(payload).where(among(payload.c.id, one("ids", Ids))))
_FOUND = Statement(sa.update(payload).where(_LOOSE, sa.not_(_NOBODYS)).values(loose_at=sa.null()))
_PAYLOADS = Statement(sa.delete(payload).where(among(payload.c.run, _RUNS), payload.c.body.is_not(None)))
# What another store holds is deleted there first, and found by these rows until it is.
_PAYLOADS_ELSEWHERE = Statement(sa.update(payload).where(among(payload.c.run, _RUNS)).values(loose_at=later(sa.literal(-1e9, sa.Float))))
_DELETE_RUNS = Statement(sa.delete(run).where(among(run.c.id, _RUNS)))


def roots(tx: Tx, kept_for: float, after: UUID, many: int) -> list[UUID]:
    """The next runs without a parent, by their ids, that ended more than so many seconds ago and have no open dead letter."""
    # An id tells when it was made, so that the look passes over the young ones. `ended_at` decides.
    before = first_of(tx.execute(_THEN, {"kept_for": kept_for}).rows[0][0])
    given = {"kept_for": kept_for, "after": after, "before": before, "many": many}
    return [row[0] for row in tx.execute(_ROOTS, given).rows]


def children(tx: Tx, runs: Sequence[UUID]) -> list[tuple[UUID, UUID]]:
    """The children of these runs: (parent, child)."""
    return [(row[0], row[1]) for row in tx.execute(_CHILDREN, {"runs": list(runs)}).rows]


def lock(tx: Tx, runs: Sequence[UUID], kept_for: float) -> set[UUID]:
    """Those of them that nobody works on and that nobody wants: locked, ended long enough ago, no open dead letter, nothing in the inbox.

    The look beside the runs is a statement of its own behind the lock: what comes for a run from then on has to wait for it.
    """
    given = {"runs": list(runs), "kept_for": kept_for}
    mine = {row[0] for row in tx.execute(_LOCK, given).rows}
    return mine - {row[0] for row in tx.execute(_WANTED, {"runs": list(mine)}).rows}


def delete(tx: Tx, runs: Sequence[UUID]) -> None:
    """Every row of these runs, which are locked."""
    delete_of_runs(tx, runs)
    for statement in (_PAYLOADS, _PAYLOADS_ELSEWHERE, *_DELETE, _DELETE_RUNS):
        tx.execute(statement, {"runs": list(runs)})


def delete_orphans(tx: Tx, older: float) -> int:
    """Payloads of starts that are older than so many seconds and whose run never came to be: rolled back, or its key was taken."""
    gone = tx.execute(_ORPHANS, {"older": older}).count
    tx.execute(_FOUND, {"older": older})
    return gone


def orphans_elsewhere(tx: Tx, older: float, many: int) -> list[UUID]:
    """Values in another store that no run refers to any more."""
    return [row[0] for row in tx.execute(_ORPHANS_ELSEWHERE, {"older": older, "many": many}).rows]


def forget(tx: Tx, payloads: Sequence[UUID]) -> None:
    """These are deleted in the other store."""
    tx.execute(_FORGET, {"ids": list(payloads)})
