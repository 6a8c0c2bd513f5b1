"""What facts do to a run: pure, complete, the same everywhere.

`decide` reads no clock, no database and no settings. It is told a slice of a run and some facts, and
answers with the rows to write, the facts for the history and the wishes for after the commit; or with
what is missing from the slice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from wfcelery.core import (
    approval_machine,
    attempts,
    births,
    by_hand,
    calls,
    closing,
    event_machine,
    fan_out,
    holding,
    joins,
    moving,
    pausing,
    regions,
    reopening,
    run_machine,
    sections,
    taking_over,
    withdrawing,
)
from wfcelery.core.decision import Decision, Missing, RingStep
from wfcelery.core.draft import Draft, NeedMore, digest
from wfcelery.core.events import (
    Answered,
    AssignAsked,
    Begun,
    CancelAsked,
    CancelStepAsked,
    ChildEnded,
    CompleteAsked,
    DeadlinePassed,
    EventCame,
    Expanded,
    Fact,
    Failed,
    GateOpened,
    GracePassed,
    GroupEnded,
    HoldOver,
    ItemsAdded,
    ItemsCalled,
    ItemsCompleted,
    Lost,
    MoveAsked,
    Parked,
    PauseAsked,
    Reported,
    RerunAsked,
    ResumeAsked,
    RetryAsked,
    RunRetryAsked,
    SkipAsked,
    Succeeded,
    TakenOver,
    TerminateAsked,
    TurnedAway,
    WaitCame,
)
from wfcelery.core.reaching import reach
from wfcelery.core.rows import NO_ITEM, RunRow, Slice, StepRow
from wfcelery.core.settling import settle
from wfcelery.core.states import RUN_ENDED, RunStatus, StepStatus
from wfcelery.core.step_machine import OPERATOR, hand_back, is_current, skip
from wfcelery.definition.plan import Edge, Node
from wfcelery.errors import ValueProblem

_HANDLERS: dict[type, Callable[[Draft, Any], None]] = {
    Succeeded: attempts.on_succeeded,
    Failed: attempts.on_failed,
    Lost: attempts.on_lost,
    Parked: attempts.on_parked,
    GroupEnded: attempts.on_group_ended,
    Reported: attempts.on_reported,
    Expanded: births.on_expanded,
    WaitCame: approval_machine.on_time,
    Answered: approval_machine.on_answered,
    AssignAsked: approval_machine.on_assign_asked,
    EventCame: event_machine.on_event_came,
    ChildEnded: calls.on_child_ended,
    ItemsCalled: calls.on_items_called,
    CancelAsked: run_machine.on_cancel_asked,
    TerminateAsked: run_machine.on_terminate_asked,
    PauseAsked: pausing.on_pause_asked,
    ResumeAsked: pausing.on_resume_asked,
    GateOpened: sections.on_gate_opened,
    TurnedAway: holding.on_turned_away,
    HoldOver: holding.on_hold_over,
    DeadlinePassed: run_machine.on_deadline_passed,
    GracePassed: run_machine.on_grace_passed,
    RetryAsked: reopening.on_retry_asked,
    RerunAsked: reopening.on_rerun_asked,
    RunRetryAsked: reopening.on_run_retry_asked,
    CancelStepAsked: withdrawing.on_cancel_step_asked,
    SkipAsked: by_hand.on_skip_asked,
    TakenOver: taking_over.on_taken_over,
    CompleteAsked: by_hand.on_complete_asked,
    ItemsAdded: births.on_items_added,
    ItemsCompleted: fan_out.on_items_completed,
    MoveAsked: moving.on_move_asked,
}
_REOPENING = (RetryAsked, RunRetryAsked, RerunAsked, SkipAsked, CompleteAsked)
# More items before the ends of others, lest the last of them ends the fan-out; then results, what ends or reopens the
# run, the rest; only then the graph advances. Where a pause stands among them says `_in_order`.
_ORDER: tuple[tuple[type, ...], ...] = (
    (ItemsAdded, TakenOver),
    (Succeeded, Failed, GroupEnded, ItemsCalled, Reported, ChildEnded),
    (CancelAsked, TerminateAsked, DeadlinePassed, GracePassed, *_REOPENING),
)
_EVER = datetime.min.replace(tzinfo=UTC)
_TIMED = (WaitCame, EventCame, Answered)  # the last, in the order of their times; each sees what the one before has led to
# Of a run that has ended, too: the history says why not.
_ANSWERED = (*_REOPENING, CancelStepAsked, Answered, AssignAsked, ItemsAdded, ItemsCompleted)


def decide(view: Slice, facts: Sequence[Fact], mint: Callable[[], UUID]) -> Decision | Missing:
    """Say what `facts` do to a run.

    `mint` gives fresh ids. A late or repeated fact changes nothing: where no fact does, the decision
    is `ignored`. Raises IllegalTransition only where stored rows contradict each other.
    """
    draft = Draft(view, mint)
    try:
        for fact in _in_order(facts):
            if isinstance(fact, Begun) or (isinstance(fact, PauseAsked) and fact.down):
                _begin(draft)
            if isinstance(fact, Begun):
                continue
            if _is_heard(view.run, fact):
                if isinstance(fact, _TIMED):
                    _advance(draft)
                _HANDLERS[type(fact)](draft, fact)
        _advance_at_last(draft)
        if not draft.facts:
            return Decision.ignore(view.run, f"nothing new for a run that is {view.run.status}")
        sections.hold_inside(draft)
        settle(draft)
    except NeedMore as need:
        return need.missing
    return draft.decision


def keep(decision: Decision, ready: StepRow, token: UUID, worker: UUID, child: str, timeout: float | None) -> None:
    """Claim one of the steps that this decision makes ready in its own commit: no message, no second commit."""
    ready.status, ready.token, ready.claimed_by, ready.child = StepStatus.RUNNING, token, worker, child
    ready.attempt += 1
    ready.ring, ready.timeout = False, timeout
    decision.kept = ready
    decision.rings = [ring for ring in decision.rings if not (isinstance(ring, RingStep) and ring.step == ready.id)]


def keepable(decision: Decision) -> list[StepRow]:
    """The steps that this decision makes ready now, in its order; items are claimed in groups instead."""
    return [row for row in decision.steps if row.status is StepStatus.READY and row.item == NO_ITEM and not row.delay]


def give_back(view: Slice, kept: tuple[UUID, UUID], facts: Sequence[Fact], mint: Callable[[], UUID]) -> Decision | Missing:
    """As `decide`, for a worker that holds a kept step (id, token) which it has not begun.

    Where the facts end or pause the run, the kept step is handed back in the same commit, as if it had never been
    claimed. So it is where another has applied them before, and took the step for one that is executed.
    """
    first = decide(view, facts, mint)
    if isinstance(first, Missing) or (first.run.ending is None and first.run.status is not RunStatus.PAUSED):
        return first
    row = view.by_id.get(kept[0])
    if row is None or not is_current(row, kept[1]):
        return first
    draft = Draft(view, mint)
    try:
        mine = draft.by_id(kept[0])
        assert mine is not None
        hand_back(draft, mine)
        draft.decision.rings.clear()
        if view.run.ending is not None:
            run_machine.close_one(draft, mine, "stopped")
        else:
            regions.handed_back(draft, mine)
        for fact in _in_order(facts):
            if isinstance(fact, _TIMED):
                _advance(draft)
            _HANDLERS[type(fact)](draft, fact)
        _advance_at_last(draft)
        settle(draft)
    except NeedMore as need:
        return need.missing
    return draft.decision


def _is_heard(run: RunRow, fact: Fact) -> bool:
    """Whether a fact can mean something to a run that stands like this."""
    return run.version > 0 if isinstance(fact, _ANSWERED) else run.status not in RUN_ENDED


def _in_order(facts: Sequence[Fact]) -> list[Fact]:
    """The facts as they are applied. A pause is the first, so that no end beside it lets anything go, but that of a run that begins.

    Of pauses and resumes the last is meant; a resume comes last, and takes up what all the others have left.
    """
    held = [fact for fact in facts if isinstance(fact, PauseAsked | ResumeAsked)][-1:]
    others = sorted((fact for fact in facts if not isinstance(fact, PauseAsked | ResumeAsked)), key=_rank)
    if held and isinstance(held[0], PauseAsked) and not any(isinstance(fact, Begun) for fact in others):
        return [*held, *others]
    return [*others, *held]


def _rank(fact: Fact) -> tuple[int, datetime]:
    if isinstance(fact, MoveAsked):
        return -2, _EVER  # so that all the others are told to one plan
    if attempts.has_no_quota(fact):
        return -1, _EVER  # the run is paused by it: no end beside it lets anything go
    at = fact.at if isinstance(fact, _TIMED) else None
    return next((rank for rank, kinds in enumerate(_ORDER) if isinstance(fact, kinds)), len(_ORDER)), at or _EVER


def _begin(draft: Draft) -> None:
    run, plan = draft.run, draft.plan
    if run.version != 0 or run.ending is not None or run.status is not RunStatus.PENDING:
        return
    run.status = RunStatus.RUNNING
    draft.note("run_begun")
    try:
        variables = dict(run.variables)
        for name, template in plan.vars.items():
            variables[name] = template.render(draft.scope((), vars=variables))
        run.variables = variables
        if plan.vars:
            draft.note("variables_set", values={name: digest(run.variables[name]) for name in plan.vars})
    except ValueProblem as problem:
        error = {"type": "ExpressionError", "code": None, "message": str(problem)[:500], "step": "vars"}
        run_machine.bring_to_end(draft, RunStatus.FAILED, error, "vars")
        return
    for name in plan.entries:
        reach(draft, plan.nodes[name], None)


def _advance_at_last(draft: Draft) -> None:
    """All has been said that came in time: what has waited for too long ends now."""
    _advance(draft)
    if draft.overdue:
        approval_machine.end_overdue(draft)
        _advance(draft)


def _advance(draft: Draft) -> None:
    """Let every node that ended lead on, until nothing moves any more."""
    while draft.ended or draft.anew:
        if not draft.ended:
            reopening.reach_anew(draft, draft.anew.popleft())
            continue
        node, how = draft.ended.popleft()
        if node.closes:
            closing.on_end(draft, node, how)
            continue
        if draft.run.ending is not None:
            _leave(draft, node, how)
            continue
        if how in ("failed", "timed_out") and not node.takes_care_of(how):
            _stop(draft, node, how)
            continue
        if how == "cancelled" and (error := withdrawing.stops(draft, node)) is not None:
            _stop_with(draft, node, error)
            continue
        if node.ends_run and how == "succeeded":
            run_machine.end_here(draft, node)
            continue
        branch: int | None = None
        if how == "succeeded":
            try:
                branch = _say(draft, node)
            except ValueProblem as problem:
                _stop_with(draft, node, {"type": "ExpressionError", "code": None, "message": str(problem)[:500]})
                _leave(draft, node, how)
                continue
        if how == "succeeded" and (node.cancels or node.passes):
            regions.on_success(draft, node)
        draft.know(edge.target for edge in node.outbound if _may_be_there(draft.plan.nodes[edge.target]))
        for edge in node.outbound:
            _arrive(draft, edge, edge.fires(how, branch))


def _leave(draft: Draft, node: Node, how: str) -> None:
    """A step that ends while the run is ending is recorded and advances nothing; a retry of the run will."""
    row = draft.named.get(node.name)
    if row is None or row.why == "unhandled":
        return
    if how != "cancelled" or (row.why or "").startswith(("rest:", "asked:")):
        row.why = f"unadvanced:{OPERATOR if row.why == OPERATOR else how}"
        draft.note("step_unadvanced", row)


def _stop(draft: Draft, node: Node, how: str) -> None:
    row = draft.named.get(node.name)
    error = dict(row.error or {}) if row is not None else {}
    error.setdefault("type", "TimedOut" if how == "timed_out" else "Failed")
    _stop_with(draft, node, error)


def _stop_with(draft: Draft, node: Node, error: dict[str, Any]) -> None:
    run_machine.bring_to_end(draft, RunStatus.FAILED, error | {"step": node.name}, f"step {node.name} failed")


def _say(draft: Draft, node: Node) -> int | None:
    """Publish what the node publishes and choose its branch: both, or, where one cannot be computed, neither."""
    variables = dict(draft.run.variables)
    for name, template in node.publish.items():
        variables[name] = template.render(draft.scope(template.tasks, vars=variables))
    branch = _branch(draft, node, variables)
    if node.publish:
        draft.run.variables = variables
        draft.note("variables_set", by=node.name, values={name: digest(variables[name]) for name in node.publish})
    return branch


def _branch(draft: Draft, node: Node, variables: dict[str, Any]) -> int | None:
    for number, condition in enumerate(node.decision):
        if condition is None or condition.holds(draft.scope(condition.tasks, vars=variables)):
            return number
    return None


def _may_be_there(node: Node) -> bool:
    """Whether a node may have a row before this way to it has come."""
    return len(node.inbound) > 1 or node.barred


def _arrive(draft: Draft, edge: Edge, fires: bool) -> None:
    node = draft.plan.nodes[edge.target]
    if not _may_be_there(node):
        count, verdict = joins.arrive(node, joins.untouched(node), edge, fires)
        row = None
    else:
        row = draft.step(edge.target)
        if row is not None and row.status is not StepStatus.BLOCKED:
            return
        before = joins.untouched(node) if row is None else joins.Count(row.blockers, row.wants, row.fired)
        count, verdict = joins.arrive(node, before, edge, fires)
        if verdict == "wait":
            _wait(draft, node, row, edge, count, fires)
            return
        if row is not None:
            row.blockers, row.wants, row.fired = 0, 0, 0
    if verdict == "dead":
        skip(draft, node, row, "dead")
        return
    if node.cancel_rest:
        _cancel_rest(draft, node, edge.source)
    reach(draft, node, row)


def _wait(draft: Draft, node: Node, row: StepRow | None, edge: Edge, count: joins.Count, fires: bool) -> None:
    row = row or draft.new_row(node)
    row.blockers, row.wants, row.fired = count.blockers, count.wants, count.fired
    draft.move(row, StepStatus.BLOCKED)
    draft.note("step_blocked", row, by=edge.source, fires=fires, left=count.blockers)


def _cancel_rest(draft: Draft, node: Node, last: str) -> None:
    """The join has what it wants: close those of its counted sources that are still under way."""
    rest = {edge.source for edge in node.inbound if edge.counted and edge.source != last}
    for row in draft.open_rows():
        if row.name in rest and row.item == NO_ITEM:
            run_machine.close_one(draft, row, "rest")
