"""The dispatcher: begins runs, and drains what others put into their inboxes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from wfcelery.core.decision import RingRun
from wfcelery.core.events import Begun, EventCame, Fact, PauseAsked, TakenOver, WaitCame
from wfcelery.core.pausing import QUOTA
from wfcelery.core.rows import Ended, RunRow
from wfcelery.core.states import RunStatus, StepStatus
from wfcelery.engine.apply import Applied, Keeping, Known, apply, over_version
from wfcelery.engine.facts import fact_of
from wfcelery.engine.quota import not_yet
from wfcelery.engine.runtime import Budget, Runtime
from wfcelery.store.database import Tx
from wfcelery.store.events import take
from wfcelery.store.inbox import InboxRow, hand_on_late, read
from wfcelery.store.loading import is_due, load_results, see
from wfcelery.store.waits import load_due

log = logging.getLogger(__name__)

BATCH = 500  # inbox rows that one commit applies
BATCHES = 3  # commits, or
SECONDS = 0.1  # seconds, after which a drain hands over with a ring


class ForeignRun(Exception):  # noqa: N818  it says what came
    """A message names an organization that is not its run's."""


@dataclass(slots=True)
class Inbox:
    """Reads a run's inbox under its lock, and remembers exactly which rows it read."""

    organization_id: str | None = None  # whose run it must be, where a message said so
    pause: PauseAsked | None = None  # what a run begins with that may not go on yet
    ids: list[UUID] = field(default_factory=list)
    taken: Sequence[EventCame] = ()  # the events among them that nobody else is about to consume

    def __call__(self, tx: Tx, run: RunRow) -> Sequence[Fact]:
        if self.organization_id is not None and run.organization_id != self.organization_id:
            raise ForeignRun
        if run.status is RunStatus.SUCCEEDED:
            hand_on_late(tx, run.id, run.first_run or run.id)
        found = read(tx, run.id, BATCH)
        self.ids = [row.id for row in found]
        self.taken = take(tx, [UUID(row.data["event"]) for row in found if row.fact == "event"])
        if run.version == 0 and not is_due(tx, run.id):  # what it begins with waits for that
            self.ids = [row.id for row in found if row.fact != "take_over"]
        facts: list[Fact] = [_taken(tx, row) if row.fact == "take_over" else fact_of(row) for row in found if row.fact != "event"]
        facts.extend(self.taken)
        if self.taken:  # the time of a wait may have come before them
            facts.extend(WaitCame(step, wait, at) for wait, step, at in load_due(tx, run.id))
        if run.version == 0 and is_due(tx, run.id):
            facts.append(Begun())
            if self.pause is not None:
                facts.append(self.pause)
        return facts


def _taken(tx: Tx, row: InboxRow) -> TakenOver:
    """What a run that goes on where another stood begins with. What the other's steps are worth never changes any more."""
    source = UUID(row.data["run"])
    ends = load_results(tx, source, row.data["names"]) if row.data["names"] else {}
    good = {name: end for name, end in ends.items() if end.status == StepStatus.SUCCEEDED}
    return TakenOver(source, good | dict.fromkeys(row.data["skipped"], Ended(StepStatus.SKIPPED)))


def inbox_of(runtime: Runtime, run: UUID, organization_id: str | None = None) -> Inbox:
    """The run's inbox; where the run has not begun, with the pause that it begins with while there is no quota for it."""
    pause = None
    if runtime.settings.quota_hook is not None:
        with runtime.database.single() as tx:
            found = see(tx, run)
        if found is not None and found.due and found.run.version == 0:
            wait = not_yet(runtime, found.run.organization_id, found.run.workflow)
            pause = None if wait is None else PauseAsked(QUOTA, delay=wait)
    return Inbox(organization_id, pause)


@dataclass(frozen=True, slots=True)
class AtRest:
    """A run that has been begun, and in whose inbox there is nothing: nothing is to be done for it."""


def begin(runtime: Runtime, run: UUID, organization_id: str, keeping: Keeping | None) -> Applied | AtRest | None:
    """Begin a run that nobody has begun and that has nothing in its inbox: one look, one commit. None: drain it."""
    with runtime.database.single() as tx:
        found = see(tx, run)
        if found is not None:
            runtime.holds.learn(found.holds)
        if found is None or found.inbox or found.run.organization_id != organization_id:
            return None
        if found.run.version != 0:
            return AtRest()
        if not found.due:
            return None
        if runtime.settings.quota_hook is not None:
            return None
        plan = runtime.plans.get(tx, found.run.definition)
    return over_version(runtime, (Begun(),), Known(plan, found.run), keeping)


def drain(
    runtime: Runtime,
    run: UUID,
    *,
    organization_id: str | None = None,
    keeping: Keeping | None = None,
    kept: tuple[UUID, UUID] | None = None,
) -> Applied | None:
    """Apply everything in a run's inbox, and begin the run if nobody has.

    Raises ForeignRun where `organization_id` is given and is not the run's.
    Returns the last commit that kept a step, or else the last one. After three batches or 100 ms it hands over
    with a ring.
    """
    budget = Budget(SECONDS)
    applied: Applied | None = None
    for number in range(BATCHES):
        step = apply(runtime, run, inbox_of(runtime, run, organization_id), keeping=keeping, kept=kept)
        if step is None:
            return applied
        applied = step
        if not step.inbox or step.decision.kept is not None:
            return applied
        if number and not budget.left():
            break
    if applied is not None and applied.inbox:
        row = applied.decision.run
        runtime.bell.ring([RingRun(row.organization_id, run, row.queue)])
    return applied
