"""What is wrong with the graph: circles, joins and tasks that can never start, references that come too early.

Sets of nodes are integers with one bit a node, so that 20,000 tasks are checked in seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce
from itertools import combinations
from operator import and_, or_

from wfcelery.definition.bodies import embeds
from wfcelery.definition.document import Definition, Task
from wfcelery.definition.edges import Way, counted, ways_of
from wfcelery.definition.expressions import Expression, Template
from wfcelery.definition.findings import Findings, Path
from wfcelery.definition.gating import keys_of
from wfcelery.definition.ordering import node_names, topological
from wfcelery.definition.region_checks import check_regions
from wfcelery.errors import ExpressionError

_MOST_WATCHED = 300  # tasks whose ends are told apart; beyond, what excludes each other is not looked for
_MOST_COUNTED = 64
_ENDS = ("failed", "timed_out", "cancelled", "skipped")


def check_graph(definition: Definition, findings: Findings) -> None:
    """All of it. Order is looked at only where there is one."""
    graph = _Graph(definition, findings)
    circle = graph.circle()
    if circle:
        first = findings.tasks[_task_of(circle[0])]
        findings.of_task(first, (), f"tasks come after each other in a circle: {' -> '.join(map(_task_of, circle))}")
        return
    graph.check_joins()
    graph.check_starts()
    graph.check_references()
    graph.check_sleeps()
    graph.check_publishing()
    check_regions(definition, findings, graph.ends_before)


def _task_of(node: str) -> str:
    return node.removesuffix(":fork")


class _Graph:
    def __init__(self, definition: Definition, findings: Findings) -> None:
        self.definition = definition
        self.findings = findings
        self.ways = [way for way in ways_of(definition) if way.source != way.target]
        self.inbound: dict[str, list[Way]] = {}
        self.outbound: dict[str, list[Way]] = {}
        for way in self.ways:
            self.inbound.setdefault(way.target, []).append(way)
            self.outbound.setdefault(way.source, []).append(way)
        self.names = list(dict.fromkeys(node_names(definition)))
        self.order = topological(self.names, self.ways)
        self.bit = {name: 1 << number for number, name in enumerate(self.order)}
        self.slices = self._watched()
        self.everything = (1 << sum(size for _, size in (self.slices or {}).values())) - 1
        self.ended: dict[str, int] = {}  # what has surely ended when a node starts
        self.allowed: dict[str, int] = {}  # how the watched tasks may have ended then

    def join_of(self, node: str) -> int | None:
        task = self.findings.tasks[_task_of(node)]
        own = not task.is_block or not node.endswith(":fork")
        if own and task.type == "race":
            return 1
        return task.join if own and isinstance(task.join, int) else None

    def parts(self, node: str) -> tuple[list[Way], list[Way], int]:
        """The ways to a node that all must fire; those of which some must; and how many."""
        ways = self.inbound.get(node, [])
        join, counts = self.join_of(node), counted(ways)
        some = [way for way in ways if way.source in counts]
        if join is not None and some:
            if join >= len(some):
                return ways, [], 0
            return [way for way in ways if way.source not in counts], some, join
        leading = [way for way in ways if way.leads]
        must = [way for way in ways if way.required is not None]
        # A way that is required and a transition is among those that must; one transition alone must as well.
        some = [way for way in leading if way.required is None]
        if len(leading) == 1:
            return ways, [], 0
        return (must, some, 1) if len(some) == len(leading) else (must, [], 0)

    # ---- circles -----------------------------------------------------------------------------------------------------

    def circle(self) -> list[str]:
        """The nodes of one circle, the first again at the end; empty where there is none."""
        rest = set(self.names) - set(self.order)
        if not rest:
            return []
        at = next(name for name in self.names if name in rest)
        path: dict[str, int] = {}
        while at not in path:
            path[at] = len(path)
            # Whatever could not be put into order has something before it that could not either.
            at = next(way.source for way in self.inbound[at] if way.source in rest)
        circle = [name for name, place in path.items() if place >= path[at]][::-1]
        first = min(range(len(circle)), key=lambda number: self.names.index(circle[number]))
        ordered = circle[first:] + circle[:first]
        shown = [
            name for name, before in zip(ordered, [None, *ordered], strict=False) if before is None or _task_of(name) != _task_of(before)
        ]
        return [*shown, shown[0]]

    # ---- joins and starts --------------------------------------------------------------------------------------------

    def check_joins(self) -> None:
        """Tells each join that wants more than can come."""
        for task in self.findings.tasks.values():
            if not isinstance(task.join, int) or task.name in self.findings.misnamed:
                continue
            ways = self.inbound.get(task.name, [])
            counts = len(counted(ways))
            if counts < task.join:
                kind = "tasks" if task.is_block else "transitions" if any(way.leads for way in ways) else "after"
                self.findings.of_task(task, ("join",), f"join: {task.join} can never be reached, with {counts} {kind} to count")

    def check_starts(self) -> None:
        """Tells each task that can never start, unless something before it is told already."""
        if self.slices is None:
            return
        never: set[str] = set()
        for node in self.order:
            must, some, least = self.parts(node)
            live = [way for way in some if way.source not in never]
            mask = reduce(and_, (self._mask(way) for way in must), self.everything)
            self.allowed[node] = mask
            if any(way.source in never for way in must) or (some and len(live) < least):
                never.add(node)
                continue
            excluded = _excluded(mask, self.slices)
            if some and not excluded:
                masks = [mask & self._mask(way) for way in live]
                possible = [each for each in masks if not _excluded(each, self.slices)]
                self.allowed[node] = reduce(or_, possible, 0)
                excluded = _excluded(masks[0], self.slices) if len(possible) < least else ""
            if excluded:
                never.add(node)
                task = self.findings.tasks[_task_of(node)]
                self.findings.of_task(task, (), f"it can never start: {excluded} would have to end in two ways that exclude each other")

    def _watched(self) -> dict[str, tuple[int, int]] | None:
        """The tasks whose ends matter, each with the place of its bits: one for every way it can end."""
        slices: dict[str, tuple[int, int]] = {}
        start = 0
        for node in self.order:
            ways = self.outbound.get(node, [])
            if any(way.branches or not _fires(way, "succeeded") for way in ways):
                size = len(self._labels(node))
                slices[node] = (start, size)
                start += size
        return slices if len(slices) <= _MOST_WATCHED else None

    def _labels(self, node: str) -> tuple[str, ...]:
        task = self.findings.tasks[_task_of(node)]
        branches = tuple(f"branch {number}" for number in range(len(task.decision)))
        no_branch = () if any(branch.default for branch in task.decision) else ("succeeded",)
        return (*branches, *no_branch, *_ENDS)

    def _mask(self, way: Way) -> int:
        """What is known of all ends where this way has fired."""
        mask = self.allowed[way.source]
        if self.slices is None or way.source not in self.slices:
            return mask
        start, size = self.slices[way.source]
        fires = sum(1 << (start + number) for number, label in enumerate(self._labels(way.source)) if _fires(way, label))
        return mask & (self.everything ^ (((1 << size) - 1) << start) | fires)

    # ---- references --------------------------------------------------------------------------------------------------

    def check_references(self) -> None:
        """What a task looks at has ended, whichever way it was reached."""
        unsure = set(self.findings.misnamed)
        for node in self.order:
            self.ended[node] = self._ended_before(node)
            if any(_task_of(way.source) in unsure for way in self.inbound.get(node, ())):
                unsure.add(_task_of(node))
        for task in self.findings.tasks.values():
            for path, value, early in _looks(task):
                for name in sorted(_tasks_in(value) - self.findings.left_out):
                    if task.name not in unsure or name == task.name:
                        self._check_reference(task, path, name, early)

    def _ended_before(self, node: str) -> int:
        must, some, least = self.parts(node)
        ended = 0
        for way in must:
            ended |= self.bit[way.source] | self.ended[way.source]
        if some:
            sets = [self.bit[way.source] | self.ended[way.source] for way in some]
            ended |= _in_at_least(sets, len(some) - least + 1)
        if self.join_of(node) is None:
            # All ways have fired or died; a task that could not be reached reads as skipped.
            ended |= reduce(or_, (self.bit[way.source] for way in self.inbound.get(node, ())), 0)
        task = self.findings.tasks[_task_of(node)]
        if task.type == "race" and node == task.name:  # the others are closed when the first has come
            ended |= reduce(or_, (self.bit[name] for name in _inside(task) if name in self.bit), 0)
        return ended

    def _check_reference(self, task: Task, path: Path, name: str, early: bool) -> None:
        if name not in self.bit:
            return
        if name == task.name:
            if early:
                self.findings.of_task(task, path, f"it looks at {name} itself, which has not run by then")
            return
        if name in self.findings.misnamed:
            return
        node = f"{task.name}:fork" if task.is_block and early else task.name
        if not self.ended[node] & self.bit[name]:
            if self.ended[name] & self.bit[node]:
                way = f"{name} comes after it"
            else:
                way = f"add needs: [{name}] for its value, or after: [{name}]"
            self.findings.of_task(task, path, f"it looks at {name}, which need not have ended by then: {way}")

    def ends_before(self, first: str, second: str) -> bool:
        """Whether the first task has surely ended when the second begins."""
        if first not in self.bit or second not in self.bit:
            return False
        entry = f"{second}:fork" if self.findings.tasks[second].is_block else second
        return bool(self.ended[entry] & self.bit[first])

    # ---- sleeps and variables ----------------------------------------------------------------------------------------

    def check_sleeps(self) -> None:
        """A sleep, or another wait, that nothing comes after is a mistake, unless what comes after it could not be read."""
        looked_at = _tasks_in(self.definition.output) if self.definition.output is not None else frozenset()
        for task in self.findings.tasks.values():
            seen = task.name in looked_at | self.findings.misnamed
            followed = self.outbound.get(task.name) or task.cancels or seen or self.findings.left_out
            if task.type == "continue_as_new" and not self.inbound.get(task.name) and task.when is None:
                self.findings.of_task(task, (), "nothing comes before it: each run would only start the next")
            if task.type in ("sleep", "wait") and not followed:
                self.findings.of_task(task, (), f"nothing comes after this {task.type}, so it holds up nothing but the end of the run")

    def check_publishing(self) -> None:
        """Warns of a variable that two tasks may publish in any order."""
        publishers: dict[str, list[str]] = {}
        for task in self.findings.tasks.values():
            for name in task.publish:
                publishers.setdefault(name, []).append(task.name)
        for variable, names in publishers.items():
            pair = next((pair for pair in combinations(names[:50], 2) if self._at_once(*pair)), None)
            if pair is not None:
                first, second = pair
                text = f"{first} may publish {variable} at the same time; the last to commit wins"
                self.findings.of_task(self.findings.tasks[second], ("publish", variable), text, "warning")

    def _at_once(self, first: str, second: str) -> bool:
        if first not in self.ended or second not in self.ended:
            return False
        if self.ended[first] & self.bit[second] or self.ended[second] & self.bit[first]:
            return False
        return self.slices is None or not _excluded(self.allowed[first] & self.allowed[second], self.slices)


def _inside(block: Task) -> Iterable[str]:
    for task in block.tasks:
        yield task.name
        yield from _inside(task)


def _fires(way: Way, label: str) -> bool:
    end = "succeeded" if label.startswith("branch ") else label
    if way.required is not None and end not in way.required:
        return False
    if way.leads:
        return end in way.transition or (label.startswith("branch ") and int(label[7:]) in way.branches)
    return way.required is not None


def _excluded(mask: int, slices: dict[str, tuple[int, int]]) -> str:
    """A task that no end is left for, or an empty text."""
    for name, (start, size) in slices.items():
        if not (mask >> start) & ((1 << size) - 1):
            return _task_of(name)
    return ""


def _in_at_least(sets: Sequence[int], number: int) -> int:
    """The bits that are in at least so many of the sets; of very many sets, only those that are in all."""
    if number > _MOST_COUNTED:
        return reduce(and_, sets)
    at_least = [0] * (number + 1)  # at_least[k]: in k of the sets looked at so far, or more
    at_least[0] = -1
    for each in sets:
        for k in range(number, 0, -1):
            at_least[k] |= at_least[k - 1] & each
    return at_least[number]


def _looks(task: Task) -> Iterable[tuple[Path, object, bool]]:
    """Every value with expressions, and whether it is looked at before the task runs."""
    yield ("when",), _parsed(task.when), True
    yield ("filter",), _parsed(task.filter), True
    for key in ("with_items", "args", "duration", "key", "title", "assignees", "message"):
        yield (key,), getattr(task, key), True
    yield ("until",), _parsed(task.until) if task.type == "loop" else task.until, True
    yield ("while",), _parsed(task.while_), True
    if not embeds(task):  # there it looks at its own tasks
        yield ("output",), task.output, True
    for name, value in task.input.items():
        yield ("input", name), value, True
    for place, each in keys_of(task):
        yield place, each, True
    for name, value in task.publish.items():
        yield ("publish", name), value, False
    for name, value in (task.compensate.input or {} if task.compensate is not None else {}).items():
        yield ("compensate", "input", name), value, False
    for number, branch in enumerate(task.decision):
        yield ("decision", number, "when"), _parsed(branch.when), False


def _parsed(condition: str | None) -> object:
    try:
        return None if condition is None else Expression.parse(condition)
    except ExpressionError:
        return None


def _tasks_in(value: object) -> frozenset[str]:
    if isinstance(value, Expression):
        return value.tasks
    try:
        return Template.parse(value).tasks
    except ExpressionError:
        return frozenset()
