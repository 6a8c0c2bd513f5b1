"""What is wrong with the calls of a definition: which workflow, how long a loop goes on, and calls in a circle that never end."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from wfcelery.definition.bodies import BODIES, embedded, embeds
from wfcelery.definition.document import Definition, Task
from wfcelery.definition.edges import Way, ways_of
from wfcelery.definition.findings import Findings, Lines
from wfcelery.definition.ordering import node_names, topological

_LONGEST = 255
Find = Callable[[str], Definition | None]


def check_calls(definition: Definition, findings: Findings) -> None:
    """All of it, but what other definitions have to say."""
    for task, _ in definition.every_task():
        if task.type in BODIES:
            _check_callee(definition, task, findings)
        if task.type == "loop":
            _check_loop(task, findings)
    circle = endless(definition, {})
    if circle:
        findings.add(("tasks",), never_ends(circle))


def inner(definition: Definition, findings: Findings) -> Iterator[tuple[Task, Definition, Lines]]:
    """Each task that brings a definition, that definition, and where its parts are written."""
    for task, _ in definition.every_task():
        if embeds(task):
            place = findings.places[id(task)]
            lines = {path[len(place) :]: line for path, line in findings.lines.items() if path[: len(place)] == place}
            yield task, embedded(definition, task), lines


def _check_callee(definition: Definition, task: Task, findings: Findings) -> None:
    if bool(task.workflow) is bool(task.tasks):
        findings.of_task(task, (), f"a task of type {task.type} names a workflow, or has tasks of its own")
    if task.output is not None and not task.tasks:
        findings.of_task(task, ("output",), "only a task with tasks of its own says what they are worth: a workflow says it itself")
    if embeds(task) and len(f"{definition.name}.{task.name}".encode()) > _LONGEST:
        findings.of_task(
            task, ("name",), f"its own tasks are a workflow whose name, with that of this one, is longer than {_LONGEST} bytes"
        )
    if not task.wait and task.with_items is not None:
        findings.of_task(task, ("wait",), "items are waited for")
    if not task.wait and task.retry is not None:
        findings.of_task(task, ("retry",), "nobody waits for this call, so nobody can try it again")


def _check_loop(task: Task, findings: Findings) -> None:
    if task.until is not None and task.while_ is not None:
        findings.of_task(task, ("until",), "a loop has an until or a while, not both")
    if task.until is None and task.while_ is None and task.with_items is None:
        findings.of_task(task, (), "a loop says how long it goes on: until, while or with_items")
    if task.until is not None and not isinstance(task.until, str):
        findings.of_task(task, ("until",), "the until of a loop is a condition")
    if task.with_items is not None and not isinstance(task.with_items, list | str):
        findings.of_task(task, ("with_items",), f"it is a list, or an expression for one, not {task.with_items!r}")


# ---- calls in a circle -----------------------------------------------------------------------------------------------


def certain_calls(definition: Definition) -> tuple[str, ...]:
    """The workflows that every run of this one calls, as far as it goes well; those that its own loops and blocks call too."""
    tasks, chance = dict[str, Task](), set[str]()
    for task, block in definition.every_task():
        tasks[task.name] = task
        if block is not None and (block.type == "race" or block.name in chance):
            chance.add(task.name)  # another branch may win
    if any(task.type in ("end", "fail") for task in tasks.values()):
        return ()  # one of them may end the run before
    ways = [way for way in ways_of(definition) if way.source != way.target]
    inbound: dict[str, list[Way]] = {}
    for way in ways:
        inbound.setdefault(way.target, []).append(way)
    certain: set[str] = set()
    found: list[str] = []
    for node in topological(dict.fromkeys(node_names(definition)), ways):
        task = tasks[node.removesuffix(":fork")]
        join = task.is_block and node == task.name
        free = task.name not in chance and (join or (task.when is None and task.with_items is None))
        if not free or isinstance(task.join, int) or not all(_sure(way) and way.source in certain for way in inbound.get(node, ())):
            continue
        certain.add(node)
        if task.type in BODIES and task.workflow is not None:
            found.append(task.workflow)
        elif embeds(task):
            found.extend(certain_calls(embedded(definition, task)))
    return tuple(dict.fromkeys(found))


def _sure(way: Way) -> bool:
    """Whether it leads on from a task that succeeded, whatever that found."""
    return not way.branches and (way.required is None or "succeeded" in way.required) and (not way.leads or "succeeded" in way.transition)


def endless(
    definition: Definition, calls: dict[str, tuple[str, ...]], find: Callable[[str], Definition | None] = lambda _: None
) -> list[str]:
    """Workflows that surely call each other in a circle, the first again at the end; empty where there are none.

    `calls` remembers what a workflow surely calls; `find` gives the definition of a name, where it is known.
    """
    calls[definition.name] = certain_calls(definition)
    path: list[str] = []
    done: set[str] = set()
    waiting: list[tuple[str, bool]] = [(definition.name, False)]
    while waiting:
        name, over = waiting.pop()
        if over:
            path.pop()
            done.add(name)
        elif name in path:
            return [*path[path.index(name) :], name]
        elif name not in done:
            if name not in calls:
                found = find(name)
                calls[name] = () if found is None else certain_calls(found)
            path.append(name)
            waiting.append((name, True))
            waiting.extend((called, False) for called in calls[name])
    return []


def never_ends(circle: list[str]) -> str:
    """What is wrong with such a circle."""
    way = " -> ".join(circle)
    return f"a run of it would never end: {way} call each other whatever happens; give one of the calls a when"
