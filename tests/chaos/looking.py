"""What is under way at a moment: attempts by their processes, steps that wait to be taken, runs that live."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

import sqlalchemy.exc

from tests.chaos.stack import Member, Stack
from wfcelery.core.keys import idempotency_key

AWAY = (sqlalchemy.exc.SQLAlchemyError,)

_STEPS = "select organization_id, run, name, item, round, attempt, child from wf_step where "
_READY = "status = 'ready' and item = -1 and items_left is null and due_at <= "
_LIVING = "select count(*) from wf_run where status not in ('succeeded', 'failed', 'cancelled', 'timed_out')"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt that runs, or, of a step that is ready, the one before it."""

    key: str
    run: UUID
    step: str
    number: int
    pid: int


def under_way(stack: Stack, pids: Collection[int] | None = None) -> list[Attempt]:
    """The attempts that run now, all or those of these processes. Raises while the database is away."""
    found = [_attempt(*row) for row in stack.query(_STEPS + "status in ('running', 'reported')")]
    return [attempt for attempt in found if pids is None or attempt.pid in pids]


def of_member(stack: Stack, member: Member) -> list[Attempt]:
    return under_way(stack, member.pids())


def waiting(stack: Stack) -> list[Attempt]:
    """Steps that are due and that nobody has taken yet."""
    clock = "clock_timestamp()" if stack.production else "unixepoch('subsec')"
    return [_attempt(*row) for row in stack.query(_STEPS + _READY + clock)]


def living(stack: Stack) -> int:
    """How many runs have not ended."""
    return int(stack.query(_LIVING)[0][0])


def _attempt(organization: str, run: object, name: str, item: int, round_: int, attempt: int, child: str | None) -> Attempt:
    id_ = UUID(str(run))
    pid = int((child or "0").partition(":")[0])
    return Attempt(idempotency_key(organization, id_, name, item, round_), id_, name, attempt, pid)
