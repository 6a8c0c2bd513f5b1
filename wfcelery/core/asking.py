"""What may be asked of a fan-out while it runs or after it has failed, and why not."""

from __future__ import annotations

from typing import Literal, Protocol

from wfcelery.core.states import RUN_ENDED, RunStatus, StepStatus

Verb = Literal["add_items", "complete_items", "rerun_failed"]
VERBS: tuple[Verb, ...] = ("add_items", "complete_items", "rerun_failed")
DECIDED = "decided"  # of a fan-out's `why`: enough items have succeeded and the run has gone on; the others run to their ends


class RunLike(Protocol):
    """What is looked at of a run."""

    @property
    def status(self) -> str: ...
    @property
    def ending(self) -> str | None: ...


class StepLike(Protocol):
    """What is looked at of a step's row."""

    @property
    def status(self) -> str: ...
    @property
    def why(self) -> str | None: ...
    @property
    def items_left(self) -> int | None: ...


class FanOutLike(StepLike, Protocol):
    """What is looked at of a fan-out's own row."""

    @property
    def blockers(self) -> int: ...


def refusal(verb: Verb, run: RunLike, row: FanOutLike | None) -> str | None:
    """Why this cannot be done now; None: it can."""
    if row is None:
        return "it has not begun"
    if row.items_left is None:
        return "it is no task with items"
    if run.ending is not None and run.status not in RUN_ENDED:
        return f"the run is being ended as {run.ending}"
    if verb == "rerun_failed" and run.status == RunStatus.PAUSED:
        return "the run is paused; resume it first"
    if verb == "rerun_failed":
        return _refusal_of_rerun(run, row)
    if run.status in RUN_ENDED:
        return f"the run is {run.status}"
    if row.status != StepStatus.WAITING:
        return f"it is {row.status}"
    if row.why not in (None, DECIDED):
        return "its items are being closed"
    if verb == "add_items" and row.why == DECIDED:
        return "enough of its items have succeeded, and the run has gone on"
    return None


def _refusal_of_rerun(run: RunLike, row: FanOutLike) -> str | None:
    if row.blockers == 0:
        return "none of its items has failed"
    failing = (row.why or "").startswith("failing:")
    if row.status == StepStatus.WAITING and (row.why is None or failing):
        return None
    if row.why == "unhandled" and run.status not in ("succeeded", "cancelled"):
        return None
    return f"it is {row.status}, and the run has gone on" if row.status != StepStatus.WAITING else "the run has gone on"
