"""Steps that somebody holds: nothing of them begins, and nothing fails, until they are released."""

from __future__ import annotations

from wfcelery.core import fan_out, regions
from wfcelery.core.draft import Draft, ranges
from wfcelery.core.events import HoldOver, TurnedAway
from wfcelery.core.rows import NO_ITEM, StepRow
from wfcelery.core.states import RunStatus, StepStatus
from wfcelery.core.step_machine import PAUSED, end, is_current


def on_turned_away(draft: Draft, fact: TurnedAway) -> None:
    """A step that was ready before goes back as if it had never been claimed, and is held."""
    row = draft.by_id(fact.step)
    if row is None:
        return
    if fact.unstarted:
        _turn_away_items(draft, row, fact)
        return
    if not is_current(row, fact.token):
        return
    _forget_the_claim(row)
    if draft.run.ending is not None:
        draft.move(row, StepStatus.CANCELLED, "stopped:ready")
        draft.note("step_handed_back", row, then="cancelled")
        end(draft, row, "cancelled")
        return
    why = PAUSED if draft.run.status is RunStatus.PAUSED else fact.why
    if why is None:
        row.ring = True
        draft.move(row, StepStatus.READY)
        draft.note("step_handed_back", row)
        draft.ring_step(row, draft.plan.nodes[row.name].action)
    else:
        draft.move(row, StepStatus.HELD, why)
        draft.note("step_handed_back", row, then="held", why=why)
    regions.handed_back(draft, row)


def _turn_away_items(draft: Draft, row: StepRow, fact: TurnedAway) -> None:
    """With those of a group all others that could be claimed: each would have been turned away."""
    items = [item for item in map(draft.by_id, fact.unstarted) if item is not None and is_current(item, fact.token)]
    if not items:
        return
    if draft.run.ending is not None or draft.run.status is RunStatus.PAUSED or not fan_out.is_open(row):
        fan_out.items_handed_back(draft, row.id, items)
        return
    for item in items:
        _forget_the_claim(item)
        draft.move(item, StepStatus.HELD, fact.why)
    draft.note("items_handed_back", row, items=ranges(item.item for item in items), then="held")
    others = [item for item in draft.open_rows() if item.fan_out == row.id and item.status is StepStatus.READY]
    for item in others:
        draft.move(item, StepStatus.HELD, fact.why)
    if others:
        draft.note("items_held", row, items=ranges(item.item for item in others))
    draft.write(row)


def on_hold_over(draft: Draft, fact: HoldOver) -> None:
    """What this hold has held is ready, each a while after the one before it; in a paused run the pause holds it now."""
    why = f"hold:{fact.scope}"
    rows = [row for row in draft.open_rows() if row.status is StepStatus.HELD and row.why == why]
    rows.sort(key=lambda row: (row.name, row.item))
    paused = draft.run.status is RunStatus.PAUSED
    items: dict[str, list[StepRow]] = {}
    for number, row in enumerate(rows):
        row.delay = None if paused else (fact.delay + number * fact.every) or None
        row.ring = not paused and row.delay is None and row.item == NO_ITEM
        draft.move(row, *((StepStatus.HELD, PAUSED) if paused else (StepStatus.READY, None)))
        if row.item != NO_ITEM:
            items.setdefault(row.name, []).append(row)
            continue
        draft.note("step_held" if paused else "step_released", row, why=PAUSED if paused else None)
        if row.ring:
            draft.ring_step(row, draft.plan.nodes[row.name].action)
    for name, crowd in items.items():
        draft.note("items_held" if paused else "items_released", step=name, items=ranges(item.item for item in crowd))
        _ring(draft, name, len(crowd))


def _ring(draft: Draft, name: str, items: int) -> None:
    own = next((row for row in draft.open_rows() if row.name == name and row.item == NO_ITEM), None)
    if own is not None:
        draft.write(own)
        fan_out.ring_for_all(draft, draft.plan.nodes[name], own, items)


def _forget_the_claim(row: StepRow) -> None:
    """No attempt is counted."""
    row.token = row.claimed_by = row.child = None
    row.attempt -= 1
    row.delay = None
