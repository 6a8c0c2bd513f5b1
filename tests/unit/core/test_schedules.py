"""What becomes of slots: each has one fate, in their order, whatever the policy and however long nobody looked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wfcelery.core.schedules import LONGEST_LOOK, MOST_AT_ONCE, Policy, Standing, Turn, slot_key, take_turn
from wfcelery.definition.document import OVERLAPS, Overlap
from wfcelery.definition.timetables import Cron, Every

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
EACH_MINUTE = Every(60)


def minutes(*numbers: float) -> tuple[datetime, ...]:
    return tuple(NOON + timedelta(minutes=number) for number in numbers)


def turn_of(overlap: Overlap, standing: Standing, now: float, going: bool, catch_up: float = 86_400.0) -> Turn:
    return take_turn(EACH_MINUTE, Policy(overlap, catch_up), standing, minutes(now)[0], going)


@pytest.mark.parametrize("overlap", OVERLAPS)
def test_a_slot_whose_time_has_come_is_started_where_nothing_is_going(overlap: Overlap) -> None:
    turn = turn_of(overlap, Standing(NOON), 0.01, going=False)
    assert (turn.start, turn.next_slot, turn.look_at, turn.cancel, turn.skipped) == (NOON, *minutes(1, 1), False, ())


@pytest.mark.parametrize("overlap", OVERLAPS)
def test_nothing_is_done_before_its_time(overlap: Overlap) -> None:
    assert turn_of(overlap, Standing(NOON), -0.01, going=False) == Turn(NOON, None, NOON)


def test_where_an_earlier_run_is_going_the_policy_decides() -> None:
    due, now = Standing(NOON), 2.5
    assert turn_of("skip", due, now, going=True).skipped == minutes(0, 1, 2)
    buffered = turn_of("buffer", due, now, going=True)
    assert (buffered.waiting, buffered.skipped, buffered.next_slot) == (NOON, minutes(1, 2), minutes(3)[0])
    cancelled = turn_of("cancel", due, now, going=True)
    assert (cancelled.waiting, cancelled.skipped, cancelled.cancel) == (minutes(2)[0], minutes(0, 1), True)
    allowed = turn_of("allow", due, now, going=True)
    assert (allowed.start, allowed.next_slot, allowed.look_at) == (NOON, *minutes(1, 1))


def test_a_slot_that_waits_is_started_when_the_earlier_run_has_ended_and_before_any_other() -> None:
    standing = Standing(minutes(3)[0], NOON)
    still = turn_of("buffer", standing, 3.5, going=True)
    assert (still.start, still.waiting, still.skipped) == (None, NOON, minutes(3))
    over = turn_of("buffer", standing, 3.5, going=False)
    assert (over.start, over.waiting, over.next_slot) == (NOON, None, minutes(3)[0])
    assert turn_of("skip", standing, 3.5, going=False).start == NOON, "also where the policy has changed meanwhile"
    assert turn_of("allow", standing, 3.5, going=True).start == NOON


def test_who_waits_is_looked_for_soon_and_then_ever_later() -> None:
    looks = []
    for after in (0.0, 1.0, 60.0):
        turn = turn_of("buffer", Standing(minutes(10_000)[0], NOON), after, going=True)
        assert turn.look_at is not None
        looks.append(turn.look_at - minutes(after)[0])
    assert looks == [timedelta(seconds=1), timedelta(seconds=6), LONGEST_LOOK]


def test_a_cancel_is_asked_for_once_and_again_only_by_a_newer_slot() -> None:
    waiting = Standing(minutes(5)[0], minutes(4)[0])
    assert not turn_of("cancel", waiting, 4.5, going=True).cancel
    newer = turn_of("cancel", waiting, 5.5, going=True)
    assert (newer.cancel, newer.waiting, newer.skipped) == (True, minutes(5)[0], minutes(4))


def test_of_many_slots_that_are_due_at_once_cancel_starts_the_newest_alone() -> None:
    turn = turn_of("cancel", Standing(NOON), 3.5, going=False)
    assert (turn.start, turn.skipped, turn.next_slot) == (minutes(3)[0], minutes(0, 1, 2), minutes(4)[0])


def test_slots_older_than_the_catch_up_window_are_missed_and_counted() -> None:
    turn = turn_of("allow", Standing(NOON), 100.0, going=False, catch_up=120)
    assert (turn.missed, turn.last_missed, turn.start) == (98, *minutes(97, 98))


def test_an_outage_of_years_costs_no_more_than_the_slots_that_are_counted() -> None:
    each_second = Cron("* * * * * *", "UTC")
    turn = take_turn(each_second, Policy("skip", 60.0), Standing(NOON), NOON + timedelta(days=3_000, milliseconds=500), going=False)
    assert MOST_AT_ONCE <= turn.missed <= MOST_AT_ONCE + 1
    assert turn.start == NOON + timedelta(days=3_000, seconds=-59)


def test_the_key_of_a_slot_is_written_in_utc() -> None:
    assert slot_key("nightly", datetime.fromisoformat("2026-01-01T03:00+01:00")) == "schedule:nightly:2026-01-01T02:00:00Z"


LOOKS = st.lists(st.tuples(st.floats(0, 400), st.floats(0, 300), st.booleans()), min_size=1, max_size=25)


@given(st.sampled_from(OVERLAPS), st.floats(10, 2_000), LOOKS)
def test_every_slot_has_one_fate_and_they_come_in_order(overlap: Overlap, catch_up: float, looks: list[tuple[float, float, bool]]) -> None:
    """Somebody looks now and then, and takes turns until none is due; runs end, or do not, whenever they like."""
    now, standing, going = NOON - timedelta(seconds=1), Standing(NOON), False
    started: list[datetime] = []
    skipped: list[datetime] = []
    missed = 0
    for pause, _, ends in looks:
        now, going = now + timedelta(seconds=pause), going and not ends
        for _ in range(100):
            turn = take_turn(EACH_MINUTE, Policy(overlap, catch_up), standing, now, going)
            if turn.start is not None:
                assert overlap == "allow" or not going, "two runs at once"
                assert standing.waiting == turn.start or turn.start >= now - timedelta(seconds=catch_up), "not in the window"
                started.append(turn.start)
                going = True
            assert not (turn.cancel and not going)
            skipped += turn.skipped
            missed += turn.missed
            standing = Standing(turn.next_slot, turn.waiting)
            assert turn.look_at is not None
            if turn.look_at > now:
                break
        assert turn.look_at > now, "it comes to rest"
        assert standing.next_slot is not None
        come = int((standing.next_slot - NOON).total_seconds() // 60)
        assert standing.next_slot > now
        assert come == len(started) + len(skipped) + missed + (standing.waiting is not None), "each slot is somewhere, and once"
        assert started == sorted(set(started))
        assert not set(started) & set(skipped)
        assert overlap in ("buffer", "cancel") or standing.waiting is None
