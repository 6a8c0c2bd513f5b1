"""The nodes of a definition's graph, in an order in which nothing comes before what it comes after."""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heapify, heappop, heappush

from wfcelery.definition.document import Definition
from wfcelery.definition.edges import Way, fork


def topological(names: Iterable[str], ways: Iterable[Way]) -> list[str]:
    """The names in an order in which every way leads forward, as near to theirs as can be; those on a cycle are left out."""
    place = {name: number for number, name in enumerate(names)}
    waiting = dict.fromkeys(place, 0)
    onward: dict[str, list[str]] = {name: [] for name in place}
    for way in ways:
        waiting[way.target] += 1
        onward[way.source].append(way.target)
    free = [(place[name], name) for name, count in waiting.items() if count == 0]
    heapify(free)
    ordered = []
    while free:
        _, name = heappop(free)
        ordered.append(name)
        for target in onward[name]:
            waiting[target] -= 1
            if waiting[target] == 0:
                heappush(free, (place[target], target))
    return ordered


def node_names(definition: Definition) -> list[str]:
    """Every node of the graph: the tasks, and before each parallel block its fork."""
    names: list[str] = []
    for task, _ in definition.every_task():
        names += [fork(task.name), task.name] if task.is_block else [task.name]
    return names
