"""One step of a run is cancelled by somebody, and the run goes on: by its `on_cancel`, or as its `on_error` says."""

from __future__ import annotations

from typing import Any

from wfcelery.core.asking import DECIDED, RunLike, StepLike
from wfcelery.core.draft import Draft
from wfcelery.core.events import CancelStepAsked
from wfcelery.core.rows import StepRow
from wfcelery.core.run_machine import close_one
from wfcelery.core.states import RUN_ENDED, RunStatus, StepStatus
from wfcelery.definition.plan import Node

ASKED = "asked"  # of a closed row's `why`: somebody wanted this one step to end
_OPEN = (StepStatus.READY, StepStatus.HELD, StepStatus.RUNNING, StepStatus.WAITING)


def refusal(run: RunLike, row: StepLike | None) -> str | None:
    """Why nobody can cancel this step now; None: somebody can."""
    if run.status == RunStatus.PENDING:
        return "the run has not begun"
    if run.status in RUN_ENDED:
        return f"the run is {run.status}"
    if run.ending is not None:
        return f"the run is being ended as {run.ending}"
    if row is None or row.status == StepStatus.BLOCKED:
        return "the run has not come to it"
    if row.status == StepStatus.REPORTED:
        return "it has recorded its result"
    if row.status not in _OPEN:
        return f"it is {row.status}"
    if row.items_left is not None and row.why is not None:
        return "enough of its items have succeeded, and the run has gone on" if row.why == DECIDED else "its items are being closed"
    return None


def on_cancel_step_asked(draft: Draft, fact: CancelStepAsked) -> None:
    """Close the step: who executes it is fenced. What that means for the run is seen when it leads on."""
    row = draft.step(fact.task) if fact.task in draft.plan.nodes else None
    why = refusal(draft.run, row)
    if why is not None or row is None:
        draft.note("step_cancel_refused", step=fact.task, why=why, by=fact.by)
        return
    draft.note("step_cancel_asked", row, reason=fact.reason, by=fact.by)
    row.error = {"type": "Cancelled", "code": "cancelled", "message": fact.reason}
    close_one(draft, row, ASKED)


def stops(draft: Draft, node: Node) -> dict[str, Any] | None:
    """The error with which the run fails by the end of a step that somebody cancelled; None: it goes on."""
    row = draft.named.get(node.name)
    if row is None or not is_asked(row) or node.on_error == "continue" or "cancelled" in node.handles:
        return None
    row.why = "unhandled"
    return dict(row.error or {})


def is_asked(row: StepRow) -> bool:
    """Whether somebody cancelled this one step."""
    return row.status is StepStatus.CANCELLED and (row.why or "").startswith(f"{ASKED}:")
