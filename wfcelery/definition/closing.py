"""What a run does when its end is decided: the nodes that undo its tasks, and those of its hooks. They stand in no graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from wfcelery.definition.document import Definition, Task
from wfcelery.definition.done import Done
from wfcelery.definition.expressions import Template
from wfcelery.definition.fields import RetrySpec
from wfcelery.definition.plan import NOTHING, Node, RetryPolicy

HOOKS = ("on_failure", "on_cancel", "on_complete")
PolicyOf = Callable[[RetrySpec], RetryPolicy]


def undo(task: str) -> str:
    """The name of the step that undoes a task."""
    return f"{task}:compensate"


def hook(when: str) -> str:
    """The name of the step that a hook does."""
    return f"{when}:hook"


def closing_nodes(definition: Definition, policy_of: PolicyOf) -> Iterator[Node]:
    """One node for each task that can be undone, and one for each hook."""
    for task, _ in definition.every_task():
        if task.compensate is not None:
            yield _undoing(task, policy_of)
    for when, done in definition.hooks.every:
        yield _node(hook(when), done, policy_of, hook=when)


def _undoing(task: Task, policy_of: PolicyOf) -> Node:
    """The items of a fan-out are undone one by one: its own are known when it is reached."""
    assert task.compensate is not None
    many = {} if task.with_items is None or task.type == "loop" else {"with_items": Template.parse([]), "concurrency": 1}
    unknown = task.compensate.even_if_unknown
    return _node(undo(task.name), task.compensate, policy_of, undoes=task.name, even_if_unknown=unknown, **many)


def _node(name: str, done: Done, policy_of: PolicyOf, **more: object) -> Node:
    template = None if done.input is None else Template.parse(done.input)
    return Node(
        name=name,
        kind="action",
        action=done.action,
        input=template,
        reads=NOTHING if template is None else template.tasks,
        retry=None if done.retry is None else policy_of(done.retry),
        timeout=done.timeout,
        queue=done.queue,
        on_error="continue",
        **more,  # type: ignore[arg-type]
    )
