"""A step that calls a workflow: it waits for a child run, or, as a loop, for one after the other.

Its row counts: `fired` is how many children it has begun, `wants` how many rounds of a loop have gone well. What the child
is given stands in its `input`, so that another child can be given the same; an item of a fan-out keeps its own value there,
and is given its input anew. An end that comes from any child but the last one is late, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wfcelery.core import attempts, fan_out, retries
from wfcelery.core.children import child_of, tell
from wfcelery.core.decision import NewChild, RingRun
from wfcelery.core.draft import Draft, digest
from wfcelery.core.events import ChildEnded, Failed, ItemsCalled
from wfcelery.core.rows import NO_ITEM, Called, StepRow
from wfcelery.core.states import RunStatus, StepStatus
from wfcelery.core.step_machine import bury, end, is_current, make_ready
from wfcelery.core.wait_machine import close_wait, meet, open_wait
from wfcelery.definition.inputs import check_input
from wfcelery.definition.plan import Callee, Node, Rounds
from wfcelery.definition.values import dumps
from wfcelery.errors import ExpressionError, InvalidInput, ValueProblem


class CannotCall(ValueProblem):
    """The child may not be born; `error` is what the call fails with."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.error = {"type": "CannotCall", "code": code, "message": message}


def open_call(draft: Draft, node: Node, row: StepRow) -> None:
    """All that the call waited for has come: its first child is born. Raises CannotCall and ExpressionError where it cannot be."""
    callee = _callee(node)
    items = _items(draft, node, callee.rounds)
    row.wants = 0
    row.output = row.error = None
    row.queue, row.priority = node.queue, node.priority
    if items is not None and not items:
        row.input = None
        draft.run.open_steps += 1
        draft.move(row, StepStatus.SUCCEEDED)
        draft.note("step_succeeded", row, value=digest(None))
        end(draft, row, "succeeded")
        return
    given = _given(draft, node, row, None, items)
    _check(draft, callee, given)
    row.input = {"input": given} | ({} if items is None else {"items": items})
    if callee.waits:
        open_wait(draft, row, "child")
        _begin(draft, node, row, given)
        return
    draft.run.open_steps += 1
    draft.move(row, StepStatus.SUCCEEDED)
    _begin(draft, node, row, given)
    row.output = str(child_of(row))
    draft.note("step_succeeded", row, value=digest(row.output))
    end(draft, row, "succeeded")


def on_items_called(draft: Draft, fact: ItemsCalled) -> None:
    """Items of a fan-out, whose turn has come, wait for their children from now on; unless the run has been stopped meanwhile."""
    rows = [(row, given) for row, given in ((draft.by_id(step), given) for step, given in fact.calls) if is_current(row, fact.token)]
    if not rows:
        return
    stopped = draft.run.ending is not None or draft.run.status is RunStatus.PAUSED
    if stopped or fan_out.is_closing(draft, fact.fan_out):
        fan_out.items_handed_back(draft, fact.fan_out, [row for row, _ in rows if row is not None])
        return
    for row, given in rows:
        assert row is not None
        node = draft.plan.nodes[row.name]
        try:
            _check(draft, _callee(node), given)
        except CannotCall as problem:
            attempts.on_failed(draft, Failed(row.id, fact.token, problem.error, final=True))
            continue
        row.token = row.claimed_by = row.child = None
        row.attempt -= 1  # nobody executes it
        draft.move(row, StepStatus.WAITING)
        _begin(draft, node, row, given)


def call_again(draft: Draft, row: StepRow) -> None:
    """Another child, which is given what the last one was: of a loop the same round."""
    node = draft.plan.nodes[row.name]
    try:
        _check(draft, _callee(node), row.input["input"])
    except CannotCall as problem:
        _fail(draft, row, problem.error, "failed", "non_retryable")
        return
    _begin(draft, node, row, row.input["input"])


def on_child_ended(draft: Draft, fact: ChildEnded) -> None:
    """The child that a call waits for is over."""
    row = draft.by_id(fact.step)
    if row is None or row.status is not StepStatus.WAITING or child_of(row) != fact.child:
        return
    node = draft.plan.nodes[row.name]
    draft.note("child_ended", row, child=str(fact.child), status=fact.status)
    if fact.status == "succeeded":
        _went_well(draft, node, row, fact.output)
    else:
        _went_wrong(draft, node, row, fact)
    if row.fan_out is not None:
        fan_out.ring_for_let_go(draft, row.fan_out)


# ---- one child -------------------------------------------------------------------------------------------------------


