"""What people were asked: one answer counts, and the step is what that answer says."""

from __future__ import annotations

from collections.abc import Iterator

from wfcelery.core.rows import NO_ITEM
from wfcelery.core.states import StepStatus
from wfcelery.service.invariants.case import Case
from wfcelery.service.invariants.chronicle import Told
from wfcelery.service.invariants.registry import invariant

_SAYS = {"approved": (StepStatus.SUCCEEDED, StepStatus.COMPENSATED), "rejected": (StepStatus.FAILED,)}
_ENDS = ("wait_met", "wait_timed_out", "step_cancelled", "step_skipped", "step_succeeded")


@invariant(59, "answers", "Each time it is asked, an approval has one answer that counts at most, and its step ends as that answer says.")
def one_answer_counts(case: Case) -> Iterator[str]:
    for (name, item), told in (case.story.of if case.story is not None else {}).items():
        counting: Told | None = None
        for each in told:
            if each.what in ("wait_opened", "step_reopened"):
                counting = None
            elif each.what == "wait_met" and each.fact.get("cause") == "approval":
                if counting is not None:
                    yield f"step {name} was answered in version {counting.version}, and once more in version {each.version}"
                if not each.fact.get("by"):
                    yield f"step {name} was answered in version {each.version} by nobody"
                counting = each
            elif counting is not None and each.what in _ENDS and each.fact.get("why") is None:
                yield f"step {name} was answered in version {counting.version}, and ended in version {each.version} by something else"
        row = case.rows.get((name, item))
        if counting is None or item != NO_ITEM or row is None or case.by_hand(row):
            continue
        outcome = str(counting.fact["outcome"])
        if row.status not in _SAYS.get(outcome, ()):
            yield f"step {name} was answered: {outcome}, and is {row.status}"
        if row.id in case.found.open_waits:
            yield f"step {name} was answered: {outcome}, and its wait is open"
