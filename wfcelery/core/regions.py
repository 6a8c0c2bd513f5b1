"""What the success of a task ends elsewhere: the regions that it cancels, and what may begin only before it.

A task that is closed, or skipped, leads on as ever: by `on_cancel`, or not at all. What nobody had come to is skipped in
the same commit, so that no way that leads there later finds it open.
"""

from __future__ import annotations

from wfcelery.core.asking import DECIDED
from wfcelery.core.draft import Draft
from wfcelery.core.rows import NO_ITEM, StepRow
from wfcelery.core.run_machine import close_one
from wfcelery.core.states import STEP_ENDED, StepStatus
from wfcelery.core.step_machine import skip
from wfcelery.definition.plan import Node


def on_success(draft: Draft, node: Node) -> None:
    """The node has succeeded: close what it cancels, withdraw what it comes too early for."""
    draft.know((*node.cancels, *node.passes))
    if node.cancels:
        _close(draft, node)
    for name in node.passes:
        row = draft.step(name)
        if row is not None:
            _withdraw(draft, row, node.name)


def _close(draft: Draft, node: Node) -> None:
    """What is under way is fenced, what waits is closed, and what was not reached never will be."""
    for row in draft.open_rows():
        if row.item == NO_ITEM and row.name in node.cancels and row.status not in STEP_ENDED:
            close_one(draft, row, "rest")
    for name in node.cancels:
        if draft.step(name) is None:
            skip(draft, draft.plan.nodes[name], None, "dead", by=node.name)


def _withdraw(draft: Draft, row: StepRow, by: str) -> None:
    """Skip what nobody has begun."""
    if row.status in (StepStatus.READY, StepStatus.HELD) and row.attempt == 0:
        draft.run.open_steps -= 1  # `skip` counts it once more before it ends it
        skip(draft, draft.plan.nodes[row.name], row, "when", by=by)


def handed_back(draft: Draft, row: StepRow) -> None:
    """A step that was claimed and has not begun is to be claimed once more: its milestone may have been reached since."""
    node = draft.plan.nodes[row.name]
    late = passed(draft, node) if node.unless_reached else None
    if late is not None:
        _withdraw(draft, row, late)


def passed(draft: Draft, node: Node) -> str | None:
    """A milestone of the node that has been reached already, if there is one: it comes too late."""
    draft.know(node.unless_reached)
    return next((name for name in node.unless_reached if _has_succeeded(draft.step(name))), None)


def _has_succeeded(row: StepRow | None) -> bool:
    return row is not None and (row.status is StepStatus.SUCCEEDED or row.why == DECIDED)
