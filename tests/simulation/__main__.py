"""`make simulate SEEDS=n [SEED=s] [TRACE=file] [JSON=file] [MUTANTS=none|today|all]`: many seeds on all cores, or one with its trace.

With MUTANTS the mistakes of `mutants/` are hunted too, each in a copy of the tree, and stand in the same report.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from tests.simulation.database import template
from tests.simulation.killing import hunt_all, mistakes, of_today
from tests.simulation.simulate import Told, simulate

CHUNK = 10  # seeds that one process takes at a time


@dataclass
class Sum:
    """What many seeds found."""

    seeds: int = 0
    commits: int = 0
    unknown: int = 0
    runs: int = 0
    turns: int = 0
    overlapping: int = 0  # most kinds of faults in one seed
    violations: list[Told] = field(default_factory=list)
    sometimes: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)

    def add(self, told: Told) -> None:
        self.seeds += 1
        self.commits += told.commits
        self.unknown += told.unknown
        self.runs += told.runs
        self.turns += told.turns
        self.overlapping = max(self.overlapping, told.overlapping)
        self.sometimes += told.sometimes
        self.faults += told.faults
        if told.violation is not None:
            self.violations.append(told)


def simulate_all(first: int, count: int, processes: int, seconds: float | None = None, most_violations: int = 20) -> Sum:
    """Seeds from `first` on; ends early after so many seconds, or violations."""
    found, end = Sum(), None if seconds is None else time.monotonic() + seconds
    chunks = [range(start, min(start + CHUNK, first + count)) for start in range(first, first + count, CHUNK)]
    for told in _each(chunks, processes):
        found.add(told)
        if len(found.violations) >= most_violations or (end is not None and time.monotonic() > end):
            break
    return found


def _each(chunks: Sequence[range], processes: int) -> Iterator[Told]:
    if processes == 1:
        for chunk in chunks:
            yield from _chunk(chunk)
        return
    template()  # made once, for all of them
    with ProcessPoolExecutor(processes, mp_context=get_context("fork")) as pool:
        try:
            for tolds in pool.map(_chunk, chunks):
                yield from tolds
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _chunk(seeds: range) -> list[Told]:
    return [simulate(seed) for seed in seeds]


def one(seed: int, trace: Path | None) -> int:
    """One seed, whose every turn goes to `trace`."""
    if trace is None:
        told = simulate(seed)
    else:
        with trace.open("w") as file:
            told = simulate(seed, lambda line: print(line, file=file))
    print(f"seed {seed}: {told.violation or 'nothing wrong'}")
    return int(told.violation is not None)


@dataclass(frozen=True, slots=True)
class Asked:
    """What many seeds are run for."""

    first: int
    seeds: int
    processes: int
    seconds: float | None
    violations: int
    mutants: str


def many(asked: Asked, report: Path | None) -> int:
    """Many seeds, and what they found; then the mistakes, if they are to be hunted."""
    began = time.monotonic()
    found = simulate_all(asked.first, asked.seeds, asked.processes, asked.seconds, asked.violations)
    took = time.monotonic() - began
    for told in found.violations:
        print(f"seed {told.seed}: {told.violation}")
    print(
        f"{found.seeds} seeds in {took:.0f} s ({found.seeds / took * 60:.0f} a minute): {found.runs} runs, {found.commits} commits, "
        f"{found.unknown} of them without an answer; {len(found.violations)} violations"
    )
    for what, often in found.sometimes.most_common():
        print(f"  sometimes {what}: {often}")
    chosen = {"none": list, "today": of_today, "all": mistakes}[asked.mutants]()
    alive = hunt_all(chosen) if chosen else []
    if report is not None:
        figures = {**figures_of(asked, found, took), "mutants": len(chosen), "mutants_killed": len(chosen) - len(alive), "alive": alive}
        report.write_text(json.dumps(figures, indent=2) + "\n")
    return int(bool(found.violations or alive))


def figures_of(asked: Asked, found: Sum, took: float) -> dict[str, Any]:
    """The seeds' part of the report."""
    return {
        "seeds": found.seeds,
        "first": asked.first,
        "seconds": round(took, 1),
        "per_minute": round(found.seeds / took * 60),
        "processes": asked.processes,
        "violations": [{"seed": told.seed, "violation": told.violation} for told in found.violations],
        "runs": found.runs,
        "turns": found.turns,
        "commits": found.commits,
        "unknown_commits": found.unknown,
        "most_faults_in_one_seed": found.overlapping,
        "faults": dict(found.faults.most_common()),
        "sometimes": dict(found.sometimes.most_common()),
    }


def main(given: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--seeds", type=int, default=1_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--trace", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--violations", type=int, default=20)
    parser.add_argument("--mutants", choices=("none", "today", "all"), default="none")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    said = parser.parse_args(given)
    if said.seed is not None:
        return one(said.seed, said.trace)
    asked = Asked(said.first, said.seeds, said.processes, said.seconds, said.violations, said.mutants)
    return many(asked, said.json)


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":  # the order of a set of words is no part of a seed otherwise
        os.execve(sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]], os.environ | {"PYTHONHASHSEED": "0"})
    sys.exit(main(sys.argv[1:]))
