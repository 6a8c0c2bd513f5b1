"""One task over a list: a row for the task, which waits, and a row for each item.

The fan-out's own row counts: `wants` is how many items its list has, `expanded` how many of them have
rows, `fired` how many were let go by `concurrency`, `items_left` how many have not ended, `blockers` how many
failed for good where that fails the task. Items
are ready or held from birth and carry their own value; the run counts the fan-out as one open step.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from wfcelery.core.draft import Draft, digest, lookup_in, ranges
from wfcelery.core.events import Expanded
from wfcelery.core.rows import NO_ITEM, Ended, StepRow
from wfcelery.core.states import UNDER_WAY, RunStatus, StepStatus
from wfcelery.core.step_machine import PAUSED, end, make_ready, whence
from wfcelery.definition.plan import Node
from wfcelery.definition.values import resolve
from wfcelery.errors import ExpressionError

WINDOW = 16  # messages that a fan-out has under way at once, unless its `concurrency` says more
WIDEST = 1_000
CHUNK = 5_000  # items born in one commit
MOST_ITEMS = 100_000


def open_fan_out(draft: Draft, node: Node, row: StepRow) -> None:
    """The list is known now: the row that waits, and the first items."""
    assert node.with_items is not None
    row.input = node.with_items.render(draft.scope(node.with_items.copies), references=True)
    items = _items(draft, node, row)
    draft.run.open_steps += 1
    row.wants = row.items_left = len(items)
    row.expanded, row.fired = 0, min(len(items), node.concurrency or len(items))
    row.queue, row.priority = node.queue, node.priority
    if not items:
        row.output = None
        draft.move(row, StepStatus.SUCCEEDED)
        draft.results[row.name] = Ended("succeeded", [])
        draft.note("fan_out_opened", row, items=0)
        draft.note("step_succeeded", row)
        end(draft, row, "succeeded")
        return
    draft.move(row, StepStatus.WAITING)
    draft.note("fan_out_opened", row, items=len(items), let_go=row.fired)
    if len(items) <= CHUNK:
        _bear(draft, row, items, 0, len(items))
    ring_for_all(draft, node, row, row.fired)


def ring_for_all(draft: Draft, node: Node, row: StepRow, items: int) -> None:
    """As many messages as may be under way: each occupies one slot at a time, and items that wait need as many slots as they may."""
    window = max(WINDOW, min(node.concurrency or 0, WIDEST))
    draft.ring_step(row, node.action, times=min(window, items))


def on_expanded(draft: Draft, fact: Expanded) -> None:
    """The next items of a large fan-out are born."""
    row = draft.by_id(fact.fan_out)
    if row is None or row.status is not StepStatus.WAITING or row.expanded is None or row.expanded >= row.wants:
        return
    if draft.run.ending is not None or row.why is not None:
        return
    items = _items(draft, draft.plan.nodes[row.name], row)
    _bear(draft, row, items, row.expanded, min(row.expanded + CHUNK, len(items)))
    draft.write(row)
    draft.ring_step(row, draft.plan.nodes[row.name].action)


def _items(draft: Draft, node: Node, row: StepRow) -> list[Any]:
    """The list itself, which the row may hold as a reference."""
    assert node.with_items is not None
    items = resolve(row.input, lookup_in(draft.scope(node.with_items.tasks)))
    if not isinstance(items, list):
        raise ExpressionError(f"{node.name}.with_items", f"it is {type(items).__name__}, not a list")
    if len(items) > MOST_ITEMS:
        raise ExpressionError(f"{node.name}.with_items", f"it has {len(items)} items, more than {MOST_ITEMS}")
    return items


def _bear(draft: Draft, row: StepRow, items: list[Any], first: int, last: int) -> None:
    paused = draft.run.status is RunStatus.PAUSED
    for number in range(first, last):
        status = StepStatus.READY if number < row.fired and not paused else StepStatus.HELD
        item = StepRow(
            draft.mint(), row.name, number, status=status, fan_out=row.id, input=items[number], queue=row.queue, priority=row.priority
        )
        item.why = None if status is StepStatus.READY else PAUSED if number < row.fired else "concurrency"
        draft.rows[item.id] = item
        draft.write(item)
    row.expanded = last
    draft.note("items_born", row, first=first, last=last, let_go=row.fired)
    if paused and first < row.fired:
        draft.note("items_held", row, items=[[first, min(last, row.fired) - 1]])


def items_succeeded(draft: Draft, fan_out: UUID, done: list[StepRow]) -> None:
    """One fact for the group, one change of the counter."""
    row = _own(draft, fan_out)
    first = done[0]
    draft.note(
        "items_succeeded", row, items=ranges(item.item for item in done), value=digest([item.output for item in done]), **whence(first)
    )
    _count(draft, row, len(done))


def item_reported(draft: Draft, item: StepRow) -> None:
    """A transactional item, recorded by itself before."""
    draft.move(item, StepStatus.SUCCEEDED)
    assert item.fan_out is not None
    items_succeeded(draft, item.fan_out, [item])


def item_failed(draft: Draft, item: StepRow, how: str) -> None:
    """An item failed for good: by the task's `on_error` the others go on, or are closed and the task fails."""
    assert item.fan_out is not None
    row = _own(draft, item.fan_out)
    node = draft.plan.nodes[row.name]
    if node.on_error == "continue":
        _count(draft, row, 1)
        return
    row.blockers += 1
    item.why = f"failing:{how}"
    row.error = dict(item.error or {}) | {"item": item.item}
    going_on, row.why = row.why is None, f"failing:{how}" if row.why in (None, "closing:stopped") else row.why
    if going_on:
        close_items(draft, row, "failing")
    else:
        _count(draft, row, 1)


