"""What a run does when its end is decided, and before it has ended: it undoes what it has done, and calls its hooks.

The run is `compensating` meanwhile. What is to be done is laid out once, in a row each: the first is ready, the others are
blocked, and `wants` is their place in the line. Each is taken up when the one before it has ended, however that was. The
compensations come in the reverse order in which the tasks have ended, as the history tells it; then the hooks.
"""

from __future__ import annotations

from wfcelery.core import births
from wfcelery.core.draft import Draft
from wfcelery.core.reaching import reach
from wfcelery.core.rows import ItemRow, RunRow, StepRow
from wfcelery.core.states import RunStatus, StepStatus
from wfcelery.definition.plan import Node, Plan

AHEAD = 10  # rows of the line that are read at once: nearly always one is enough
INCOMPLETE = "compensation_incomplete"
_HOOKS = {
    RunStatus.FAILED: ("on_failure", "on_complete"),
    RunStatus.TIMED_OUT: ("on_failure", "on_complete"),
    RunStatus.CANCELLED: ("on_cancel", "on_complete"),
    RunStatus.SUCCEEDED: ("on_complete",),
}
_UNKNOWN = (StepStatus.FAILED, StepStatus.TIMED_OUT, StepStatus.CANCELLED)


def undoes(plan: Plan, run: RunRow) -> bool:
    """Whether a run that ends like this undoes what it has done: by the word of the step that failed, else by the workflow's."""
    if run.ending is RunStatus.SUCCEEDED or not plan.undoable:
        return False
    failed = plan.nodes.get(str((run.error or {}).get("step"))) if run.ending is RunStatus.FAILED else None
    return (plan.on_error if failed is None or failed.kind == "fail" else failed.on_error) != "stop"


def has_undone(draft: Draft) -> bool:
    """Whether anything of the run was undone, or was to be: it is not done again."""
    names = [_undoing(draft.plan, name) for name in draft.plan.undoable]
    draft.know(names)
    return any(draft.step(name) is not None for name in names)


# ---- the line --------------------------------------------------------------------------------------------------------


def lay_out(draft: Draft) -> bool:
    """Find what is to be done before the run ends, and give each a row; False: nothing is."""
    names = [] if draft.terminated or not draft.plan.closes else _line(draft)
    if not names or (draft.view.run.ending is not None and draft.story().terminated):
        return False
    draft.note("run_compensating", steps=names)
    for place, name in enumerate(names):
        row = draft.new_row(draft.plan.nodes[name])
        draft.laid_out.append(row)
        if place:
            row.blockers, row.wants = 1, place
            draft.move(row, StepStatus.BLOCKED)
            draft.note("step_blocked", row, by=names[place - 1], left=1)
    return True


def _line(draft: Draft) -> list[str]:
    plan, ending = draft.plan, draft.run.ending
    assert ending is not None
    hooks = [plan.hooks[when] for when in _HOOKS[ending] if when in plan.hooks]
    draft.know(hooks)
    return [*_to_undo(draft), *(name for name in hooks if draft.step(name) is None)]  # each once in a run's life


def _to_undo(draft: Draft) -> list[str]:
    """What is undone, the last that ended first."""
    plan = draft.plan
    if not undoes(plan, draft.run):
        return []
    draft.know([*plan.undoable, *(_undoing(plan, name) for name in plan.undoable)])
    found = [name for name in plan.undoable if draft.step(_undoing(plan, name)) is None and _is_to_undo(draft, name)]
    if len(found) > 1:
        # The history does not tell of this very commit yet: what ends in it has ended last.
        place = {name: number for number, name in enumerate([*draft.story().ended, *_ended_now(draft)])}
        found.sort(key=lambda name: place.get(name, -1), reverse=True)
    return [_undoing(plan, name) for name in found]


def _ended_now(draft: Draft) -> list[str]:
    return [str(fact["step"]) for fact in draft.facts if "step" in fact]


