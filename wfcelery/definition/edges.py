"""The edges of a definition, whichever end they were written at, in the one form that is signed and compiled.

A parallel block is two gates, `name:fork` before its tasks and `name` after them. What leads to the
block leads to its fork; what the block leads to comes after its join.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from wfcelery.definition.document import FAILED_ENDS, Definition, OnError, Task

USUAL = frozenset({"succeeded", "skipped"})
SUCCEEDED = frozenset({"succeeded"})


@dataclass(slots=True)
class Way:
    """Everything one node says about one that comes after it, while it is being put together."""

    source: str
    target: str
    after: frozenset[str] | None = None  # the ends that `after` accepts
    needs: frozenset[str] | None = None  # the ends that `needs` accepts
    explicit: bool = False  # whether `after` says its ends
    transition: frozenset[str] = frozenset()
    branches: frozenset[int] = frozenset()
    written: list[tuple[str | int, ...]] = field(default_factory=list)  # where in the document

    @property
    def required(self) -> frozenset[str] | None:
        """The ends that let the target start; others make it unreachable. None: a pure transition."""
        if self.after is None or self.needs is None:
            return self.needs if self.after is None else self.after
        return self.after & self.needs

    @property
    def leads(self) -> bool:
        """Whether it is a transition."""
        return bool(self.transition or self.branches)


def fork(block: str) -> str:
    """The name of the gate before a parallel block."""
    return f"{block}:fork"


def usual_on_error(definition: Definition) -> OnError:
    """What a failure means where its task says nothing: the workflow's word, else to compensate where a task says how it is undone."""
    if definition.on_error is not None:
        return definition.on_error
    return "compensate" if any(task.compensate is not None for task, _ in definition.every_task()) else "stop"


def on_error_of(definition: Definition) -> dict[str, OnError]:
    """What each task does when it fails: its own word, its block's, the workflow's."""
    said: dict[str, OnError] = {}
    usual = usual_on_error(definition)
    for task, block in definition.every_task():
        said[task.name] = task.on_error or (said[block.name] if block is not None else usual)
    return said


def conditional_blocks(definition: Definition) -> frozenset[str]:
    """The parallel blocks whose fork may be skipped: by a condition of their own, or by that of a block around them."""
    found: set[str] = set()
    for task, block in definition.every_task():
        asked = task.when is not None or bool(task.unless_reached)
        if task.is_block and (asked or (block is not None and block.name in found)):
            found.add(task.name)
    return frozenset(found)


def ways_of(definition: Definition) -> list[Way]:
    """Every edge, at most one between two nodes. Names that do not exist are left out; `problems` tells them."""
    return _Ways(definition).all()


class _Ways:
    def __init__(self, definition: Definition) -> None:
        self.tasks = list(definition.every_task())
        self.kinds: Mapping[str, Task] = {task.name: task for task, _ in self.tasks}
        self.on_error = on_error_of(definition)
        self.conditional = conditional_blocks(definition)
        self.found: dict[tuple[str, str], Way] = {}

    def all(self) -> list[Way]:
        for task, _ in self.tasks:
            self._inbound(task)
            self._outbound(task)
        self._normalise()
        for task, _ in self.tasks:
            if task.is_block:
                self._block(task)
        return list(self.found.values())

    def _way(self, source: str, target: str) -> Way | None:
        if source not in self.kinds or target not in self.kinds:
            return None
        entry = fork(target) if self.kinds[target].is_block else target
        return self.found.setdefault((source, entry), Way(source, entry))

    def _usual(self, source: str, ends: frozenset[str]) -> frozenset[str]:
        return ends | FAILED_ENDS if self.on_error[source] == "continue" else ends

    def _inbound(self, task: Task) -> None:
        for after in task.after:
            way = self._way(after.task, task.name)
            if way is None:
                continue
            ends = frozenset(after.ends) if after.ends is not None else self._usual(after.task, USUAL)
            way.explicit = way.explicit or ends != self._usual(after.task, USUAL)
            way.after = ends if way.after is None else way.after | ends
        for name in task.needs:
            way = self._way(name, task.name)
            if way is not None:
                way.needs = self._usual(name, SUCCEEDED)
        for name in task.when_reached:
            way = self._way(name, task.name)
            if way is not None:
                way.after = SUCCEEDED if way.after is None else way.after & SUCCEEDED

    def _outbound(self, task: Task) -> None:
        for _, ends, target in task.transitions:
            way = self._way(task.name, target)
            if way is not None:
                way.transition |= ends
        for number, branch in enumerate(task.decision):
            for target in branch.next:
                way = self._way(task.name, target)
                if way is not None:
                    way.branches |= {number}

    def _normalise(self) -> None:
        """A target's only transition, where nothing counts transitions, is `after` with those ends.

        Not so for `on_success` alone, which does not say that the target wants no more than the end.
        """
        leading: dict[str, list[Way]] = {}
        for way in self.found.values():
            if way.leads:
                leading.setdefault(way.target, []).append(way)
        for target, ways in leading.items():
            way = ways[0]
            task = self.kinds[target.removesuffix(":fork")]
            if len(ways) > 1 or way.branches or way.transition == SUCCEEDED or task.join is not None:
                continue
            way.after = way.transition if way.after is None else way.after & way.transition
            way.transition, way.explicit = frozenset(), True

    def _block(self, block: Task) -> None:
        start, inside = fork(block.name), self._inside(block)
        led = {way.target for way in self.found.values() if way.source in inside}
        for child in block.tasks:
            entry = fork(child.name) if child.is_block else child.name
            if entry not in led:
                # Where the fork may be skipped, the `when` of each task inside hands that on.
                self.found[(start, entry)] = Way(start, entry, after=USUAL if block.name in self.conditional else SUCCEEDED)
            if (child.name, block.name) not in self.found:
                ends = SUCCEEDED if block.type == "race" else self._usual(child.name, USUAL)
                self.found[(child.name, block.name)] = Way(child.name, block.name, after=ends)

    def _inside(self, block: Task) -> set[str]:
        names: set[str] = set()
        waiting: list[Task] = list(block.tasks)
        while waiting:
            task = waiting.pop()
            names.add(task.name)
            waiting.extend(task.inside)
        return names


def counted(ways: Iterable[Way]) -> set[str]:
    """The sources of a node's ways that its join counts: the transitions, or, where there are none, every pure `after`."""
    ways = list(ways)
    leading = {way.source for way in ways if way.leads}
    return leading or {way.source for way in ways if way.after is not None and way.needs is None}
