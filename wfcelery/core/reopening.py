"""A dead letter's step, or all failed items of a fan-out, get another episode, and what their failure closed is opened again.

`why` says what a retry needs to know of a row that is over: `unhandled`, a failure that stopped the run;
`stopped:<status>`, closed with the run; `failing:<status>`, an item closed because of another item; `rest:<status>` and
`asked:<status>`, closed for good, by a join or a region, and by somebody; `unadvanced:<how>`, ended while the run was ending
and led nowhere yet.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

from wfcelery.core import backlog, closing, fan_out, sections
from wfcelery.core.asking import refusal
from wfcelery.core.calls import call_again
from wfcelery.core.draft import Draft, ranges
from wfcelery.core.events import RerunAsked, RetryAsked, RunRetryAsked
from wfcelery.core.quorums import is_lost, too_few
from wfcelery.core.reaching import reach
from wfcelery.core.rows import NO_ITEM, StepRow
from wfcelery.core.run_machine import become
from wfcelery.core.states import RUN_ENDED, RunStatus, StepStatus
from wfcelery.core.step_machine import OPERATOR, ended_by_itself
from wfcelery.core.wait_machine import open_wait
from wfcelery.definition.plan import Plan

TOLD = "its parent has been told of its end; what can be tried again is the call"
UNDONE = "what the run had done was undone"
_MAY_GO_ON = (RunStatus.FAILED, RunStatus.TIMED_OUT, RunStatus.RUNNING, RunStatus.WAITING)
_FAILED = (StepStatus.FAILED, StepStatus.TIMED_OUT)


def on_retry_asked(draft: Draft, fact: RetryAsked) -> None:
    """Give a step that failed for good another episode; a run that failed because of it goes on."""
    run, row = draft.run, draft.by_id(fact.step)
    failed = row is not None and row.status in (StepStatus.FAILED, StepStatus.TIMED_OUT)
    ended = run.status in RUN_ENDED
    over = run.status not in _MAY_GO_ON or (run.ending is not None and not ended) or ended_by_itself(draft.plan, run)
    if row is None or not failed or (ended and run.parent is not None):
        draft.note("retry_refused", row, why=TOLD if failed else None, by=fact.by)
        return
    if draft.plan.nodes[row.name].closes:
        _close_again(draft, row, fact.by)
        return
    if over or (ended and closing.has_undone(draft)):
        why = "the run is paused; resume it first" if run.status is RunStatus.PAUSED else None if over else UNDONE
        draft.note("retry_refused", row, why=why, by=fact.by)
        return
    if row.item == NO_ITEM and row.wants and row.items_left is not None:
        on_rerun_asked(draft, RerunAsked(row.name, fact.by))  # the fan-out itself has nothing to run
        return
    stopped = draft.stopped_rows()
    if not _stands(draft, row):
        draft.note("retry_refused", row, by=fact.by)
        return
    if ended:
        reopen_run(draft, fact.by)
    draft.decision.retried.append(row.id)
    if row.item == NO_ITEM:
        _again(draft, row, fact.by)
    else:
        _item_again(draft, row, stopped, fact.by)
    go_on(draft, stopped, ended)


def on_rerun_asked(draft: Draft, fact: RerunAsked) -> None:
    """Give every item of a fan-out that failed for good another episode, and no other item."""
    run = draft.run
    row = draft.step(fact.task) if fact.task in draft.plan.nodes else None
    why = refusal("rerun_failed", run, row) or (TOLD if run.status in RUN_ENDED and run.parent is not None else None)
    if why is None and run.status in RUN_ENDED and closing.has_undone(draft):
        why = UNDONE
    if why is not None or row is None:
        draft.note("retry_refused", step=fact.task, why=why, by=fact.by)
        return
    ended, stopped = run.status in RUN_ENDED, draft.stopped_rows()
    failed = sorted(_failed_items(row, stopped), key=lambda item: item.item)
    if is_lost(draft.plan.nodes[row.name], row, failed=-len(failed), ended=-len(failed)):
        draft.note("retry_refused", step=fact.task, why="too few of its items are left that could succeed", by=fact.by)
        return
    if ended:
        reopen_run(draft, fact.by)
    _all_items_again(draft, row, failed, stopped, fact.by)
    go_on(draft, stopped, ended)


def _all_items_again(draft: Draft, row: StepRow, failed: list[StepRow], stopped: list[StepRow], by: str | None) -> None:
    draft.decision.retried.extend(item.id for item in [row, *failed])
    _items_again(draft, row, failed, stopped)
    for to in (StepStatus.READY, StepStatus.HELD):
        numbers = ranges(item.item for item in failed if item.status is to)
        if numbers:
            draft.note("items_reopened", row, items=numbers, to=str(to), by=by)
    _reopen_fan_out(draft, row, failed, stopped)


def on_run_retry_asked(draft: Draft, fact: RunRetryAsked) -> None:
    """Everything that stopped the run gets another episode at once; a run that timed out goes on without its deadline."""
    run, stopped = draft.run, draft.stopped_rows()
    ended = run.status in RUN_ENDED
    standing = [row for row in stopped if row.item == NO_ITEM and row.why == "unhandled" and row.status in _FAILED]
    standing = [row for row in standing if not draft.plan.nodes[row.name].closes]
    again = [(row, found) for row in standing if (found := _items_to_run(draft, row, stopped)) is not None]
    why: str | None = None
    if run.status not in _MAY_GO_ON or (run.ending is not None and not ended):
        why = f"the run is {run.status}"
    elif ended_by_itself(draft.plan, run):
        why = "the run has come to its end by itself"
    elif ended and run.parent is not None:
        why = TOLD
    elif ended and closing.has_undone(draft):
        why = UNDONE
    elif not again and not (stopped and run.status is RunStatus.TIMED_OUT):
        why = "nothing of it has failed that could be tried again"
    if why is not None:
        draft.note("retry_refused", why=why, by=fact.by)
        return
    if ended:
        reopen_run(draft, fact.by)
    for row, failed in again:
        if failed:
            _all_items_again(draft, row, failed, stopped, fact.by)
        else:
            draft.decision.retried.append(row.id)
            _again(draft, row, fact.by)
    go_on(draft, stopped, ended)


def _items_to_run(draft: Draft, row: StepRow, stopped: list[StepRow]) -> list[StepRow] | None:
    """The failed items of a fan-out, none of a plain step; None: of a fan-out that they could not save."""
    if not (row.wants and row.items_left is not None):
        return []
    failed = sorted(_failed_items(row, stopped), key=lambda item: item.item)
    lost = is_lost(draft.plan.nodes[row.name], row, failed=-len(failed), ended=-len(failed))
    return None if lost or not failed else failed


def _close_again(draft: Draft, row: StepRow, by: str | None) -> None:
    """A compensation or a hook that failed for good is tried again, once its run has ended; the run ends then as it did before."""
    if draft.run.status not in RUN_ENDED:
        draft.note("retry_refused", row, why=f"the run is {draft.run.status}", by=by)
        return
    stopped = draft.stopped_rows()
    if row.item != NO_ITEM and not _stands(draft, row):
        draft.note("retry_refused", row, by=by)
        return
    become(draft, RunStatus.COMPENSATING)
    draft.note("run_compensating", steps=[row.name], by=by)
    draft.decision.retried.append(row.id)
    if row.item != NO_ITEM:
        _item_again(draft, row, stopped, by)
    elif row.attempt:
        _again(draft, row, by)
    else:
        row.why = row.error = None
        closing.take_up(draft, row)


def reopen_run(draft: Draft, by: str | None) -> None:
    """A run that has ended goes on."""
    run = draft.run
    become(draft, RunStatus.RUNNING)
    run.ending = run.error = run.reason = None
    draft.note("run_reopened", by=by)
    sections.reenter(draft)


def go_on(draft: Draft, stopped: list[StepRow], ended: bool) -> None:
    """What the end of the run had closed goes on; what nobody retried stands."""
    if ended:
        _reopen_stopped(draft, stopped)
    draft.run.error = _what_stands(draft.plan, (row for row in stopped if row not in draft.anew))


def _stands(draft: Draft, row: StepRow) -> bool:
    """Whether the failure still holds something up: of an item, whether its fan-out failed, or fails, by it."""
    if row.item == NO_ITEM:
        return row.why == "unhandled"
    assert row.fan_out is not None
    fanned = draft.by_id(row.fan_out)
    assert fanned is not None
    failing = fanned.status is StepStatus.WAITING and (fanned.why or "").startswith("failing:")
    return (row.why or "").startswith("failing:") and (failing or fanned.why == "unhandled")


def _again(draft: Draft, row: StepRow, by: str | None) -> None:
    calls_on = draft.plan.nodes[row.name].kind == "call" and row.fired > 0
    if row.attempt == 0 and not calls_on:  # it never had an input
        draft.anew.append(row)
        return
    if calls_on:
        row.failures, row.error = 0, None
        draft.note("step_reopened", row, to="waiting", anew=True, by=by)
        open_wait(draft, row, "child")
        call_again(draft, row)
        return
    clear(row)
    row.failures = row.lost = 0
    row.error = None
    draft.run.open_steps += 1
    row.ring = True
    draft.move(row, StepStatus.READY)
    draft.note("step_reopened", row, to="ready", anew=True, by=by)
    draft.ring_step(row, draft.plan.nodes[row.name].action)


def reach_anew(draft: Draft, row: StepRow) -> None:
    """What its input reads may be there by now, also by what led on in this very commit; unless that failed."""
    if draft.run.ending is not None:
        draft.decision.retried.remove(row.id)
        draft.note("retry_refused", row)
        return
    row.why = row.error = None
    draft.note("step_reopened", row, to="ready", anew=True)
    reach(draft, draft.plan.nodes[row.name], row)


def _item_again(draft: Draft, item: StepRow, stopped: list[StepRow], by: str | None) -> None:
    """An item runs again; where its fan-out can succeed by that, those that its failure closed do too."""
    assert item.fan_out is not None
    row = draft.by_id(item.fan_out)
    assert row is not None
    _items_again(draft, row, [item], stopped)
    draft.note("step_reopened", item, to=str(item.status), anew=True, by=by)
    _reopen_fan_out(draft, row, [item], stopped)


def _items_again(draft: Draft, row: StepRow, failed: list[StepRow], stopped: list[StepRow]) -> None:
    """Failed items are as new: ready, or held where `concurrency` has no room for them beside those that go on."""
    node = draft.plan.nodes[row.name]
    row.blockers -= len(failed)
    room = len(failed)
    if node.concurrency is not None and not is_lost(node, row, ended=-len(failed)):
        going_on = 0 if fan_out.is_waiting(row) else sum(not _was_held(item) for item in _closed_items(row, stopped))
        room = max(node.concurrency - _in_flight(row) - going_on, 0)
    for number, item in enumerate(failed):
        clear(item)
        item.failures = item.lost = 0
        item.error = None
        draft.move(item, *((StepStatus.READY, None) if number < room else (StepStatus.HELD, "again")))
    if room < len(failed):
        held = (item.item for item in failed[room:])
        backlog.put_again(row, chain(held, *(range(first, last) for first, last in backlog.again(row))))


def _in_flight(row: StepRow) -> int:
    """How many items may be executed now."""
    if row.status is not StepStatus.WAITING:
        return 0
    return fan_out.in_flight(row) if fan_out.is_open(row) else row.items_left or 0


def _reopen_fan_out(draft: Draft, row: StepRow, failed: list[StepRow], stopped: list[StepRow]) -> None:
    """The fan-out waits for these again, and, unless it is lost all the same, for those that were closed."""
    node = draft.plan.nodes[row.name]
    if fan_out.is_waiting(row):
        fan_out.wait_again(draft, row, len(failed))
        return
    if is_lost(node, row, ended=-len(failed)):
        standing = min(_failed_items(row, stopped), key=lambda item: item.item, default=None)
        error = too_few(node, row) if standing is None else dict(standing.error or {}) | {"item": standing.item}
        how = "failed" if standing is None else str(standing.status)
        fan_out.reopen(draft, row, len(failed), f"failing:{how}", error)
        return
    back = _closed_items(row, stopped)
    running = _in_flight(row) + sum(item.status is StepStatus.READY for item in failed)
    _open_items(draft, row, back, running)
    fan_out.reopen(draft, row, len(failed) + len(back), None, None)


def _reopen_stopped(draft: Draft, stopped: list[StepRow]) -> None:
    """What the end of the run closed goes on where it stood; what ended meanwhile leads on now."""
    for row in stopped:
        why = row.why or ""
        if row.item != NO_ITEM or draft.plan.nodes[row.name].closes:
            continue
        if row.status is StepStatus.CANCELLED and why.startswith("stopped:"):
            if draft.plan.nodes[row.name].fans_out and row.items_left is not None:
                items = _closed_items(row, stopped)
                _open_items(draft, row, items, in_flight=0)
                fan_out.reopen(draft, row, len(items), None, None)
            else:
                _open_again(draft, row)
        elif why.startswith("unadvanced:"):
            how = why.removeprefix("unadvanced:")
            row.why = {"skipped": "when", "dead": "dead", "cancelled": "rest", OPERATOR: OPERATOR}.get(how)
            draft.write(row)
            draft.note("step_advanced", row)
            draft.ended.append((draft.plan.nodes[row.name], "skipped" if how == OPERATOR else how))


def _failed_items(row: StepRow, stopped: list[StepRow]) -> list[StepRow]:
    """Those of a fan-out's items that failed for good, and that nobody has retried."""
    return [item for item in stopped if item.fan_out == row.id and item.status in (StepStatus.FAILED, StepStatus.TIMED_OUT)]


