"""One chaos run from its first server to its summary."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from tests.chaos import breaking, forging, killing, ledgers, verdicts
from tests.chaos.looking import AWAY, living, under_way
from tests.chaos.nemesis import Nemesis
from tests.chaos.stack import Stack, commit, previous_commit

WARM = 5.0  # seconds of load before anything goes wrong
CROWD = 60  # runs that live, at which the client pauses

Fault = Callable[[Nemesis, Random], int]
EVERYWHERE: dict[str, Fault] = {
    "child_kill": killing.child,
    "main_kill": killing.main,
    "group_kill": killing.group,
    "stall": killing.stall,
    "rolling_restart": killing.rolling,
    "deploy": forging.deploy,
}
PRODUCTION: dict[str, Fault] = {
    "no_beat": killing.no_beat,
    "three_beats": killing.three_beats,
    "database_restart": breaking.fast_restart,
    "database_crash": breaking.immediate_restart,
    "terminated_backends": breaking.backends,
    "locked_run": breaking.locked_run,
    "cut_commits": breaking.cuts,
    "flush": breaking.flush,
    "redis_kill": breaking.redis_kill,
    "redis_freeze": breaking.redis_freeze,
    "redis_full": breaking.redis_full,
    "bad_messages": forging.bad,
    "forged_messages": forging.forged,
    "repeated_messages": forging.repeated,
}
RABBIT: dict[str, Fault] = {"rabbit_kill": breaking.rabbit_kill, "rabbit_freeze": breaking.rabbit_freeze}
EMBEDDED: dict[str, Fault] = {"locked_file": breaking.locked_file}


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
    died: Counter[str] = field(default_factory=Counter)  # members that ended though nobody had killed them
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
        nemesis = Nemesis(stack, Random(self.seed), self._deck(stack), self.gap)
        minding = threading.Thread(target=self._mind, args=(stack, nemesis), daemon=True)
        stack.tell("tempo", str(self.rate))
        minding.start()
        time.sleep(WARM)
        stack.tell("cutting", str(breaking.BASE))
        try:
            nemesis.run(self.minutes * 60)
        finally:
            nemesis.heal()
            stack.tell("tempo", "end")
            stack.tell("cutting", "0")
        minding.join()
        return self._judge(stack, nemesis, time.time())

    def _deck(self, stack: Stack) -> Mapping[str, Fault]:
        if not stack.production:
            return EVERYWHERE | EMBEDDED
        return EVERYWHERE | PRODUCTION | (RABBIT if stack.rabbit is not None else {})

    def _mind(self, stack: Stack, nemesis: Nemesis) -> None:
        """Beside the faults: members that ended are started again, the client pauses when too much lives, and who works is noted."""
        while not nemesis.over.is_set():
            self.died.update(stack.revive())
            try:
                stack.tell("tempo", str(self.rate if living(stack) < CROWD else 0))
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

    def _judge(self, stack: Stack, nemesis: Nemesis, healed_at: float) -> dict[str, Any]:
        self.say(f"healed after {sum(nemesis.faults.values())} faults; {living(stack)} runs live")
        for beat in stack.members:
            beat.wanted = beat.role != "beat" or beat.process.name == "beat-1"
        assert stack.client is not None
        stack.client.wait_ended(120)
        stuck = verdicts.drain(stack, stack.revive)
        drained_in = time.time() - healed_at
        crashes = len(nemesis.crashes)
        ledgers.write_effects(stack, crashes)
        ledgers.write_starts(stack)
        violations = [*stuck, *verdicts.broken_invariants(stack, crashes, healed_at), *verdicts.wrong_answers(stack, self.seed)]
        summary = self._summary(stack, nemesis) | {"drained_in": round(drained_in, 1), "violations": violations}
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
        took = ledgers.recovery(stack, nemesis.kills, nemesis.strikes)
        answered = [line for line in ledgers.lines(self.folder / "client.jsonl") if line["phase"] == "answered"]
        return {
            "runs": runs,
            "steps": steps,
            "attempts": attempts,
            "faults": dict(sorted(nemesis.faults.items())),
            "in_flight": dict(sorted(nemesis.in_flight.items())),
            "overlapping": nemesis.overlapping,
            "unknown_commits": sum(unknown.values()),
            "commits": seen.get("commits"),
            "recovery": {
                "worker_kill_p99": took["worker"].figures()["alone_p99"],
                "child_kill_p99": took["child"].figures()["alone_p99"],
                "ring_again_p99": took["ring"].figures()["alone_p99"],
                **{kind: found.figures() for kind, found in took.items()},
            },
            "start_p99": ledgers.quantile([line["took"] for line in answered], 0.99),
            "seed": self.seed,
            "commit": commit(),
            "setup": self.setup,
            "minutes": self.minutes,
            "previous_commit": stack.old is not None,
            "ended_by_themselves": dict(self.died),
        }
