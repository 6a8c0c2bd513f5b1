"""What a run has come to when everything that led on has led on: it goes on, waits, has something to do before its end, or is over."""

from __future__ import annotations

from wfcelery.core import closing, continuing
from wfcelery.core.children import part_with_loose, tell_parent
from wfcelery.core.draft import Draft, digest
from wfcelery.core.run_machine import GRACE, become, bring_to_end
from wfcelery.core.sections import leave_all
from wfcelery.core.states import RUN_ENDED, RunStatus
from wfcelery.core.step_machine import is_compensating
from wfcelery.errors import ValueProblem


def settle(draft: Draft) -> None:
    """After everything that led on has led on: is the run over, waiting, or going on?"""
    run = draft.run
    if run.status in RUN_ENDED:
        return
    if run.ending is None and run.open_steps == 0:
        ending = _succeed(draft)
        if not draft.plan.closes:
            _finish(draft, ending)
            return
        bring_to_end(draft, ending, None, None)
    if run.ending is not None:
        if run.open_steps == 0:
            _close(draft, run.ending)
        elif run.status is not RunStatus.CANCELLING and not is_compensating(draft):
            become(draft, RunStatus.CANCELLING)
            draft.decision.grace = GRACE
    elif run.status is not RunStatus.PAUSED:
        become(draft, RunStatus.WAITING if run.open_waits == run.open_steps else RunStatus.RUNNING)


def _close(draft: Draft, ending: RunStatus) -> None:
    """Nothing of the graph is under way any more: what is to be done before the end is done, one thing after the other."""
    if not is_compensating(draft) and closing.lay_out(draft):
        become(draft, RunStatus.COMPENSATING)
    if is_compensating(draft) and closing.go_on(draft):
        return
    _finish(draft, ending)


def _succeed(draft: Draft) -> RunStatus:
    """How a run ends that has nothing open: well, unless its output cannot be made, or a failure stands that nobody has retried."""
    plan = draft.plan
    part_with_loose(draft)
    if draft.run.error is not None:
        bring_to_end(draft, RunStatus.FAILED, None, f"step {draft.run.error.get('step')} failed")
        return RunStatus.FAILED
    if plan.output is not None:
        try:
            draft.run.output = plan.output.render(draft.scope(plan.output.tasks))
        except ValueProblem as problem:
            draft.run.error = {"type": "ExpressionError", "code": None, "message": str(problem)[:500], "step": "output"}
            return RunStatus.FAILED
    return RunStatus.SUCCEEDED


def _finish(draft: Draft, status: RunStatus) -> None:
    become(draft, status)
    draft.decision.ended = True
    leave_all(draft)
    value = digest(draft.run.output) if status is RunStatus.SUCCEEDED else None
    continued = continuing.continued(draft) if status is RunStatus.SUCCEEDED else None
    if continued is None:  # else the last of the runs that go on for this one tells
        tell_parent(draft)
    draft.note(f"run_{status}", value=value, error=draft.run.error, continued_as=continued)
