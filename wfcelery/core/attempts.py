"""How attempts end: by a result, a failure, a lost worker, or code that cannot begin. Two budgets, one way to the dead letters.

A fact names step and token; where the row no longer carries that token the attempt is over, and the fact changes nothing.
"""

from __future__ import annotations

from typing import Any

from wfcelery.core import fan_out, retries
from wfcelery.core.draft import Draft, digest
from wfcelery.core.events import Failed, GroupEnded, Lost, Parked, Reported, Succeeded
from wfcelery.core.pausing import over_quota
from wfcelery.core.rows import NO_ITEM, StepRow
from wfcelery.core.states import StepStatus
from wfcelery.core.step_machine import bury, end, ended_by_itself, is_current, make_ready, whence
from wfcelery.definition.plan import Node
from wfcelery.errors import ExpressionError

MAX_LOST = 3  # lost workers, then a dead letter
INCOMPATIBLE = "incompatible_code"


def on_succeeded(draft: Draft, fact: Succeeded) -> None:
    """An attempt returned."""
    row = draft.by_id(fact.step)
    if row is None or not is_current(row, fact.token):
        return
    row.output, row.error = fact.value, None
    draft.move(row, StepStatus.SUCCEEDED)
    draft.note("step_succeeded", row, attempt=row.attempt, value=digest(row.output), **whence(row))
    end(draft, row, "succeeded")


def on_reported(draft: Draft, fact: Reported) -> None:
    """A step's own transaction has recorded its result; now the run advances."""
    row = draft.by_id(fact.step)
    if row is None or not is_current(row, fact.token, StepStatus.REPORTED):
        return
    if row.item != NO_ITEM:
        fan_out.item_reported(draft, row)
        return
    draft.move(row, StepStatus.SUCCEEDED)
    draft.note("step_succeeded", row, attempt=row.attempt, value=digest(row.output), reported=True, **whence(row))
    end(draft, row, "succeeded")


def on_failed(draft: Draft, fact: Failed) -> None:
    """An attempt raised or its deadline passed: try again, or end with it."""
    row = draft.by_id(fact.step)
    if row is None or not is_current(row, fact.token):
        return
    if fact.quota is not None:
        row.error = dict(fact.error)
        over_quota(draft, fact.quota)
        put_back(draft, row, 0.0, "step_put_off", error=fact.error)
        return
    if row.gates is not None:
        draft.decision.failing.append(row.id)
    if try_again(draft, row, fact):
        return
    bury_failure(draft, row, fact)
    if row.item != NO_ITEM:
        fan_out.item_failed(draft, row, fact.end)
    else:
        end(draft, row, fact.end)


def try_again(draft: Draft, row: StepRow, fact: Failed) -> bool:
    """Put a failed attempt back with its delay, unless its budget is spent or the run is ending."""
    node = draft.plan.nodes[row.name]
    policy = node.retry or fact.policy or retries.NO_RETRY
    row.failures += 1
    row.error = dict(fact.error)
    if fact.final:
        return False
    try:
        delay = retries.next_attempt(policy, row.id, row.failures, fact.error, fact.retry_in, fact.elapsed)
    except ExpressionError as problem:
        row.error["message"] = f"{row.error['message']} (and its retry condition failed: {problem})"[:500]
        delay = None
    if delay is None:
        return False
    put_back(draft, row, delay, "step_retried", error=fact.error, end=fact.end if fact.end != "failed" else None)
    return True


def bury_failure(draft: Draft, row: StepRow, fact: Failed) -> None:
    """The last failure of a step or item: its row, its history, its dead letter."""
    node = draft.plan.nodes[row.name]
    if fact.end == "timed_out":
        draft.move(row, StepStatus.TIMED_OUT)
    else:
        draft.move(row, StepStatus.FAILED)
    draft.note("step_timed_out" if fact.end == "timed_out" else "step_failed", row, attempt=row.attempt, error=row.error, **whence(row))
    bury(draft, row, _reason(node, fact), is_handled(draft, row, fact.end))


def is_handled(draft: Draft, row: StepRow, how: str) -> bool:
    """Whether the run goes on although this step, or item, has failed for good."""
    node = draft.plan.nodes[row.name]
    if node.closes:
        return False
    if ended_by_itself(draft.plan, draft.run):  # it wants nothing of this step any more
        return True
    return fan_out.is_handled(draft, row, how) if row.item != NO_ITEM else node.takes_care_of(how)