def _closed_items(row: StepRow, stopped: list[StepRow]) -> list[StepRow]:
    return [item for item in stopped if item.fan_out == row.id and item.status is StepStatus.CANCELLED]


def _was_held(item: StepRow) -> bool:
    return (item.why or "").endswith(":held")


def _open_items(draft: Draft, row: StepRow, items: list[StepRow], in_flight: int) -> None:
    """Items go on as they stood, and as many held ones are let go as the fan-out's concurrency has room for."""
    most = draft.plan.nodes[row.name].concurrency or row.wants
    items.sort(key=lambda item: item.item)
    held = [item for item in items if _was_held(item)]
    room = max(most - in_flight - (len(items) - len(held)), 0)
    for item in held[:room]:
        item.why = "stopped:ready"
        row.fired = max(row.fired, item.item + 1)
    if room > len(held) and row.expanded is not None:  # those that are still to be born
        row.fired = max(row.fired, min(row.wants, row.expanded + room - len(held)))
    for item in items:
        _open_again(draft, item)
    repeated = [item for item in held[room:] if item.item < row.fired]
    for item in repeated:
        item.why = "again"
    backlog.put_again(row, chain((item.item for item in repeated), *(range(first, last) for first, last in backlog.again(row))))


def _open_again(draft: Draft, row: StepRow) -> None:
    was = StepStatus((row.why or "").partition(":")[2])
    to = StepStatus.READY if was is StepStatus.RUNNING else was
    clear(row)
    if to is StepStatus.READY and draft.plan.nodes[row.name].kind == "gate":
        draft.anew.append(row)
        return
    row.ring = row.item == NO_ITEM and to is StepStatus.READY
    draft.move(row, to, "concurrency" if to is StepStatus.HELD else None)
    draft.note("step_reopened", row, to=str(to))
    if row.item != NO_ITEM or to is StepStatus.BLOCKED:
        return
    draft.run.open_steps += 1
    if to is StepStatus.WAITING:
        draft.run.open_waits += 1
        draft.decision.waits_reopened.append(row.id)
        if draft.plan.nodes[row.name].kind == "call":
            call_again(draft, row)
    elif to is StepStatus.READY:
        draft.ring_step(row, draft.plan.nodes[row.name].action)


def _what_stands(plan: Plan, stopped: Iterable[StepRow]) -> dict[str, object] | None:
    """Another failure that nobody has retried, or a step that somebody cancelled: the run goes on and ends with it."""
    for row in stopped:
        bad = row.status in (*_FAILED, StepStatus.CANCELLED) and not plan.nodes[row.name].closes
        if row.item == NO_ITEM and row.why == "unhandled" and bad:
            return {"type": "Failed", "code": None, "message": "", **(row.error or {}), "step": row.name}
    return None


def clear(row: StepRow) -> None:
    """No attempt is the row's own any more."""
    row.token = row.claimed_by = row.child = None
    row.delay = None
