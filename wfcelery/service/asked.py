"""What may be asked of a start beside its input: every option is checked, and all that is wrong is told, before anything is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any

from wfcelery.definition.findings import did_you_mean
from wfcelery.definition.spans import seconds, shortly
from wfcelery.errors import InvalidInput, InvalidSpan

# In bytes. Key, workflow and organization share one unique index, whose entries PostgreSQL limits to 2,700.
LONGEST_KEY = 1024
LONGEST_NAME = 255
MOST_TAGS = 100
HIGHEST_PRIORITY = 255
_YEARS = range(1970, 2200)  # whoever shows a moment must be able to in every time zone

Fault = str | None


def check_options(workflow: str, options: Mapping[str, Any]) -> None:
    """Raises `InvalidInput` with every option that is unknown, or has a value that cannot be meant."""
    wrong = []
    for name, value in options.items():
        check = _CHECKS.get(name)
        fault = f"there is no such option{did_you_mean(get_close_matches(name, _CHECKS, 1))}" if check is None else check(value)
        if fault is not None:
            wrong.append((name, fault))
    if wrong:
        raise InvalidInput(workflow, wrong)


def check_text(what: str, name: str, value: Any, longest: int = LONGEST_KEY) -> None:
    """Raises `InvalidInput` where this is no text that every database can hold."""
    fault = text_fault(value, longest)
    if fault is not None:
        raise InvalidInput(what, [(name, fault)])


def check_names(workflow: str, given: Any) -> None:
    """Raises `InvalidInput` where an input is not made of names and values."""
    if not isinstance(given, Mapping):
        raise InvalidInput(workflow, [("input", f"it is a dict with the workflow's parameters as names, not {shortly(given)}")])
    wrong = [("input", f"a name is a text, not {shortly(name)}") for name in given if not isinstance(name, str)]
    if wrong:
        raise InvalidInput(workflow, wrong)


def text_fault(value: Any, longest: int = LONGEST_KEY) -> Fault:
    """What is wrong with a name or key."""
    if not isinstance(value, str):
        return f"it is a text, not {shortly(value)}"
    if not value:
        return "it is empty"
    try:
        size = len(value.encode("utf-8"))
    except UnicodeEncodeError:
        return "it holds half of a surrogate pair, which is no text"
    if "\x00" in value:
        return "it holds a NUL, which not every database can keep"
    return f"it has {size} bytes, more than {longest}" if size > longest else None


def _optional(check: Callable[[Any], Fault]) -> Callable[[Any], Fault]:
    return lambda value: None if value is None else check(value)


def _name(value: Any) -> Fault:
    return text_fault(value, LONGEST_NAME)


def _choice(value: Any) -> Fault:
    choices = ("return", "raise", "new_if_ended")
    return None if isinstance(value, str) and value in choices else f"it is one of {', '.join(choices)}, not {shortly(value)}"


def _priority(value: Any) -> Fault:
    right = type(value) is int and 0 <= value <= HIGHEST_PRIORITY
    return None if right else f"it is a whole number from 0 to {HIGHEST_PRIORITY}, not {shortly(value)}"


def _span(value: Any) -> Fault:
    try:
        seconds(value)
    except InvalidSpan as problem:
        return str(problem)
    return None


def _deadline(value: Any) -> Fault:
    if not isinstance(value, datetime):
        return _span(value)
    try:
        year = (value if value.tzinfo is None else value.astimezone(UTC)).year
    except OverflowError:
        year = 0
    return None if year in _YEARS else f"{shortly(value)} is not between the years {_YEARS[0]} and {_YEARS[-1]}"


def _tags(value: Any) -> Fault:
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        return f"they are a list of texts, not {shortly(value)}"
    if len(value) > MOST_TAGS:
        return f"they are {len(value)}, more than {MOST_TAGS}"
    return next((fault for tag in value if (fault := _name(tag)) is not None), None)


def _anything(value: Any) -> Fault:
    del value
    return None


_CHECKS: Mapping[str, Callable[[Any], Fault]] = {
    "version": _name,
    "key": _optional(text_fault),
    "on_conflict": _choice,
    "queue": _optional(_name),
    "priority": _optional(_priority),
    "delay": _optional(_span),
    "deadline": _optional(_deadline),
    "tags": _optional(_tags),
    "organization_id": _optional(_name),
    **dict.fromkeys(("connection", "session", "using", "join"), _anything),  # who joins them looks at them
}