def is_handled(draft: Draft, item: StepRow, how: str) -> bool:
    """Whether the run goes on although this item failed for good: as its task does, which the first failure decides."""
    assert item.fan_out is not None
    row = _own(draft, item.fan_out)
    node, why = draft.plan.nodes[row.name], row.why or ""
    if why.startswith("failing:"):
        how = why.removeprefix("failing:")
    return node.on_error == "continue" or how in node.handles or why == "closing:rest"


def item_closed(draft: Draft, item: StepRow) -> None:
    """An item ended `cancelled` after its attempt, because the run is ending."""
    assert item.fan_out is not None
    _count(draft, _own(draft, item.fan_out), 1)


def item_put_back(draft: Draft, item: StepRow) -> None:
    """An item is ready again; its fan-out's ring follows its due time, which the store sees to."""
    assert item.fan_out is not None
    row = _own(draft, item.fan_out)
    if row.why is not None:  # failing: no further attempts
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
    for item in back:
        item.token = item.claimed_by = item.child = None
        item.attempt -= 1
        item.delay = None
        if row.why is not None or draft.run.ending is not None:
            draft.move(item, StepStatus.CANCELLED, f"{_label(row)}:ready")
        else:
            make_ready(draft, item)
    closed = [item for item in back if item.status is StepStatus.CANCELLED]
    held = "held" if any(item.status is StepStatus.HELD for item in back) else None
    draft.note("items_cancelled" if closed else "items_handed_back", row, items=ranges(item.item for item in back), then=held)
    if closed:
        _count(draft, row, len(closed))
    else:
        draft.write(row)
        if not held:
            draft.ring_step(row, draft.plan.nodes[row.name].action)


