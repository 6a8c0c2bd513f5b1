"""What is wrong with tasks one by one: names, types, spans, what a type does not take, names of other tasks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from difflib import get_close_matches
from typing import Any

from wfcelery.definition.approving import OF_APPROVALS, check_approval
from wfcelery.definition.document import TRANSITIONS, Definition, Parameter, Task
from wfcelery.definition.done import Done
from wfcelery.definition.findings import Findings, Path, did_you_mean
from wfcelery.definition.gating import GATES
from wfcelery.definition.shares import Share
from wfcelery.definition.spans import seconds, shortly
from wfcelery.definition.values import mark_of

_LONGEST_NAME = 255
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TYPES = ("object", "array", "string", "integer", "number", "boolean", "null")
_OF_FAN_OUTS = ("concurrency", "filter", "batch_size", "success", "tolerate")
_OF_CALLS = (
    *("action", "input", "args", "with_items", *_OF_FAN_OUTS),
    *("retry", "soft_timeout", "queue", "priority", "commit", "compensate"),
    *GATES,
)
_OF_ACTIONS = (*_OF_CALLS, "timeout")
_OF_SLEEPS = ("duration", "until")
_OF_WAITS = ("event", "key", "roles", "data")
_OF_LAST = ("output", "message", "code")
_OF_LOOPS = ("while_", "max_rounds", "every")
_OF_CHILDREN = ("workflow", "parent_close", "wait", *_OF_LOOPS)
_LEADING = (*TRANSITIONS, "decision", "publish", "on_error", "cancels")
_FOREIGN = {
    "action": (*_OF_SLEEPS, *_OF_WAITS, *OF_APPROVALS, *_OF_LAST, *_OF_CHILDREN, "tasks"),
    "sleep": (*_OF_ACTIONS, *_OF_WAITS, *OF_APPROVALS, *_OF_LAST, *_OF_CHILDREN, "tasks"),
    "wait": (*_OF_CALLS, *_OF_SLEEPS, *OF_APPROVALS, *_OF_LAST, *_OF_CHILDREN, "tasks"),
    "parallel": (*_OF_ACTIONS, *_OF_SLEEPS, *_OF_WAITS, *OF_APPROVALS, *_OF_LAST, *_OF_CHILDREN, "on_failure", "on_timeout", "on_cancel"),
    "race": (
        *(*_OF_ACTIONS, *_OF_SLEEPS, *_OF_WAITS, *OF_APPROVALS, *_OF_LAST, *_OF_CHILDREN),
        *("join", "cancel_rest", "on_failure", "on_timeout", "on_cancel"),
    ),
    "end": (*_OF_ACTIONS, *_OF_SLEEPS, *_OF_WAITS, *OF_APPROVALS, "message", "code", "tasks", *_OF_CHILDREN, *_LEADING),
    "fail": (*_OF_ACTIONS, *_OF_SLEEPS, *_OF_WAITS, *OF_APPROVALS, "output", "tasks", *_OF_CHILDREN, *_LEADING),
    "continue_as_new": (
        *(key for key in _OF_ACTIONS if key != "input"),
        *(*_OF_SLEEPS, *_OF_WAITS, *OF_APPROVALS, *_OF_LAST, "tasks", *_OF_CHILDREN, *_LEADING),
    ),
    "workflow": (*GATES, "action", "args", "soft_timeout", "commit", *_OF_SLEEPS, *_OF_WAITS, *OF_APPROVALS, "message", "code", *_OF_LOOPS),
    "loop": (
        *GATES,
        "action",
        "args",
        "soft_timeout",
        "commit",
        *_OF_FAN_OUTS,
        "duration",
        *_OF_WAITS,
        *OF_APPROVALS,
        "message",
        "code",
        "wait",
    ),
    "approval": (*_OF_CALLS, *_OF_SLEEPS, *_OF_WAITS, *_OF_LAST, "tasks", *_OF_CHILDREN),
}
_LAST = ("end", "fail", "continue_as_new")


def check_shape(definition: Definition, findings: Findings) -> None:
    """All of it."""
    if not definition.tasks and not findings.left_out:
        findings.add(("tasks",), "a workflow has at least one task")
    for name, parameter in definition.parameters.items():
        _check_parameter(name, parameter, findings)
    for name in definition.vars:
        if not _IDENTIFIER.fullmatch(name):
            findings.add(("vars", name), _not_a_name("variable", name))
    for key in ("name", "version"):
        if (fault := _unkeepable(getattr(definition, key))) is not None:
            findings.add((key,), fault)
    _check_closing(definition, findings)
    seen: set[str] = set()
    for task, _ in definition.every_task():
        _check_name(task, seen, findings)
        for key in ("action", "queue", "workflow"):
            if (fault := _unkeepable(getattr(task, key))) is not None:
                findings.of_task(task, (key,), fault)
        _check_type(task, findings)
        if task.type == "continue_as_new":
            _check_next_input(definition, task, findings)
        _check_done(task, findings)
        _check_numbers(task, findings)
        _check_fan_out(task, findings)
        _check_decision(task, findings)
        for path, name in names_in(task):
            if name not in findings.tasks:
                findings.unknown_task(task, path, name)
            elif name == task.name:
                findings.of_task(task, path, "a task cannot come after itself")
            elif path[0] in ("after", "needs", "when_reached") and findings.tasks[name].type in _LAST:
                findings.of_task(task, path, f"nothing comes after {name}: it ends the run")


def names_in(task: Task) -> Iterator[tuple[Path, str]]:
    """Every task that a task's edges name, with where."""
    for number, after in enumerate(task.after):
        yield ("after", number), after.task
    for number, name in enumerate(task.needs):
        yield ("needs", number), name
    for number, name in enumerate(task.when_reached):
        yield ("when_reached", number), name
    for key in TRANSITIONS:
        for number, name in enumerate(getattr(task, key)):
            yield (key, number), name
    for number, branch in enumerate(task.decision):
        for name in branch.next:
            yield ("decision", number, "next"), name