def _reason(node: Node, fact: Failed) -> str:
    if fact.error.get("code") == INCOMPATIBLE:
        return "parked"
    if fact.final or fact.error.get("type") in (node.retry or fact.policy or retries.NO_RETRY).non_retryable:
        return "non_retryable"
    return "timed_out" if fact.end == "timed_out" else "exhausted"


def on_lost(draft: Draft, fact: Lost) -> None:
    """The worker of an attempt is gone: a budget of its own, then a dead letter."""
    row = draft.by_id(fact.step)
    if row is None or not is_current(row, fact.token):
        return
    row.lost += 1
    if row.lost < MAX_LOST:
        put_back(draft, row, retries.after_loss(row.lost), "step_lost")
        return
    row.error = {"type": "WorkerLost", "code": None, "message": f"{row.lost} workers were lost while they executed this step"}
    draft.move(row, StepStatus.FAILED)
    draft.note("step_failed", row, attempt=row.attempt, error=row.error, lost=row.lost, **whence(row))
    bury(draft, row, "lost", is_handled(draft, row, "failed"))
    if row.item != NO_ITEM:
        fan_out.item_failed(draft, row, "failed")
    else:
        end(draft, row, "failed")


def on_parked(draft: Draft, fact: Parked) -> None:
    """The call cannot begin on the code that is here: wait for other code, spend no retry."""
    row = draft.by_id(fact.step)
    if row is None or not is_current(row, fact.token):
        return
    error = {"type": "IncompatibleCode", "code": INCOMPATIBLE, "message": fact.reason, "since": fact.since}
    if fact.dead:
        on_failed(draft, Failed(fact.step, fact.token, error, final=True))
        return
    row.error = error
    put_back(draft, row, fact.pause, "step_parked", reason=fact.reason)


def put_back(draft: Draft, row: StepRow, delay: float, what: str, **more: Any) -> None:
    """An attempt is over and another shall follow, unless the run is ending."""
    attempt, where = row.attempt, whence(row)
    row.token = row.claimed_by = row.child = None
    if draft.run.ending is not None and not draft.plan.nodes[row.name].closes:
        draft.move(row, StepStatus.CANCELLED, "stopped:ready")
        draft.note(what, row, attempt=attempt, then="cancelled", **where, **more)
        if row.item != NO_ITEM:
            fan_out.item_closed(draft, row)
        else:
            end(draft, row, "cancelled")
        return
    ready = make_ready(draft, row)
    row.delay, row.ring = delay, ready and delay == 0.0 and row.item == NO_ITEM
    draft.note(what, row, attempt=attempt, delay=round(delay, 3), then=None if ready else "held", **where, **more)
    if row.item != NO_ITEM:
        fan_out.item_put_back(draft, row)
    elif row.ring:
        draft.ring_step(row, draft.plan.nodes[row.name].action)


def has_no_quota(fact: object) -> bool:
    """Whether an attempt ended for want of quota, or one of a group did."""
    if isinstance(fact, GroupEnded):
        return any(has_no_quota(end.failure) for end in fact.ends)
    return isinstance(fact, Failed) and fact.quota is not None


def on_group_ended(draft: Draft, fact: GroupEnded) -> None:
    """A group of items was executed: record those that are still this attempt's own, drop the others."""
    # What pauses the run is the very first, so that nothing that is recorded beside it lets anything go.
    # Failures first: an item that closes its fan-out counts those of its group as under way, until they are recorded below.
    done: list[StepRow] = []
    skipped: list[StepRow] = []
    for item_end in sorted(fact.ends, key=lambda end: not has_no_quota(end.failure)):
        row = draft.by_id(item_end.step)
        if row is None or not is_current(row, fact.token):
            continue
        if isinstance(item_end.failure, Parked):
            on_parked(draft, item_end.failure)
        elif item_end.failure is not None:
            on_failed(draft, item_end.failure)
        elif item_end.skipped:
            skipped.append(row)
        else:
            row.output, row.error = item_end.value, None
            done.append(row)
    if done or skipped:
        fan_out.items_ended(draft, fact.fan_out, done, skipped)
    back = [row for row in map(draft.by_id, fact.unstarted) if row is not None and is_current(row, fact.token)]
    if back:
        fan_out.items_handed_back(draft, fact.fan_out, back)
