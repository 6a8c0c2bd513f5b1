"""A paused run: what is under way ends as it ends, and nothing new begins until somebody resumes it.

What was ready is held, with the time at which it may run; what becomes ready meanwhile is born held (`step_machine`). Waits
and deadlines go on: a sleep that is over ends, and what comes after it is held.
"""

from __future__ import annotations

from collections.abc import Iterable

from wfcelery.core.children import tell_all
from wfcelery.core.decision import RingStep
from wfcelery.core.draft import Draft, ranges
from wfcelery.core.events import PauseAsked, ResumeAsked
from wfcelery.core.fan_out import in_flight, is_waiting, let_go, ring_for_all
from wfcelery.core.rows import NO_ITEM, StepRow
from wfcelery.core.run_machine import become
from wfcelery.core.states import RunStatus, StepStatus
from wfcelery.core.step_machine import PAUSED, is_compensating

QUOTA = "quota"  # the reason of a pause that ends when there is quota again
_GOING_ON = (RunStatus.RUNNING, RunStatus.WAITING)


def on_pause_asked(draft: Draft, fact: PauseAsked) -> None:
    """Hold everything that could be claimed; a run that has not begun, or is over, or about to be, refuses."""
    run = draft.run
    if run.status is not RunStatus.COMPENSATING and (run.status not in _GOING_ON or run.ending is not None):
        _refuse(draft, "pause", fact.by)
        return
    pause(draft, fact)


def pause(draft: Draft, fact: PauseAsked) -> None:
    """Hold everything that could be claimed, until somebody resumes the run or the pause is over."""
    run = draft.run
    become(draft, RunStatus.PAUSED)
    run.reason = fact.reason
    draft.decision.resumes = fact.delay, fact.until
    until = None if fact.until is None else fact.until.isoformat()
    draft.note("run_paused", reason=fact.reason, by=fact.by, delay=fact.delay, until=until)
    tell_all(draft, "pause", reason=fact.reason, by=fact.by, down=True)
    held = [row for row in draft.open_rows() if row.status is StepStatus.READY]
    for row in held:
        row.ring = False
        draft.move(row, StepStatus.HELD, PAUSED)
    _tell(draft, "held", held)
    draft.decision.rings = [ring for ring in draft.decision.rings if not isinstance(ring, RingStep)]


def on_resume_asked(draft: Draft, fact: ResumeAsked) -> None:
    """Let go what was held because of the pause, and as many items as their fan-outs have room for."""
    run = draft.run
    compensating = is_compensating(draft)
    if run.status is not RunStatus.PAUSED or (run.ending is not None and not compensating):
        _refuse(draft, "resume", fact.by)
        return
    become(draft, RunStatus.COMPENSATING if compensating else RunStatus.RUNNING)
    run.reason = None
    draft.decision.resumes = None, None
    draft.note("run_resumed", by=fact.by)
    tell_all(draft, "resume", by=fact.by)
    rows = draft.open_rows()
    released = [row for row in rows if row.status is StepStatus.HELD and row.why == PAUSED]
    for row in released:
        draft.move(row, StepStatus.READY)
        if row.item == NO_ITEM:
            row.ring = True
            draft.ring_step(row, draft.plan.nodes[row.name].action)
    _tell(draft, "released", released)
    for row in rows:
        if row.items_left is not None and is_waiting(row):
            _go_on(draft, row)


def over_quota(draft: Draft, seconds: float) -> None:
    """A step's code may not go on for so long: its run is paused, unless somebody has done that, or it is being ended."""
    if draft.run.status in _GOING_ON and draft.run.ending is None:
        pause(draft, PauseAsked(QUOTA, delay=seconds))


def _refuse(draft: Draft, verb: str, by: str | None) -> None:
    if draft.run.status is not RunStatus.PENDING:  # which has no history yet
        draft.note(f"{verb}_refused", by=by, why=f"the run is {draft.run.status}")


def _go_on(draft: Draft, row: StepRow) -> None:
    """A fan-out takes up its items again: those that were let go before, and more where some have ended meanwhile."""
    node = draft.plan.nodes[row.name]
    let_go(draft, row, max((node.concurrency or row.wants) - in_flight(row), 0))
    draft.write(row)
    ring_for_all(draft, node, row, row.items_left or 0)


def _tell(draft: Draft, what: str, rows: Iterable[StepRow]) -> None:
    """One fact for each step, and one for the items of a fan-out together."""
    items: dict[str, list[StepRow]] = {}
    for row in rows:
        if row.item == NO_ITEM:
            draft.note(f"step_{what}", row, why=PAUSED if what == "held" else None)
        else:
            items.setdefault(row.name, []).append(row)
    for name, crowd in items.items():
        draft.note(f"items_{what}", step=name, items=ranges(item.item for item in crowd))
