"""One task over a list: a row for the task, which waits, and a row for each item. How their ends are counted.

The fan-out's own row counts: `wants` is how many items it has, `expanded` how many of them have rows, `fired` how many
were let go by `concurrency`, `items_left` how many have not ended, `skipped` how many their own condition left out,
`blockers` how many failed for good. Items are ready or held from birth (`core.births`) and carry their own value; the
run counts the fan-out as one open step. What the counts mean says `core.quorums`.

While it waits, `why` says: nothing, it goes on; `decided`, enough have succeeded and the run has gone on, the others go
on too; `failing:<how>`, it is lost; `closing:<label>`, its items are closed, for the reason that `close_items` was given.
"""

from __future__ import annotations

from uuid import UUID

from wfcelery.core import backlog
from wfcelery.core.asking import DECIDED, refusal
from wfcelery.core.children import part_with
from wfcelery.core.decision import DeadLetter
from wfcelery.core.draft import LATE, Draft, digest, ranges
from wfcelery.core.events import ItemsCompleted
from wfcelery.core.quorums import has_enough, is_lost, too_few
from wfcelery.core.rows import NO_ITEM, StepRow
from wfcelery.core.states import STEP_ENDED, RunStatus, StepStatus
from wfcelery.core.step_machine import end, make_ready, stood, whence
from wfcelery.definition.plan import Node

WINDOW = 16  # messages that a fan-out has under way at once, unless its `concurrency` says more
WIDEST = 1_000
FOR_GOOD = ("rest", "asked", "completed")  # labels of `close_items` that fence who still executes an item
_SUCCEEDS = ("closing:enough", "closing:completed")
_WAS_DECIDED = (DECIDED, "closing:decided", "unadvanced:succeeded")


def is_open(row: StepRow) -> bool:
    """Whether its items go on: they are let go, tried again and born."""
    return row.why is None or row.why == DECIDED


def is_closing(draft: Draft, fan_out: UUID) -> bool:
    """Whether its items are being closed."""
    return not is_open(_own(draft, fan_out))


def label_of(draft: Draft, item: StepRow) -> str:
    """Why this item is closed, if it is."""
    assert item.fan_out is not None
    return _label(_own(draft, item.fan_out))


def is_waiting(row: StepRow) -> bool:
    """Whether it goes on, and has not ended meanwhile."""
    return row.status is StepStatus.WAITING and is_open(row)


def unhandled(node: Node, how: str) -> str | None:
    """What a fan-out's row says of a failure: whether it stops the run."""
    return None if node.takes_care_of(how) else "unhandled"


def in_flight(row: StepRow) -> int:
    """How many items are let go and have not ended, of a fan-out that is open."""
    return (row.items_left or 0) - (row.wants - row.fired) - backlog.count_again(row)


def ring_for_all(draft: Draft, node: Node, row: StepRow, items: int) -> None:
    """As many messages as may be under way: each occupies one slot at a time, and items that wait need as many slots as they may."""
    window = max(WINDOW, min(node.concurrency or 0, WIDEST))
    draft.ring_step(row, node.action, times=min(window, items))


def ring_for_let_go(draft: Draft, fan_out: UUID) -> None:
    """Nobody works on the fan-out who would take what was let go in this commit: a child has ended."""
    row = _own(draft, fan_out)
    items = sum(last - first for first, last in row.let_go)
    if items and is_waiting(row):
        draft.unring(row.id)
        ring_for_all(draft, draft.plan.nodes[row.name], row, items)


# ---- ends of items ---------------------------------------------------------------------------------------------------


def items_ended(draft: Draft, fan_out: UUID, done: list[StepRow], skipped: list[StepRow]) -> None:
    """One fact for the group that succeeded, one for what its condition left out, one change of the counters."""
    row = _own(draft, fan_out)
    late = LATE if row.why in _WAS_DECIDED else None
    for item in done:
        draft.move(item, StepStatus.SUCCEEDED, late)
    for item in skipped:
        draft.move(item, StepStatus.SKIPPED, "when")
    if done:
        value = digest([item.output for item in done])
        draft.note("items_succeeded", row, items=ranges(item.item for item in done), value=value, **whence(done[0]))
    if skipped:
        row.skipped = (row.skipped or 0) + len(skipped)
        draft.note("items_skipped", row, items=ranges(item.item for item in skipped), why="when", **whence(skipped[0]))
    _count(draft, row, len(done) + len(skipped))


