"""How a run comes to be: one insert, of version 0, which is its own wish to be begun. And what its key leads to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from wfcelery.core.decision import NextRun
from wfcelery.core.rows import RunRow
from wfcelery.core.states import RUN_ENDED, RunStatus
from wfcelery.definition.values import dumps, loads
from wfcelery.errors import RowChanged
from wfcelery.store import inbox
from wfcelery.store.database import Tx
from wfcelery.store.schema import Instant, Value, run
from wfcelery.store.statements import Statement, clock, is_one_of, later, one

RING_AFTER = 5.0  # seconds after which the sweep rings for a run whose own ring did not get it begun


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run as it is born. `input` is JSON text; `delay` and `deadline_in` count from the insert, in seconds.

    `rings`: a ring of this process follows the commit, so the sweep need not ring before it has had its time.
    """

    id: UUID
    organization_id: str
    workflow: str
    definition: str  # signature
    input: str
    input_digest: str
    key: str | None = None
    queue: str | None = None
    priority: int | None = None
    tags: Sequence[str] = ()
    delay: float | None = None
    deadline: datetime | None = None
    deadline_in: float | None = None
    rings: bool = False
    parent_step: UUID | None = None  # of a child the step that called it
    parent: UUID | None = None  # its run, where that waits for the child's end
    depth: int = 0
    not_after: datetime | None = None  # the parent's deadline, unless that has passed
    first_run: UUID | None = None  # of a run that goes on for others


@dataclass(frozen=True, slots=True)
class Found:
    """The run that holds a key."""

    id: UUID
    input_digest: str
    status: RunStatus

    @property
    def ended(self) -> bool:
        return self.status in RUN_ENDED


def _insert(dialect: str) -> Any:
    insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
    return (
        insert(run)
        .values(
            id=one("id", sa.Uuid),
            organization_id=one("organization_id", sa.Text),
            workflow=one("workflow", sa.Text),
            definition=one("definition", sa.Text),
            status="pending",
            version=0,
            input=one("input", Value("input")),
            input_digest=one("input_digest", sa.Text),
            key=one("key", sa.Text),
            active_key=one("key", sa.Text),
            queue=one("queue", sa.Text),
            priority=one("priority", sa.Integer),
            tags=one("tags", sa.Text),
            due_at=later(one("delay", sa.Float)),
            ring_at=later(one("ring_in", sa.Float)),
            deadline=_deadline(),
            parent_step=one("parent_step", sa.Uuid),
            parent=one("parent", sa.Uuid),
            depth=one("depth", sa.Integer),
            first_run=one("first_run", sa.Uuid),
            created_at=clock(),
        )
        .on_conflict_do_nothing(index_elements=["organization_id", "workflow", "active_key"])
    )


def _deadline() -> Any:
    """The run's own, but no later than its parent's."""
    deadline, deadline_in, limit = one("deadline", Instant), one("deadline_in", sa.Float), one("not_after", Instant)
    own = sa.case((deadline.is_not(None), deadline), (deadline_in.is_not(None), later(deadline_in)), else_=sa.null())
    sooner = sa.and_(limit > clock(), sa.or_(own.is_(None), own > limit))
    return sa.case((sooner, limit), else_=own)


_INSERT = Statement(_insert)
_BY_KEY = Statement(
    sa.select(run.c.id, run.c.input_digest, run.c.status).where(
        run.c.organization_id == one("organization_id", sa.Text),
        run.c.workflow == one("workflow", sa.Text),
        run.c.active_key == one("key", sa.Text),
    )
)
_FREE_KEY = Statement(
    sa.update(run).where(run.c.id == one("run", sa.Uuid), is_one_of(run.c.status, sorted(RUN_ENDED))).values(active_key=sa.null())
)


def insert_run(tx: Tx, new: NewRun) -> bool:
    """Insert the run and nothing else; False where another run of the workflow holds its key. May be repeated for ever."""
    given = {
        "id": new.id,
        "run": new.id,
        "loose": True,
        "organization_id": new.organization_id,
        "workflow": new.workflow,
        "definition": new.definition,
        "input": new.input,
        "input_digest": new.input_digest,
        "key": new.key,
        "queue": new.queue,
        "priority": new.priority,
        "tags": dumps(list(new.tags)) if new.tags else None,
        "delay": new.delay or 0.0,
        "ring_in": RING_AFTER if new.rings and not new.delay else new.delay or 0.0,
        "deadline": new.deadline,
        "deadline_in": new.deadline_in,
        "parent_step": new.parent_step,
        "parent": new.parent,
        "depth": new.depth,
        "not_after": new.not_after,
        "first_run": new.first_run,
    }
    return tx.execute(_INSERT, given).count == 1


_TERMS = Statement(sa.select(run.c.input_digest, run.c.active_key, run.c.tags, run.c.deadline).where(run.c.id == one("run", sa.Uuid)))
_HAND_ON = Statement(
    sa.update(run).where(run.c.id == one("run", sa.Uuid)).values(active_key=sa.null(), continued_as=one("next_run", sa.Uuid))
)


def continue_run(tx: Tx, old: RunRow, new: NextRun, *, rings: bool) -> None:
    """Start the run that goes on for one that ends in this transaction: with its key, tags, queue and priority.

    Its input digest is the first one's, so that whoever starts by the same key and input is given the run that goes on for it. What
    else was asked of the old run is asked of the new one.
    """
    digest, key, tags, deadline = tx.execute(_TERMS, {"run": old.id}).rows[0]
    tx.execute(_HAND_ON, {"run": old.id, "next_run": new.id})
    born = NewRun(
        id=new.id,
        organization_id=old.organization_id,
        workflow=old.workflow,
        definition=old.definition,
        input=dumps(new.input),
        input_digest=digest,
        key=key,
        queue=old.queue,
        priority=old.priority,
        tags=loads(tags) if tags else (),
        deadline=deadline if new.deadline_in is None else None,
        deadline_in=new.deadline_in,
        rings=rings,
        parent_step=old.parent_step,
        parent=old.parent,
        depth=old.depth,
        first_run=old.first_run or old.id,
    )
    if not insert_run(tx, born):
        raise RowChanged(f"the key of run {old.id}", "free for the run that goes on for it")
    inbox.hand_on(tx, old.id, new.id)
    if new.paused:
        inbox.put(tx, old.organization_id, new.id, "pause", {"reason": "the run before it was paused", "by": None})


def find_by_key(tx: Tx, organization_id: str, workflow: str, key: str) -> Found | None:
    """The run that holds this key now; None where none does, or where its start has not committed."""
    rows = tx.execute(_BY_KEY, {"organization_id": organization_id, "workflow": workflow, "key": key}).rows
    return Found(rows[0][0], rows[0][1], RunStatus(rows[0][2])) if rows else None


def free_key(tx: Tx, id: UUID) -> bool:  # noqa: A002
    """An ended run gives up its key, for another run to take; False where it has not ended."""
    return tx.execute(_FREE_KEY, {"run": id}).count == 1
