"""A person decides what the code did not: a step is skipped, or is worth what they say. What comes after it goes on.

A step that nobody executes can be decided so: one that waits its turn, or whose failure stopped the run, which is reopened
by that as by a retry. What is being executed cannot: two would say how it ended.
"""

from __future__ import annotations

from wfcelery.core import closing
from wfcelery.core.asking import RunLike, StepLike
from wfcelery.core.children import awaits_child, part_with
from wfcelery.core.draft import Draft, digest
from wfcelery.core.events import CompleteAsked, SkipAsked
from wfcelery.core.reopening import TOLD, UNDONE, clear, go_on, reopen_run
from wfcelery.core.rows import StepRow
from wfcelery.core.states import RUN_ENDED, UNDER_WAY, RunStatus, StepStatus
from wfcelery.core.step_machine import OPERATOR, end, ended_by_itself
from wfcelery.core.wait_machine import close_wait

_FAILED = (StepStatus.FAILED, StepStatus.TIMED_OUT)
_OPEN = (StepStatus.BLOCKED, StepStatus.READY, StepStatus.HELD, StepStatus.WAITING)
_REOPENS = (RunStatus.FAILED, RunStatus.TIMED_OUT)


def refusal(run: RunLike, row: StepLike | None) -> str | None:
    """Why nobody can decide this step by hand now; None: somebody can."""
    if run.status == RunStatus.PENDING:
        return "the run has not begun"
    if run.status in RUN_ENDED and run.status not in _REOPENS:
        return f"the run is {run.status}"
    if run.ending is not None and run.status not in RUN_ENDED:
        return f"the run is being ended as {run.ending}; wait for its end"
    if row is None:
        return "the run has not come to it"
    if row.items_left is not None:
        return "it has items: complete-items ends it with what it has, rerun-failed runs those again that failed"
    if row.status in UNDER_WAY:
        return "it is being executed; wait for its end, or cancel the run"
    if row.status in _FAILED:
        return None if row.why == "unhandled" else f"it is {row.status}, and the run has gone on"
    return None if row.status in _OPEN else f"it is {row.status}"


def on_skip_asked(draft: Draft, fact: SkipAsked) -> None:
    """The step will not run; what comes after it sees what it sees behind a `when` that was false."""
    row = _taken(draft, "skip", fact.task, fact.by)
    if row is None:
        return
    draft.move(row, StepStatus.SKIPPED, OPERATOR)
    draft.note("step_skipped", row, why=OPERATOR, reason=fact.reason, by=fact.by)
    end(draft, row, "skipped")
    _go_on(draft)


def on_complete_asked(draft: Draft, fact: CompleteAsked) -> None:
    """The step is worth what somebody says, as if its code had returned it."""
    row = _taken(draft, "complete", fact.task, fact.by)
    if row is None:
        return
    row.output = fact.value
    draft.move(row, StepStatus.SUCCEEDED)
    draft.note("step_succeeded", row, value=digest(row.output), why=OPERATOR, reason=fact.reason, by=fact.by)
    end(draft, row, "succeeded")
    _go_on(draft)


def _taken(draft: Draft, verb: str, task: str, by: str | None) -> StepRow | None:
    """The step's row, out of whatever it stood in and counted as open, its run reopened; None: refused, and said so."""
    run, node = draft.run, draft.plan.nodes.get(task)
    row = None if node is None else draft.step(task)
    why = refusal(run, row)
    if node is not None and (node.kind == "gate" or node.ends_run):
        why = "it is no step"
    elif node is not None and node.closes:
        why = "it belongs to the end of the run: retry its dead letter"
    elif run.status in RUN_ENDED and closing.has_undone(draft):
        why = UNDONE
    elif ended_by_itself(draft.plan, run):
        why = "the run has come to its end by itself"
    elif run.status in RUN_ENDED and run.parent is not None:
        why = TOLD
    if why is not None or row is None:
        draft.note(f"{verb}_refused", step=task, why=why, by=by)
        return None
    if row.status in _FAILED:
        draft.stopped_rows()
        if run.status in RUN_ENDED:
            reopen_run(draft, by)
        draft.decision.retried.append(row.id)
    if awaits_child(draft, row):
        part_with(draft, row)
    if row.status is StepStatus.WAITING:
        close_wait(draft, row)
    if row.status in (StepStatus.BLOCKED, *_FAILED):
        run.open_steps += 1  # neither is counted, and `end` takes one off
    if row.status is StepStatus.BLOCKED:
        row.blockers = row.wants = row.fired = 0
    row.error = None
    clear(row)
    return row


def _go_on(draft: Draft) -> None:
    """What the end of a run had closed goes on; what nobody has decided or retried stands."""
    if draft.view.stopped is not None:
        go_on(draft, draft.stopped_rows(), draft.view.run.status in RUN_ENDED)
