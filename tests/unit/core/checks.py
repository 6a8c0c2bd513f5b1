"""What must be true after every commit: the rows agree with each other, with their history and with the oracle."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from tests.unit.core import oracle
from tests.unit.core.generators import LATE
from tests.unit.core.stored import end_of, is_closing, is_decided
from tests.unit.core.undoing import Undoing
from wfcelery.core.decision import Decision
from wfcelery.core.draft import digest
from wfcelery.core.folding import fold
from wfcelery.core.rows import NO_ITEM, Ended, StepRow
from wfcelery.core.states import RUN_ENDED, STEP_ENDED, STEP_OPEN, RunStatus, StepStatus


class Checked(Undoing):
    """A run that is looked at after every commit."""

    def check(self, decision: Decision) -> None:
        self.check_rows()
        self._check_counters()
        self._check_run(decision)
        self._check_variables(decision)
        self._check_regions(decision)
        self._check_places()
        self._check_ends()
        self._check_history()
        self._check_what_was_left_behind(decision)
        self.check_undoing(decision)

    def _check_variables(self, decision: Decision) -> None:
        """The last commit wins."""
        now = [
            row.name
            for row in decision.steps
            if row.item == NO_ITEM and row.name in self.flats and self._leads_on(row, decision) and self.flats[row.name].task.get("publish")
        ]
        if now:
            assert self.run.variables["last"] in now
            self.published = self.run.variables["last"]
        assert self.run.variables.get("last") == self.published
        if LATE in self.run.variables:
            self.graph["parameters"][LATE] = False

    def _leads_on(self, row: StepRow, decision: Decision) -> bool:
        """Whether it is in this commit that the run goes on behind it."""
        if row.status is StepStatus.SUCCEEDED and row.why is None:
            return row.name not in self.decided
        return is_decided(row) and row.why != "unadvanced:succeeded" and row.name not in self.decided

    def _check_what_was_left_behind(self, decision: Decision) -> None:
        """What a fan-out was worth when the run went on it is worth for ever, whatever its last items come to."""
        for fact in decision.facts:
            if fact["fact"] == "fan_out_decided":
                self.decided.add(fact["step"])
            elif fact["fact"] == "step_unadvanced":
                self.decided.discard(fact["step"])
        for name, row in self.tasks().items():
            if name in self.decided or is_decided(row):
                now = self.worth(row)
                assert self.frozen.setdefault(name, (now.result, now.failed_items)) == (now.result, now.failed_items), f"{name} has changed"

    def worth(self, row: StepRow) -> Ended:
        """What a fan-out is worth, as the store reads it."""
        items = [item for item in self.items(row) if item.why != "late"]
        results: list[Any] = [None] * row.wants
        for item in items:
            results[item.item] = item.output
        failed = tuple(item.item for item in items if item.status in (StepStatus.FAILED, StepStatus.TIMED_OUT))
        return Ended("succeeded" if row.why == "decided" else str(row.status), results, row.error, failed)

    def _check_history(self) -> None:
        """Folding gives the stored state less what a claim writes."""
        folded = fold(enumerate(self.history, 1))
        assert (folded.status, folded.version, folded.ending) == (self.run.status, self.run.version, self.run.ending)
        rows = {(row.name, row.item): row for row in self.steps.values()}
        assert folded.steps.keys() == rows.keys()
        for place, row in rows.items():
            claimed = row.status in (StepStatus.RUNNING, StepStatus.REPORTED)
            status = StepStatus.READY if claimed else row.status
            assert folded.steps[place] is status, f"{place} is {row.status}, its history says {folded.steps[place]}"
            assert folded.failures.get(place, 0) == row.failures, f"{place} has failed {row.failures} times, its history says otherwise"
            assert folded.lost.get(place, 0) == row.lost
            if row.item == NO_ITEM and row.status is StepStatus.SUCCEEDED and row.items_left is None and place in folded.values:
                assert folded.values[place] == digest(row.output)
            if row.items_left is not None:
                assert folded.items_left(row.name) == row.items_left
        assert folded.open_steps() == self.run.open_steps
        assert len(folded.waits) == self.run.open_waits
        assert folded.variables == {name: digest(value) for name, value in self.run.variables.items()}

    def check_rows(self) -> None:
        """What the schema's CHECKs say, and what concurrency allows."""
        for row in self.steps.values():
            idle = row.status in (StepStatus.READY, StepStatus.HELD, StepStatus.BLOCKED, StepStatus.WAITING)
            assert not (idle and row.token is not None), f"{row.name} is {row.status} and has a token"
            if row.status in (StepStatus.RUNNING, StepStatus.REPORTED):
                assert row.token is not None
                assert row.claimed_by is not None
                assert row.attempt > 0
            assert row.status is not StepStatus.BLOCKED or row.blockers > 0, f"{row.name} is blocked by nothing"
            assert row.status is not StepStatus.HELD or row.why is not None, f"{row.name} is held without a reason"
            assert row.items_left is None or row.items_left >= 0, f"{row.name} has {row.items_left} items left"
        for name, row in self.tasks().items():
            limit = self.flats[name].task.get("concurrency")
            if limit is not None and row.items_left is not None:
                loose = [item for item in self.items(row) if item.status in STEP_OPEN - {StepStatus.HELD}]
                assert len(loose) <= limit, f"{len(loose)} items of {name} are let go, {limit} allowed"

    def _check_counters(self) -> None:
        rows = [*self.tasks().values(), *self.closing().values()]
        assert self.run.open_steps == sum(row.status in STEP_OPEN for row in rows), "open_steps is not what a recount gives"
        sleeping = [row for row in rows if row.status is StepStatus.WAITING and row.items_left is None]
        assert self.run.open_waits == len(sleeping), "open_waits is not what a recount gives"
        assert {row.id for row in sleeping} == {wait.step for wait in self.waits.values() if wait.status == "open"}
        for row in rows:
            if row.status is StepStatus.WAITING and row.items_left is not None:
                left = sum(item.status in STEP_OPEN for item in self.items(row))
                left += row.wants - (row.expanded or 0) if row.why in (None, "decided") else 0
                assert row.items_left == left, f"{row.name} counts {row.items_left} items left, there are {left}"
            if row.status in STEP_ENDED:
                assert not any(item.status in STEP_OPEN for item in self.items(row)), f"{row.name} has ended before its items"

    def _retried(self) -> bool:
        """Whether a dead letter was retried: the run goes on beside the failures that nobody retried, and ends with them."""
        return any(letter.status == "retried" for letter in self.letters)

    def _check_run(self, decision: Decision) -> None:
        run = self.run
        assert run.version == len(self.history)
        only_refused = {fact["fact"] for fact in decision.facts} <= {"items_refused", "retry_refused", "skip_refused", "complete_refused"}
        unhandled_while_paused = run.status is RunStatus.PAUSED and run.ending is not None
        assert decision.ended == (run.status in RUN_ENDED) or only_refused
        only_waits = run.open_steps == run.open_waits > 0 and run.ending is None and run.status is not RunStatus.PAUSED
        assert (run.status is RunStatus.WAITING) == only_waits
        for row in self.steps.values():
            assert row.status is not StepStatus.READY or run.status is not RunStatus.PAUSED, f"{row.name} is ready while its run is paused"
            assert row.status is not StepStatus.HELD or (row.why == "paused") <= (run.status is RunStatus.PAUSED), f"{row.name} is held on"
        assert (run.status in RUN_ENDED) == (run.open_steps == 0), f"{run.open_steps} steps are open and the run is {run.status}"
        assert run.status is not RunStatus.CANCELLING or run.ending is not None
        if run.status in RUN_ENDED:
            assert not any(row.status in STEP_OPEN or row.status is StepStatus.BLOCKED for row in self.steps.values())
        unhandled = [name for name, end in self.observed().items() if end in ("failed", "timed_out") and not self._handled(name, end)]
        if unhandled and not self._said_itself() and not unhandled_while_paused:
            assert run.status in (RunStatus.CANCELLING, RunStatus.COMPENSATING, RunStatus.FAILED) or self.asked or self._retried(), (
                f"{unhandled} failed and the run is {run.status}"
            )
        elif not self.asked and not self._unsaid() and not self._said_itself():
            assert run.status not in (RunStatus.CANCELLING, RunStatus.FAILED), f"nothing went wrong and the run is {run.status}"
        if self._unsaid():
            assert run.ending is not None or run.status is RunStatus.FAILED, (
                f"what {self._unsaid()} say cannot be read, and the run goes on"
            )
        if run.status is RunStatus.CANCELLED:
            assert self.asked == "cancel"
        if run.status is RunStatus.TIMED_OUT:
            assert self.asked == "deadline"

    def _said_itself(self) -> bool:
        """Whether the run has come to a task that ends it."""
        return any(self.flats[name].kind in ("end", "fail") and row.status is StepStatus.SUCCEEDED for name, row in self.tasks().items())

    def _unsaid(self) -> list[str]:
        """Who has succeeded and cannot say what it publishes, where it leads, or, of the run, what comes of it."""
        if LATE in self.run.variables:
            return []
        ended = [self.flats[name].task for name, end in self.observed().items() if end == "succeeded"]
        found = [task["name"] for task in ended if "copy" in task.get("publish", {}) or self._asks_late(task)]
        nothing_open = self.run.status in RUN_ENDED and not self.asked and not self._said_itself()
        return found + (["output"] if nothing_open and self.graph.get("output") else [])

    def _asks_late(self, task: Mapping[str, Any]) -> bool:
        for parameter, _ in task.get("decision", ()):
            if parameter is None or self.graph["parameters"][parameter]:
                return bool(parameter == LATE)
        return False

    def _handled(self, name: str, end: str) -> bool:
        return oracle.handles(self.flats, name, end)

    def _check_regions(self, decision: Decision) -> None:
        """What a success calls off is over with it, and what comes too late for it does not begin."""
        rows = self.tasks()
        for fact in decision.facts:
            if fact["fact"] == "step_reopened" and fact.get("anew"):
                self.again.add(fact["step"])
            if fact["fact"] == "step_skipped" and fact.get("by") in self.flats:
                by = self.flats[fact["by"]].task
                called_off = fact["why"] == "dead"
                assert fact["step"] in by["cancels"] if called_off else fact["by"] in self.flats[fact["step"]].task["unless_reached"]
                assert rows[fact["by"]].status is StepStatus.SUCCEEDED or is_decided(rows[fact["by"]])
                (self.called_off if called_off else self.too_late).add(fact["step"])
        if self.run.ending is not None:
            return
        reached = {name for name, row in rows.items() if (row.status is StepStatus.SUCCEEDED or is_decided(row)) and self._advanced(row)}
        for name, flat in self.flats.items():
            row = rows.get(name)
            for other in flat.task.get("cancels", ()) if name in reached else ():
                left = rows[other]
                closing = left.status in (*STEP_ENDED, StepStatus.REPORTED) or (left.why or "").startswith("closing:")
                assert closing or is_decided(left) or other in self.again, f"{name} has called {other} off, and it is {left.status}"
            waits = row is not None and row.status in (StepStatus.READY, StepStatus.HELD) and row.attempt == 0
            if waits and name not in self.again:
                assert reached.isdisjoint(flat.task.get("unless_reached", ())), f"{name} waits for its turn, and its time is over"

    @staticmethod
    def _advanced(row: StepRow) -> bool:
        return not (row.why or "").startswith("unadvanced:")

    def _check_places(self) -> None:
        """Every task stands exactly where the rules put it; of a run that is being stopped, nobody stands further."""
        # Beside a failure that nobody has handled or retried a retried run goes on; behind it, all waits for its retry.
        ends = {name: end for name, end in self.observed().items() if end not in ("failed", "timed_out") or self._handled(name, end)}
        expected = oracle.places(self.graph, ends, self.flats, self.called_off, self.too_late)
        rows = self.tasks()
        strict = self.run.ending is None and self.run.status in (
            RunStatus.RUNNING,
            RunStatus.WAITING,
            RunStatus.PAUSED,
            RunStatus.SUCCEEDED,
        )
        for name, place in expected.items():
            row = rows.get(name)
            found = _place_of(row)
            if ends.get(name) == "cancelled" or (row is not None and row.why == "unhandled"):
                continue
            if strict or found not in ("unreached", "blocked"):
                assert found == place.what, f"{name} is {found}, the rules say {place.what}"
            if strict and row is not None and place.counters is not None:
                counters = (row.blockers, row.wants, row.fired)[: len(place.counters)]
                assert counters == place.counters, f"{name} counts {counters}, the rules say {place.counters}"

    def _check_ends(self) -> None:
        """Steps and items ended as their attempts say, and left the dead letters they must."""
        letters = {(found.letter.name, found.letter.item): found for found in self.letters if found.status != "retried"}
        for row in self.steps.values():
            key = (row.name, row.item)
            if is_closing(row.name):
                continue
            if row.items_left is not None:
                self._check_fan_out(row)
            elif row.item == NO_ITEM and row.name in self.by_hand:
                assert end_of(row) == self.by_hand[row.name], f"{row.name} was {self.by_hand[row.name]} by hand, and is {row.status}"
                assert key not in letters, f"{row.name} was decided by hand, and has a dead letter"
            elif self.flats[row.name].kind == "action" and row.status in STEP_ENDED - {StepStatus.SKIPPED, StepStatus.CANCELLED}:
                words = self.scenario.attempts.get(key, [])[self.episode[key] :]
                fate = oracle.fate(self.flats[row.name].task, words)
                assert end_of(row) == fate.end, f"{key} ended {row.status}, its attempts say {fate.end}"
                assert row.attempt - self.episode[key] - self.fenced[key] == fate.attempts
                assert (key in letters) == (fate.reason is not None), f"{key} and its dead letter"
                if fate.reason is not None:
                    if row.item == NO_ITEM and not self._said_itself():
                        assert letters[key].letter.handled == self._handled(row.name, fate.end)
                    assert letters[key].letter.reason == fate.reason, f"{key} is dead of {letters[key].letter.reason}, not {fate.reason}"
            elif self.flats[row.name].kind == "workflow" and row.status in (StepStatus.FAILED, StepStatus.TIMED_OUT):
                assert key in letters, f"{row.name} failed, and has no dead letter"
                if row.item == NO_ITEM and not self._said_itself():
                    assert letters[key].letter.handled == self._handled(row.name, str(row.status))
            else:
                assert key not in letters or row.status in STEP_OPEN, f"{key} is {row.status} and has a dead letter"

    def _check_fan_out(self, row: StepRow) -> None:
        task, items = self.flats[row.name].task, [item for item in self.items(row) if item.why != "late"]
        ends = Counter(str(item.status) for item in items)
        failed = ends["failed"] + ends["timed_out"]
        skipped = sum(item.status is StepStatus.SKIPPED and item.why == "when" for item in items)
        needed, allowed = oracle.asks_for(task, row.wants, skipped)
        lost = failed > allowed or row.wants - skipped - failed < needed <= row.wants - skipped
        enough = 0 < needed <= ends["succeeded"]
        told = {fact["fact"] for facts in self.history for fact in facts if fact.get("step") == row.name}
        forced = "items_completed" in told
        if row.status is StepStatus.WAITING:
            assert row.blockers == failed or is_decided(row), f"{row.name} counts {row.blockers} failed items, there are {failed}"
            assert row.why is not None or not (lost or enough), f"{row.name} goes on, and all is decided: {ends}"
        elif row.status is StepStatus.SUCCEEDED and not forced:
            assert not lost, f"{row.name} succeeded with {ends}"
            assert ends["succeeded"] >= needed, f"{row.name} succeeded with {ends}"
            if needed == 0:
                assert len(items) == row.wants, f"{row.name} succeeded with items that were never born"
                assert ends["cancelled"] == 0, f"{row.name} succeeded with items that were closed"
        elif row.status in (StepStatus.FAILED, StepStatus.TIMED_OUT):
            assert lost or ends["succeeded"] < needed, f"{row.name} is {row.status}, its items are {ends}"


def _place_of(row: StepRow | None) -> str:
    if row is None:
        return "unreached"
    if row.status is StepStatus.BLOCKED:
        return "blocked"
    if row.status is StepStatus.SKIPPED and (row.why or "").endswith("operator"):
        return "started"
    if row.status is StepStatus.SKIPPED:
        return "skipped" if row.why in ("when", "unadvanced:skipped") else "dead"
    return "started"
