"""What the ends of its items mean for a fan-out: how many have to succeed, how many may fail.

A percentage of `tolerate` is of all items, one of `success` of those that their own condition did not leave out. Without
either the first failure fails the task, or, with `on_error: continue`, none does. A list that is still shorter than
`success` asks for may grow: whether it has is judged when nothing is left.
"""

from __future__ import annotations

from wfcelery.core.rows import StepRow
from wfcelery.definition.plan import Node

TOO_FEW = "too_few_succeeded"  # the code of a fan-out's own failure, which no failure of an item has caused


def is_lost(node: Node, row: StepRow, *, failed: int = 0, ended: int = 0) -> bool:
    """Whether the fan-out can no longer succeed, once so many more items have failed, or ended, than the row counts."""
    counted, bad, left = _counted(row), row.blockers + failed, (row.items_left or 0) - ended
    if node.success is not None:
        needed = node.success.at_least(counted)
        if counted - bad < needed <= counted or (left <= 0 and counted - bad - left < needed):
            return True
    if node.tolerate is not None:
        return bad > node.tolerate.at_most(row.wants)
    return bad > 0 and node.success is None and node.on_error != "continue"


def has_enough(node: Node, row: StepRow) -> bool:
    """Whether as many items have succeeded as have to. Only where none was closed: those would be taken for good ones."""
    if node.success is None:
        return False
    return _good(row) >= node.success.at_least(_counted(row)) > 0


def too_few(node: Node, row: StepRow) -> dict[str, object]:
    """The error of a fan-out that no failure of an item has failed: too few of them have succeeded."""
    needed = node.success.at_least(_counted(row)) if node.success is not None else 0
    others = f"{row.skipped or 0} were skipped and {row.blockers} failed"
    message = f"{_good(row)} of {row.wants} items succeeded, {others}: {needed} have to succeed"
    return {"type": "TooFewSucceeded", "code": TOO_FEW, "message": message}


def _counted(row: StepRow) -> int:
    return row.wants - (row.skipped or 0)


def _good(row: StepRow) -> int:
    return _counted(row) - row.blockers - (row.items_left or 0)
