"""Facts for a run from outside its own steps: put without the run's lock, applied and deleted under it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from wfcelery.clock import uuid7
from wfcelery.definition.values import dumps, loads
from wfcelery.store.database import Tx
from wfcelery.store.schema import Value, inbox, run
from wfcelery.store.statements import Ids, Statement, among, by_the_way, clock, is_one_of, later, one

RING_AFTER = 1.0  # seconds after which the sweep rings for a fact whose own ring was lost


@dataclass(frozen=True, slots=True)
class InboxRow:
    """One fact that waits for a run."""

    id: UUID
    fact: str
    data: dict[str, Any]
    at: datetime


_PUT = Statement(
    sa.insert(inbox).values(
        id=one("id", sa.Uuid),
        organization_id=one("organization_id", sa.Text),
        run=one("run", sa.Uuid),
        at=clock(),
        ring_at=later(sa.literal(RING_AFTER, sa.Float)),
        fact=one("fact", sa.Text),
        data=one("data", Value("data")),
    )
)
_READ = Statement(
    sa.select(inbox.c.id, inbox.c.fact, inbox.c.data, inbox.c.at, inbox.c.organization_id)
    .where(inbox.c.run == one("run", sa.Uuid))
    .order_by(by_the_way(inbox.c.id))
    .limit(one("many", sa.Integer))
)
_READ_ADDED = Statement(
    sa.select(inbox.c.id, inbox.c.fact, inbox.c.data, inbox.c.at, inbox.c.organization_id)
    .where(inbox.c.run == one("run", sa.Uuid), inbox.c.fact == "add_items")
    .order_by(by_the_way(inbox.c.id))
    .limit(one("many", sa.Integer))
)
_LOOK = Statement(sa.select(inbox.c.id).where(inbox.c.run == one("run", sa.Uuid)).limit(1))


def put(tx: Tx, organization_id: str, run: UUID, fact: str, data: Mapping[str, Any], id: UUID | None = None) -> None:  # noqa: A002
    """An insert and nothing else, so that it can stand in an app's open transaction without holding up the run."""
    tx.execute(_PUT, {"id": id or uuid7(), "organization_id": organization_id, "run": run, "fact": fact, "data": dumps(dict(data))})


def put_all(tx: Tx, runs: Sequence[tuple[str, UUID]], fact: str, data: dict[str, Any]) -> None:
    """The same for each of these (organization, run)."""
    text = dumps(data)
    tx.many(_PUT, [{"id": uuid7(), "organization_id": org, "run": run, "fact": fact, "data": text} for org, run in runs])


_TAKE_BACK = Statement(sa.delete(inbox).where(among(inbox.c.id, one("ids", Ids))))


def take_back(tx: Tx, ids: Sequence[UUID]) -> None:
    """Facts that mean nothing any more, by their ids, whether they are still there or not."""
    if ids:
        tx.execute(_TAKE_BACK, {"ids": list(ids)})


_HAND_ON = Statement(
    sa.update(inbox)
    .where(inbox.c.run == one("run", sa.Uuid), is_one_of(by_the_way(inbox.c.fact), ("cancel", "terminate", "pause", "resume")))
    .values(run=one("next_run", sa.Uuid))
)


_GOES_ON = Statement(
    sa.select(run.c.id).where(run.c.first_run == one("first_run", sa.Uuid), run.c.ended_at.is_(None)).order_by(run.c.id.desc()).limit(1)
)


def hand_on_late(tx: Tx, ended: UUID, first: UUID) -> None:
    """What is asked of a run that has continued as a new one is asked of the one of its line that has not ended."""
    found = tx.execute(_GOES_ON, {"first_run": first}).rows
    if found:
        hand_on(tx, ended, found[0][0])


def hand_on(tx: Tx, run: UUID, next_run: UUID) -> None:
    """What was asked of a run as a whole, and comes too late for it, is asked of the one that goes on for it."""
    tx.execute(_HAND_ON, {"run": run, "next_run": next_run})


def read(tx: Tx, run: UUID, many: int) -> list[InboxRow]:
    """The oldest rows; what is applied is deleted by exactly these ids, which are not in the order of commits."""
    return [InboxRow(row[0], row[1], loads(row[2]), row[3]) for row in tx.execute(_READ, {"run": run, "many": many}).rows]


def read_added(tx: Tx, run: UUID, many: int) -> list[InboxRow]:
    """As `read`, of the items that somebody adds to a fan-out alone."""
    return [InboxRow(row[0], row[1], loads(row[2]), row[3]) for row in tx.execute(_READ_ADDED, {"run": run, "many": many}).rows]


def look(tx: Tx, run: UUID) -> bool:
    """Whether anything waits for the run."""
    return bool(tx.execute(_LOOK, {"run": run}).rows)