def item_reported(draft: Draft, item: StepRow) -> None:
    """A transactional item, recorded by itself before."""
    assert item.fan_out is not None
    items_ended(draft, item.fan_out, [item], [])


def item_answered(draft: Draft, item: StepRow) -> None:
    """The run that an item waited for has succeeded."""
    assert item.fan_out is not None
    row = _own(draft, item.fan_out)
    draft.move(item, StepStatus.SUCCEEDED, LATE if row.why in _WAS_DECIDED else None)
    draft.note("wait_met", item, value=digest(item.output))
    _count(draft, row, 1)


def item_failed(draft: Draft, item: StepRow, how: str) -> None:
    """An item failed for good: the others go on while the task can still succeed, or else are closed, and it fails."""
    assert item.fan_out is not None
    row = _own(draft, item.fan_out)
    node = draft.plan.nodes[row.name]
    if row.why in _WAS_DECIDED:
        item.why = LATE
        _count(draft, row, 1)
        return
    row.blockers += 1
    item.why = f"failing:{how}"
    if not is_lost(node, row, ended=1):
        _count(draft, row, 1)
        return
    row.error = dict(item.error or {}) | {"item": item.item}
    if row.why is None:
        fail(draft, row, how)
        return
    row.why = f"failing:{how}" if row.why == "closing:stopped" else row.why
    _count(draft, row, 1)


def fail(draft: Draft, row: StepRow, how: str) -> None:
    """It can no longer succeed, for the reason that is its error by now."""
    row.why = f"failing:{how}"
    close_items(draft, row, "failing")


def bury_short(draft: Draft, node: Node, row: StepRow) -> None:
    """The dead letter of a fan-out that no item has failed: too few of them have succeeded."""
    letter = DeadLetter(row.id, row.name, NO_ITEM, "non_retryable", row.error, 0, handled=unhandled(node, "failed") is None)
    draft.decision.dead_letters.append(letter)


def is_handled(draft: Draft, item: StepRow, how: str) -> bool:
    """Whether the run goes on although this item failed for good: it is one of those that may, or its task's failure is handled."""
    assert item.fan_out is not None
    row = _own(draft, item.fan_out)
    node, why = draft.plan.nodes[row.name], row.why or ""
    if node.closes:
        return False
    if why in _WAS_DECIDED or why in _SUCCEEDS or why in ("closing:rest", "closing:asked"):
        return True
    if why.startswith("failing:"):
        how = why.removeprefix("failing:")
    return node.takes_care_of(how) or not is_lost(node, row, failed=1, ended=1)


def item_closed(draft: Draft, item: StepRow) -> None:
    """An item ended `cancelled` after its attempt, because the run is ending."""
    assert item.fan_out is not None
    _count(draft, _own(draft, item.fan_out), 1)


def item_put_back(draft: Draft, item: StepRow) -> None:
    """An item is ready again; its fan-out's ring follows its due time, which the store sees to."""
    assert item.fan_out is not None
    row = _own(draft, item.fan_out)
    if not is_open(row):  # no further attempts
        draft.move(item, StepStatus.CANCELLED, f"{_label(row)}:ready")
        draft.note("step_cancelled", item, why=item.why)
        _count(draft, row, 1)
        return
    draft.write(row)
    if not item.delay and item.status is StepStatus.READY:
        draft.ring_step(row, draft.plan.nodes[row.name].action)


def items_handed_back(draft: Draft, fan_out: UUID, back: list[StepRow]) -> None:
    """Items of a group that were claimed and not begun: no attempt is counted."""
    row = _own(draft, fan_out)
    closing = not is_open(row) or _is_stopped(draft, row)
    for item in back:
        item.token = item.claimed_by = item.child = None
        item.attempt -= 1
        item.delay = None
        if closing:
            draft.move(item, StepStatus.CANCELLED, f"{_label(row)}:ready")
        else:
            make_ready(draft, item)
    held = "held" if any(item.status is StepStatus.HELD for item in back) else None
    draft.note("items_cancelled" if closing else "items_handed_back", row, items=ranges(item.item for item in back), then=held)
    if closing:
        _count(draft, row, len(back))
    else:
        draft.write(row)
        if not held:
            draft.ring_step(row, draft.plan.nodes[row.name].action)


