"""In what order the tasks of a run have ended, as its history tells it: by version, and by the place in a commit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from wfcelery.core.rows import Story

_ENDS = frozenset({"step_succeeded", "step_failed", "step_timed_out", "step_cancelled", "wait_came", "wait_met", "items_succeeded"})


def told(history: Iterable[tuple[int, Sequence[Mapping[str, Any]]]]) -> Story:
    """The tasks in the order of their last ends, and whether somebody has terminated the run."""
    ended: dict[str, None] = {}
    terminated = False
    for _, facts in history:
        for fact in facts:
            if fact["fact"] == "run_terminated":
                terminated = True
            elif fact["fact"] in _ENDS or fact.get("then") == "cancelled":
                ended.pop(fact["step"], None)
                ended[fact["step"]] = None
    return Story(tuple(ended), terminated)
