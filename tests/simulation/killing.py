"""Mistakes in the engine that the simulation must find: `python -m tests.simulation.killing [NAME ...]`.

Each patch of `mutants/` is one mistake, with a header that says what it is and which rule of the protocol it breaks. It is
applied to a copy of the tree, seeds are run there until one of them is violated, and it is taken back. A mistake that
survives all its seeds is a hole in the rig. A transaction of the simulation is one step: what goes wrong inside of one is for
the interleaver, whose tests such a patch names.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tests.mutants.run import BROKEN, Patch, apply_patch, copy_of_the_tree, red

FOLDER = Path(__file__).parent / "mutants"
SEEDS = 1_500  # after which a mistake counts as not found
SECONDS = 600
A_DAY = 6  # mistakes that every check hunts; `make check-long` hunts all of them


@dataclass(frozen=True, slots=True)
class Mistake:
    """A unified diff below a header."""

    path: Path
    what: str
    about: str  # token, lock, commit order, due check, budget, key, inbox
    orders: tuple[str, ...] = ()  # tests of the interleaver that find it, where no seed does

    @property
    def name(self) -> str:
        return self.path.stem


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a mistake: the first violation, or what is wrong with the patch or the rig."""

    found: str | None
    wrong: str | None = None


def mistakes() -> list[Mistake]:
    """All of them, by name."""
    return [_read(path) for path in sorted(FOLDER.glob("*.patch"))]


def of_today() -> list[Mistake]:
    """Six by rotation."""
    found, day = mistakes(), datetime.now(UTC).toordinal()
    return [found[(day * A_DAY + number) % len(found)] for number in range(A_DAY)]


def _read(path: Path) -> Mistake:
    header = [line.split(": ", 1) for line in path.read_text().partition("\n--- ")[0].splitlines()]
    named = dict(header)
    return Mistake(path, named["Mistake"], named["About"], tuple(value for name, value in header if name == "Test"))


def hunt(mistake: Mistake, copy: Path, seeds: int = SEEDS) -> Verdict:
    """Run seeds with this mistake until one is violated, or the orders that must see it."""
    if mistake.orders:
        wrong = red(Patch(mistake.path, mistake.what, "none", mistake.orders), copy)
        return Verdict(None, wrong) if wrong else Verdict(f"an order of {mistake.orders[0].rpartition('postgresql-')[2].rstrip(']')}")
    applied = apply_patch(copy, mistake.path)
    if applied.returncode:
        return Verdict(None, f"does not apply any more: {applied.stdout.strip()}")
    command = [sys.executable, "-B", "-m", "tests.simulation", "--seeds", str(seeds), "--violations", "1"]
    try:
        ended = subprocess.run(
            command, cwd=copy, env=os.environ | {"PYTHONPATH": str(copy)}, capture_output=True, text=True, check=False, timeout=SECONDS
        )
    except subprocess.TimeoutExpired:
        return Verdict(None, f"nothing was found in {SECONDS} s")
    finally:
        apply_patch(copy, mistake.path, "--reverse")
    found = re.search(r"^seed (\d+): (.*)$", ended.stdout, re.MULTILINE)
    if found is None:
        return Verdict(None, f"survived {seeds} seeds\n{ended.stderr[-1000:]}")
    if found[2].partition(":")[0] in BROKEN:
        return Verdict(None, f"is broken itself: {found[2][:200]}")
    return Verdict(f"seed {found[1]}: {found[2][:160]}")


def hunt_all(chosen: Sequence[Mistake]) -> list[str]:
    """Hunt each of them, and tell of each; the names of those that survive."""
    alive: list[str] = []
    with copy_of_the_tree() as copy:
        for mistake in chosen:
            verdict = hunt(mistake, copy)
            if verdict.found is None:
                alive.append(mistake.name)
            said = verdict.found or verdict.wrong
            print(f"{'found' if verdict.found else 'ALIVE'}  {mistake.about:12} {mistake.name:40} {said}", flush=True)
    print(f"{len(chosen) - len(alive)} of {len(chosen)} mistakes are found")
    return alive


def main(names: Sequence[str]) -> int:
    """0: each mistake was found."""
    return int(bool(hunt_all([each for each in mistakes() if not names or each.name in names])))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
