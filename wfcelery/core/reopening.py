"""A dead letter's step gets another episode, and what its failure closed is opened again.

`why` says what a retry needs to know of a row that is over: `unhandled`, a failure that stopped the run;
`stopped:<status>`, closed with the run; `failing:<status>`, an item closed because of another item; `rest:<status>`,
closed for good by a join; `unadvanced:<how>`, ended while the run was ending and led nowhere yet.
"""

from __future__ import annotations

from collections.abc import Iterable

from wfcelery.core import fan_out
from wfcelery.core.draft import Draft
from wfcelery.core.events import RetryAsked
from wfcelery.core.reaching import reach
from wfcelery.core.rows import NO_ITEM, StepRow
from wfcelery.core.run_machine import become
from wfcelery.core.states import RUN_ENDED, RunStatus, StepStatus
from wfcelery.core.step_machine import ended_by_itself

_MAY_GO_ON = (RunStatus.FAILED, RunStatus.TIMED_OUT, RunStatus.RUNNING, RunStatus.WAITING)


def on_retry_asked(draft: Draft, fact: RetryAsked) -> None:
    """Give a step that failed for good another episode; a run that failed because of it goes on."""
    run, row = draft.run, draft.by_id(fact.step)
    failed = row is not None and row.status in (StepStatus.FAILED, StepStatus.TIMED_OUT)
    ended = run.status in RUN_ENDED
    over = run.status not in _MAY_GO_ON or (run.ending is not None and not ended) or ended_by_itself(draft.plan, run)
    if row is None or not failed or over:
        draft.note("retry_refused", row, by=fact.by)
        return
    stopped = draft.stopped_rows()
    if not _stands(draft, row):
        draft.note("retry_refused", row, by=fact.by)
        return
    if ended:
        become(draft, RunStatus.RUNNING)
        run.ending = run.error = run.reason = None
        draft.note("run_reopened", by=fact.by)
    draft.decision.retried.append(row.id)
    if row.item == NO_ITEM:
        _again(draft, row, fact.by)
    else:
        _item_again(draft, row, stopped, fact.by)
    if ended:
        _reopen_stopped(draft, stopped)
    run.error = _what_stands(row for row in stopped if row not in draft.anew)


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
    if row.attempt == 0:  # it never had an input
        draft.anew.append(row)
        return
    _clear(row)
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
    """An item runs again; with the last of a fan-out's failed items those that its failure closed do too."""
    assert item.fan_out is not None
    row = draft.by_id(item.fan_out)
    assert row is not None
    _clear(item)
    item.failures = item.lost = 0
    item.error = None
    draft.move(item, StepStatus.READY)
    draft.note("step_reopened", item, to="ready", anew=True, by=by)
    row.blockers -= 1
    standing = _standing(row, stopped)
    assert (standing is None) == (row.blockers == 0)
    back = _closed_items(row, stopped) if standing is None else []
    in_flight = (row.items_left or 0) + 1 if row.status is StepStatus.WAITING else 1
    if standing is None:
        _open_items(draft, row, back, in_flight)
    fan_out.reopen(draft, row, 1 + len(back), standing)


def _reopen_stopped(draft: Draft, stopped: list[StepRow]) -> None:
    """What the end of the run closed goes on where it stood; what ended meanwhile leads on now."""
    for row in stopped:
        why = row.why or ""
        if row.item != NO_ITEM:
            continue
        if row.status is StepStatus.CANCELLED and why.startswith("stopped:"):
            if draft.plan.nodes[row.name].fans_out and row.items_left is not None:
                items = _closed_items(row, stopped)
                _open_items(draft, row, items, in_flight=0)
                fan_out.reopen(draft, row, len(items), None)
            else:
                _open_again(draft, row)
        elif why.startswith("unadvanced:"):
            how = why.removeprefix("unadvanced:")
            row.why = {"skipped": "when", "dead": "dead"}.get(how)
            draft.write(row)
            draft.note("step_advanced", row)
            draft.ended.append((draft.plan.nodes[row.name], how))


def _standing(row: StepRow, stopped: list[StepRow]) -> StepRow | None:
    """The first of a fan-out's items whose failure fails it and that nobody has retried."""
    failed = [item for item in stopped if item.fan_out == row.id and item.status in (StepStatus.FAILED, StepStatus.TIMED_OUT)]
    return min(failed, key=lambda item: item.item, default=None)


def _closed_items(row: StepRow, stopped: list[StepRow]) -> list[StepRow]:
    return [item for item in stopped if item.fan_out == row.id and item.status is StepStatus.CANCELLED]


def _open_items(draft: Draft, row: StepRow, items: list[StepRow], in_flight: int) -> None:
    """Items go on as they stood, and as many held ones are let go as the fan-out's concurrency has room for."""
    most = draft.plan.nodes[row.name].concurrency or row.wants
    items.sort(key=lambda item: item.item)
    held = [item for item in items if (item.why or "").endswith(":held")]
    room = most - in_flight - (len(items) - len(held))
    for item in held[: max(room, 0)]:
        item.why = "stopped:ready"
        row.fired = max(row.fired, item.item + 1)
    if room > len(held) and row.expanded is not None:  # those that are still to be born
        row.fired = max(row.fired, min(row.wants, row.expanded + room - len(held)))
    for item in items:
        _open_again(draft, item)


def _open_again(draft: Draft, row: StepRow) -> None:
    was = StepStatus((row.why or "").partition(":")[2])
    to = StepStatus.READY if was is StepStatus.RUNNING else was
    _clear(row)
    row.ring = row.item == NO_ITEM and to is StepStatus.READY
    draft.move(row, to, "concurrency" if to is StepStatus.HELD else None)
    draft.note("step_reopened", row, to=str(to))
    if row.item != NO_ITEM or to is StepStatus.BLOCKED:
        return
    draft.run.open_steps += 1
    if to is StepStatus.WAITING:
        draft.run.open_waits += 1
        draft.decision.waits_reopened.append(row.id)
    elif to is StepStatus.READY:
        draft.ring_step(row, draft.plan.nodes[row.name].action)


def _what_stands(stopped: Iterable[StepRow]) -> dict[str, object] | None:
    """Another failure that nobody has retried: the run goes on and ends with it."""
    for row in stopped:
        if row.item == NO_ITEM and row.why == "unhandled" and row.status in (StepStatus.FAILED, StepStatus.TIMED_OUT):
            return {"type": "Failed", "code": None, "message": "", **(row.error or {}), "step": row.name}
    return None


def _clear(row: StepRow) -> None:
    row.token = row.claimed_by = row.child = None
    row.delay = None
