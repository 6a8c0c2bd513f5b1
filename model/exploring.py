"""Breadth first through every state of a configuration; the shortest way to a violated promise is its trace."""

from __future__ import annotations

from typing import NamedTuple

from model.configurations import Configuration
from model.deciding import begun
from model.moves import moves
from model.states import FAULTS, State, V
from model.world import World, blank


class Found(NamedTuple):
    """How many states there are, and what was violated, on which way."""

    states: int
    violation: str = ""
    trace: tuple[str, ...] = ()


class _Graph:
    def __init__(self, first: State) -> None:
        self.number = {first: 0}
        self.states = [first]
        self.healthy_from: list[list[int]] = [[]]  # from which states each is reached by healthy actions
        self.came: list[tuple[int, str]] = [(-1, "")]

    def visit(self, state: State, parent: int, label: str) -> tuple[int, bool]:
        """Its number, and whether it is new."""
        known = self.number.get(state)
        if known is not None:
            return known, False
        k = self.number[state] = len(self.states)
        self.states.append(state)
        self.healthy_from.append([])
        self.came.append((parent, label))
        return k, True

    def trace(self, k: int, *last: str) -> tuple[str, ...]:
        """The shortest way to a state."""
        way = list(last)
        while k > 0:
            k, label = self.came[k]
            way.insert(0, label)
        return tuple(way)


def explore(c: Configuration, mutant: str | None = None) -> Found:
    """Safety in every state; promptness while nothing failed; and from every state a healthy way to a good end."""
    graph, at = _Graph(begun(World(c, mutant, blank(c))).state()), 0
    while at < len(graph.states):
        label = "..."
        try:
            prompt = False
            for label, kind, state in moves(c, mutant, graph.states[at]):
                k, new = graph.visit(state, at, label)
                prompt = prompt or kind == "work"
                if new:
                    World(c, mutant, state).check()
                if kind in ("work", "sweep"):
                    graph.healthy_from[k].append(at)
            if not prompt and c.broker and _unharmed(c, graph.states[at]) and not World(c, mutant, graph.states[at]).good_end():
                label = "(nothing)"
                raise V("nothing failed, and yet only a sweep can go on (lost wake-up)")
        except V as violated:
            return Found(len(graph.states), str(violated), graph.trace(at, label))
        at += 1
    return _stuck(c, mutant, graph)


def _unharmed(c: Configuration, state: State) -> bool:
    return state.budget[: len(FAULTS)] == c.budget[: len(FAULTS)]


def _stuck(c: Configuration, mutant: str | None, graph: _Graph) -> Found:
    """Is there a state from which no healthy way leads to an end?"""
    pending = [k for k, state in enumerate(graph.states) if World(c, mutant, state).good_end()]
    fine = bytearray(len(graph.states))
    for k in pending:
        fine[k] = 1
    while pending:
        for k in graph.healthy_from[pending.pop()]:
            if not fine[k]:
                fine[k] = 1
                pending.append(k)
    stuck = fine.find(0)
    if stuck < 0:
        return Found(len(graph.states))
    return Found(len(graph.states), "stuck: no healthy way to an end", graph.trace(stuck))