def _not_a_name(what: str, name: str) -> str:
    return f"{shortly(name)} is no name for a {what}: at most 255 letters, digits and underscores, as expressions say it"


def _unkeepable(text: str | None) -> str | None:
    """Why a name cannot stand in a column that is looked up; that of keys and names shares an index of 2,700 bytes."""
    if text is None:
        return None
    if any(character < " " or "\ud800" <= character <= "\udfff" for character in text):
        return "it holds a character that no name has"
    return f"it has more than {_LONGEST_NAME} bytes" if len(text.encode("utf-8")) > _LONGEST_NAME else None


def _check_name(task: Task, seen: set[str], findings: Findings) -> None:
    if not _IDENTIFIER.fullmatch(task.name) or len(task.name) > _LONGEST_NAME:
        findings.of_task(task, ("name",), _not_a_name("task", task.name))
    if task.name in seen:
        findings.of_task(task, ("name",), f"another task is called {task.name} already")
    seen.add(task.name)


def _check_type(task: Task, findings: Findings) -> None:
    for key in _FOREIGN[task.type]:
        if task.type == "parallel" and key in ("limit", "lock"):
            continue
        if key in task.model_fields_set and getattr(task, key) not in (None, (), {}, []):
            written = key.rstrip("_")
            findings.of_task(task, (written,), f"a task of type {task.type} takes no {written}{_instead(task, key)}")
    if task.type == "action" and not task.action:
        findings.of_task(task, (), "it says no action: the name of the step that it runs")
    if task.type == "parallel" and task.limit is not None and task.lock is not None:
        findings.of_task(task, ("lock",), "a block has a lock or a limit, not both: a run that waits for one would hold the other")
    if task.type == "parallel" and not task.tasks:
        findings.of_task(task, (), "a parallel block has at least one of tasks")
    if task.type == "race" and len(task.tasks) < 2:
        findings.of_task(task, (), "a race has two of tasks at least: its branches")
    if task.type == "sleep":
        _check_sleep(task, findings)
    if task.type == "wait":
        _check_wait(task, findings)
    elif not task.keep:
        findings.of_task(task, ("keep",), f"a task of type {task.type} takes no keep")
    if task.type == "approval":
        check_approval(task, findings)
    if task.type == "fail" and not task.message:
        findings.of_task(task, (), "it says no message: why the run fails")


def _check_next_input(definition: Definition, task: Task, findings: Findings) -> None:
    """The next run is one of this very definition."""
    for name in task.input:
        if name not in definition.parameters:
            near = did_you_mean(get_close_matches(name, definition.parameters, 1))
            findings.of_task(task, ("input", name), f"the workflow has no such parameter{near}")
    for name, parameter in definition.parameters.items():
        if parameter.required and name not in task.input:
            findings.of_task(task, ("input",), f"the next run needs parameter {name}")


def _check_done(task: Task, findings: Findings) -> None:
    for path, fault in () if task.compensate is None else _faults_of(task.compensate):
        findings.of_task(task, ("compensate", *path), fault)


def _check_closing(definition: Definition, findings: Findings) -> None:
    """What is done before a run ends: hooks, and what `on_error: compensate` has to undo."""
    for name, done in definition.hooks.every:
        for path, fault in _faults_of(done):
            findings.add(("hooks", name, *path), fault)
    if findings.left_out or any(task.compensate is not None for task, _ in definition.every_task()):
        return
    nothing = "no task says how it is undone: give those that can be a compensate"
    if definition.on_error == "compensate":
        findings.add(("on_error",), nothing)
    for task, _ in definition.every_task():
        if task.on_error == "compensate":
            findings.of_task(task, ("on_error",), nothing)


def _faults_of(done: Done) -> Iterator[tuple[Path, str]]:
    for key in ("action", "queue"):
        if (fault := _unkeepable(getattr(done, key))) is not None:
            yield (key,), fault
    if done.timeout is not None and done.timeout <= 0:
        yield ("timeout",), "no attempt ends in no time: leave it out for none"


def _instead(task: Task, key: str) -> str:
    if task.is_block and key.startswith("on_"):
        return "; its tasks do"
    if task.type in _LAST and key in _LEADING:
        return ": nothing comes after it"
    return ""