# ---- closing and reopening -------------------------------------------------------------------------------------------


def on_items_completed(draft: Draft, fact: ItemsCompleted) -> None:
    """Somebody has had enough: what has not begun is skipped, who still works is fenced, and the run goes on with what there is."""
    row = draft.step(fact.task) if fact.task in draft.plan.nodes else None
    why = refusal("complete_items", draft.run, row)
    if why is not None or row is None:
        draft.note("items_refused", step=fact.task, why=why, by=fact.by)
        return
    draft.note("items_completed", row, by=fact.by)
    if row.why is None:
        row.why = "closing:completed"
    close_items(draft, row, "completed")


def close_items(draft: Draft, row: StepRow, label: str) -> None:
    """Close every item that nobody executes; the fan-out ends with the last one under way.

    `label` says why, for a retry: `failing`, because of one of its own; `stopped`, with the run; `rest`, `asked` and
    `completed`, for good: these fence who still executes an item, since nobody wants its result.
    """
    closed: dict[tuple[StepStatus, str], list[int]] = {}
    under_way, fences = 0, label in FOR_GOOD
    for item in draft.open_rows():
        if item.fan_out != row.id or item.status in STEP_ENDED:
            continue
        awaits = item.status is StepStatus.WAITING and part_with(draft, item)
        if item.status is StepStatus.REPORTED or ((item.status is StepStatus.RUNNING or awaits) and not fences):
            under_way += 1
        elif item.status is StepStatus.RUNNING or (item.status is StepStatus.WAITING and fences):
            draft.move(item, StepStatus.CANCELLED, f"rest:{item.status}")
            draft.note("step_cancelled", item, why=item.why)
        else:
            to, why = (StepStatus.SKIPPED, label) if label == "completed" else (StepStatus.CANCELLED, f"{label}:{stood(item)}")
            closed.setdefault((to, why), []).append(item.item)
            draft.move(item, to, why)
    for (to, why), numbers in closed.items():
        draft.note(f"items_{to}", row, items=ranges(numbers), why=why)
    if row.expanded is not None and row.expanded < row.wants:
        draft.note("items_not_born", row, first=row.expanded, last=row.wants)
    row.items_left = under_way
    backlog.put_again(row, ())
    if is_open(row):
        row.why = "closing:decided" if row.why == DECIDED else f"closing:{label}"
    draft.write(row)
    if not under_way:
        _end_closed(draft, row)


def reopen(draft: Draft, row: StepRow, items: int, why: str | None, error: dict[str, object] | None) -> None:
    """The fan-out waits again for so many items that have rows; unless it is still lost (`why`), also for those to be born."""
    if row.status is not StepStatus.WAITING:
        draft.run.open_steps += 1
        row.items_left = 0
        draft.move(row, StepStatus.WAITING, "failing")
    row.why, row.error = why, error
    wait_again(draft, row, items + (row.wants - (row.expanded or 0) if why is None else 0))


def wait_again(draft: Draft, row: StepRow, items: int) -> None:
    """So many more items are open."""
    row.items_left = (row.items_left or 0) + items
    draft.write(row)
    draft.note("step_reopened", row, to="waiting", items=row.items_left)
    if not row.items_left:
        _end(draft, row)
        return
    node = draft.plan.nodes[row.name]
    ring_for_all(draft, node, row, row.items_left)
    if row.why is None and has_enough(node, row):  # they have come while it was failing
        _decide(draft, node, row)


def _label(row: StepRow) -> str:
    """Why items of this fan-out are closed, if they are."""
    why = row.why or "closing:stopped"
    if why.startswith("failing:"):
        return "failing"
    return why.removeprefix("closing:") if why in ("closing:stopped", "closing:asked") else "rest"


# ---- the fan-out's own end -------------------------------------------------------------------------------------------


