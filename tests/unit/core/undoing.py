"""What must be true of a run that undoes what it has done: by a second, naive reading of its history."""

from __future__ import annotations

from tests.unit.core import oracle
from tests.unit.core.stored import Stored, is_closing
from wfcelery.core.decision import Decision
from wfcelery.core.rows import NO_ITEM
from wfcelery.core.states import RUN_ENDED, STEP_OPEN, RunStatus, StepStatus

_ENDS = ("step_succeeded", "step_failed", "step_timed_out", "step_cancelled")


class Undoing(Stored):
    """A run whose compensations and hooks are looked at after every commit."""

    def is_undone(self) -> bool:
        """Whether something of it was undone, or was to be: it is not done again."""
        return any(name.endswith(":compensate") for name in self.closing())

    def check_undoing(self, decision: Decision) -> None:
        open_ = [row.name for row in self.closing().values() if row.status in STEP_OPEN]
        assert len(open_) <= 1, f"{open_} are done at once"
        for name in open_:
            assert self.run.ending is not None, f"{name} is done while the run goes on"
            assert all(row.status not in STEP_OPEN for row in self.tasks().values()), f"{name} is done while the graph is under way"
        if self.run.status in RUN_ENDED:
            self._check_all_is_done(decision)

    def _check_all_is_done(self, decision: Decision) -> None:
        if any(fact["fact"] == "run_terminated" for facts in self.history for fact in facts):
            assert not any(fact["fact"] == "run_compensating" for fact in decision.facts)
            return
        begun = [name for name in self._in_order(("step_ready", "fan_out_opened")) if is_closing(name)]
        stillborn = [name for name in self._in_order(("step_failed",)) if is_closing(name) and name not in begun]
        if not any(found.status == "retried" for found in self.letters):
            assert begun + stillborn == self._expected(), f"undone were {begun}"
        incomplete = [
            name for name, row in self.closing().items() if name.endswith(":compensate") and row.status is not StepStatus.SUCCEEDED
        ]
        assert ("compensation incomplete" in str(self.run.error)) == bool(incomplete), f"{incomplete} failed, the run says {self.run.error}"
        for name, row in self.closing().items():
            undone = self.tasks().get(name.removesuffix(":compensate"))
            if undone is not None and undone.status in (StepStatus.SUCCEEDED, StepStatus.COMPENSATED):
                assert (undone.status is StepStatus.COMPENSATED) == (row.status is StepStatus.SUCCEEDED), (
                    f"{undone.name} is {undone.status}"
                )
            if row.items_left is None and row.attempt:
                fate = oracle.fate({}, self.scenario.attempts.get((name, NO_ITEM), [])[self.episode[name, NO_ITEM] :])
                assert str(row.status) == fate.end, f"{name} ended {row.status}, its attempts say {fate.end}"

    def _in_order(self, words: tuple[str, ...]) -> list[str]:
        """The steps of these facts, each where it came first."""
        return list(dict.fromkeys(fact["step"] for facts in self.history for fact in facts if fact["fact"] in words))

    def _expected(self) -> list[str]:
        """What is undone, the last that ended first; then the hooks."""
        undone = []
        for name in self._backwards():
            task, row = self.flats[name].task, self.tasks()[name]
            rows = self.items(row) if "items" in task else [row]
            if any(self._is_undone(str(each.status), task["undo"], each.attempt) for each in rows):
                undone.append(f"{name}:compensate")
        failed = self.flats.get(str((self.run.error or {}).get("step")))
        stops = self.run.status is RunStatus.FAILED and failed is not None and failed.task.get("on_error") == "stop"
        bad = self.run.status is not RunStatus.SUCCEEDED
        when = {RunStatus.CANCELLED: "on_cancel", RunStatus.SUCCEEDED: None}.get(self.run.status, "on_failure")
        hooks = [name for name in (when, "on_complete") if name in self.graph.get("hooks", ())]
        return (undone if bad and not stops else []) + [f"{name}:hook" for name in hooks]

    @staticmethod
    def _is_undone(status: str, how: str, attempt: int) -> bool:
        return status in ("succeeded", "compensated") or (
            how == "unknown" and attempt > 0 and status in ("failed", "timed_out", "cancelled")
        )

    def _backwards(self) -> list[str]:
        last: dict[str, int] = {}
        number = 0
        for facts in self.history:
            for fact in facts:
                number += 1
                ended = fact["fact"] in (*_ENDS, "items_succeeded") or fact.get("then") == "cancelled"
                if ended and fact["step"] in self.flats and "undo" in self.flats[fact["step"]].task:
                    last[fact["step"]] = number
        return sorted(last, key=lambda name: -last[name])
