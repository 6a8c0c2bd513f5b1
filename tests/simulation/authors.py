"""The authors' code of a simulated fleet: it takes its time, fails as the story says, and writes down what it did."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from tests.simulation.database import SimDatabase
from tests.simulation.stories import TIMEOUT, Task
from tests.simulation.world import START, Violation, World
from tests.unit.core.oracle import MAX_LOST
from wfcelery.definition.values import dumps
from wfcelery.engine.ports import Call, CannotBegin, Outcome, Policy, Raised, Returned
from wfcelery.settings import Settings
from wfcelery.worker.transacting import StepTransactions


@dataclass(frozen=True, slots=True)
class Effect:
    """A line of the ledger that no fault reaches."""

    key: str
    run: UUID
    step: UUID
    attempt: int
    token: UUID
    phase: str  # begun | ended
    at: float


def worth(name: str, item: int, given: Any) -> Any:
    """What a step returns: all it was given, so that a wrong input shows in every result behind it."""
    return {"of": name if item < 0 else f"{name}[{item}]", "saw": given}


@dataclass
class Authors:
    """The step functions, as every process of the fleet knows them."""

    world: World
    database: SimDatabase
    settings: Settings
    outcomes: dict[UUID, dict[tuple[str, int], list[str]]] = field(default_factory=dict)
    tasks: dict[UUID, dict[str, Task]] = field(default_factory=dict)
    meanwhile: dict[tuple[UUID, str], Callable[[], object]] = field(default_factory=dict)  # what happens while this step is executed
    adds: dict[tuple[UUID, str], list[Callable[[Call], object]]] = field(default_factory=dict)  # what an item's code asks of its fan-out
    ledger: list[Effect] = field(default_factory=list)
    under_way: dict[UUID, set[UUID]] = field(default_factory=dict)  # step -> tokens of attempts whose code runs now

    def policy(self, action: str, transactional: bool) -> Policy:
        return Policy(transactional=transactional)

    def execute(self, call: Call, transactional: bool) -> Outcome:
        """One attempt."""
        world = self.world
        words = self.outcomes.get(call.run, {}).get((call.name, call.item), [])
        word = words[call.failures] if call.failures < len(words) else "succeed"
        self._may_begin(call)
        self._note(call, "begun")
        others = self.under_way.setdefault(call.step, set())
        if others:
            world.sometimes["two attempts of a step overlapped"] += 1
        others.add(call.token)
        happens = self.meanwhile.pop((call.run, call.name), None)
        if happens is not None:
            happens()
        if call.item >= 0 and self.adds.get((call.run, call.name)):
            self.adds[call.run, call.name].pop()(call)
        try:
            # A transactional step's time passes before its transaction: those follow each other here.
            world.pause(self._takes(word, call.attempt), "in a step")
            return self._end(call, word, transactional)
        finally:
            others.discard(call.token)

    def _may_begin(self, call: Call) -> None:
        """By its policy and by the clock."""
        task = self.tasks.get(call.run, {}).get(call.name, {})
        budget = task.get("retry", {}).get("count", 0)
        look = "select due_at, status, token, error, lost from wf_step where id = ?"
        [(due, status, token, error, lost)] = self.database.query(look, call.step.hex)
        if lost >= MAX_LOST:
            raise Violation(f"{call.name} runs again after {lost} lost workers")
        mine = status == "running" and token == call.token.hex  # not one that was stopped before it began, and overtaken
        last = json.loads(error)["type"] if mine and error is not None and call.failures else ""
        if call.failures > budget or last == "GiveUp" or (last == "Refused" and "retry" in task):
            raise Violation(f"{call.name} runs again after {call.failures} failures, the last a {last}; its policy allows {budget}")
        if mine and due is not None and due > START + self.world.now + 0.001:
            raise Violation(f"{call.name} is executed {due - START - self.world.now:.3f} s before its time")

        if call.item < 0 and call.attempt > 1 and not self.database.taken_back:
            self._attempt_before_is_closed(call)

    def _attempt_before_is_closed(self, call: Call) -> None:
        """An attempt begins after the one before it was recorded, lost or given up: a claim never takes what runs."""
        for (facts,) in self.database.query("select facts from wf_history where run = ? order by version desc", call.run.hex):
            for fact in json.loads(facts):
                if fact.get("step") == call.name and fact.get("attempt") == call.attempt - 1:
                    return
        raise Violation(f"attempt {call.attempt} of {call.name} begins, and the history does not know what became of the one before")

    def _takes(self, word: str, attempt: int) -> float:
        if word == "slow":
            return TIMEOUT * 2
        random = self.world.random
        if attempt > 1 and random.random() < 0.3:  # long enough for a late first attempt to come in between
            return random.uniform(5.0, 20.0)
        return random.uniform(1.0, 15.0) if random.random() < 0.05 else random.expovariate(20.0)

    def _end(self, call: Call, word: str, transactional: bool) -> Outcome:
        if word == "quota" and call.attempt % 2:  # it spends no failure: the next attempt has what this one lacked
            spent = {"type": "QuotaExceeded", "code": "quota", "message": ""}
            return Raised(spent, quota=self.world.random.uniform(0.1, 4.0))
        if word in ("succeed", "slow", "quota"):
            value = worth(call.name, call.item, call.input)
            outcome = self._transaction(call, value) if transactional else Returned(value)
            self._note(call, "ended")
            return outcome
        kind = {"refused": "Refused", "fatal": "GiveUp"}.get(word, "Broken")
        error = {"type": kind, "code": None, "message": f"{call.name} was told to {word}"}
        return Raised(error, retry_in=self.world.random.uniform(0.1, 3.0) if word == "later" else None, final=word == "fatal")

    def _transaction(self, call: Call, value: Any) -> Outcome:
        """The real code of transactional steps: the effect and the report in one commit."""

        def body(connection: Any) -> Any:
            connection.plain("insert into effects values (?, ?, ?)", (call.key, call.step.hex, call.token.hex))
            return value

        assert json.loads(dumps(value)) == value
        return StepTransactions(self.database, self.settings).carry_out(call, Policy(transactional=True), body)

    def _note(self, call: Call, phase: str) -> None:
        if call.attempt < 1:
            raise Violation(f"{call.name} was called without an attempt")
        self.ledger.append(Effect(call.key, call.run, call.step, call.attempt, call.token, phase, self.world.now))


def unknown(call: Call) -> Outcome:
    """A process of an older or newer deploy, which has not this step."""
    return CannotBegin(f"this worker knows no step {call.action}")
