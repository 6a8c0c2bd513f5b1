"""How a fan-out comes by its items: from its list, without what its filter leaves out, in batches, and added while it runs.

An item is a row with a value of its own, numbered in the order of the list; what the filter leaves out has no row and no
number. A long list is born in pieces.
"""

from __future__ import annotations

from typing import Any

from wfcelery.core import backlog, fan_out
from wfcelery.core.asking import refusal
from wfcelery.core.draft import Draft, lookup_in
from wfcelery.core.events import Expanded, ItemsAdded
from wfcelery.core.quorums import is_lost, too_few
from wfcelery.core.rows import Ended, StepRow
from wfcelery.core.states import RunStatus, StepStatus
from wfcelery.core.step_machine import PAUSED, end
from wfcelery.definition.plan import Node
from wfcelery.definition.values import resolve
from wfcelery.errors import ExpressionError, ValueProblem

CHUNK = 5_000  # items born in one commit
MOST_ITEMS = 100_000


def open_fan_out(draft: Draft, node: Node, row: StepRow) -> None:
    """The list is known now: the row that waits, and the first items."""
    assert node.with_items is not None
    whole = node.with_items.render(draft.scope(node.with_items.copies), references=True)
    _open(draft, node, row, _made(draft, node, _listed(draft, node, whole)), whole)


def open_made(draft: Draft, node: Node, row: StepRow, items: list[Any]) -> None:
    """A fan-out whose items are made by us, and by no template."""
    _open(draft, node, row, items, None)


def _open(draft: Draft, node: Node, row: StepRow, items: list[Any], whole: Any) -> None:
    draft.run.open_steps += 1
    row.wants = row.items_left = len(items)
    row.expanded = row.skipped = 0
    row.fired = min(len(items), node.concurrency or len(items))
    row.queue, row.priority = node.queue, node.priority
    row.input = row.output = None
    if not items:
        _end_without_items(draft, node, row)
        return
    draft.move(row, StepStatus.WAITING)
    draft.note("fan_out_opened", row, items=len(items), let_go=row.fired)
    if len(items) <= CHUNK:
        _bear(draft, row, items)
    elif _is_made(node):
        backlog.keep(row, remaining=items)
    else:
        backlog.keep(row, whole=whole)
    fan_out.ring_for_all(draft, node, row, row.fired)


def _end_without_items(draft: Draft, node: Node, row: StepRow) -> None:
    lost = is_lost(node, row)
    row.error = too_few(node, row) if lost else None
    draft.note("fan_out_opened", row, items=0)
    if lost:
        draft.move(row, StepStatus.FAILED, fan_out.unhandled(node, "failed"))
        draft.note("step_failed", row, error=row.error)
        fan_out.bury_short(draft, node, row)
    else:
        draft.move(row, StepStatus.SUCCEEDED)
        draft.results[row.name] = Ended("succeeded", [])
        draft.note("step_succeeded", row)
    end(draft, row, "failed" if lost else "succeeded")


def on_expanded(draft: Draft, fact: Expanded) -> None:
    """The next items of a large fan-out are born."""
    row = draft.by_id(fact.fan_out)
    if row is None or row.status is not StepStatus.WAITING or row.expanded is None or row.expanded >= row.wants:
        return
    node = draft.plan.nodes[row.name]
    if (draft.run.ending is not None and not node.closes) or not fan_out.is_open(row):
        return
    items = _unborn(draft, node, row)
    if backlog.rest(row) is not None:
        backlog.keep(row, remaining=items[CHUNK:], repeated=backlog.again(row))
    elif len(items) <= CHUNK:
        backlog.keep(row, repeated=backlog.again(row))
    _bear(draft, row, items[:CHUNK])
    draft.write(row)
    draft.ring_step(row, node.action)


