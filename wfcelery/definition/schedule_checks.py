"""Everything wrong with a schedule: its times, its policies, and an input that does not fit its workflow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any

from wfcelery.definition.document import OVERLAPS, Definition
from wfcelery.definition.findings import Findings, did_you_mean
from wfcelery.definition.inputs import check_input
from wfcelery.definition.spans import seconds, shortly
from wfcelery.definition.timetables import cron_fault, every_fault, zone_fault
from wfcelery.definition.values import encode
from wfcelery.errors import InvalidInput, InvalidSpan

SHORTEST_CATCH_UP = 10.0  # seconds: a sweep itself may come as late
Fault = tuple[str, str]


def check_schedules(definition: Definition, findings: Findings) -> None:
    """The schedules that stand in a definition's file."""
    seen: set[str] = set()
    for number, spec in enumerate(definition.schedules):
        said = spec.model_dump(exclude_none=True, exclude_defaults=True)
        wrong = [*timetable_faults(said), *input_faults(definition, spec.input, spec.slot_as)]
        if spec.name in seen:
            wrong.append(("name", f"there are two schedules {spec.name!r}"))
        seen.add(spec.name)
        for where, fault in wrong:
            findings.add(("schedules", number, *where.split(".")), fault)


def timetable_faults(said: Mapping[str, Any]) -> list[Fault]:
    """What is wrong with the times of a schedule, and with its policies; what is not said is not there."""
    wrong: list[Fault] = []
    if ("cron" in said) == ("every" in said):
        wrong.append(("cron", "a schedule has either `cron` or `every`" + (", not both" if "cron" in said else "; this one has neither")))
    checks: dict[str, Callable[[Any], str | None]] = {"cron": cron_fault, "every": _every_fault, "timezone": zone_fault}
    checks |= {"overlap": _overlap_fault, "catch_up": _catch_up_fault}
    wrong += [(option, fault) for option, check in checks.items() if option in said and (fault := check(said[option])) is not None]
    if "every" in said and "cron" not in said and said.get("timezone", "UTC") != "UTC":
        wrong.append(("timezone", "an interval passes at the same pace everywhere: a time zone belongs to `cron`"))
    return wrong


def input_faults(definition: Definition, stored: Mapping[str, Any], slot_as: Any) -> list[Fault]:
    """What keeps the input, with a slot's time in it where that is asked for, from fitting the workflow."""
    wrong: list[Fault] = []
    if slot_as is not None and (not isinstance(slot_as, str) or slot_as not in definition.parameters):
        near = get_close_matches(slot_as, definition.parameters, 1) if isinstance(slot_as, str) else []
        wrong.append(("slot_as", f"{definition.name} has no parameter {shortly(slot_as)}{did_you_mean(near)}"))
    slot = {slot_as: encode(datetime(2020, 1, 1, tzinfo=UTC))} if isinstance(slot_as, str) and not wrong else {}
    try:
        check_input(definition, {**stored, **slot})
    except InvalidInput as faults:
        wrong += [(f"input.{where}", fault) for where, fault in faults.errors]
    return wrong


def span_fault(value: Any) -> str | None:
    """What is wrong with a length of time."""
    try:
        seconds(value)
    except InvalidSpan as problem:
        return str(problem)
    return None


def _every_fault(value: Any) -> str | None:
    return span_fault(value) or every_fault(seconds(value))


def _catch_up_fault(value: Any) -> str | None:
    fault = span_fault(value)
    if fault is None and seconds(value) < SHORTEST_CATCH_UP:
        return f"it is at least {SHORTEST_CATCH_UP:g} s: a sweep itself may come as late"
    return fault


def _overlap_fault(value: Any) -> str | None:
    return None if value in OVERLAPS else f"it is one of {', '.join(OVERLAPS)}, not {shortly(value)}"