def _callee(node: Node) -> Callee:
    assert node.callee is not None
    return node.callee


def _check(draft: Draft, callee: Callee, given: Mapping[str, Any]) -> tuple[Called, dict[str, Any]]:
    """The definition a child is to go by, and its input. Raises CannotCall where it may not be born, as a start would."""
    limits = draft.view.limits
    if draft.run.depth >= limits.deepest:
        raise CannotCall("too_deep", f"{draft.run.depth} runs are above this one, and no more than {limits.deepest} may be above another")
    own = draft.run.definition if callee.signature is None and callee.name == draft.run.workflow else None
    found = draft.called(callee.name, callee.signature or own)
    if found is None:
        raise CannotCall("unknown_workflow", f"no definition of workflow {callee.name} is published")
    try:
        stored = check_input(found.definition, given)
    except InvalidInput as problem:
        raise CannotCall(InvalidInput.code, str(problem)[:400]) from problem
    size = len(dumps(stored))
    if size > limits.input:
        raise CannotCall(InvalidInput.code, f"the input of workflow {callee.name} has {size} bytes, more than {limits.input}")
    return found, stored


def _begin(draft: Draft, node: Node, row: StepRow, given: Mapping[str, Any], delay: float | None = None) -> None:
    callee, run = _callee(node), draft.run
    found, stored = _check(draft, callee, given)
    row.fired += 1
    draft.write(row)
    child = child_of(row)
    own = [span for span in (node.timeout, found.definition.timeout) if span is not None]
    draft.decision.children.append(
        NewChild(
            child,
            row.id,
            found.definition.name,
            found.signature,
            stored,
            found.definition.tags,
            callee.waits,
            delay,
            min(own) if own else None,
            node.queue or run.queue,
            node.priority if node.priority is not None else run.priority,
        )
    )
    again = row.wants + 1 if callee.rounds is not None else None
    draft.note("child_begun", row, child=str(child), workflow=found.definition.name, round=again, delay=delay)
    if not delay:
        draft.decision.rings.append(RingRun(run.organization_id, child, node.queue or run.queue))
    if run.status is RunStatus.PAUSED:
        tell(draft, child, "pause", reason=run.reason, by=None, down=True)


# ---- how it ended ----------------------------------------------------------------------------------------------------


def _went_well(draft: Draft, node: Node, row: StepRow, output: Any) -> None:
    rounds = _callee(node).rounds
    if row.item != NO_ITEM:
        row.output, row.error = output, None
        fan_out.item_answered(draft, row)
    elif rounds is None:
        meet(draft, row, "child", "succeeded", output)
    else:
        _next_round(draft, node, row, rounds, output)


def _went_wrong(draft: Draft, node: Node, row: StepRow, fact: ChildEnded) -> None:
    ending = draft.run.ending is not None
    closing = ending or (row.fan_out is not None and fan_out.is_closing(draft, row.fan_out))
    if fact.status == "cancelled" and (closing or (row.item == NO_ITEM and "cancelled" in node.handles)):
        _cancelled(draft, row, "stopped:waiting" if ending else None)
        return
    error = _error(_callee(node), fact)
    how = "timed_out" if fact.status == "timed_out" else "failed"
    row.failures += 1
    try:
        delay = retries.next_attempt(node.retry or retries.NO_RETRY, row.id, row.failures, error, None, None)
    except ExpressionError as problem:
        error["message"] = f"{error['message']} (and its retry condition failed: {problem})"[:500]
        delay = None
    row.error = error
    if delay is None:
        reason = "timed_out" if how == "timed_out" else "exhausted"
        _fail(draft, row, error, how, reason)
    elif row.item != NO_ITEM:
        _item_again(draft, row, delay)
    elif ending:
        _cancelled(draft, row, "stopped:waiting")
    else:
        draft.note("child_retried", row, then="waiting", failures=row.failures, delay=round(delay, 3), error=error)
        _begin(draft, node, row, row.input["input"], delay)


def _error(callee: Callee, fact: ChildEnded) -> dict[str, Any]:
    """What is said of a child that failed: the type is always the same, the code is what the child's own error says."""
    own = fact.error or {}
    code = "cancelled" if fact.status == "cancelled" else own.get("code") or own.get("type")
    where = f" in step {own['step']}" if own.get("step") else ""
    what = f": {own.get('type')}: {own.get('message')}" if own else ""
    how = {"cancelled": "was cancelled", "timed_out": "timed out"}.get(fact.status, fact.status)
    return {"type": "ChildFailed", "code": code, "message": f"run {fact.child} of {callee.name} {how}{where}{what}"[:500]}