def on_items_added(draft: Draft, fact: ItemsAdded) -> None:
    """Somebody has more items for a fan-out that runs: they follow those it has."""
    node = draft.plan.nodes.get(fact.task)
    row = draft.step(fact.task) if node is not None else None
    why = refusal("add_items", draft.run, row)
    items: list[Any] = []
    if why is None and node is not None and row is not None:
        try:
            items = _made(draft, node, list(fact.items))
        except ValueProblem as problem:
            why = f"its filter: {problem}"[:200]
        if row.wants + len(items) > MOST_ITEMS:
            why = f"it would have {row.wants + len(items)} items, more than {MOST_ITEMS}"
    if why is not None or node is None or row is None:
        draft.note("items_refused", step=fact.task, why=why, by=fact.by)
        return
    _add(draft, node, row, items, fact.by)


def _add(draft: Draft, node: Node, row: StepRow, items: list[Any], by: str | None) -> None:
    assert row.expanded is not None
    assert row.items_left is not None
    unborn = _unborn(draft, node, row) + items
    room = len(items) if node.concurrency is None else node.concurrency - fan_out.in_flight(row)
    fired = row.fired + min(max(room, 0), len(items)) if row.fired == row.wants else row.fired
    ready, row.fired = fired - row.fired, fired
    row.wants += len(items)
    row.items_left += len(items)
    draft.write(row)
    draft.note("items_added", row, items=len(items), let_go=row.fired, by=by)
    if len(unborn) <= CHUNK:
        backlog.keep(row, repeated=backlog.again(row))
        _bear(draft, row, unborn)
    else:
        backlog.keep(row, remaining=unborn, repeated=backlog.again(row))
    fan_out.ring_for_all(draft, node, row, ready)


def _unborn(draft: Draft, node: Node, row: StepRow) -> list[Any]:
    """The items that have no rows yet."""
    if row.expanded is None or row.expanded >= row.wants:
        return []
    kept = backlog.rest(row)
    return list(kept) if kept is not None else _listed(draft, node, backlog.listed(row))[row.expanded :]


def _listed(draft: Draft, node: Node, whole: Any) -> list[Any]:
    """The list itself, which may be kept as a reference."""
    assert node.with_items is not None
    items = resolve(whole, lookup_in(draft.scope(node.with_items.tasks)))
    if not isinstance(items, list):
        raise ExpressionError(f"{node.name}.with_items", f"it is {type(items).__name__}, not a list")
    if len(items) > MOST_ITEMS:
        raise ExpressionError(f"{node.name}.with_items", f"it has {len(items)} items, more than {MOST_ITEMS}")
    return items


def _is_made(node: Node) -> bool:
    return node.filter is not None or node.batch_size is not None or node.undoes is not None


def _made(draft: Draft, node: Node, items: list[Any]) -> list[Any]:
    """Without what the filter leaves out, and in batches. To the filter `index` is the place in the list as it was given."""
    if node.filter is not None:
        scope = draft.scope(node.filter.tasks)
        items = [item for index, item in enumerate(items) if node.filter.holds(scope | {"item": item, "index": index})]
    if node.batch_size is not None:
        items = [items[first : first + node.batch_size] for first in range(0, len(items), node.batch_size)]
    return items


def _bear(draft: Draft, row: StepRow, items: list[Any]) -> None:
    """The next items, ready or held, in the order of their numbers."""
    assert row.expanded is not None
    first, paused = row.expanded, draft.run.status is RunStatus.PAUSED
    for number, value in enumerate(items, first):
        status = StepStatus.READY if number < row.fired and not paused else StepStatus.HELD
        item = StepRow(draft.mint(), row.name, number, status=status, fan_out=row.id, input=value, queue=row.queue, priority=row.priority)
        item.why = None if status is StepStatus.READY else PAUSED if number < row.fired else "concurrency"
        draft.rows[item.id] = item
        draft.write(item)
    row.expanded = first + len(items)
    if items:
        draft.note("items_born", row, first=first, last=row.expanded, let_go=row.fired)
    if items and paused and first < row.fired:
        draft.note("items_held", row, items=[[first, min(row.expanded, row.fired) - 1]])
