"""Which values of a run people must not read: told once, where the data comes in or is returned, and followed from there.

A parameter's schema marks fields (`secret: true`, or pydantic's SecretStr), a task's `secret:` fields of its result. What an
expression passes on stays secret, a part of it with its own fields; what is calculated with a secret is secret as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from wfcelery.definition.document import Definition, Task
from wfcelery.definition.expressions import Expression, Template
from wfcelery.definition.redaction import ANY, Path, Paths, of_schema, path_of
from wfcelery.definition.values import MARK, mark_of
from wfcelery.errors import ExpressionError

NOTHING: Paths = frozenset()
ALL: Paths = frozenset({()})


@dataclass(slots=True)
class Secrecy:
    """The secret places of every run of a definition: under names, except of `output`, which is one value."""

    parameters: dict[str, Paths] = field(default_factory=dict)
    results: dict[str, Paths] = field(default_factory=dict)
    variables: dict[str, Paths] = field(default_factory=dict)
    inputs: dict[str, Paths] = field(default_factory=dict)  # of the input as a whole
    items: dict[str, Paths] = field(default_factory=dict)
    output: Paths = NOTHING

    def __bool__(self) -> bool:
        return any((self.parameters, self.results, self.variables))

    def hidden(self, root: str, name: str) -> Paths:
        """What is secret of a parameter, a variable, or a task's result."""
        places = {"parameters": self.parameters, "vars": self.variables, "task": self.results}
        return places.get(root, {}).get(name, NOTHING)


def secrecy_of(definition: Definition) -> Secrecy:
    """What of the runs of a definition is secret."""
    found = Secrecy()
    for name, parameter in definition.parameters.items():
        _put(found.parameters, name, of_schema(parameter.json_schema))
    for task, _ in definition.every_task():
        own = frozenset(map(path_of, task.secret))
        _put(found.results, task.name, _each(own) if task.with_items is not None else own)
    if not found:
        return found
    for _ in range(len(definition.vars) + len(found.variables) + 8):  # variables may be made of variables
        before = dict(found.variables), dict(found.results)
        _follow(definition, found)
        if before == (found.variables, found.results):
            break
    for task, _ in definition.every_task():
        _put(found.items, task.name, _items(found, task))
        _put(found.inputs, task.name, _of_template(found, task.arguments, found.items.get(task.name, NOTHING)))
    found.output = _of_template(found, definition.output)
    return found


def _follow(definition: Definition, found: Secrecy) -> None:
    for name, value in definition.vars.items():
        _put(found.variables, name, found.variables.get(name, NOTHING) | _of_template(found, value))
    for task, _ in definition.every_task():
        for name, value in task.publish.items():
            _put(found.variables, name, found.variables.get(name, NOTHING) | _of_template(found, value))
        made = found.results.get(task.name, NOTHING)
        if task.type == "parallel":
            for child in task.tasks:
                made |= frozenset((child.name, *path) for path in found.results.get(child.name, NOTHING))
        elif task.type in ("end", "fail"):
            made |= _of_template(found, task.output)
        _put(found.results, task.name, made)


def _put(places: dict[str, Paths], name: str, paths: Paths) -> None:
    if paths:
        places[name] = paths


def _each(paths: Paths) -> Paths:
    return frozenset((ANY, *path) for path in paths)


def _items(found: Secrecy, task: Task) -> Paths:
    """What is secret of one item."""
    paths = NOTHING if task.with_items is None else _of_template(found, task.with_items)
    one = frozenset(path[1:] for path in paths if path) | (ALL if () in paths else NOTHING)
    return one if task.batch_size is None else _each(one)


def _of_template(found: Secrecy, value: Any, item: Paths = NOTHING) -> Paths:
    """What is secret of what a template makes."""
    if isinstance(value, str):
        try:
            template = Template.parse(value)
        except ExpressionError:
            return NOTHING
        whole = len(template.expressions) == 1 and template.is_whole
        if whole and template.expressions[0].path is not None:
            return _below(found, template.expressions[0].path, item)
        return ALL if any(_touches(found, each, item) for each in template.expressions) else NOTHING
    if isinstance(value, list):
        return frozenset((at, *path) for at, each in enumerate(value) for path in _of_template(found, each, item))
    if isinstance(value, Mapping):
        inside = value[MARK][1] if (mark_of(value) or ("",))[0] == "literal" else value
        return frozenset((key, *path) for key, each in inside.items() for path in _of_template(found, each, item))
    return NOTHING


def _touches(found: Secrecy, expression: Expression, item: Paths) -> bool:
    return any(_below(found, path, item) for path in expression.paths)


def _below(found: Secrecy, path: Path, item: Paths) -> Paths:
    """What is secret of what a reference leads to."""
    root, rest = path[0], path[1:]
    if root == "item":
        return _at(item, rest)
    if root == "parameters" and not rest:
        return frozenset((name, *each) for name, paths in found.parameters.items() for each in paths)
    if root == "vars" and not rest:
        return frozenset((name, *each) for name, paths in found.variables.items() for each in paths)
    if not rest:
        return NOTHING
    paths = found.hidden(str(root), str(rest[0]))
    if root != "task":
        return _at(paths, rest[1:])
    if len(rest) == 1:
        return frozenset((name, *each) for name in ("result", "output", "results") for each in paths)
    return _at(paths, rest[2:]) if rest[1] in ("result", "output", "results") else NOTHING


def _at(paths: Paths, rest: Path) -> Paths:
    """The paths below a place; all of it where the place is inside a secret."""
    below: set[Path] = set()
    for path in paths:
        if all(one in (ANY, other) or str(one) == str(other) for one, other in zip(path, rest, strict=False)):
            below.add(path[len(rest) :])
    return frozenset(below)
