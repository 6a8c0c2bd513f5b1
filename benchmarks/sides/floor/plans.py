"""What follows a step: three kinds of graph, worked out once per process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from benchmarks.sides.contract import CHAIN_LENGTH

_IN_A_ROW = "in_a_row_"
TEN_IN_A_ROW = f"{_IN_A_ROW}{CHAIN_LENGTH}"
OUT_AND_IN = "out_and_in"


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a graph: the author's task it calls, the step after it, and whether that one is a fan-out."""

    task: str
    then: str | None
    fans_out: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """A graph: where it begins, and every step by name."""

    first: str
    steps: Mapping[str, Step]


def in_a_row(length: int) -> str:
    """The name of the graph of so many steps."""
    return f"{_IN_A_ROW}{length}"


@cache
def plan_of(workflow: str) -> Plan:
    if workflow == OUT_AND_IN:
        spread, each = Step("floor.spread", "each", fans_out=True), Step("floor.add_one", "total")
        return Plan("spread", {"spread": spread, "each": each, "total": Step("floor.total", None)})
    last = int(workflow.removeprefix(_IN_A_ROW)) - 1
    return Plan("s0", {f"s{place}": Step("floor.add_one", f"s{place + 1}" if place < last else None) for place in range(last + 1)})
