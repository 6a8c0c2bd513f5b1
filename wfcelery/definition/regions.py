"""What a task closes when it has succeeded, node by node: the regions and tasks that it names, and all that stands in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from wfcelery.definition.document import Definition, Task
from wfcelery.definition.edges import fork


def members(definition: Definition) -> dict[str, list[str]]:
    """The tasks of each region. What stands in a parallel block stands in the block's regions too."""
    regions: dict[str, set[str]] = {}
    found: dict[str, list[str]] = {}
    for task, block in definition.every_task():
        regions[task.name] = set(task.region) | (regions[block.name] if block is not None else set())
        for name in regions[task.name]:
            found.setdefault(name, []).append(task.name)
    return found


def closed_by(definition: Definition) -> dict[str, tuple[str, ...]]:
    """The nodes that each task closes, a race all of its branches; only tasks that close any are in it. Names that mean nothing are not."""
    regions = members(definition)
    tasks = {task.name: task for task, _ in definition.every_task()}
    found: dict[str, tuple[str, ...]] = {}
    for task in tasks.values():
        closed: dict[str, None] = {}
        rivals = [inner.name for inner in task.tasks] if task.type == "race" else []
        for name in (*task.cancels, *rivals):
            for each in regions.get(name, [name]):
                closed.update(dict.fromkeys(_nodes(tasks, each)))
        if closed:
            found[task.name] = tuple(closed)
    return found


def passed_by(definition: Definition) -> dict[str, list[str]]:
    """The nodes that do not begin any more when a task has succeeded."""
    tasks = {task.name: task for task, _ in definition.every_task()}
    found: dict[str, list[str]] = {}
    for task in tasks.values():
        for name in task.unless_reached:
            found.setdefault(name, []).append(fork(task.name) if task.is_block else task.name)
    return found


def _nodes(tasks: Mapping[str, Task], name: str) -> Iterator[str]:
    """The nodes of a task: of a parallel block its gates and all that is between them."""
    task = tasks.get(name)
    if task is None:
        return
    if task.is_block:
        yield fork(name)
        for inner in task.tasks:
            yield from _nodes(tasks, inner.name)
    yield name
