"""What stands around a run, for whoever explains why it goes no further: its waits, letters, wishes, children, and the fleet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa

from wfcelery.store import audit, dead_letters, reading
from wfcelery.store.audit import Deed
from wfcelery.store.database import Tx
from wfcelery.store.dead_letters import Letter
from wfcelery.store.reading import RunRecord, StepRecord, WorkerRecord
from wfcelery.store.schema import inbox, run, wait
from wfcelery.store.statements import Ids, Statement, among, clock, one


@dataclass(frozen=True, slots=True)
class OpenWait:
    """What a step waits for: a time, or something by its name and key until a time."""

    step: UUID
    kind: str
    name: str | None
    key: str | None
    until: datetime | None
    since: datetime


@dataclass(frozen=True, slots=True)
class Circumstances:
    """All of it, as of `now`, the database's clock."""

    now: datetime
    run: RunRecord
    steps: Sequence[StepRecord]
    waits: Sequence[OpenWait]
    letters: Sequence[Letter]  # open ones
    wishes: Sequence[tuple[str, datetime]]  # what the inbox holds, and since when
    deeds: Sequence[Deed]
    workers: Sequence[WorkerRecord]
    actions: Mapping[str, str]  # what the definition has each task execute
    children: Sequence[tuple[UUID, UUID]]  # (step that waits for it, run that has not ended)


_NOW = Statement(sa.select(clock()))
_WAITS = Statement(
    sa.select(wait.c.step, wait.c.kind, wait.c.name, wait.c.key, wait.c.due_at, wait.c.opened_at)
    .where(wait.c.run == one("run", sa.Uuid), wait.c.status == "open")
    .order_by(wait.c.opened_at, wait.c.id)
)
_WISHES = Statement(sa.select(inbox.c.fact, inbox.c.at).where(inbox.c.run == one("run", sa.Uuid)).order_by(inbox.c.id))
_CHILDREN = Statement(
    sa.select(run.c.parent_step, run.c.id).where(among(run.c.parent_step, one("steps", Ids)), run.c.ended_at.is_(None)).order_by(run.c.id)
)


def around(tx: Tx, found: RunRecord, actions: Mapping[str, str]) -> Circumstances:
    """Everything that stands around this run now."""
    steps = reading.steps(tx, found.id)
    waiting = [step.id for step in steps if step.status == "waiting"]
    return Circumstances(
        now=tx.execute(_NOW).rows[0][0],
        run=found,
        steps=steps,
        waits=[OpenWait(*row) for row in tx.execute(_WAITS, {"run": found.id}).rows],
        letters=[letter for letter in dead_letters.of_run(tx, found.id) if letter.status == "open"],
        wishes=[(row[0], row[1]) for row in tx.execute(_WISHES, {"run": found.id}).rows],
        deeds=audit.deeds(tx, found.id),
        workers=reading.workers(tx),
        actions=actions,
        children=[(row[0], row[1]) for row in tx.execute(_CHILDREN, {"steps": waiting}).rows] if waiting else [],
    )
