"""What may be asked of a schedule: everything is checked, and all that is wrong is told, before anything is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any, TypedDict, cast

from wfcelery.authoring.decorators import Bound
from wfcelery.definition.document import Overlap
from wfcelery.definition.findings import did_you_mean
from wfcelery.definition.schedule_checks import Fault, input_faults, span_fault, timetable_faults
from wfcelery.definition.spans import seconds, shortly
from wfcelery.definition.timetables import Cron, Every, Timetable
from wfcelery.definition.values import dumps, encode
from wfcelery.errors import (
    AuthoringError,
    DefinitionProblems,
    Duration,
    InvalidInput,
    InvalidSchedule,
    NotAllowedNow,
    NotFound,
    ValueProblem,
)
from wfcelery.service import definitions
from wfcelery.service.asked import LONGEST_NAME, check_options, text_fault
from wfcelery.service.context import Context
from wfcelery.store.schedules import Terms

CATCH_UP = "1d"


class ScheduleOptions(TypedDict, total=False):
    """What `schedule` takes beside the workflow and its input."""

    cron: str
    every: Duration
    timezone: str
    overlap: Overlap
    catch_up: Duration
    slot_as: str
    queue: str
    priority: int
    tags: Sequence[str]
    deadline: Duration
    organization_id: str


def terms_of(context: Context, name: str, what: Bound[Any] | str, given: Mapping[str, Any] | None, options: Mapping[str, Any]) -> Terms:
    """The terms of a schedule. Raises `InvalidSchedule` with everything wrong with it; stores the definition of what is bound."""
    wrong: list[Fault] = []
    fault = text_fault(name, LONGEST_NAME)
    wrong += [] if fault is None else [("name", fault)]
    said = {option: value for option, value in options.items() if value is not None}
    wrong += _unknown(said)
    wrong += timetable_faults(said)
    wrong += _run_faults(said)
    workflow, stored = _workflow(context, what, given, said.get("slot_as"), wrong)
    text = dumps(stored)
    if len(text) > context.settings.input_limit:
        wrong.append(("input", f"it has {len(text)} bytes, more than {context.settings.input_limit}"))
    if wrong:
        raise InvalidSchedule(name if fault is None else shortly(name), wrong)
    every, catch_up, deadline = (said.get(span) for span in ("every", "catch_up", "deadline"))
    return Terms(
        workflow=workflow,
        input=text,
        cron=said.get("cron"),
        every=None if every is None else int(seconds(every)),
        time_zone=said.get("timezone", "UTC"),
        overlap=cast(Overlap, said.get("overlap", "skip")),
        catch_up=seconds(CATCH_UP if catch_up is None else catch_up),
        slot_as=said.get("slot_as"),
        queue=said.get("queue"),
        priority=said.get("priority"),
        tags=tuple(said.get("tags", ())),
        deadline=None if deadline is None else seconds(deadline),
    )


def timetable_of(said: Mapping[str, Any]) -> Timetable:
    """When the slots are, as options say it that have no fault."""
    return Every(int(seconds(said["every"]))) if "every" in said else Cron(said["cron"], said.get("timezone", "UTC"))


def moment_of(name: str, where: str, value: object, zone: Any) -> datetime:
    """A moment in UTC: a datetime or its ISO text, of the schedule's time zone where it says none. Raises `InvalidSchedule`."""
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else value
        if not isinstance(found, datetime):
            raise ValueError(shortly(value))
        moment = (found if found.tzinfo is not None else found.replace(tzinfo=zone)).astimezone(UTC)
        if not 1970 <= moment.year < 2200:
            raise ValueError(shortly(value))
    except (ValueError, OverflowError) as problem:
        text = f"{shortly(value)} is no moment: write 2026-03-01, 2026-03-01T06:00 or 2026-03-01T06:00+01:00"
        raise InvalidSchedule(name, [(where, text)]) from problem
    return moment


def _unknown(said: Mapping[str, Any]) -> list[Fault]:
    known = ScheduleOptions.__annotations__
    return [(name, f"there is no such option{did_you_mean(get_close_matches(name, known, 1))}") for name in said if name not in known]


def _run_faults(said: Mapping[str, Any]) -> list[Fault]:
    """Of what each of its runs is given, as of a start."""
    wrong: list[Fault] = []
    try:
        check_options("", {name: said[name] for name in ("queue", "priority", "tags", "organization_id") if name in said})
    except InvalidInput as faults:
        wrong += faults.errors
    fault = span_fault(said["deadline"]) if "deadline" in said else None
    return wrong if fault is None else [*wrong, ("deadline", fault)]


def _workflow(
    context: Context, what: Bound[Any] | str, given: Mapping[str, Any] | None, slot_as: Any, wrong: list[Fault]
) -> tuple[str, dict[str, Any]]:
    """The workflow's name and the input in stored form; `wrong` grows by what is wrong with them. Stores nothing where anything is."""
    if isinstance(what, Bound):
        if given is not None:
            raise AuthoringError('a bound workflow already has its input: schedule("nightly", report.bind(...)) takes no third argument')
        definition, stored, is_kept = what.definition, dict(what.input), False
    elif isinstance(what, str):
        try:
            definition, is_kept = definitions.of_name(context, what)
        except (NotFound, DefinitionProblems) as problem:
            wrong.append(("workflow", str(problem)))
            return what, {}
        stored = _stored(given, wrong)
    else:
        raise AuthoringError(
            f"schedule takes a bound workflow, or a name and an input; {type(what).__name__} is neither: write x.bind(...)"
        )
    wrong += input_faults(definition, stored, slot_as)
    if not wrong and not is_kept:
        try:
            definitions.launched(context, definition, None)
        except (DefinitionProblems, NotAllowedNow) as problem:
            wrong.append(("workflow", str(problem)))
    return definition.name, stored


def _stored(given: Any, wrong: list[Fault]) -> dict[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
        wrong.append(("input", f"it is a dict with the workflow's parameters as names, not {shortly(given)}"))
        return {}
    stored = {}
    for name, value in given.items():
        try:
            stored[name] = encode(value)
        except ValueProblem as problem:
            wrong.append((f"input.{name}", str(problem)))
    return stored
