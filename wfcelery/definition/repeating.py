"""How much work an expression can make out of the data it sees, before it is let at them.

minijinja counts its instructions, not what one of them does: `a | select('in', b)` is one, and compares every
item of `a` with every one of `b`; `a | zip(a, a, a)` or `[a, a, a]` writes its value out once for each time it is named.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from wfcelery.definition.tree import Filter, Node, Ref, walk_tree
from wfcelery.definition.values import MISSING, walk
from wfcelery.errors import ValueProblem

MOST_PAIRS = 20_000_000  # of an item and a part of what it is compared with
MOST_PARTS = 4_000_000  # of all values, each counted as often as it is named
_FOR_EACH = frozenset({"map", "select", "reject", "selectattr", "rejectattr", "sum"})

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Repeats:
    """The references of an expression, and the pairs of them whose sizes multiply."""

    named: Mapping[Path, int]
    pairs: tuple[tuple[tuple[Path, ...], tuple[Path, ...]], ...]

    def check(self, scope: Mapping[str, Any]) -> None:
        """Raises ValueProblem where the data of this scope are too much for it."""
        if not self.pairs and sum(self.named.values()) < 2:
            return
        sizes = {path: _parts(walk(scope.get(str(path[0]), MISSING), path[1:])) for path in self.named}
        if sum(sizes[path] * times for path, times in self.named.items()) > MOST_PARTS:
            raise ValueProblem(f"the values it names have more than {MOST_PARTS:,} parts in all")
        for items, others in self.pairs:
            if sum(sizes[path] for path in items) * sum(sizes[path] for path in others) > MOST_PAIRS:
                raise ValueProblem(f"it would compare more than {MOST_PAIRS:,} pairs")


def repeats_of(node: Node) -> Repeats:
    """What multiplies in this tree."""
    pairs = []
    for part in walk_tree(node):
        if isinstance(part, Filter) and part.name in _FOR_EACH:
            others = _paths(value for _, value in part.arguments)
            if others:
                pairs.append((_paths([part.operand]), others))
    named = Counter(part.path for part in walk_tree(node) if isinstance(part, Ref))
    return Repeats(named, tuple(pairs))


def _paths(nodes: Iterable[Node]) -> tuple[Path, ...]:
    return tuple(part.path for node in nodes for part in walk_tree(node) if isinstance(part, Ref))


def _parts(value: Any) -> int:
    """How many values are in it, and every eight characters of its texts as one; no further than the limit."""
    count, open_ends = 0, [value]
    while open_ends and count <= MOST_PARTS:
        found = open_ends.pop()
        if type(found) is str:
            count += len(found) // 8
        elif type(found) is dict or type(found) is list:
            open_ends.extend(found.values() if type(found) is dict else found)
        count += 1
    return count