def _count(draft: Draft, row: StepRow, ended: int) -> None:
    """So many items have ended: let as many go that were held, or end with the last, or once enough have succeeded."""
    assert row.items_left is not None
    node = draft.plan.nodes[row.name]
    row.items_left -= ended
    draft.write(row)
    if row.why is None and has_enough(node, row) and row.items_left:
        _decide(draft, node, row)
    elif row.why is None and is_lost(node, row):
        row.error = too_few(node, row)
        fail(draft, row, "failed")
        bury_short(draft, node, row)
        return
    if row.items_left == 0 and row.status is StepStatus.WAITING:
        _end(draft, row)
    elif is_waiting(row) and not _is_stopped(draft, row) and draft.run.status is not RunStatus.PAUSED:
        let_go(draft, row, ended)


def _decide(draft: Draft, node: Node, row: StepRow) -> None:
    """Enough items have succeeded: the run goes on with what there is. The others are closed, or go on and are late."""
    if node.closes_rest:
        row.why = "closing:enough"
        close_items(draft, row, "rest")
        return
    row.why = DECIDED
    draft.note("fan_out_decided", row)
    draft.ended.append((node, "succeeded"))


def let_go(draft: Draft, row: StepRow, room: int) -> None:
    """So many held items may begin: those that run once more, then the next of the list."""
    for first, last in backlog.take_again(row, room):
        room -= last - first
        _let(draft, row, first, last)
    first, row.fired = row.fired, min(row.fired + room, row.wants)
    if first < row.fired:
        _let(draft, row, first, row.fired)


def _let(draft: Draft, row: StepRow, first: int, last: int) -> None:
    before = row.let_go[-1] if row.let_go else None
    joins = before is not None and before[1] == first
    row.let_go = (*row.let_go[:-1], (before[0], last)) if before is not None and joins else (*row.let_go, (first, last))
    draft.note("items_let_go", row, first=first, last=last)


def _is_stopped(draft: Draft, row: StepRow) -> bool:
    """Whether the run is being ended, and this is no part of what it does before."""
    return draft.run.ending is not None and not draft.plan.nodes[row.name].closes


def _end(draft: Draft, row: StepRow) -> None:
    if row.why is None and row.blockers and draft.plan.nodes[row.name].closes:  # the others were tried, but not all went well
        row.error = {"type": "Failed", "code": None, "message": f"{row.blockers} of {row.wants} items could not be undone"}
        draft.move(row, StepStatus.FAILED, "unhandled")
        draft.note("step_failed", row, error=row.error)
        end(draft, row, "failed")
    elif row.why is None:
        row.output = None
        draft.move(row, StepStatus.SUCCEEDED)
        draft.note("step_succeeded", row)
        end(draft, row, "succeeded")
    else:
        _end_closed(draft, row)


def _end_closed(draft: Draft, row: StepRow) -> None:
    why = row.why or "failing:failed"
    if why in _WAS_DECIDED:
        _end_decided(draft, row)
        return
    if why in _SUCCEEDS:
        how = "succeeded"
        draft.move(row, StepStatus.SUCCEEDED)
        draft.note("step_succeeded", row)
    elif why.startswith("failing:"):
        how = why.removeprefix("failing:")
        to = StepStatus.TIMED_OUT if how == "timed_out" else StepStatus.FAILED
        draft.move(row, to, unhandled(draft.plan.nodes[row.name], how))
        draft.note("step_failed" if how == "failed" else "step_timed_out", row, error=row.error)
    else:
        how = "cancelled"
        draft.move(row, StepStatus.CANCELLED, f"{_label(row)}:waiting")
        draft.note("step_cancelled", row, why=row.why)
    end(draft, row, how)


def _end_decided(draft: Draft, row: StepRow) -> None:
    """The last of those that nobody waits for has ended; the run has gone on before."""
    left_on = row.why if row.why == "unadvanced:succeeded" else None
    draft.run.open_steps -= 1
    row.delay, row.ring = None, False
    draft.unring(row.id)
    draft.move(row, StepStatus.SUCCEEDED, left_on)
    draft.note("step_succeeded", row)


def _own(draft: Draft, fan_out: UUID) -> StepRow:
    row = draft.by_id(fan_out)
    assert row is not None
    assert row.item == NO_ITEM
    return row