def _is_to_undo(draft: Draft, name: str) -> bool:
    row, unknown = draft.step(name), _undo_node(draft.plan, name).even_if_unknown
    if row is None:
        return False
    if draft.plan.nodes[name].fans_out:
        return row.items_left is not None and bool(_items_to_undo(draft, name))
    return _calls_for_it(row, unknown)


def _items_to_undo(draft: Draft, name: str) -> list[int]:
    """The items that are undone, the last of the list first."""
    unknown = _undo_node(draft.plan, name).even_if_unknown
    mine = {row.item: row for row in draft.rows.values() if row.name == name}
    found = [item for item in draft.items_of(name) if _calls_for_it(mine.get(item.item, item), unknown)]
    return sorted((item.item for item in found), reverse=True)


def _calls_for_it(row: StepRow | ItemRow, even_if_unknown: bool) -> bool:
    return row.status == StepStatus.SUCCEEDED or (even_if_unknown and row.status in _UNKNOWN and row.attempt > 0)


def _undoing(plan: Plan, name: str) -> str:
    undone_by = plan.nodes[name].undone_by
    assert undone_by is not None
    return undone_by


def _undo_node(plan: Plan, name: str) -> Node:
    return plan.nodes[_undoing(plan, name)]


# ---- one after the other ---------------------------------------------------------------------------------------------


def go_on(draft: Draft) -> bool:
    """Take up the next of the line where nothing is under way; False: there is none, and the run can end."""
    while draft.run.open_steps == 0:
        row = None if draft.terminated else _next(draft)
        if row is None:
            tell_incomplete(draft)
            return False
        take_up(draft, row)
        while draft.ended:  # its own input could not be made
            on_end(draft, *draft.ended.popleft())
    return True


def _next(draft: Draft) -> StepRow | None:
    if draft.laid_out:
        return next((row for row in draft.laid_out if row.id not in draft.taken_up), None)
    for number in (AHEAD, len(draft.plan.undoable) + len(draft.plan.hooks) + 1):
        for row in draft.line(number):
            if row.status is StepStatus.BLOCKED and row.id not in draft.taken_up:
                return row
    return None


def take_up(draft: Draft, row: StepRow) -> None:
    """It is this one's turn: it gets its input, and is ready."""
    node = draft.plan.nodes[row.name]
    draft.taken_up.add(row.id)
    if node.undoes is None:
        tell_incomplete(draft)
    elif node.fans_out:
        row.blockers = row.wants = 0
        births.open_made(draft, node, row, list(_items_to_undo(draft, node.undoes)))
        return
    elif node.input is None:
        undone = draft.step(node.undoes)
        assert undone is not None
        row.input = undone.input
    row.blockers = row.wants = 0
    reach(draft, node, row)


def on_end(draft: Draft, node: Node, how: str) -> None:
    """A compensation or a hook has ended: what was undone is `compensated`."""
    if node.undoes is None or how != "succeeded":
        return
    row = draft.step(node.undoes)
    if row is not None and row.status is StepStatus.SUCCEEDED:
        draft.move(row, StepStatus.COMPENSATED)
        draft.note("step_compensated", row)


def tell_incomplete(draft: Draft) -> None:
    """Say in the run's error which tasks could not be undone, or no longer, when all of them were after all."""
    if not draft.plan.undoable:
        return
    names = {name: _undoing(draft.plan, name) for name in draft.plan.undoable}
    draft.know(names.values())
    left = [name for name, undoing in names.items() if (row := draft.step(undoing)) is not None and row.status is not StepStatus.SUCCEEDED]
    error = dict(draft.run.error or {})
    said = error.pop("said", error.get("message"))
    if error.get("code") == INCOMPLETE and not left:
        draft.run.error = None
    elif left:
        told = f"compensation incomplete: {', '.join(left)}"[:500]
        error = error or {"type": "CompensationIncomplete", "code": INCOMPLETE}
        message = told if error.get("code") == INCOMPLETE else f"{said}; {told}"
        draft.run.error = error | {"message": message, "said": said}
    elif "said" in (draft.run.error or {}):
        draft.run.error = error | {"message": said}
