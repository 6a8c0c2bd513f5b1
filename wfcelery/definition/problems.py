"""Everything wrong with a definition, at once, each with its place and a sentence."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from wfcelery.definition.bodies import bodies_of
from wfcelery.definition.built_in import check_built_in
from wfcelery.definition.call_checks import check_calls, inner
from wfcelery.definition.document import Definition
from wfcelery.definition.extent import MOST_VALUES
from wfcelery.definition.findings import Findings, Lines, Path, Problem, written
from wfcelery.definition.graph_checks import check_graph
from wfcelery.definition.schedule_checks import check_schedules
from wfcelery.definition.shape_checks import check_shape
from wfcelery.definition.template_checks import check_templates
from wfcelery.definition.triggers import check_triggers
from wfcelery.definition.validation import as_document, translated, without

__all__ = ["Problem", "problems", "read"]

MOST_TASKS = 20_000
_DEEPEST = 100
_SURROGATE = re.compile("[\ud800-\udfff]")
_ROUNDS = 5  # a part that was left out may have hidden another


def problems(definition: Definition, where: Lines | None = None, file: str | None = None) -> list[Problem]:
    """All problems of a definition; `where` has the line of each path of its document. Warnings are among them."""
    return _checked(definition, Findings(definition, where or {}, file))


def read(document: Any, where: Lines | None = None, file: str | None = None) -> tuple[Definition | None, list[Problem]]:
    """A definition out of plain data, and all its problems. What pydantic refuses is left out to see what else is wrong."""
    lines = where or {}
    found: list[Problem] = []
    unkept = _unkept(document, lines, file)
    if unkept is not None:
        return None, [unkept]
    document = as_document(document)
    rest = document
    left_out: set[str] = set()
    for _ in range(_ROUNDS):
        try:
            definition = Definition.model_validate(rest)
        except ValidationError as error:
            found.extend(translated(error, rest, lines, file))
            rest, lines, names = without(rest, lines, error)
            left_out |= names
            if rest is None:
                return None, _in_order(found)
        else:
            findings = Findings(definition, lines, file, left_out=frozenset(left_out))
            found.extend(_checked(definition, findings))
            return (definition if rest is document else None), _in_order(found)
    return None, _in_order(found)


def _unkept(document: Any, lines: Lines, file: str | None) -> Problem | None:
    """The first text that is none, or what is nested too deep or in itself: no later look would survive it."""
    open_ends: list[tuple[Path, Any]] = [((), document)]
    seen = 0
    while open_ends:
        path, value = open_ends.pop()
        seen += 1
        if seen > MOST_VALUES:
            return Problem(written(path[:5]), lines.get(path[:1]), f"with all its parts it holds more than {MOST_VALUES} values", file=file)
        if isinstance(value, dict):
            open_ends.extend(((*path, str(key)), item) for key, item in value.items())
        elif isinstance(value, (list, tuple)):
            open_ends.extend(((*path, number), item) for number, item in enumerate(value))
        texts = [text for text in (value, *path[-1:]) if isinstance(text, str) and not text.isascii()]
        if len(path) > _DEEPEST:
            return Problem(written(path[:5]), lines.get(path[:1]), f"it is nested more than {_DEEPEST} levels deep", file=file)
        if any(_SURROGATE.search(text) for text in texts):
            shown = tuple(part if isinstance(part, int) else _SURROGATE.sub("?", part) for part in path)
            return Problem(written(shown), lines.get(path), "it holds half of a surrogate pair, which is no text", file=file)
    return None


def _checked(definition: Definition, findings: Findings) -> list[Problem]:
    tasks = sum(1 for each in (definition, *bodies_of(definition)) for _ in each.every_task())
    if tasks > MOST_TASKS:
        findings.add(("tasks",), f"there are {tasks} tasks, more than {MOST_TASKS}")
        return findings.problems
    check_shape(definition, findings)
    check_templates(definition, findings)
    check_graph(definition, findings)
    check_built_in(definition, findings)
    check_schedules(definition, findings)
    check_triggers(definition, findings)
    check_calls(definition, findings)
    for task, body, lines in inner(definition, findings):
        place = f"tasks.{task.name}"
        inside = _checked(body, Findings(body, lines, findings.file))
        findings.problems += [replace(each, path=f"{place}.{each.path}" if each.path else place) for each in inside]
    return _in_order(findings.problems)


def _in_order(found: Iterable[Problem]) -> list[Problem]:
    return sorted(dict.fromkeys(found), key=lambda problem: (problem.line is None, problem.line or 0, problem.path))
