"""Approvals beside the runs of a story: people answer in time and late, twice, in the wrong role and with half a form, or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from random import Random
from typing import Any
from uuid import UUID

from tests.simulation import verdicts
from tests.simulation.actors import SimProcess
from tests.simulation.bus import Message
from tests.simulation.fleet import PASSING, Fleet
from tests.simulation.world import START, Violation
from wfcelery.authoring.yaml import load_yaml
from wfcelery.definition.model import canonical_json, signature
from wfcelery.store import definitions
from wfcelery.store.inbox import put
from wfcelery.store.starting import NewRun, insert_run

TIMEOUT, REMIND, ESCALATE = 12.0, 3.0, 5.0
TEXT = f"""
name: question
tasks:
  - {{name: ask, type: approval, title: "go on?", assignees: ["role:finance"], form: {{reason: string}}, timeout: {TIMEOUT:g}s,
     remind: {REMIND:g}s, escalate: [{{after: {ESCALATE:g}s, to: cleo}}], on_failure: never, on_timeout: never}}
  - {{name: never, action: x, when: false}}
"""
QUESTION = load_yaml(TEXT)  # no author's code, so no author's ledger
# Who may answer at once, who when others are asked, and who never; and an answer that says too little.
PEOPLE: tuple[tuple[str, list[str], dict[str, Any]], ...] = (
    ("ada", ["finance"], {"reason": "fine"}),
    ("cleo", [], {"reason": "late"}),
    ("eve", ["sales"], {"reason": "mine"}),
    ("bob", ["finance"], {"reason": 5}),
)


def asks_people(seed: int) -> bool:
    """Of one seed in six; nothing is drawn for it in the world, so that the others are as they were."""
    return seed % 6 == 1


@dataclass(frozen=True, slots=True)
class Answer:
    """One that was put, and surely landed by this time."""

    run: UUID
    verb: str
    by: str
    good: bool
    since: float
    by_now: float


@dataclass
class People:
    """Some questions of one world, and who answers them."""

    fleet: Fleet
    runs: list[UUID] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)

    def begin(self) -> None:
        """They are asked from the beginning; people take their time."""
        random = Random(f"{self.fleet.world.story.seed} people")
        with self.fleet.database.quietly() as tx:
            definitions.store(tx, signature(QUESTION), QUESTION.name, QUESTION.version, canonical_json(QUESTION), strict=False)
            for number in range(random.randint(1, 3)):
                run = UUID(int=(self.fleet.world.story.seed << 16 | 0x9E0F + number) & (2**128 - 1), version=4)
                insert_run(tx, NewRun(run, "default", "question", signature(QUESTION), "{}", "d"))
                self.runs.append(run)
        for run in self.runs:
            person = SimProcess(f"people of {run}")
            for _ in range(random.randint(0, 3)):
                by, roles, form = random.choice(PEOPLE)
                verb = random.choice(("approve", "approve", "reject"))
                when = random.choice((random.uniform(0.5, TIMEOUT), TIMEOUT + random.uniform(-0.5, 3.0)))
                self.fleet.world.spawn(person, self._answering(run, verb, by, roles, form), when)

    def _answering(self, run: UUID, verb: str, by: str, roles: list[str], form: dict[str, Any]) -> Callable[[], None]:
        said = {"task": "ask", "by": by, "roles": roles, "form": form if verb == "approve" else None, "comment": None, "reason": None}

        def answer() -> None:
            since = START + self.fleet.world.now
            while True:
                try:
                    with self.fleet.database.transaction() as tx:
                        put(tx, "default", run, verb, said)
                    break
                except PASSING:
                    self.fleet.world.pause(0.1)
            good = by in ("ada", "cleo") or (by == "bob" and verb == "reject")
            self.answers.append(Answer(run, verb, by, good, since, START + self.fleet.world.now))
            self.fleet.bus.put(Message("default", run))

        return answer

    def check(self) -> None:
        """Each was ended once: by the first who might answer, and in time; or by its time."""
        for run in self.runs:
            verdicts.of_run(self.fleet, run)
            self._check(run)

    def _check(self, run: UUID) -> None:
        query = self.fleet.database.query
        [(status, output)] = query("select status, output from wf_step where run = ? and name = 'ask'", run.hex)
        [(opened, ended)] = query("select opened_at, ended_at from wf_wait where run = ?", run.hex)
        facts = list(self._facts(run))
        self.fleet.world.sometimes[f"approval: {status}"] += 1
        self._in_time(run, str(status), output, float(opened))
        mine = [each for each in self.answers if each.run == run and each.good and each.by != "cleo"]
        ada = [each for each in mine if opened + 0.01 < each.since and each.by_now < min(opened + TIMEOUT, ended) - 0.01]
        if status == "timed_out" and ada:
            raise Violation(f"run {run}: nobody heard {ada[0].by}, who had answered in time")
        met, refused = [fact for fact in facts if fact["fact"] == "wait_met"], [fact for fact in facts if fact["fact"] == "answer_refused"]
        landed = [each for each in self.answers if each.run == run and each.since > opened + 0.01]
        [(left,)] = query("select count(*) from wf_inbox where run = ?", run.hex)  # of one who spoke when all had ended
        if len(met) > 1 or len(met) + len(refused) + left < len(landed):
            raise Violation(f"run {run}: of {len(landed)} answers {len(met)} counted and {len(refused)} were refused")
        if any(fact["by"] == "eve" for fact in met):
            raise Violation(f"run {run}: eve has answered, whom nobody had asked")
        numbers = [fact["number"] for fact in facts if fact["fact"] == "approval_reminded"]
        if numbers != sorted(set(numbers)) or (numbers and numbers[-1] > (ended - opened) / REMIND + 0.01):
            raise Violation(f"run {run}: it was reminded of {numbers} in {ended - opened:.1f} s")

    def _in_time(self, run: UUID, status: str, output: Any, opened: float) -> None:
        if status == "succeeded":
            worth = json.loads(str(self.fleet.database.plain(output)))
            if worth["by"] not in ("ada", "cleo") or worth["form"] not in ({"reason": "fine"}, {"reason": "late"}):
                raise Violation(f"run {run}: it is worth {worth}, which nobody could say")
            if (late := datetime.fromisoformat(worth["at"]["$wf"][1]).timestamp() - opened - TIMEOUT) > 0.01:
                raise Violation(f"run {run}: an answer counts that came {late:.3f} s after the deadline")
        [(ended,)] = self.fleet.database.query("select ended_at from wf_wait where run = ?", run.hex)
        if status == "timed_out" and ended < opened + TIMEOUT - 0.01:
            raise Violation(f"run {run}: it was too late {opened + TIMEOUT - ended:.3f} s before its time")

    def _facts(self, run: UUID) -> Iterator[dict[str, Any]]:
        for (facts,) in self.fleet.database.query("select facts from wf_history where run = ? order by version", run.hex):
            yield from json.loads(facts)
