"""One chaos run from its first server to its summary."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from tests.chaos import beside, breaking, forging, ledgers, resting, verdicts
from tests.chaos.deck import deck_of
from tests.chaos.lines import lines
from tests.chaos.looking import AWAY, living, under_way
from tests.chaos.nemesis import Nemesis
from tests.chaos.plans import canary_of
from tests.chaos.stack import Ended, Stack, commit, previous_commit
from tests.chaos.tap import Tap

WARM = 5.0  # seconds of load before anything goes wrong
LONG, ALONE = 3.0, 0.15  # a run of so many minutes begins with faults that come alone, for this share of it: how fast is work taken up?
CALM = 4  # meanwhile a quarter of the load: what is measured is the engine, not how long the queue is
RECOVERED = {"worker_kill": "worker", "child_kill": "child", "ring_again": "ring"}  # what the summary calls each kind of kill
CROWD = 120  # runs that live, at which the client pauses


@dataclass
class Rig:
    """A run of so many minutes, from a seed."""

    folder: Path
    seed: int
    minutes: float
    setup: str = "production"
    rate: float = 4.0  # runs a second
    gap: float = 2.5  # seconds between two faults
    say: Callable[[str], None] = print
    calm: bool = False  # faults come alone, and the machine is not full
    died: Counter[str] = field(default_factory=Counter)  # members that ended though nobody had killed them, and why, if it is known
    sampled: Counter[str] = field(default_factory=Counter)  # looks at which attempts of such members ran

    def run(self) -> dict[str, Any]:
        """Everything; the summary, which is in the folder too."""
        self.folder.mkdir(parents=True, exist_ok=True)
        stack = Stack(self.folder, self.setup, previous_commit(self.folder))
        try:
            stack.start(self.seed)
            self.say(f"{self.setup}: {', '.join(member.process.name for member in stack.members)}; seed {self.seed}, in {self.folder}")
            return self._carry_out(stack)
        finally:
            stack.close()

    def _carry_out(self, stack: Stack) -> dict[str, Any]:
        forging.publish(self.folder, stack.direct_url, 1)
        nemesis = Nemesis(stack, Random(self.seed), deck_of(stack), self.gap)
        tap = Tap(stack.valkey.port, self.folder, canary_of(self.seed)).start() if stack.valkey is not None else None
        minding = threading.Thread(target=self._mind, args=(stack, nemesis), daemon=True)
        stack.tell("tempo", str(self.rate))
        minding.start()
        time.sleep(WARM)
        try:
            alone = ALONE * self.minutes * 60 if stack.production and self.minutes >= LONG else 0.0
            self.calm = alone > 0
            nemesis.one_by_one(("child_kill", "group_kill", "flush"), alone)
            self.calm = False
            stack.tell("cutting", str(breaking.BASE))
            nemesis.run(self.minutes * 60 - alone)
        finally:
            nemesis.heal()
            stack.tell("tempo", "end")
            stack.tell("cutting", "0")
        minding.join()
        return self._judge(stack, nemesis, tap, time.time())

    def _mind(self, stack: Stack, nemesis: Nemesis) -> None:
        """Beside the faults: members that ended are started again, the client pauses when too much lives, and who works is noted."""
        while not nemesis.over.is_set():
            self._note_ended(nemesis, stack.revive())
            try:
                rate, crowd = (self.rate / CALM, CROWD / CALM) if self.calm else (self.rate, CROWD)
                stack.tell("tempo", str(rate if living(stack) < crowd else 0))
                busy = {attempt.pid for attempt in under_way(stack)}
                for member in stack.workers():
                    works = bool(member.pids() & busy)
                    if member.old:
                        self.sampled["previous_commit"] += works
                    if member.skewed:
                        self.sampled["clock_skew"] += works
            except AWAY:
                pass
            nemesis.over.wait(0.5)

    def _note_ended(self, nemesis: Nemesis, members: list[Ended]) -> None:
        """A member that ended by itself is wrong, unless a fault explains it."""
        for member in members:
            why = nemesis.explains(member)
            nemesis.note("ended by itself", {"name": member.name, "code": member.code, "why": why, "said": member.said[-3000:]})
            self.died[f"{member.name}: {why or 'nobody knows why'}"] += 1
            if why is None:
                nemesis.wrong.append(f"{member.name} ended by itself with {member.code}: {member.said.strip()[-200:]}")

    def _judge(self, stack: Stack, nemesis: Nemesis, tap: Tap | None, healed_at: float) -> dict[str, Any]:
        self.say(f"healed after {sum(nemesis.faults.values())} faults; {living(stack)} runs live")
        for beat in stack.members:
            beat.wanted = beat.role != "beat" or beat.process.name == "beat-1"
        assert stack.client is not None
        stack.client.wait_ended(120)
        stuck = verdicts.drain(stack, lambda: self._note_ended(nemesis, stack.revive()))
        drained_in = time.time() - healed_at
        left = {} if stuck else resting.what_is_left(stack, healed_at)
        if tap is not None:
            tap.close()
        crashes = len(nemesis.crashes)
        ledgers.write_effects(stack, crashes)
        ledgers.write_starts(stack)
        violations = [
            *stuck,
            *nemesis.wrong,
            *verdicts.broken_invariants(stack, self.seed, crashes, healed_at, left),
            *verdicts.wrong_answers(stack, self.seed),
            *beside.begun_twice(stack, crashes),
            *beside.astray(stack, self.seed),
            *beside.leaked(stack, self.seed),
            *(f"a payload on the broker: {command}" for command in (tap.leaks[:20] if tap is not None else ())),
        ]
        summary = self._summary(stack, nemesis) | {
            "messages": dict(tap.seen) if tap is not None else {},
            "drained_in": round(drained_in, 1),
            "violations": violations,
        }
        (self.folder / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
        return summary

    def _summary(self, stack: Stack, nemesis: Nemesis) -> dict[str, Any]:
        [(runs,)], [(steps,)] = stack.query("select count(*) from wf_run"), stack.query("select count(*) from wf_step")
        [(attempts,)] = stack.query("select sum(attempt) from wf_step")
        seen = stack.commits()
        unknown = {way: many for way, many in seen.items() if way != "commits"}
        for way, many in unknown.items():
            nemesis.count(f"cut_{way}", many, many)
        for name, many in self.sampled.items():
            nemesis.count(name, many)
        samples = ledgers.recovery(stack, nemesis.kills, nemesis.strikes)
        figures = {kind: ledgers.figures(samples, kind) for kind in RECOVERED.values()}
        answered = [line for line in lines(self.folder / "client.jsonl") if line["phase"] == "answered"]
        return {
            "runs": runs,
            "steps": steps,
            "attempts": attempts,
            "faults": dict(sorted(nemesis.faults.items())),
            "in_flight": dict(sorted(nemesis.in_flight.items())),
            "overlapping": nemesis.overlapping,
            "unknown_commits": sum(unknown.values()),
            "commits": seen.get("commits"),
            "unknown_share": round(sum(unknown.values()) / seen["commits"], 4) if seen.get("commits") else None,
            "recovery": {
                **{f"{name}_p99": figures[kind]["alone_p99"] for name, kind in RECOVERED.items()},
                **figures,
            },
            "start_p99": ledgers.quantile([line["took"] for line in answered], 0.99),
            "seed": self.seed,
            "commit": commit(),
            "setup": self.setup,
            "minutes": self.minutes,
            "previous_commit": stack.old is not None,
            "ended_by_themselves": dict(self.died),
        }
