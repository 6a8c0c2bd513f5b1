"""A run that goes on as another one: it ends, and in the same commit the next one starts, with a new input and no history.

Between the task that says so and the end of the run there may be commits, while what is under way ends. The run's `reason`
says which task it was, and that task's row holds the input.
"""

from __future__ import annotations

from wfcelery.core.decision import NextRun, RingRun
from wfcelery.core.draft import Draft
from wfcelery.core.rows import RunRow
from wfcelery.core.states import RunStatus
from wfcelery.definition.plan import Node, Plan

_SAYS, _PAUSED = "continue_as_new ", " while paused"


def reason(node: Node, run: RunRow) -> str:
    """Why a run ends that has come to this task."""
    return _SAYS + node.name + (_PAUSED if run.status is RunStatus.PAUSED else "")


def node_of(plan: Plan, run: RunRow) -> Node | None:
    """The task because of which a run ends to go on as a new one; None where that is not why it ends."""
    said = run.reason or ""
    if run.ending is not RunStatus.SUCCEEDED or not said.startswith(_SAYS):
        return None
    return plan.nodes.get(said.removeprefix(_SAYS).removesuffix(_PAUSED))


def continued(draft: Draft) -> str | None:
    """Start the next run, where the run ends for one; its id."""
    run, plan = draft.run, draft.plan
    node = node_of(plan, run)
    if node is None:
        return None
    given = {**plan.defaults, **(draft.worth(node.name) or {})}
    new = NextRun(draft.mint(), given, plan.timeout, paused=(run.reason or "").endswith(_PAUSED))
    draft.decision.next_run = new
    draft.decision.rings.append(RingRun(run.organization_id, new.id, run.queue))
    return str(new.id)