def close_items(draft: Draft, row: StepRow, label: str) -> None:
    """Close every item that nobody executes; the fan-out ends with the last one under way.

    `label` says why, for a retry: `failing`, because of one of its own; `stopped`, with the run; `rest`, for good.
    """
    closed: dict[str, list[int]] = {}
    under_way = 0
    for item in draft.open_rows():
        if item.fan_out != row.id or item.status in (StepStatus.CANCELLED, StepStatus.SUCCEEDED, StepStatus.FAILED, StepStatus.TIMED_OUT):
            continue
        if item.status in UNDER_WAY:
            under_way += 1
            continue
        closed.setdefault(f"{label}:{item.status}", []).append(item.item)
        draft.move(item, StepStatus.CANCELLED, f"{label}:{item.status}")
    for why, numbers in closed.items():
        draft.note("items_cancelled", row, items=ranges(numbers), why=why)
    if row.expanded is not None and row.expanded < row.wants:
        draft.note("items_not_born", row, first=row.expanded, last=row.wants)
    row.items_left = under_way
    if row.why is None:
        row.why = f"closing:{label}"
    draft.write(row)
    if not under_way:
        _end_closed(draft, row)


def reopen(draft: Draft, row: StepRow, items: int, standing: StepRow | None) -> None:
    """The fan-out waits again for so many items that have rows.

    Unless a failed item is still `standing`, it also waits for those that are to be born.
    """
    if row.status is not StepStatus.WAITING:
        draft.run.open_steps += 1
        row.items_left = 0
        draft.move(row, StepStatus.WAITING, "failing")
    row.items_left = (row.items_left or 0) + items
    if standing is None:
        row.items_left += row.wants - (row.expanded or 0)
        row.why = row.error = None
    else:
        row.why, row.error = f"failing:{standing.status}", dict(standing.error or {}) | {"item": standing.item}
    draft.write(row)
    draft.note("step_reopened", row, to="waiting", items=row.items_left)
    if row.items_left:
        ring_for_all(draft, draft.plan.nodes[row.name], row, row.items_left)
    else:
        _end(draft, row)


def _label(row: StepRow) -> str:
    """Why items of this fan-out are closed, if they are."""
    why = row.why or "closing:stopped"
    return "failing" if why.startswith("failing:") else why.removeprefix("closing:")


def _count(draft: Draft, row: StepRow, ended: int) -> None:
    """So many items have ended: let as many go that were held, or end with the last."""
    assert row.items_left is not None
    row.items_left -= ended
    draft.write(row)
    if row.items_left == 0:
        _end(draft, row)
    elif row.why is None and draft.run.ending is None and draft.run.status is not RunStatus.PAUSED:
        let_go(draft, row, ended)


def let_go(draft: Draft, row: StepRow, many: int) -> None:
    """So many more of the items that `concurrency` holds may be claimed, as far as there are any."""
    first, row.fired = row.fired, min(row.fired + many, row.wants)
    if first < row.fired:
        row.let_go = (first if row.let_go is None else row.let_go[0], row.fired)
        draft.note("items_let_go", row, first=first, last=row.fired)


def _end(draft: Draft, row: StepRow) -> None:
    if row.why is None and row.blockers == 0:
        row.output = None
        draft.move(row, StepStatus.SUCCEEDED)
        draft.note("step_succeeded", row)
        end(draft, row, "succeeded")
    else:
        _end_closed(draft, row)


def _end_closed(draft: Draft, row: StepRow) -> None:
    why = row.why or "failing:failed"
    if why.startswith("failing:"):
        how = why.removeprefix("failing:")
        node = draft.plan.nodes[row.name]
        draft.move(row, StepStatus.TIMED_OUT if how == "timed_out" else StepStatus.FAILED, None if how in node.handles else "unhandled")
        draft.note("step_failed" if how == "failed" else "step_timed_out", row, error=row.error)
    else:
        how = "cancelled"
        draft.move(row, StepStatus.CANCELLED, f"{_label(row)}:waiting")
        draft.note("step_cancelled", row, why=row.why)
    end(draft, row, how)


def _own(draft: Draft, fan_out: UUID) -> StepRow:
    row = draft.by_id(fan_out)
    assert row is not None
    assert row.item == NO_ITEM
    return row
