"""What pydantic says of a document, as problems; and the document without what it refuses."""

from __future__ import annotations

import copy
from bisect import bisect_left
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from wfcelery.definition.document import After, Branch, Definition, Escalation, Task
from wfcelery.definition.done import CompensateSpec, Done, Hooks
from wfcelery.definition.fields import RetrySpec
from wfcelery.definition.findings import Lines, Path, Problem, did_you_mean, line_of, written
from wfcelery.definition.gating import BreakerSpec, ConcurrencySpec, LimitSpec, RateSpec

_TELLING = {"ref", "name", "type"}  # what so much depends on that a task goes with it


def as_document(document: Any) -> Any:
    """Plain data that may be changed: dicts and lists all through."""
    if isinstance(document, Mapping):
        return {key: as_document(value) for key, value in document.items()}
    return [as_document(value) for value in document] if isinstance(document, (list, tuple)) else document


def translated(error: ValidationError, document: Any, lines: Lines, file: str | None) -> list[Problem]:
    """One problem for each place that pydantic refuses."""
    found: dict[Path, Problem] = {}
    for detail in error.errors(include_url=False):
        path = _within(detail["loc"], document)
        whole = (*path, str(detail["loc"][-1])) if detail["type"] == "missing" else path
        if whole not in found:
            found[whole] = Problem(_shown(whole, document), line_of(lines, path), _sentence(detail, path), file=file)
    return list(found.values())


def without(document: Any, lines: Lines, error: ValidationError) -> tuple[Any, Lines, set[str]]:
    """The document without the places that pydantic refuses, its lines, and the names of tasks left out with them."""
    rest = copy.deepcopy(document)
    names: set[str] = set()
    gone: dict[Path, list[int]] = {}
    refused = {_refused(detail, document) for detail in error.errors(include_url=False, include_input=False)}
    for path in sorted(refused, key=_from_the_end):
        if not path:
            return None, lines, names
        parent, last = _at(rest, path[:-1]), _any(path[-1])
        if len(path) >= 2 and path[-2] == "tasks" and isinstance(parent[last], dict):
            names.add(str(parent[last].get("name")))
        del parent[last]
        if isinstance(last, int):
            gone.setdefault(path[:-1], []).append(last)
    return rest, _moved_up(lines, {path: sorted(numbers) for path, numbers in gone.items()}), names


def _moved_up(lines: Lines, gone: Mapping[Path, list[int]]) -> Lines:
    """The lines after items of lists have gone."""
    if not gone:
        return lines
    moved: dict[Path, int] = {}
    for path, line in lines.items():
        place: list[str | int] = []
        for depth, part in enumerate(path):
            if isinstance(part, str):
                place.append(part)
                continue
            numbers = gone.get(path[:depth], ())
            before = bisect_left(numbers, part)
            if before < len(numbers) and numbers[before] == part:
                break
            place.append(part - before)
        else:
            moved[tuple(place)] = line
    return moved


def _refused(detail: ErrorDetails, document: Any) -> Path:
    path = _within(detail["loc"], document)
    of_task = len(path) >= 3 and path[-3] == "tasks" and isinstance(path[-2], int)
    return path[:-1] if of_task and path[-1] in _TELLING else path


def _from_the_end(path: Path) -> tuple[Any, ...]:
    # What is deeper, and what is later in a list, goes first, so that the places of the others stay theirs.
    return (*((-part, "") if isinstance(part, int) else (0, part) for part in path), (1, ""))


def _within(loc: tuple[str | int, ...], document: Any) -> Path:
    """The part of pydantic's path that is in the document: it also names the branches of unions."""
    path: list[str | int] = []
    at = document
    for part in loc:
        if isinstance(at, dict):
            key = part if part in at else "ref" if part == "name" and "ref" in at else None
            if key is None:
                continue
        elif isinstance(at, list) and isinstance(part, int) and part < len(at):
            key = part
        else:
            continue
        path.append(key)
        at = at[key]
    return tuple(path)


def _at(document: Any, path: Path) -> Any:
    for part in path:
        document = document[_any(part)]
    return document


def _any(part: str | int) -> Any:
    return part


def _shown(path: Path, document: Any) -> str:
    """Tasks by their names."""
    shown: list[str | int] = []
    at = document
    for part in path:
        at = at[_any(part)] if (isinstance(at, dict) and part in at) or isinstance(at, list) else None
        name = at.get("ref", at.get("name")) if isinstance(at, dict) and isinstance(part, int) and shown and shown[-1] == "tasks" else None
        shown.append(name if isinstance(name, str) else part)
    return written(tuple(shown))


def _sentence(detail: ErrorDetails, path: Path) -> str:
    kind, given = detail["type"], detail.get("input")
    if kind == "extra_forbidden":
        model = _model_at(path[:-1])
        near = get_close_matches(str(path[-1]), [*model.model_fields, *(["ref"] if model in (Task, Definition) else [])], 1)
        return f"there is no such key{did_you_mean(near)}"
    if kind == "missing":
        return "it is missing"
    if kind == "literal_error":
        expected = str(detail.get("ctx", {}).get("expected", "")).replace("'", "")
        near = get_close_matches(str(given), expected.replace(" or ", ", ").split(", "), 1)
        return f"it is one of {expected}, not {_brief(given)}{did_you_mean(near)}"
    if kind == "value_error":
        return str(detail["ctx"]["error"])
    said = _EXPECTED.get(kind)
    if said is not None:
        return f"it is {said}, not {_brief(given)}"
    return detail["msg"].replace("Input should", "it should").replace("Value error, ", "")


_EXPECTED = {
    "string_type": "a text (in quotes)",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "list_type": "a list",
    "tuple_type": "a list",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}


def _brief(given: Any) -> str:
    text = repr(given)
    return text if len(text) <= 60 else text[:57] + "..."


def _model_at(path: Path) -> type[BaseModel]:
    keys = [part for part in path if isinstance(part, str)]
    if not keys:
        return Definition
    models: dict[str, type[BaseModel]] = {
        "retry": RetrySpec,
        "after": After,
        "escalate": Escalation,
        "decision": Branch,
        "limit": LimitSpec,
        "rate": RateSpec,
        "breaker": BreakerSpec,
        "concurrency": ConcurrencySpec,
        **{"retry": RetrySpec, "after": After, "decision": Branch, "compensate": CompensateSpec, "hooks": Hooks},
        **dict.fromkeys(Hooks.model_fields, Done),
    }
    return models.get(keys[-1], Task if keys[0] == "tasks" else Definition)
