"""The life of a step. The legal ways stand in `states.STEP_TABLE`.

Each function takes a draft and changes one step's row in it. What an end means for the nodes behind
it is the business of `decide`; what it means for the run is the business of `run_machine`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

from wfcelery.core.decision import DeadLetter
from wfcelery.core.draft import Draft
from wfcelery.core.rows import NO_ITEM, Ended, RunRow, StepRow
from wfcelery.core.states import RunStatus, StepStatus
from wfcelery.definition.plan import Node, Plan

OPERATOR = "operator"  # why a step is skipped that somebody has skipped by hand
PAUSED = "paused"  # why a step is held whose run is paused


def is_compensating(draft: Draft) -> bool:
    """Whether the run has come to what it does before its end (`core.closing`); also where somebody has paused it there."""
    run, before = draft.run, draft.view.run
    if run.status is RunStatus.PAUSED:
        return before.ending is not None and before.status in (RunStatus.PAUSED, RunStatus.COMPENSATING)
    return run.status is RunStatus.COMPENSATING


def skip(draft: Draft, node: Node, row: StepRow | None, why: str, by: str | None = None) -> None:
    """The node will not run: its own condition was false (`when`), or no way to it is left (`dead`). `by`: the task that said so."""
    row = row or draft.new_row(node)
    draft.run.open_steps += 1
    draft.move(row, StepStatus.SKIPPED, why)
    draft.note("step_skipped", row, why=why, by=by)
    end(draft, row, "skipped" if why == "when" else "dead")


def ended_by_itself(plan: Plan, run: RunRow) -> bool:
    """Whether a run has come to an `end` or a `fail`: what still executes beside it changes nothing, and nobody tries it again."""
    if run.ending is not RunStatus.FAILED:
        return run.ending is RunStatus.SUCCEEDED
    node = plan.nodes.get((run.error or {}).get("step", ""))
    return node is not None and node.kind == "fail"


def end(draft: Draft, row: StepRow, how: str) -> None:
    """A step is over: count it, keep what it was worth for templates, and let it lead on later."""
    node = draft.plan.nodes[row.name]
    draft.run.open_steps -= 1
    row.delay, row.ring = None, False
    if draft.decision.rings:
        draft.unring(row.id)
    if not (node.fans_out and row.status is StepStatus.SUCCEEDED):
        status = "skipped" if how == "dead" else how
        draft.results[row.name] = Ended(status, row.output, row.error)
    draft.ended.append((node, how))
    if node.leaves is not None:
        leave(draft, node.leaves)


def leave(draft: Draft, gate: str) -> None:
    """The section behind this gate is over: the run gives its lock back."""
    row = draft.step(gate)
    if row is not None and row.gates is not None:
        draft.decision.gated[row.id] = row
        draft.decision.left.append(row.id)


def is_current(row: StepRow | None, token: UUID, status: StepStatus = StepStatus.RUNNING) -> bool:
    """Whether this attempt is still the step's own; a late one changes nothing."""
    return row is not None and row.status is status and row.token == token


def offer(draft: Draft, row: StepRow) -> None:
    """Let a step be claimed by whoever can, and ring for it; while its run is paused it is held instead."""
    row.ring = make_ready(draft, row)
    draft.note("step_ready", row)
    if row.ring:
        draft.ring_step(row, draft.plan.nodes[row.name].action)
    else:
        draft.note("step_held", row, why=PAUSED)


def make_ready(draft: Draft, row: StepRow) -> bool:
    """`ready`, or `held` while the run is paused: whether it is ready now."""
    paused = draft.run.status is RunStatus.PAUSED
    draft.move(row, *((StepStatus.HELD, PAUSED) if paused else (StepStatus.READY,)))
    return not paused


def stood(row: StepRow) -> StepStatus:
    """How a row that is closed shall stand when it is opened again: what a pause or a gate holds is ready."""
    if row.item != NO_ITEM and row.status is StepStatus.WAITING:
        return StepStatus.READY  # for a run of its own, which it will wait for anew
    return StepStatus.READY if row.status is StepStatus.HELD and (row.why == PAUSED or row.item == NO_ITEM) else row.status


def hand_back(draft: Draft, row: StepRow) -> None:
    """A kept step that has not begun: no attempt is counted."""
    row.token = row.claimed_by = row.child = None
    row.attempt -= 1
    row.delay, row.ring = None, make_ready(draft, row)
    draft.note("step_handed_back", row, then=None if row.ring else "held")
    if row.ring:
        draft.ring_step(row, draft.plan.nodes[row.name].action)


def bury(draft: Draft, row: StepRow, reason: str, handled: bool) -> None:
    """A dead letter, in the commit that fails the step. A failure that nothing handles is marked on the step itself."""
    if not handled and row.item == NO_ITEM:
        row.why = "unhandled"
    letter = DeadLetter(row.id, row.name, row.item, reason, row.error, row.attempt, handled)
    draft.decision.dead_letters.append(replace(letter, error=None if row.error is None else dict(row.error)))


def whence(row: StepRow) -> dict[str, Any]:
    """Who executed the attempt and since when, for the history."""
    return {
        "worker": None if row.claimed_by is None else str(row.claimed_by),
        "child": row.child,
        "started": None if row.claimed_at is None else row.claimed_at.isoformat(),
    }
