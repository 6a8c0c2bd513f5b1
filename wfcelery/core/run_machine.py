"""The life of a run: begun, going on or only waiting, brought to an end, ended. The legal ways stand in `states.RUN_TABLE`.

A run that must end before its own end (a failure that nothing handles, a cancel, its deadline) is
`cancelling` until nothing is under way: what has not begun is closed in the same commit, what is
executing is told at the next renewal of its lease, recorded when it ends, and fenced after a grace.
"""

from __future__ import annotations

from typing import Any

from wfcelery.core import continuing, fan_out
from wfcelery.core.children import awaits_child, part_with, part_with_loose, tell_all
from wfcelery.core.draft import Draft
from wfcelery.core.events import CancelAsked, DeadlinePassed, GracePassed, TerminateAsked
from wfcelery.core.rows import NO_ITEM, StepRow
from wfcelery.core.states import RUN_ENDED, RUN_TABLE, STEP_ENDED, RunStatus, StepStatus
from wfcelery.core.step_machine import end, stood
from wfcelery.core.wait_machine import close_wait
from wfcelery.definition.plan import Node
from wfcelery.definition.values import as_text
from wfcelery.errors import IllegalTransition

GRACE = 30.0  # seconds that a cancelling run waits for what is under way
_RUN_MOVES = {was: frozenset().union(*ways.values()) for was, ways in RUN_TABLE.items()}


def become(draft: Draft, status: RunStatus) -> None:
    """Change the run's status along the table."""
    if status is draft.run.status:
        return
    if status not in _RUN_MOVES[draft.view.run.status] and status not in _RUN_MOVES[draft.run.status]:
        raise IllegalTransition("run", str(draft.run.status), str(status))
    draft.run.status = status


def bring_to_end(draft: Draft, ending: RunStatus, error: dict[str, Any] | None, reason: str | None) -> None:
    """Close what nobody executes; the first reason counts."""
    run = draft.run
    if run.ending is not None or run.status in RUN_ENDED:
        return
    run.ending, run.reason = ending, reason
    if error is not None:
        run.error = error
    draft.note("run_ending", ending=str(ending), reason=reason, error=error)
    if run.open_steps or any(len(node.inbound) > 1 for node in draft.plan.nodes.values()):
        _close_open_rows(draft)
    part_with_loose(draft)


def end_here(draft: Draft, node: Node) -> None:
    """The run has come to a task that ends it: well, with what that is worth, with its message as the run's error, or for another run."""
    if node.kind == "continue_as_new":
        bring_to_end(draft, RunStatus.SUCCEEDED, None, continuing.reason(node, draft.run))
        return
    value = draft.worth(node.name)
    if node.kind == "end":
        draft.run.output = value
        bring_to_end(draft, RunStatus.SUCCEEDED, None, f"end {node.name}")
        return
    message = as_text(value)[:500]
    error = {"type": "Failed", "code": node.code, "message": message, "step": node.name}
    bring_to_end(draft, RunStatus.FAILED, error, message)


def _close_open_rows(draft: Draft) -> None:
    for row in draft.open_rows():
        if row.item == NO_ITEM and row.status is not StepStatus.REPORTED and row.status is not StepStatus.RUNNING:
            close_one(draft, row, "stopped")


def close_one(draft: Draft, row: StepRow, label: str) -> None:
    """Close one step that is not over; an attempt under way is fenced at once. `label` as of `fan_out.close_items`."""
    if row.status in STEP_ENDED or row.status is StepStatus.REPORTED:
        return
    if row.status is StepStatus.WAITING and draft.plan.nodes[row.name].fans_out:
        fan_out.close_items(draft, row, label)  # a failing one too: a retry may have made some of its items ready
        return
    if awaits_child(draft, row) and part_with(draft, row) and label == "stopped":
        return  # it ends when its child has
    if row.status is StepStatus.WAITING:
        close_wait(draft, row)
    if row.status is StepStatus.BLOCKED:
        draft.run.open_steps += 1  # a blocked row is not open, and `end` takes one off
    why = f"{label}:{stood(row)}"
    draft.move(row, StepStatus.CANCELLED, why)
    draft.note("step_cancelled", row, why=why)
    end(draft, row, "cancelled")


def on_cancel_asked(draft: Draft, fact: CancelAsked) -> None:
    """Somebody wants the run to end."""
    _give_up_the_next(draft, fact.reason)
    bring_to_end(draft, RunStatus.CANCELLED, None, fact.reason)


def on_terminate_asked(draft: Draft, fact: TerminateAsked) -> None:
    """Somebody wants the run to end in this commit; what is under way is fenced."""
    _give_up_the_next(draft, fact.reason)
    bring_to_end(draft, RunStatus.CANCELLED, None, fact.reason)
    tell_all(draft, "terminate", reason=fact.reason, by=fact.by)
    draft.terminated = True
    if draft.plan.closes:
        draft.note("run_terminated", by=fact.by)
        _close_open_rows(draft)
    _fence(draft, "terminate")


def _give_up_the_next(draft: Draft, reason: str) -> None:
    """A run that is about to continue as a new one ends as cancelled instead: whoever cancels means what comes after it, too."""
    run = draft.run
    if run.status not in RUN_ENDED and continuing.node_of(draft.plan, run) is not None:
        run.ending, run.reason = RunStatus.CANCELLED, reason
        draft.note("run_ending", ending=str(RunStatus.CANCELLED), reason=reason)


def on_deadline_passed(draft: Draft, _: DeadlinePassed) -> None:
    """The run's own deadline is over."""
    error = {"type": "DeadlinePassed", "code": "deadline", "message": "the run's deadline has passed"}
    bring_to_end(draft, RunStatus.TIMED_OUT, error, "deadline")


def on_grace_passed(draft: Draft, _: GracePassed) -> None:
    """Whoever is still at it has had time enough."""
    if draft.run.status is RunStatus.CANCELLING:
        _fence(draft, "grace")


def _fence(draft: Draft, why: str) -> None:
    """What is still under way is over: its token stays on its row, and its result changes nothing."""
    for row in draft.open_rows():
        awaits = awaits_child(draft, row)
        if row.status is StepStatus.RUNNING or awaits:
            if awaits and row.item == NO_ITEM:
                close_wait(draft, row)
            draft.move(row, StepStatus.CANCELLED, f"stopped:{stood(row)}")
            draft.note("step_cancelled", row, attempt=None if awaits else row.attempt, why=why)
            if row.item != NO_ITEM:
                fan_out.item_closed(draft, row)
            else:
                end(draft, row, "cancelled")
