"""What a fan-out has still to bear and to let go, kept as the `input` of its own row; None once there is nothing.

`list` is its whole list, or a reference to it; `rest` the items behind those that have rows, where they are no part of a
recorded value: filtered, put into batches, or added; `again` the numbers of held items that run once more, as ranges
[first, last): `concurrency` has let them go once already.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from wfcelery.core.rows import StepRow

Ranges = list[list[int]]


def listed(row: StepRow) -> Any:
    """The whole list, or what refers to it; None where the rest is kept by itself."""
    kept = row.input
    if _is_ours(kept):
        return kept.get("list")
    return kept  # as releases before this one kept it


def rest(row: StepRow) -> list[Any] | None:
    """The items without rows, where they are kept by themselves."""
    found: list[Any] | None = row.input.get("rest") if _is_ours(row.input) else None
    return found


def keep(row: StepRow, *, whole: Any = None, remaining: list[Any] | None = None, repeated: Ranges | None = None) -> None:
    """Keep these, and nothing else."""
    kept = {"list": whole, "rest": remaining or None, "again": repeated or None}
    row.input = {name: value for name, value in kept.items() if value is not None} or None


def again(row: StepRow) -> Ranges:
    """The held items that run once more, in their order."""
    found: Ranges = row.input.get("again", []) if _is_ours(row.input) else []
    return found


def count_again(row: StepRow) -> int:
    """How many they are."""
    return sum(last - first for first, last in again(row))


def put_again(row: StepRow, numbers: Iterable[int]) -> None:
    """These, and no others, are held to run once more."""
    ranges: Ranges = []
    for number in sorted(numbers):
        if ranges and ranges[-1][1] == number:
            ranges[-1][1] = number + 1
        else:
            ranges.append([number, number + 1])
    keep(row, whole=listed(row), remaining=rest(row), repeated=ranges)


def take_again(row: StepRow, room: int) -> Iterator[tuple[int, int]]:
    """The first so many of them, as ranges; they are held no longer."""
    left = [list(each) for each in again(row)]
    if not left:
        return
    while left and room > 0:
        first, last = left[0]
        upto = min(last, first + room)
        room -= upto - first
        left[0][0] = upto
        if upto == last:
            left.pop(0)
        yield first, upto
    keep(row, whole=listed(row), remaining=rest(row), repeated=left)


def _is_ours(kept: Any) -> bool:
    return isinstance(kept, dict) and kept.keys() <= {"list", "rest", "again"}
