"""When the slots of a schedule are: a cron expression in a time zone, or every so many seconds.

What the fields of an expression match is cronsim's word, given for the time on a wall clock. What a change of the
clock does to that time is said here, as Debian's cron does it: an expression with a fixed minute and a fixed hour
goes by the wall clock (a time that is skipped comes when the clock has jumped, a time that is repeated comes the
first time alone), one whose minute or hour begins with `*` goes by the time that passes (what is skipped does not
come, what is repeated comes twice).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from cronsim import CronSim, CronSimError

from wfcelery.definition.spans import shortly

LONGEST_EXPRESSION = 200
LONGEST_INTERVAL = 366 * 86_400
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND, _DAY = timedelta(seconds=1), timedelta(days=1)
_LONGEST_JUMP = timedelta(hours=25)  # an island that changes its side of the date line skips a day
_FIELDS = "write minute, hour, day of month, month and day of week, as in '0 3 * * *', or a second before them"


@dataclass(frozen=True, slots=True)
class Every:
    """Each so many seconds, counted from 1970 in UTC: `every="1h"` is on the hour."""

    seconds: int

    def after(self, moment: datetime) -> datetime | None:
        """The first slot later than this moment."""
        step = timedelta(seconds=self.seconds)
        return _EPOCH + ((moment - _EPOCH) // step + 1) * step


@dataclass(frozen=True, slots=True)
class Cron:
    """A cron expression of five fields, or six with a second before them, in an IANA time zone."""

    expression: str
    zone: str

    def after(self, moment: datetime) -> datetime | None:
        """The first slot later than this moment, in UTC; None where none comes within fifty years."""
        at = moment.astimezone(UTC).replace(microsecond=0)
        minute, hour = self.expression.split()[-5:-3]
        return self._passing(at) if "*" in (minute[0], hour[0]) else self._on_the_clock(at)

    def _on_the_clock(self, at: datetime) -> datetime | None:
        zone = ZoneInfo(self.zone)
        return next((slot for time in self._times(at + _offset(zone, at)) if (slot := _shown(zone, time)) > at), None)

    def _passing(self, at: datetime) -> datetime | None:
        """From one change of the clock to the next the time on it is that which passes."""
        zone = ZoneInfo(self.zone)
        while True:
            offset = _offset(zone, at)
            time = next(self._times(at + offset), None)
            if time is None:
                return None
            slot = time.replace(tzinfo=UTC) - offset
            change = _change(zone, at, slot)
            if change is None:
                return slot
            new = _offset(zone, change)
            if (first := next(self._times(change - _SECOND + new), None)) is not None and first.replace(tzinfo=UTC) - new == change:
                return change
            at = change

    def _times(self, clock: datetime) -> Iterator[datetime]:
        """The times on a wall clock that match, later than what it shows."""
        return CronSim(self.expression, clock.replace(tzinfo=None))


Timetable = Every | Cron


def _offset(zone: ZoneInfo, at: datetime) -> timedelta:
    return at.astimezone(zone).utcoffset() or timedelta(0)


def _shown(zone: ZoneInfo, time: datetime) -> datetime:
    """When a clock of this zone first shows a time; where it skips it, the moment of its jump."""
    at = time.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if at.astimezone(zone).replace(tzinfo=None) == time:
        return at
    return _change(zone, at - _LONGEST_JUMP, at) or at


def _change(zone: ZoneInfo, since: datetime, until: datetime) -> datetime | None:
    """The first moment later than `since`, and no later than `until`, at which the clock goes otherwise than at `since`."""
    offset, low = _offset(zone, since), since
    while low < until:
        high = min(low + _DAY, until)
        if _offset(zone, high) != offset:
            while high - low > _SECOND:
                middle = low + (high - low) // (2 * _SECOND) * _SECOND
                low, high = (middle, high) if _offset(zone, middle) == offset else (low, middle)
            return high
        low = high
    return None


# ---- what people write -----------------------------------------------------------------------------------------------


def cron_fault(expression: object) -> str | None:
    """What is wrong with an expression."""
    if not isinstance(expression, str):
        return f"it is a text, not {shortly(expression)}"
    if len(expression) > LONGEST_EXPRESSION:
        return f"it has {len(expression)} characters, more than {LONGEST_EXPRESSION}"
    try:
        first = next(CronSim(expression, datetime(2020, 1, 1)), None)  # noqa: DTZ001  a wall clock's
    except CronSimError as problem:
        return f"{shortly(expression)} is no cron expression ({str(problem).lower()}): {_FIELDS}"
    return f"{shortly(expression)} never comes: there is no such day" if first is None else None


def zone_fault(name: object) -> str | None:
    """What is wrong with the name of a time zone."""
    if not isinstance(name, str):
        return f"it is the name of a time zone, such as 'Europe/Berlin', not {shortly(name)}"
    try:
        if name != "localtime":  # another one on each machine
            ZoneInfo(name)
            return None
    except (ZoneInfoNotFoundError, ValueError, OSError):
        pass
    known = available_timezones()
    near = get_close_matches(name[:100], known, 1)
    remedy = f"did you mean {near[0]}?" if near else "write one as Europe/Berlin" if known else "this machine has none: install tzdata"
    return f"there is no time zone {shortly(name)}; {remedy}"


def every_fault(seconds: float) -> str | None:
    """What is wrong with an interval."""
    if seconds != int(seconds) or not 1 <= seconds <= LONGEST_INTERVAL:
        return f"it is whole seconds, from 1 s to {LONGEST_INTERVAL // 86_400} days, not {seconds:g} s"
    return None
