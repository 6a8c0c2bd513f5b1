"""`python -m model [-v] [NAME ...]`: every configuration holds, every mutant is caught. A name: a configuration, `locks` or a mutant."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

from model.configurations import CONFIGURATIONS, Configuration
from model.exploring import Found, explore
from model.locks import explore_locks
from model.mutants import LOCKS, MUTANTS


class Result(NamedTuple):
    """What came of one name."""

    name: str
    found: Found
    seconds: float


def run(name: str) -> Result:
    """Explore one configuration, or one mutant in the configuration that shows it."""
    began = time.perf_counter()
    mutant = name if name in MUTANTS else None
    where = MUTANTS[name].where if mutant else name
    found = explore_locks(mutant) if where == LOCKS else explore(Configuration(where), mutant)
    return Result(name, found, time.perf_counter() - began)


def told(result: Result, verbose: bool) -> str:
    """One line, and the trace where it is wanted."""
    name, found, seconds = result
    mutant = MUTANTS.get(name)
    if mutant is not None:
        how = f"{found.violation} ({len(found.trace)} actions, {mutant.where})" if found.violation else f"not caught in {mutant.where}"
        line = f"{'dead' if found.violation else 'LIVE'}  {name:38} {how}"
    else:
        line = f"{'FAIL' if found.violation else 'ok':4}  {name:44} {found.states:9,} states {seconds:6.1f} s  {found.violation}".rstrip()
    if found.violation and (verbose or mutant is None):
        line += "".join(f"\n        {n:2} {action}" for n, action in enumerate(found.trace, 1))
    return line


def main(arguments: Sequence[str]) -> int:
    """0: all configurations hold and all mutants are caught."""
    verbose = "-v" in arguments
    everything = (*CONFIGURATIONS, LOCKS, *MUTANTS)
    names = [name for name in arguments if name != "-v"] or everything
    unknown = [name for name in names if name not in everything]
    if unknown:
        print(f"no such name: {', '.join(unknown)}. There are:", *everything, sep="\n  ", file=sys.stderr)
        return 2
    began, states, failed, killed = time.perf_counter(), 0, 0, 0
    with ProcessPoolExecutor(min(len(names), os.cpu_count() or 1)) as pool:
        for result in pool.map(run, names):
            states += result.found.states
            caught = bool(result.found.violation)
            failed += caught and result.name not in MUTANTS
            killed += caught and result.name in MUTANTS
            print(told(result, verbose), flush=True)
    wanted = sum(name in MUTANTS for name in names)
    print(f"{states:,} states, {time.perf_counter() - began:.0f} s, {failed} failures, {killed} of {wanted} mutants killed")
    return int(failed > 0 or killed < wanted)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