def _check_wait(task: Task, findings: Findings) -> None:
    if not task.event:
        findings.of_task(task, (), "it says no event: the name of what it waits for")
    elif (fault := _unkeepable(task.event)) is not None:
        findings.of_task(task, ("event",), fault)
    if task.key == "":
        findings.of_task(task, ("key",), "a key is not empty: leave it out for an event without one")


def _check_sleep(task: Task, findings: Findings) -> None:
    if (task.duration is None) == (task.until is None):
        findings.of_task(task, (), "a sleep has either a duration or an until")
    if task.duration is not None and not _templated(task.duration):
        try:
            seconds(task.duration)
        except ValueError as error:
            findings.of_task(task, ("duration",), str(error))
    if task.until is not None and not _templated(task.until) and not _is_moment(task.until):
        findings.of_task(task, ("until",), f"{task.until!r} is no time with a time zone, such as 2030-01-31T09:00:00Z")


def _templated(value: Any) -> bool:
    return isinstance(value, str) and "{{" in value


def _is_moment(value: Any) -> bool:
    mark = mark_of(value)
    text = mark[1] if mark is not None and mark[0] == "datetime" else value
    try:
        return isinstance(text, str) and datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


def _check_numbers(task: Task, findings: Findings) -> None:
    if task.timeout is not None and task.timeout <= 0:
        findings.of_task(task, ("timeout",), "nothing ends in no time: leave it out for none")
    if task.soft_timeout is not None and task.timeout is not None and task.soft_timeout >= task.timeout:
        findings.of_task(task, ("soft_timeout",), "it comes before the timeout, or never")
    if task.cancel_rest and not isinstance(task.join, int) and task.success is None:
        ways = "join: n, which starts a task before all ways to it have come, or with success: n of a task with_items"
        findings.of_task(task, ("cancel_rest",), f"it goes with {ways}")
    if task.cancel_rest and isinstance(task.join, int) and task.success is not None:
        findings.of_task(task, ("cancel_rest",), "it could mean the rest of the join or of the items: let another task have the join")


def _check_fan_out(task: Task, findings: Findings) -> None:
    if task.with_items is not None:
        for key in ("lock", "breaker", "rate", "limit"):
            if getattr(task, key) is not None:
                findings.of_task(task, (key,), f"a task with_items has no {key}: say how many at once with concurrency")
    if task.with_items is None:
        for key in _OF_FAN_OUTS if task.type in ("action", "workflow") else ():
            if getattr(task, key) is not None:
                findings.of_task(task, (key,), f"only a task with_items has a {key}")
        return
    if not isinstance(task.with_items, list) and not _templated(task.with_items):
        findings.of_task(task, ("with_items",), f"it is a list, or an expression for one, not {task.with_items!r}")
    if task.success is not None and Share.parse(task.success).at_least(1) == 0:
        findings.of_task(task, ("success",), "without one that has to succeed there is nothing to wait for: leave it out, or say tolerate")


def _check_decision(task: Task, findings: Findings) -> None:
    for number, branch in enumerate(task.decision):
        path: Path = ("decision", number)
        if branch.default and branch.when is not None:
            findings.of_task(task, path, "the default branch has no when")
        if branch.default and number < len(task.decision) - 1:
            findings.of_task(task, path, "the default branch comes last; those after it are never taken")
        if not branch.default and branch.when is None:
            findings.of_task(task, path, "a branch has a when, or is the default")
        if not branch.next:
            findings.of_task(task, path, "a branch says which task is next")


def _check_parameter(name: str, parameter: Parameter, findings: Findings) -> None:
    if not _IDENTIFIER.fullmatch(name):
        findings.add(("parameters", name), _not_a_name("parameter", name))
    types = (parameter.type,) if isinstance(parameter.type, str) else parameter.type or ()
    unknown = [kind for kind in types if kind not in _TYPES]
    for kind in unknown:
        near = [_SHORT[kind]] if kind in _SHORT else get_close_matches(kind, _TYPES, 1)
        findings.add(("parameters", name, "type"), f"there is no type {kind!r}{did_you_mean(near)}")
    if parameter.default is None:
        return
    if parameter.required:
        findings.add(("parameters", name, "default"), "a required parameter needs no default")
    if types and not unknown and not any(_fits(parameter.default, kind) for kind in types):
        findings.add(("parameters", name, "default"), f"{parameter.default!r} is not of type {' or '.join(types)}")


_SHORT = {"str": "string", "int": "integer", "float": "number", "bool": "boolean", "list": "array", "dict": "object"}


def _fits(value: Any, kind: str) -> bool:
    if mark_of(value) is not None:
        return kind in ("string", "number", "object")
    if isinstance(value, bool):
        return kind == "boolean"
    if isinstance(value, int):
        return kind in ("integer", "number")
    if isinstance(value, float):
        return kind == "number" or (kind == "integer" and value.is_integer())
    kinds: dict[type, str] = {str: "string", list: "array", dict: "object"}
    return kind == kinds.get(type(value), "null")
