"""What tasks, blocks and whole workflows pass before they begin, as the plan has it: gates, and what stands behind them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from wfcelery.definition.document import Definition, Task
from wfcelery.definition.edges import fork
from wfcelery.definition.expressions import Template
from wfcelery.definition.gating import every
from wfcelery.definition.plan import Edge, Gate, Node

START = ":start"  # the gate before a whole workflow; no task is called so


def gates_of(task: Task) -> tuple[Gate, ...]:
    """What a task passes before it begins; its turn at a rate, which is lost where it cannot begin then, comes last."""
    found: list[Gate] = []
    if task.limit is not None:
        found.append(Gate("limit", Template.parse(task.limit.key), {"slots": task.limit.slots}))
    if task.lock is not None:
        found.append(Gate("lock", Template.parse(task.lock), {"slots": 1}))
    if task.breaker is not None:
        said = task.breaker
        terms = {"failures": said.failures, "within": said.within, "open_for": said.open_for}
        found.append(Gate("breaker", Template.parse(said.key), terms))
    if task.rate is not None:
        rate = task.rate
        found.append(Gate("rate", Template.parse(rate.key or task.action), {"every": every(rate.limit), "burst": rate.burst}))
    return tuple(found)


def behind_a_gate(definition: Definition, nodes: Mapping[str, Node]) -> dict[str, Node]:
    """The nodes of a workflow; where so many of its runs may be under way, behind one gate that every run passes first."""
    said = definition.concurrency
    if said is None:
        return dict(nodes)
    key = definition.name if said.key is None else f"{definition.name}:{said.key}"
    terms = {"slots": said.limit, "when_full": said.when_full}
    edges = {name: Edge(START, name, frozenset({"succeeded"})) for name, node in nodes.items() if not node.inbound}
    gate = Node(name=START, kind="gate", gates=(Gate("limit", Template.parse(key), terms),), outbound=tuple(edges.values()))
    return {START: gate, **{name: replace(node, inbound=(edges[name],)) if name in edges else node for name, node in nodes.items()}}


def sections_of(definition: Definition) -> dict[str, frozenset[str]]:
    """The gates of locks that are held over several nodes, each with what stands behind it."""
    found: dict[str, frozenset[str]] = {}
    if definition.concurrency is not None:
        found[START] = frozenset(task.name for task, _ in definition.every_task())
    for task, _ in definition.every_task():
        if task.type == "parallel" and (task.limit is not None or task.lock is not None):
            found[fork(task.name)] = frozenset(_inside(task))
    return found


def _inside(block: Task) -> list[str]:
    names: list[str] = []
    for task in block.tasks:
        names += [task.name, *_inside(task)]
    return names
