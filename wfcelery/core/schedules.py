"""What becomes of the slots of a schedule: started, skipped, put off until earlier runs have ended, or missed. One commit's worth."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

from wfcelery.definition.document import Overlap

MOST_AT_ONCE = 1_000  # slots that one commit passes over; of missed ones no more are counted
SHORTEST_LOOK, LONGEST_LOOK = timedelta(seconds=1), timedelta(seconds=10)  # between two looks whether earlier runs have ended


class Slots(Protocol):
    """A timetable."""

    def after(self, moment: datetime) -> datetime | None:
        """The first slot later than this moment."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What to do where an earlier run is still going, and how late a slot may be started, in seconds."""

    overlap: Overlap
    catch_up: float


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a schedule stands: its next slot, and the one that waits for earlier runs to end."""

    next_slot: datetime | None
    waiting: datetime | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """One commit: at most one slot is started. `look_at`: when there is something to do again."""

    next_slot: datetime | None
    waiting: datetime | None
    look_at: datetime | None = None
    start: datetime | None = None
    cancel: bool = False  # the runs that are going are asked to end
    skipped: tuple[datetime, ...] = ()
    missed: int = 0
    last_missed: datetime | None = None


def slot_key(schedule: str, slot: datetime) -> str:
    """The key of the run of a slot: whoever starts it, and however often, it is one run."""
    return f"schedule:{schedule}:{slot.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def take_turn(slots: Slots, policy: Policy, standing: Standing, now: datetime, going: bool) -> Turn:
    """What is to be done now; `going`: whether a run of an earlier slot has not ended.

    Slots that are older than the catch-up window are missed. Of the others the oldest comes first. `skip` lets a slot
    go while an earlier run is going; `buffer` keeps one, the oldest, until none is; `cancel` asks what is going to end
    and keeps the newest alone; `allow` starts each.
    """
    turn = _missed(slots, Turn(standing.next_slot, standing.waiting), now - timedelta(seconds=policy.catch_up))
    free = not going or policy.overlap == "allow"
    if free and turn.waiting is not None:
        turn = replace(turn, start=turn.waiting, waiting=None)
    elif free:
        turn = _started(slots, turn, policy.overlap, now)
    else:
        turn = _passed_over(slots, turn, policy.overlap, now)
    return replace(turn, look_at=_next_look(turn, now))


def _missed(slots: Slots, turn: Turn, window: datetime) -> Turn:
    slot, count, last = turn.next_slot, 0, None
    while slot is not None and slot < window:
        count, last = count + 1, slot
        slot = slots.after(slot if count < MOST_AT_ONCE else max(slot, window - timedelta(seconds=1)))
    return replace(turn, next_slot=slot, missed=count, last_missed=last)


def _started(slots: Slots, turn: Turn, overlap: Overlap, now: datetime) -> Turn:
    slot, skipped = turn.next_slot, list[datetime]()
    if slot is None or slot > now:
        return turn
    following = slots.after(slot)
    while overlap == "cancel" and following is not None and following <= now and len(skipped) < MOST_AT_ONCE:
        skipped.append(slot)  # it would be cancelled at once
        slot, following = following, slots.after(following)
    return replace(turn, start=slot, next_slot=following, skipped=tuple(skipped))


def _passed_over(slots: Slots, turn: Turn, overlap: Overlap, now: datetime) -> Turn:
    slot, waiting, cancel, skipped = turn.next_slot, turn.waiting, False, list[datetime]()
    while slot is not None and slot <= now and len(skipped) < MOST_AT_ONCE:
        if overlap == "cancel":
            skipped += [] if waiting is None else [waiting]
            waiting, cancel = slot, True
        elif overlap == "buffer" and waiting is None:
            waiting = slot
        else:
            skipped.append(slot)
        slot = slots.after(slot)
    return replace(turn, next_slot=slot, waiting=waiting, cancel=cancel, skipped=tuple(skipped))


def _next_look(turn: Turn, now: datetime) -> datetime | None:
    if turn.waiting is None:
        return turn.next_slot
    again = now + min(max((now - turn.waiting) / 10, SHORTEST_LOOK), LONGEST_LOOK)
    return again if turn.next_slot is None else min(again, turn.next_slot)
