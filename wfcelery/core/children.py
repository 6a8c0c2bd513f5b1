"""The runs that steps of this run have begun: what they are called, and what they are told when this one is stopped, or goes on.

A call's row counts in `fired` the children that it has begun, one after the other: the last one's id follows from it.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid5

from wfcelery.core.decision import RingRun, Told
from wfcelery.core.draft import Draft
from wfcelery.core.rows import NO_ITEM, StepRow
from wfcelery.core.states import StepStatus

CLOSES = {"request_cancel": "cancel", "terminate": "terminate"}  # what a child is told when its parent is over, by `parent_close`


def child_of(row: StepRow) -> UUID:
    """The id of the child that a call waits for."""
    return uuid5(row.id, str(row.fired))


def awaits_child(draft: Draft, row: StepRow) -> bool:
    """Whether this step waits for a child's end."""
    node = draft.plan.nodes[row.name]
    return row.status is StepStatus.WAITING and node.callee is not None and (row.item != NO_ITEM or not node.fans_out)


def tell(draft: Draft, run: UUID, fact: str, *, id: UUID | None = None, **data: Any) -> None:  # noqa: A002
    """Put a fact into another run's inbox in this commit, and ring for it."""
    draft.decision.told.append(Told(run, fact, data, id))
    draft.decision.rings.append(RingRun(draft.run.organization_id, run, draft.run.queue))


def part_with(draft: Draft, row: StepRow) -> bool:
    """The run is being ended, or wants this call no more: its child is told as `parent_close` says. True: it will come to its end."""
    return _close(draft, child_of(row), row.name) == "cancel"


def part_with_loose(draft: Draft) -> None:
    """The same for the children that no step waits for; the run is over, or about to be."""
    for child, name in draft.loose_children() if draft.plan.loose else ():
        _close(draft, child, name)


def _close(draft: Draft, child: UUID, name: str) -> str | None:
    callee = draft.plan.nodes[name].callee
    fact = None if callee is None else CLOSES.get(callee.parent_close)
    if fact is not None:
        tell(draft, child, fact, reason="its parent is over, or does not need it any more", by=None)
    return fact


def tell_all(draft: Draft, fact: str, **data: Any) -> None:
    """Every child that has not ended, but those that are abandoned."""
    waited = [(child_of(row), row.name) for row in draft.open_rows() if awaits_child(draft, row)]
    for child, name in [*waited, *(draft.loose_children() if draft.plan.loose else ())]:
        callee = draft.plan.nodes[name].callee
        if callee is not None and callee.parent_close != "abandon":
            tell(draft, child, fact, **data)


def tell_parent(draft: Draft) -> None:
    """The run has ended: who waits for it is told, once."""
    run = draft.run
    if run.parent is not None:
        output = run.output if run.status == "succeeded" else None
        child = run.first_run or run.id
        said = {"child": str(child), "step": str(run.parent_step), "status": str(run.status), "output": output, "error": run.error}
        tell(draft, run.parent, "child_ended", id=uuid5(child, "child_ended"), **said)