def _cancelled(draft: Draft, row: StepRow, why: str | None) -> None:
    if row.item != NO_ITEM:
        draft.move(row, StepStatus.CANCELLED, f"{fan_out.label_of(draft, row)}:ready")
        draft.note("step_cancelled", row, why=row.why, failures=row.failures or None)
        fan_out.item_closed(draft, row)
        return
    close_wait(draft, row)
    draft.move(row, StepStatus.CANCELLED, why)
    draft.note("step_cancelled", row, why=why, failures=row.failures or None)
    end(draft, row, "cancelled")


def _item_again(draft: Draft, row: StepRow, delay: float) -> None:
    if draft.run.ending is not None:
        _cancelled(draft, row, None)
        return
    ready = make_ready(draft, row)
    row.delay = delay
    draft.note("child_retried", row, then="ready" if ready else "held", failures=row.failures, delay=round(delay, 3), error=row.error)
    fan_out.item_put_back(draft, row)


def _fail(draft: Draft, row: StepRow, error: dict[str, Any], how: str, reason: str) -> None:
    row.error = error
    draft.move(row, StepStatus.TIMED_OUT if how == "timed_out" else StepStatus.FAILED)
    draft.note("step_timed_out" if how == "timed_out" else "step_failed", row, error=error, failures=row.failures)
    bury(draft, row, reason, attempts.is_handled(draft, row, how))
    if row.item != NO_ITEM:
        fan_out.item_failed(draft, row, how)
        return
    draft.run.open_waits -= 1
    draft.decision.waits_met.append((row.id, how))
    end(draft, row, how)


# ---- loops -----------------------------------------------------------------------------------------------------------


def _items(draft: Draft, node: Node, rounds: Rounds | None) -> list[Any] | None:
    if rounds is None or rounds.items is None:
        return None
    items = rounds.items.render(draft.scope(rounds.items.tasks))
    if not isinstance(items, list):
        raise ExpressionError(f"{node.name}.with_items", f"it is {type(items).__name__}, not a list")
    return items


def _next_round(draft: Draft, node: Node, row: StepRow, rounds: Rounds, output: Any) -> None:
    """A round has gone well: is that enough, or does the next one follow?"""
    row.wants, row.failures = row.wants + 1, 0
    items = row.input.get("items")
    draft.note("round_ended", row, round=row.wants, value=digest(output))
    try:
        if _is_enough(draft, row, rounds, output, items):
            meet(draft, row, "child", "succeeded", output)
            return
        given = _given(draft, node, row, output, items)
        row.input = {**row.input, "input": given}
        if draft.run.ending is not None:
            _cancelled(draft, row, "stopped:waiting")
            return
        if row.wants >= rounds.most:
            message = f"{row.wants} rounds have not come to their end, and no more than {rounds.most} may follow each other"
            _fail(draft, row, {"type": "TooManyRounds", "code": "too_many_rounds", "message": message}, "failed", "non_retryable")
            return
        _begin(draft, node, row, given, rounds.every)
    except CannotCall as problem:
        _fail(draft, row, problem.error, "failed", "non_retryable")
    except ValueProblem as problem:
        error = {"type": "ExpressionError", "code": None, "message": str(problem)[:500]}
        _fail(draft, row, error, "failed", "non_retryable")


def _is_enough(draft: Draft, row: StepRow, rounds: Rounds, output: Any, items: list[Any] | None) -> bool:
    if items is not None and row.wants >= len(items):
        return True
    more = {"last": output, "round": row.wants} | ({} if items is None else {"item": items[row.wants - 1], "index": row.wants - 1})
    if rounds.until is not None:
        return rounds.until.holds(draft.scope(rounds.until.tasks, **more))
    if rounds.going_on is not None:
        return not rounds.going_on.holds(draft.scope(rounds.going_on.tasks, **more))
    return False


def _given(draft: Draft, node: Node, row: StepRow, last: Any, items: list[Any] | None) -> dict[str, Any]:
    """What the next child is given; of a loop `last` is what the round before returned."""
    if node.input is None:
        return {}
    more: dict[str, Any] = {}
    if _callee(node).rounds is not None:
        more = {"last": last, "round": row.wants + 1}
        if items is not None:
            more |= {"item": items[row.wants], "index": row.wants}
    given: dict[str, Any] = node.input.render(draft.scope(node.input.tasks, **more))
    return given
