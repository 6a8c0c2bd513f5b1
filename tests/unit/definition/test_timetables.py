"""Slots against an oracle that knows no cron: it looks at every minute around every change of the clock from 2020 to 2040."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import given
from hypothesis import strategies as st

from wfcelery.definition.timetables import Cron, Every, Timetable, cron_fault, every_fault, zone_fault

CHANGES = {  # from 2020 to 2040
    "Europe/Berlin": 42,
    "America/New_York": 42,
    "Australia/Lord_Howe": 42,  # by half an hour
    "Africa/Casablanca": 42,  # away from summer time for each Ramadan, which is twice in 2030
    "America/Sao_Paulo": 0,
    "Asia/Kolkata": 0,
}
MINUTE = timedelta(minutes=1)
# The expression; its minutes and hours; whether it goes by the wall clock.
EXPRESSIONS = [
    ("30 2 * * *", {30}, {2}, True),
    ("0 2 * * *", {0}, {2}, True),
    ("15,45 1-3 * * *", {15, 45}, {1, 2, 3}, True),
    ("0 0-23/6 * * *", {0}, {0, 6, 12, 18}, True),
    ("30 * * * *", {30}, set(range(24)), False),
    ("*/10 3 * * *", {0, 10, 20, 30, 40, 50}, {3}, False),
    ("*/15 * * * *", {0, 15, 30, 45}, set(range(24)), False),
    ("*/20 1,2 * * *", {0, 20, 40}, {1, 2}, False),
]


@cache
def changes(name: str) -> tuple[datetime, ...]:
    """Each moment from 2020 to 2040 at which the clock of a zone jumps."""
    zone, found = ZoneInfo(name), []
    at, end, step = datetime(2020, 1, 1, tzinfo=UTC), datetime(2041, 1, 1, tzinfo=UTC), timedelta(hours=12)
    while at < end:
        if at.astimezone(zone).utcoffset() != (at + step).astimezone(zone).utcoffset():
            minute = at
            while minute.astimezone(zone).utcoffset() == at.astimezone(zone).utcoffset():
                minute += MINUTE
            found.append(minute)
        at += step
    return tuple(found)


def expected(zone: ZoneInfo, since: datetime, until: datetime, minutes: set[int], hours: set[int], on_the_clock: bool) -> list[datetime]:
    """The slots in (since, until], by a look at each minute from a day before."""
    look = [since + number * MINUTE for number in range(-24 * 60, int((until - since) / MINUTE) + 1)]
    shown = [(at, at.astimezone(zone).replace(tzinfo=None)) for at in look]
    if not on_the_clock:
        return [at for at, time in shown if since < at and time.minute in minutes and time.hour in hours]
    slots: set[datetime] = set()
    seen: set[datetime] = set()
    for (_, before), (at, time) in pairwise(shown):
        skipped = [before + number * MINUTE for number in range(1, int((time - before) / MINUTE))]
        for each in [*skipped, time]:
            if each not in seen and each.minute in minutes and each.hour in hours:
                slots.add(at)
            seen.add(each)
    return sorted(slot for slot in slots if since < slot)


def slots(timetable: Timetable, since: datetime, until: datetime) -> Iterator[datetime]:
    at = timetable.after(since)
    while at is not None and at <= until:
        yield at
        at = timetable.after(at)


@pytest.mark.parametrize("name", CHANGES)
def test_slots_around_every_change_of_the_clock_from_2020_to_2040_are_those_of_the_oracle(name: str) -> None:
    zone = ZoneInfo(name)
    assert len(changes(name)) >= CHANGES[name]
    assert bool(changes(name)) == bool(CHANGES[name])
    for change in changes(name) or (datetime(2024, 3, 31, 1, tzinfo=UTC), datetime(2024, 11, 3, 6, tzinfo=UTC)):
        since, until = change - timedelta(hours=20), change + timedelta(hours=28)
        for expression, minutes, hours, on_the_clock in EXPRESSIONS:
            found = list(slots(Cron(expression, name), since, until))
            assert found == expected(zone, since, until, minutes, hours, on_the_clock), (expression, change)


@pytest.mark.parametrize(("name", "expression"), [("Europe/Berlin", "30 2 * * *"), ("America/New_York", "*/30 1 * * *")])
def test_where_a_clock_jumps_by_an_hour_the_slots_are_those_of_cronsim_in_that_zone(name: str, expression: str) -> None:
    since = datetime(2020, 1, 1, tzinfo=UTC)
    theirs = CronSim(expression, since.astimezone(ZoneInfo(name)))
    for slot in slots(Cron(expression, name), since, datetime(2023, 1, 1, tzinfo=UTC)):
        assert slot == next(theirs).astimezone(UTC)


@pytest.mark.parametrize(
    ("expression", "since", "told"),
    [
        ("30 2 * * *", "2026-03-28T12:00Z", ["2026-03-29T03:00+02:00", "2026-03-30T02:30+02:00"]),  # skipped: when the clock has jumped
        ("30 2 * * *", "2026-10-24T12:00Z", ["2026-10-25T02:30+02:00", "2026-10-26T02:30+01:00"]),  # repeated: the first time
        ("30 * * * *", "2026-03-29T00:00Z", ["2026-03-29T01:30+01:00", "2026-03-29T03:30+02:00"]),  # skipped: not at all
        ("30 * * * *", "2026-10-25T00:00Z", ["2026-10-25T02:30+02:00", "2026-10-25T02:30+01:00"]),  # repeated: twice
        ("0 30 2 * * *", "2026-03-28T12:00Z", ["2026-03-29T03:00+02:00", "2026-03-30T02:30+02:00"]),  # with a second, too
        ("0 2,3 * * *", "2026-03-28T12:00Z", ["2026-03-29T03:00+02:00", "2026-03-30T02:00+02:00"]),
        ("0 2,3 * * *", "2026-10-24T12:00Z", ["2026-10-25T02:00+02:00", "2026-10-25T03:00+01:00"]),
        ("*/10 2 * * *", "2026-03-28T12:00Z", ["2026-03-30T02:00+02:00", "2026-03-30T02:10+02:00"]),
        ("*/10 2 * * *", "2026-10-25T00:40Z", ["2026-10-25T02:50+02:00", "2026-10-25T02:00+01:00"]),
        ("0 0 29 2 *", "2026-01-01T00:00Z", ["2028-02-29T00:00+01:00", "2032-02-29T00:00+01:00"]),
    ],
)
def test_the_table_of_the_docs_holds_in_berlin(expression: str, since: str, told: list[str]) -> None:
    found, at = [], datetime.fromisoformat(since)
    for _ in told:
        slot = Cron(expression, "Europe/Berlin").after(at)
        assert slot is not None
        found.append(at := slot)
    assert found == [datetime.fromisoformat(each) for each in told]


def moments(first: int, last: int) -> st.SearchStrategy[datetime]:
    """Any moment, to the microsecond, from the beginning of one year to that of another."""
    begin, end = (datetime(year, 1, 1, tzinfo=UTC) for year in (first, last))
    return st.integers(0, (end - begin) // timedelta(microseconds=1)).map(lambda number: begin + timedelta(microseconds=number))


@given(
    st.sampled_from([expression for expression, *_ in EXPRESSIONS] + ["5 4 * * 1", "*/7 */5 1,15 * *", "10 0 12 * * MON#2"]),
    st.sampled_from(list(CHANGES)),
    moments(2020, 2040),
    st.floats(0, 1),
)
def test_the_next_slot_is_the_same_from_wherever_one_looks(expression: str, zone: str, moment: datetime, part: float) -> None:
    """A process that begins anew in between, at any moment, goes on as if it had been there all the time."""
    cron = Cron(expression, zone)
    slot = cron.after(moment)
    assert slot is not None
    assert slot > moment
    assert cron.after(max(moment, slot - (slot - moment) * part - timedelta(microseconds=1))) == slot


@given(st.integers(1, 400 * 86_400), moments(1971, 2100))
def test_an_interval_is_counted_from_1970(seconds: int, moment: datetime) -> None:
    slot = Every(seconds).after(moment)
    assert slot is not None
    assert timedelta(0) < slot - moment <= timedelta(seconds=seconds)
    assert int(slot.timestamp()) % seconds == 0


@given(st.text(max_size=40) | st.text("0123456789*/,-#LW MON", max_size=30) | st.integers() | st.none())
def test_whatever_is_written_for_a_cron_expression_is_told_in_a_sentence_or_has_slots(text: object) -> None:
    if cron_fault(text) is None:
        assert Cron(str(text), "UTC").after(datetime(2026, 1, 1, tzinfo=UTC)) is not None


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (cron_fault("61 * * * *"), "bad minute"),
        (cron_fault("* * *"), "wrong number of fields"),
        (cron_fault("0 0 30 2 *"), "bad day-of-month"),
        (cron_fault("0 0 31 4 MON#5"), None),
        (cron_fault("* " * 200), "more than 200"),
        (zone_fault("Europe/Berln"), "did you mean Europe/Berlin"),
        (zone_fault("localtime"), "there is no time zone"),
        (zone_fault("../etc/passwd"), "there is no time zone"),
        (zone_fault("Europe"), "there is no time zone"),
        (zone_fault(""), "there is no time zone"),
        (zone_fault(7), "not 7"),
        (zone_fault("Asia/Kolkata"), None),
        (every_fault(0.5), "whole seconds"),
        (every_fault(0), "whole seconds"),
        (every_fault(1), None),
    ],
)
def test_what_is_wrong_with_a_time_is_told(fault: str | None, words: str | None) -> None:
    assert (fault is None) if words is None else (fault is not None and words in fault)
