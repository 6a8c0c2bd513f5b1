"""What is wrong with expressions: how they are written, and the names they look at."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

from wfcelery.definition.bodies import embeds
from wfcelery.definition.document import Definition, Task
from wfcelery.definition.expressions import Expression, Template
from wfcelery.definition.findings import Findings, Path, did_you_mean
from wfcelery.definition.gating import keys_of
from wfcelery.definition.parameter_paths import unknown_field
from wfcelery.definition.values import MARK
from wfcelery.errors import ExpressionError

_USUAL = frozenset({"parameters", "vars", "task", "system"})
_SYSTEM = ("run_id", "workflow", "version", "organization_id", "key", "workflow_start")
_WHERE = {
    "item": "item is there only in the input, the when and the filter of a task with_items",
    "index": "index is there only in the input, the when and the filter of a task with_items",
    "last": "last is there only in the input, the until and the while of a loop",
    "round": "round is there only in the input, the until and the while of a loop",
    "error": "error alone is there only in a retry's on_error; elsewhere it is task.name.error",
    "secret": "a secret stands in the input of a task that calls a step, and nowhere else",
    "event": "event is there only in a trigger; what a task of type wait has got is its result",
    "task": "no task has ended when variables get their first values",
}


_CONDITIONS = ("when", "filter", "retry", "decision", "while")  # what stands there is an expression without braces
_OF_RETRY = ("retry", "on_error")


def check_templates(definition: Definition, findings: Findings) -> None:
    """Every expression of the definition."""
    checker = _Checker(definition, findings)
    known: set[str] = set()
    for name, value in definition.vars.items():
        checker.check(None, ("vars", name), value, frozenset({"parameters", "vars", "system"}), known=known)
        known.add(name)
    for task, _ in definition.every_task():
        for path, value, roots in _templates(task):
            whole = path[0] in _CONDITIONS or path[-2:] == _OF_RETRY or (task.type == "loop" and path[0] == "until")
            checker.check(task, path, value, roots, whole=whole)
    if definition.concurrency is not None:
        checker.check(None, ("concurrency", "key"), definition.concurrency.key, frozenset({"parameters", "vars", "system"}))
    checker.system = (*_SYSTEM, "ending")
    for hook, done in definition.hooks.every:
        for name, value in (done.input or {}).items():
            checker.check(None, ("hooks", hook, "input", name), value, _USUAL | {"error"})
        if done.retry is not None:
            checker.check(None, ("hooks", hook, *_OF_RETRY), done.retry.on_error, frozenset({"error"}), whole=True)
    checker.system = _SYSTEM
    checker.check(None, ("output",), definition.output, _USUAL)


def _templates(task: Task) -> Iterator[tuple[Path, Any, frozenset[str]]]:
    with_item = _USUAL | {"item", "index"} if task.with_items is not None else _USUAL
    if task.type == "loop":
        yield from _of_a_loop(task, with_item | {"last", "round"})
        with_item = _USUAL
    yield ("when",), task.when, with_item
    yield ("filter",), task.filter, with_item
    yield ("with_items",), task.with_items, _USUAL
    given = with_item | {"secret"} if task.type == "action" else with_item
    for name, value in task.input.items() if task.type != "loop" else ():
        yield ("input", name), value, given
    yield ("args",), task.args, given
    if task.compensate is not None:
        for name, value in (task.compensate.input or {}).items():
            yield ("compensate", "input", name), value, given
        if task.compensate.retry is not None:
            yield ("compensate", *_OF_RETRY), task.compensate.retry.on_error, frozenset({"error"})
    yield ("duration",), task.duration, _USUAL
    for place, key in keys_of(task):
        yield place, key, _USUAL
    yield ("key",), task.key, _USUAL
    yield ("title",), task.title, _USUAL
    yield ("assignees",), task.assignees, _USUAL
    if task.type != "loop":
        yield ("until",), task.until, _USUAL
    if not embeds(task):  # there it looks at its own tasks
        yield ("output",), task.output, _USUAL
    yield ("message",), task.message, _USUAL
    for name, value in task.publish.items():
        yield ("publish", name), value, _USUAL
    for number, branch in enumerate(task.decision):
        yield ("decision", number, "when"), branch.when, _USUAL
    if task.retry is not None:
        yield ("retry", "on_error"), task.retry.on_error, frozenset({"error"})


def _of_a_loop(task: Task, roots: frozenset[str]) -> Iterator[tuple[Path, Any, frozenset[str]]]:
    for name, value in task.input.items():
        yield ("input", name), value, roots
    yield ("until",), task.until, roots
    yield ("while",), task.while_, roots


class _Checker:
    def __init__(self, definition: Definition, findings: Findings) -> None:
        self.definition = definition
        self.findings = findings
        self.system: tuple[str, ...] = _SYSTEM
        self.variables = {*definition.vars, *(name for task, _ in definition.every_task() for name in task.publish)}

    def check(
        self, task: Task | None, path: Path, value: Any, roots: frozenset[str], *, whole: bool = False, known: set[str] | None = None
    ) -> None:
        """One value at one place; `whole`: it is an expression without braces. `known`: the variables there are by then."""
        if value is None:
            return
        for place, part in _leaves(path, value):
            try:
                template = None if whole else Template.parse(part)
                expressions = (Expression.parse(part),) if template is None else template.expressions
            except ExpressionError as error:
                self._tell(task, place, str(error))
                continue
            if template is not None and "secret" in template.roots & roots and not template.is_secret:
                self._tell(task, place, "a secret is a whole value, {{ secret.name }}: nothing can be made of it before the call")
            for expression in expressions:
                self._check_names(task, place, expression, roots, self.variables if known is None else known)

    def _tell(self, task: Task | None, path: Path, text: str) -> None:
        if task is None:
            self.findings.add(path, text)
        else:
            self.findings.of_task(task, path, text)

    def _check_names(self, task: Task | None, path: Path, expression: Expression, roots: frozenset[str], variables: set[str]) -> None:
        for reference in sorted(expression.paths, key=str):
            root = str(reference[0])
            if root not in roots:
                self._tell(task, path, f"{{{{ {expression.source} }}}}: {self._outside(root, roots)}")
            elif len(reference) > 1:
                self._check_name(task, path, expression, root, str(reference[1]), variables)
                if root == "parameters":
                    self._check_fields(task, path, expression, reference)

    def _check_fields(self, task: Task | None, path: Path, expression: Expression, reference: tuple[str | int, ...]) -> None:
        parameter = self.definition.parameters.get(str(reference[1]))
        unknown = None if parameter is None else unknown_field(parameter.json_schema, reference[2:])
        if unknown is not None:
            name, near = unknown
            self._tell(task, path, f"{{{{ {expression.source} }}}}: parameter {reference[1]} has no field {name!r}{did_you_mean(near)}")

    def _outside(self, root: str, roots: frozenset[str]) -> str:
        if roots == {"error"}:
            return "a retry's on_error looks at error.type, error.code and error.message alone"
        return _WHERE.get(root, f"there is no {root} here")

    def _check_name(self, task: Task | None, path: Path, expression: Expression, root: str, name: str, variables: set[str]) -> None:
        names = {
            "parameters": ("parameter", self.definition.parameters),
            "vars": ("variable", variables),
            "task": ("task", self.findings.tasks),
            "system": ("name in system", self.system),
            "error": ("part of an error", ("type", "code", "message")),
        }.get(root)
        if names is None or name in names[1] or (root == "task" and name in self.findings.left_out):
            return
        if root == "parameters" and self.findings.left_out and not self.definition.parameters:
            return
        if root == "task" and task is not None:
            self.findings.misnamed.add(task.name)
        near = get_close_matches(name, names[1], 1)
        self._tell(task, path, f"{{{{ {expression.source} }}}}: there is no {names[0]} {name!r}{did_you_mean(near)}")


def _leaves(path: Path, value: Any) -> Iterator[tuple[Path, str]]:
    """Every text inside a value, with its place, so that each has its own line."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(path if key == MARK else (*path, key), item)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _leaves((*path, number), item)
