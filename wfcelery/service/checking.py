"""The code that is about to be deployed against the runs that are under way: what they still have to call, and whether they can."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from wfcelery.authoring.registry import registry
from wfcelery.authoring.shape import POSITIONAL
from wfcelery.definition.document import Task
from wfcelery.definition.findings import did_you_mean
from wfcelery.definition.model import Definition
from wfcelery.errors import NotFound
from wfcelery.service.context import Context
from wfcelery.store import live

Foreign = Callable[[str, Collection[str]], list[str] | None]
"""What the app's own tasks say of a call by these names: None where there is no such task, else everything wrong with it."""


def against_live_runs(context: Context, foreign: Foreign = lambda action, names: None) -> Iterator[str]:  # noqa: ARG005
    """One line for each task that a run under way has not ended and that this code does not know, or cannot call any more.

    Looks at names, never at values: a changed annotation is noticed by the attempt, which is parked then.
    """
    with context.transaction() as tx:
        found = live.definitions(tx)
        ended = live.ended_tasks(tx)
    for each in found:
        definition = Definition.model_validate_json(each.body)
        for task, _ in definition.every_task():
            left = each.runs - ended.get((each.signature, task.name), 0)
            if task.action and left > 0:
                place = f"{each.name}@{each.version}, task {task.name} ({left} {'run' if left == 1 else 'runs'})"
                yield from (f"{place}: {fault}" for fault in _faults(task, foreign))


def _faults(task: Task, foreign: Foreign) -> Iterator[str]:
    assert task.action is not None
    names = [name for name in task.arguments if name != POSITIONAL]
    spec = registry.find_step(task.action)
    if spec is None or spec.function is None:
        told = foreign(task.action if spec is None else spec.name, names if task.args is None else (*names, POSITIONAL))
        yield from _unknown(task.action) if told is None and spec is None else told or ()
        return
    fault = spec.shape.misfit(names, len(task.args or ()))
    if fault is not None:
        yield f"{task.action} cannot be called as it is written there: {fault}"


def _unknown(action: str) -> Iterator[str]:
    try:
        registry.step(action)
    except NotFound as problem:
        hint = did_you_mean(problem.near[:1])
        yield f"this code has no step {action}: keep it, or let another have its name, by @step(aliases=[...]){hint}"
