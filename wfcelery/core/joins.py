"""Whether a node with several ways to it starts, dies, or waits: synchronizing merge with dead-path elimination.

A blocked row counts three things: `blockers`, the ways that are still open; `wants`, how many of these are
required beside what the join counts; `fired`, how many counted ways have fired.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from wfcelery.definition.plan import Edge, Node

Verdict = Literal["wait", "reached", "dead"]


@dataclass(frozen=True, slots=True)
class Count:
    """The three counters of a blocked row."""

    blockers: int
    wants: int
    fired: int


def untouched(node: Node) -> Count:
    """The counters before any way to the node has come."""
    return Count(len(node.inbound), sum(not edge.counted for edge in node.inbound), 0)


def arrive(node: Node, count: Count, edge: Edge, fires: bool) -> tuple[Count, Verdict]:
    """One more way to the node has fired or died."""
    if edge.counted:
        count = Count(count.blockers - 1, count.wants, count.fired + fires)
    else:
        count = Count(count.blockers - 1, count.wants - 1, count.fired)
    if not fires and edge.required is not None and (node.join is None or not edge.counted):
        return count, "dead"  # without a number to reach, everything required must come
    return count, _verdict(node, count)


def _verdict(node: Node, count: Count) -> Verdict:
    counted = sum(edge.counted for edge in node.inbound)
    if node.join is not None:
        if count.fired >= node.join:
            return "reached" if count.wants == 0 else "wait"
        still_open = count.blockers - count.wants
        return "dead" if count.fired + still_open < node.join else "wait"
    if count.blockers:
        return "wait"
    return "reached" if count.fired or not counted else "dead"
