"""A world in memory that plays what surrounds `decide`: rows, claims, executions, timers, an inbox.

It keeps every row of one run in dicts, hands `decide` the smallest slice it can, adds exactly what
`Missing` asks for, writes a decision only over what was seen, and checks after each commit that the
rows agree with each other, with the tables of transitions and with the oracle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import UUID

from tests.unit.core.checks import Checked
from tests.unit.core.stored import Child, Letter, Wait, as_read, assert_legal, is_closing, is_decided, is_stopped, named_by
from wfcelery.core.decide import decide, give_back, keep, keepable
from wfcelery.core.decision import DeadLetter, Decision, Missing, RingStep
from wfcelery.core.ends import told as story_of
from wfcelery.core.events import (
    Begun,
    CancelAsked,
    ChildEnded,
    CompleteAsked,
    DeadlinePassed,
    Expanded,
    Fact,
    Failed,
    GracePassed,
    GroupEnded,
    ItemEnd,
    ItemsAdded,
    ItemsCalled,
    ItemsCompleted,
    Lost,
    Parked,
    PauseAsked,
    Reported,
    RerunAsked,
    ResumeAsked,
    RetryAsked,
    RunRetryAsked,
    SkipAsked,
    Succeeded,
    TerminateAsked,
    WaitCame,
)
from wfcelery.core.rows import NO_ITEM, Called, Ended, ItemRow, Slice, StepRow
from wfcelery.core.states import RUN_ENDED, RUN_TABLE, STEP_ENDED, STEP_TABLE, RunStatus, StepStatus
from wfcelery.core.step_machine import ended_by_itself
from wfcelery.definition.document import Definition

WORKER = UUID(int=7)
KID = Called(Definition.model_validate({"name": "kid", "tasks": [{"name": "a", "action": "a"}]}), "kid")
_ANYBODYS = (
    RetryAsked,
    RunRetryAsked,
    SkipAsked,
    CompleteAsked,
    RerunAsked,
    ItemsAdded,
    ItemsCompleted,
    CancelAsked,
    TerminateAsked,
    PauseAsked,
    ResumeAsked,
    DeadlinePassed,
    GracePassed,
    Reported,
    Expanded,
)
TOO_LONG = 2_000  # commits after which a run is taken to be endless


class World(Checked):
    """One run and everything around it."""

    # -- one commit ---------------------------------------------------------------------------------------------

    def tell(self, *facts: Fact) -> Decision:
        """Lock, load, decide, save."""
        return self._commit(facts, lambda view: decide(view, facts, self.mint), named_by(facts))

    def tell_with_kept(self, kept: StepRow, *facts: Fact) -> Decision:
        """As the worker that holds a kept step which it has not begun."""
        assert kept.token is not None
        token, was_ending = kept.token, self.run.ending is not None
        was_ending = was_ending or self.run.status is RunStatus.PAUSED
        decision = self._commit(facts, lambda view: give_back(view, (kept.id, token), facts, self.mint), named_by(facts) | {kept.id})
        if (decision.run.ending is not None or decision.run.status is RunStatus.PAUSED) and not was_ending:
            left = self.steps[kept.id]
            assert left.status is not StepStatus.RUNNING, "a kept step that was not begun is left behind"
            assert left.attempt == kept.attempt - 1
        return decision

    def _commit(self, facts: Iterable[Fact], ask: Callable[[Slice], Decision | Missing], named: set[UUID]) -> Decision:
        view = Slice(self.plan, replace(self.run, variables=dict(self.run.variables)))
        self._load(view, Missing(ids=frozenset(named)))
        for _ in range(len(self.plan.nodes) * 3 + 20):
            before = repr(view)
            decision = ask(view)
            assert repr(view) == before, "decide has changed its slice"
            if isinstance(decision, Decision):
                break
            self._load(view, decision)
        else:
            raise AssertionError("decide is never content with its slice")
        if decision.ignored is None:
            self._maybe_keep(decision)
            self._save(decision)
            self.check(decision)
        self.told.extend(facts)
        return decision

    def _load(self, view: Slice, missing: Missing) -> None:
        before = repr(view)
        for step in sorted(missing.ids):
            self._load_id(view, step)
        for name in missing.steps:
            row = self.named(name)
            view.steps[name] = None if row is None else as_read(row)
        for name in missing.results:
            view.results[name] = self._result(name)
        for name, signature in missing.called:
            view.called[signature or name] = KID
        if missing.loose:
            view.loose = []
        if missing.open_rows:
            view.open_rows = [as_read(row) for row in self.steps.values() if row.status not in STEP_ENDED]
        for name in missing.items:
            row = self.named(name)
            view.items[name] = [ItemRow(item.item, str(item.status), item.attempt) for item in ([] if row is None else self.items(row))]
        if missing.story:
            view.story = story_of(enumerate(self.history, 1))
        if missing.line:
            blocked = [row for row in self.steps.values() if row.status is StepStatus.BLOCKED]
            view.line = [as_read(row) for row in sorted(blocked, key=lambda row: row.wants)[: missing.line]]
            view.line_asked = missing.line
        if missing.stopped:
            view.stopped = [as_read(row) for row in self.steps.values() if is_stopped(row.why or "")]
        assert repr(view) != before or not (missing.steps or missing.results), "it asked for what it had"

    def _load_id(self, view: Slice, step: UUID) -> None:
        row = self.steps.get(step)
        if row is not None:
            view.by_id[step] = as_read(row)
            if row.fan_out is not None:
                view.by_id[row.fan_out] = as_read(self.steps[row.fan_out])

    def _result(self, name: str) -> Ended:
        row = self.named(name)
        if row is None:
            return Ended("pending")
        if row.items_left is None:
            return Ended(str(row.status), row.output, row.error)
        return self.worth(row)

    def _maybe_keep(self, decision: Decision) -> None:
        ready = [row for row in keepable(decision) if row.seen is None or row.seen[0] is StepStatus.BLOCKED]
        if self.scenario.keep and ready and decision.run.ending is None and self.random.random() < 0.7:
            keep(decision, self.random.choice(ready), self.token(), WORKER, "1:1", None)

    def token(self) -> UUID:
        return UUID(int=self.random.getrandbits(128))

    def _save(self, decision: Decision) -> None:
        assert decision.seen_version == self.run.version
        assert decision.facts, "a commit without a history"
        assert len({row.id for row in decision.steps}) == len(decision.steps), "a row is written twice in one commit"
        if decision.run.status is not self.run.status:
            assert_legal(RUN_TABLE, self.run.status, decision.run.status)
            self.seen.run[self.run.status, decision.run.status] += 1
        self._check_rings(decision)
        for row in decision.steps:
            self._save_step(row)
        for row in decision.steps:  # as the store does: what is closed in the same commit is not let go
            for first, last in row.let_go:
                self._let_go(row, first, last)
        self._save_waits(decision)
        self._save_children(decision)
        for step in decision.retried:
            for found in self.letters:
                if found.letter.step == step and found.status in ("open", "handled"):
                    found.status = "retried"
        for letter in decision.dead_letters:
            self.letters.append(Letter(letter, "handled" if letter.handled else "open"))
        self.run = replace(decision.run, version=decision.seen_version + 1)
        self.history.append(decision.facts)

    def _save_step(self, row: StepRow) -> None:
        stored = self.steps.get(row.id)
        was = None if stored is None else stored.status
        if row.seen is None:
            assert stored is None
            assert all((row.name, row.item) != (other.name, other.item) for other in self.steps.values()), f"{row.name} is born twice"
        else:
            assert stored is not None
            assert row.seen == (stored.status, stored.token), f"{row.name} is written over what was not seen"
        if was is StepStatus.RUNNING and row.status is StepStatus.CANCELLED and row.token is not None:
            self.fenced[row.name, row.item] += 1
        if was is not row.status or row.status is StepStatus.BLOCKED:
            assert_legal(STEP_TABLE, was, row.status)
            self.seen.step[was, row.status] += 1
        self.steps[row.id] = replace(row, seen=None, delay=None, ring=False, let_go=())

    def _let_go(self, fan_out: StepRow, first: int, last: int) -> None:
        for item in self.items(fan_out):
            if first <= item.item < last and item.status is StepStatus.HELD:
                self.seen.step[item.status, StepStatus.READY] += 1
                item.status, item.why = StepStatus.READY, None

    def _save_waits(self, decision: Decision) -> None:
        for opened in decision.waits:
            self.waits[opened.id] = Wait(opened.id, opened.step, opened.kind)
            self.seen.wait[None, "open"] += 1
        for came in decision.waits_came:
            self._move_wait(self.waits[came], "open", "due")
        for word, steps in (
            ("open", decision.waits_reopened),
            ("met", [step for step, _ in decision.waits_met]),
            ("cancelled", decision.waits_closed),
        ):
            for step in steps:
                own = [wait for wait in self.waits.values() if wait.step == step][-1]  # of a call that was tried again
                self._move_wait(own, "cancelled" if word == "open" else "open", word)

    def _save_children(self, decision: Decision) -> None:
        """Each is born once, by a step that waits for it, and nobody but an open one is told anything."""
        for born in decision.children:
            closed = born.id in {told.run for told in decision.told}  # by a join that began in the same commit
            assert closed or self.steps[born.step].status is StepStatus.WAITING
            assert born.id not in self.born, "a child is born twice"
            self.born.add(born.id)
            self.children[born.id] = Child(born.id, born.step)
        for told in decision.told:
            assert told.run in self.born, f"{told.fact} is told to nobody"
            if told.run in self.children:
                self.children[told.run].asked.add(told.fact)

    def _move_wait(self, wait: Wait, was: str, to: str) -> None:
        assert wait.status == was
        wait.status = to
        self.seen.wait[was, to] += 1

    def _check_rings(self, decision: Decision) -> None:
        """Who may be claimed at once, and is not kept, is rung; nobody else is."""
        rung = {ring.step for ring in decision.rings if isinstance(ring, RingStep)}
        for row in decision.steps:
            if row.item == NO_ITEM and row.status is StepStatus.READY:
                assert row.ring == (not row.delay), f"{row.name} says nothing of its ring"
                assert (row.id in rung) == row.ring, f"{row.name} is ready and {'not' if row.ring else 'too early'} rung"
        ready = {row.id for row in decision.steps if row.status in (StepStatus.READY, StepStatus.WAITING)}
        assert rung <= ready, "somebody is rung who cannot be claimed"

    # -- what happens ------------------------------------------------------------------------------------------

    def play(self) -> None:
        """Begin the run and let things happen in a random order until it is over and nothing can happen any more."""
        if -1 in (self.scenario.cancel_after, self.scenario.end_after):
            self.asked = "deadline" if self.scenario.cancel_after is None else "cancel"
            self.tell(DeadlinePassed() if self.scenario.cancel_after is None else self._end())
            assert not self.tasks()
        self.tell(Begun(), *([PauseAsked("wait")] if self.scenario.pause_after == -1 else []))
        for commits in range(TOO_LONG):
            self._interfere(commits)
            doings = self._doings()
            if not doings:
                break
            self.random.choice(doings)()
        else:
            raise AssertionError("the run never ends")
        self._drain()
        assert self.run.status in RUN_ENDED, f"nothing can happen, and the run is {self.run.status}"
        if self.tried_again < self.scenario.retries and self.run.status in (RunStatus.FAILED, RunStatus.TIMED_OUT):
            self._retry()

    def _interfere(self, commits: int) -> None:
        story = self.scenario
        self._expand_too_late()
        self._decide_what_runs()
        if commits == story.cancel_after and self.asked is None:
            self.asked = "cancel"
            self.inbox.append(self._end())
        if commits == story.pause_after:
            self.inbox.append(PauseAsked("wait"))
        if commits == story.end_after and self.asked is None and self.run.status not in RUN_ENDED:
            self.asked = "deadline"
            self.tell(DeadlinePassed())
        if self.told and self.random.random() < 0.1:
            self._repeat(self.random.choice(self.told))

    def _end(self) -> Fact:
        return TerminateAsked("enough") if self.scenario.terminates else CancelAsked("enough")

    def _expand_too_late(self) -> None:
        """A worker has seen that items are still to be born, and says so when it may no longer matter."""
        large = [row for row in self.tasks().values() if row.expanded is not None and row.expanded < row.wants]
        if large and self.random.random() < 0.2:
            self.tell(Expanded(self.random.choice(large).id))

    def _repeat(self, fact: Fact) -> None:
        """A fact that has been told before changes nothing any more."""
        if isinstance(fact, _ANYBODYS):
            return
        before = repr((self.run, self.steps, self.waits, self.letters))
        self.tell(fact)
        assert repr((self.run, self.steps, self.waits, self.letters)) == before, f"{fact} was told twice and did something twice"

    def _doings(self) -> list[Callable[[], object]]:
        doings: list[Callable[[], object]] = []
        for row in list(self.steps.values()):
            if row.status is StepStatus.READY and row.item == NO_ITEM:
                doings.append(partial(self._claim, [row]))
            elif row.status is StepStatus.RUNNING:
                doings.append(partial(self._finish, row))
            elif row.status is StepStatus.WAITING and row.items_left is not None:
                ready = [item for item in self.items(row) if item.status is StepStatus.READY]
                if ready:
                    doings.append(partial(self._claim, ready))
                going_on = row.why in (None, "decided") and (self.run.ending is None or is_closing(row.name))
                if going_on and row.expanded is not None and row.expanded < row.wants:
                    doings.append(partial(self.tell, Expanded(row.id)))
        for wait in self.waits.values():
            if wait.status == "open" and wait.kind == "sleep":
                doings.append(partial(self.tell, WaitCame(wait.step, wait.id)))
        doings += [partial(self._end_child, child) for child in self.children.values()]
        if self.inbox:
            doings.append(self._drain)
        if self.run.status is RunStatus.PAUSED:
            doings.append(partial(self.inbox.append, ResumeAsked()))
        doings += self._askings()
        if self.run.status is RunStatus.CANCELLING and self.scenario.grace_passes:
            doings.append(partial(self.tell, GracePassed()))
        return doings

    def _end_child(self, child: Child) -> None:
        """A child comes to its end: as it is asked to, or before it has heard of that, as its scenario says."""
        row = self.steps[child.step]
        asked = bool(child.asked & {"cancel", "terminate"}) and self.random.random() < 0.8
        word = "cancel" if asked else self._word(row)
        self.spent[row.name, row.item] += 0 if asked else 1
        del self.children[child.id]
        ends = {"succeed": "succeeded", "timeout": "timed_out", "cancel": "cancelled"}
        error = {"type": "Broke", "code": None, "message": "broke", "step": "kid"}
        status = ends.get(word, "failed")
        self.tell(ChildEnded(row.id, child.id, status, row.name if status == "succeeded" else None, error if status == "failed" else None))

    def _askings(self) -> list[Callable[[], object]]:
        """What people may ask of the fan-outs that run."""
        story, run = self.scenario, self.run
        asked: list[Callable[[], object]] = []
        if len(self.by_hand) < story.hands:
            asked += [partial(self._decide, name) for name in self._decidable()]
        for row in self.tasks().values():
            if row.status is not StepStatus.WAITING or row.items_left is None or run.ending is not None:
                continue
            if self.added < story.adds:
                asked.append(partial(self._add, row.name))
            if self.completed < story.completes:
                asked.append(partial(self._complete, row.name))
            if self.rerun < story.reruns:
                asked.append(partial(self.run_again, row.name))
        return asked

    def _add(self, name: str) -> None:
        """More items are put into the inbox; some while the last of the others ends."""
        self.added += 1
        self.inbox.append(ItemsAdded(name, [100 + number for number in range(self.random.randint(0, 4))]))

    def _complete(self, name: str) -> None:
        self.completed += 1
        self.inbox.append(ItemsCompleted(name))

    def run_again(self, name: str) -> None:
        """The failed items once more: all of them, and nothing else, or nothing at all."""
        self.rerun += 1
        row = self.tasks()[name]
        failed = [item for item in self.items(row) if item.status in (StepStatus.FAILED, StepStatus.TIMED_OUT) and item.why != "late"]
        going_on = row.status is StepStatus.WAITING and self.run.ending is None and not is_decided(row)
        closing = (row.why or "").startswith("closing:")
        failing = row.why == "unhandled" and self.run.status is not RunStatus.CANCELLED and self.run.status is not RunStatus.CANCELLING
        taken = (
            self.run.status is not RunStatus.PAUSED and bool(failed) and ((going_on and not closing) or failing) and not self.is_undone()
        )
        if taken:
            for item in failed:
                self.episode[name, item.item] = self.spent[name, item.item]
        decision = self.tell(RerunAsked(name))
        assert set(decision.retried) == ({item.id for item in [row, *failed]} if taken else set()), f"the failed items of {name}"

    def _decidable(self) -> list[str]:
        """The steps that somebody can decide by hand now; joins that wait are left to tests of their own."""
        open_ = (StepStatus.READY, StepStatus.HELD, StepStatus.WAITING)
        if self.run.status in (RunStatus.SUCCEEDED, RunStatus.CANCELLED) or (self.run.ending and self.run.status not in RUN_ENDED):
            return []
        if ended_by_itself(self.plan, self.run) or self.is_undone():
            return []
        plain = [
            row for row in self.tasks().values() if row.items_left is None and self.flats[row.name].kind in ("action", "sleep", "workflow")
        ]
        return [row.name for row in plain if row.status in open_ or row.why == "unhandled"]

    def _decide(self, name: str) -> None:
        """Somebody skips the step, or says what it is worth; what they decide stands in the commit that was asked for."""
        how = self.by_hand[name] = self.random.choice(["skipped", "succeeded"])
        self.tell(SkipAsked(name, "enough") if how == "skipped" else CompleteAsked(name, f"{name} by hand", "known"))
        assert str(self.tasks()[name].status) == how

    def _decide_what_runs(self) -> None:
        """What is executed, or over, cannot be decided."""
        if len(self.by_hand) == self.scenario.hands:
            return
        for name, row in self.tasks().items():
            if name not in self._decidable() and row.status is not StepStatus.BLOCKED and self.random.random() < 0.02:
                before = repr(row)
                self.tell(SkipAsked(name, "enough") if self.random.random() < 0.5 else CompleteAsked(name, None, "known"))
                assert repr(self.tasks()[name]) == before, f"{name} was decided while it was {row.status}"

    def claim(self, name: str) -> None:
        """Somebody claims this step."""
        row = self.named(name)
        assert row is not None
        self._claim([row])

    def end(self, name: str) -> None:
        """Its attempt ends as the scenario says."""
        row = self.named(name)
        assert row is not None
        assert row.token is not None
        self.tell(self._end_of(row, row.token, self._word(row)))

    def _claim(self, ready: list[StepRow]) -> None:
        """Some of these, under one token, without the run's lock."""
        token = self.token()
        for row in ready[: self.random.randint(1, len(ready))]:
            assert_legal(STEP_TABLE, row.status, StepStatus.RUNNING)
            self.seen.step[row.status, StepStatus.RUNNING] += 1
            row.status, row.token, row.claimed_by, row.child = StepStatus.RUNNING, token, WORKER, "1:1"
            row.attempt += 1
        self.check_rows()

    def _word(self, row: StepRow) -> str:
        words = self.scenario.attempts.get((row.name, row.item), [])
        spent = self.spent[row.name, row.item]
        return words[spent] if spent < len(words) else "succeed"

    def _finish(self, row: StepRow) -> None:
        """An attempt comes to its end; of a group, everything that was claimed under one token."""
        if not is_closing(row.name) and self.flats[row.name].kind == "workflow":
            self._call(row)
            return
        if row.item != NO_ITEM and self._word(row) != "lost":
            self._finish_group(row)
            return
        word = self._word(row)
        assert row.token is not None
        if word == "succeed" and self.random.random() < 0.2:
            self._report(row, row.token)
            return
        facts = [self._end_of(row, row.token, word)]
        others = [
            other for other in self.steps.values() if other.status is StepStatus.RUNNING and other.item == NO_ITEM and other is not row
        ]
        if others and self.random.random() < 0.2:  # two ends in one commit
            other = self.random.choice(others)
            assert other.token is not None
            facts.append(self._end_of(other, other.token, self._word(other)))
        self.tell(*facts)

    def _call(self, row: StepRow) -> None:
        """Items that were claimed together are to wait for runs of their own."""
        assert row.token is not None
        assert row.fan_out is not None
        together = [item for item in self.items(self.steps[row.fan_out]) if item.status is StepStatus.RUNNING and item.token == row.token]
        self.tell(ItemsCalled(row.fan_out, row.token, tuple((item.id, {}) for item in together)))

    def _finish_group(self, row: StepRow) -> None:
        assert row.token is not None
        assert row.fan_out is not None
        together = [item for item in self.items(self.steps[row.fan_out]) if item.status is StepStatus.RUNNING and item.token == row.token]
        executed = self.random.randint(1, len(together)) if self.random.random() < 0.3 else len(together)
        ends = []
        for item in together[:executed]:
            word = self._word(item)
            if word == "lost":  # not by this worker: somebody else will say so
                continue
            if not is_closing(item.name) and item.item in self.flats[item.name].task.get("skips", ()):
                ends.append(ItemEnd(item.id, item.item, skipped=True))
                continue
            fact = self._end_of(item, row.token, word)
            failure = fact if isinstance(fact, Failed | Parked) else None
            ends.append(ItemEnd(item.id, item.item, None if failure else f"{item.name} is done", failure))
        self.tell(GroupEnded(row.fan_out, row.token, tuple(ends), tuple(item.id for item in together[executed:])))

    def _end_of(self, row: StepRow, token: UUID, word: str) -> Fact:
        self.spent[row.name, row.item] += 1
        match word:
            case "succeed":
                return Succeeded(row.id, token, f"{row.name} is done")
            case "lost":
                return Lost(row.id, token)
            case "parked" | "stale":
                return Parked(row.id, token, "no such step", "2026-01-01T00:00:00Z", 1.0, dead=word == "stale")
        error = {"type": "Refused" if word == "refused" else "Broke", "code": None, "message": word}
        end: Any = "timed_out" if word == "timeout" else "failed"
        quota = 5.0 if word == "quota" else None
        return Failed(row.id, token, error, end, quota=quota, retry_in=5.0 if word == "later" else None, final=word == "fatal")

    def _report(self, row: StepRow, token: UUID) -> None:
        self.spent[row.name, row.item] += 1
        assert_legal(STEP_TABLE, row.status, StepStatus.REPORTED)
        self.seen.step[row.status, StepStatus.REPORTED] += 1
        row.status, row.output = StepStatus.REPORTED, f"{row.name} is done"
        self.inbox.append(Reported(row.id, token))

    def _drain(self) -> None:
        facts, self.inbox = self.inbox, []
        kept = [row for row in self.steps.values() if row.status is StepStatus.RUNNING and row.item == NO_ITEM and not is_closing(row.name)]
        if facts and kept and self.random.random() < 0.5:
            self.tell_with_kept(replace(self.random.choice(kept)), *facts)
        elif facts:
            self.tell(*facts)

    def close_again(self) -> None:
        """A compensation or hook that failed is tried again; the run ends then as it did before."""
        before = self.run.status
        letter = next(found.letter for found in self.letters if found.status == "open" and is_closing(found.letter.name))
        self.episode[letter.name, letter.item] = self.spent[letter.name, letter.item]
        decision = self.tell(RetryAsked(letter.step))
        assert decision.retried == [letter.step]
        assert self.run.status is RunStatus.COMPENSATING
        self._resume()
        assert self.run.status is before

    def _retry(self) -> None:
        letters = [found for found in self.letters if found.status == "open" and not self._is_of_many(found.letter)]
        self.tried_again += 1
        fans = [name for name, row in self.tasks().items() if row.items_left is not None and row.blockers]
        if fans and self.scenario.reruns and self.random.random() < 0.4:
            self.run_again(self.random.choice(fans))
            self._resume()
            return
        decidable = self._decidable()
        if decidable and len(self.by_hand) < self.scenario.hands:
            self._decide(self.random.choice(decidable))
            self._resume()
            return
        if not letters:
            return
        if self.random.random() < 0.3:
            self.retry_all()
            self._resume()
            return
        chosen = [found.letter for found in self.random.sample(letters, min(len(letters), self.random.choice([1, 1, 2])))]
        self.retry(*chosen)
        self._resume()

    def retry_all(self) -> None:
        """The whole run once more: each failure that stopped it, and the failed items of each fan-out that did."""
        stood = [row for row in self.tasks().values() if row.why == "unhandled"]
        for row in stood:
            self.episode[row.name, NO_ITEM] = self.spent[row.name, NO_ITEM]
            for item in self.items(row):
                if item.status in (StepStatus.FAILED, StepStatus.TIMED_OUT) and item.why != "late":
                    self.episode[row.name, item.item] = self.spent[row.name, item.item]
        decision = self.tell(RunRetryAsked())
        if ended_by_itself(self.plan, self.run) or not stood:
            return
        left = {row.id for row in stood} - set(decision.retried)
        anew = bool(decision.dead_letters or self._unsaid())
        assert anew or all(self._is_lost(row) for row in stood if row.id in left), "something that stopped the run was not tried again"

    def _is_lost(self, row: StepRow) -> bool:
        """Whether a fan-out could not succeed even with the items that failed."""
        return row.items_left is not None and row.wants > 0

    def _is_of_many(self, letter: DeadLetter) -> bool:
        """Whether it is of a fan-out itself, which has nothing to run but its items."""
        row = self.steps[letter.step]
        return row.items_left is not None and row.wants > 0

    def retry(self, *chosen: DeadLetter) -> None:
        """Ask for these in one drain; what no longer holds anything up is refused."""
        taken = [letter for letter in chosen if not self._handled(letter.name, str(self.tasks()[letter.name].status))]
        if ended_by_itself(self.plan, self.run):
            taken = []
        for letter in taken:
            self.episode[letter.name, letter.item] = self.spent[letter.name, letter.item]
        decision = self.tell(*[RetryAsked(letter.step) for letter in chosen])
        retried = [letter.step for letter in taken]
        anew = bool(decision.dead_letters or self._unsaid() or ended_by_itself(self.plan, self.run))  # in the same commit
        assert decision.retried == retried or (decision.ended and anew and set(decision.retried) < set(retried))
        if taken and self.run.status in (RunStatus.FAILED, RunStatus.TIMED_OUT):
            assert anew or any(found.status == "open" for found in self.letters), "a retry has not reopened its run"

    def _resume(self) -> None:
        for commits in range(TOO_LONG):
            if commits == self.scenario.end_again and self.run.status not in RUN_ENDED:
                self.asked = "deadline"
                self.tell(DeadlinePassed())
            self._expand_too_late()
            doings = self._doings()
            if not doings:
                break
            self.random.choice(doings)()
        self._drain()
        assert self.run.status in RUN_ENDED, f"after a retry nothing can happen, and the run is {self.run.status}"
        if self.tried_again < self.scenario.retries and self.run.status in (RunStatus.FAILED, RunStatus.TIMED_OUT):
            self._retry()
