"""Mistakes in the engine that the simulation must find: `python -m tests.simulation.killing [NAME ...]`.

Each patch of `mutants/` is one mistake, with a header that says what it is and which rule of the protocol it breaks. It is
applied to a copy of the tree, seeds are run there until one of them is violated, and it is taken back. A mistake that
survives all its seeds is a hole in the rig.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.run import BROKEN, apply_patch, copy_of_the_tree

FOLDER = Path(__file__).parent / "mutants"
SEEDS = 1_500  # after which a mistake counts as not found
SECONDS = 240


@dataclass(frozen=True, slots=True)
class Mistake:
    """A unified diff below a header."""

    path: Path
    what: str
    about: str  # token, lock, commit order, due check, budget, key, inbox

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


def _read(path: Path) -> Mistake:
    header = dict(line.split(": ", 1) for line in path.read_text().partition("\n--- ")[0].splitlines())
    return Mistake(path, header["Mistake"], header["About"])


def hunt(mistake: Mistake, copy: Path, seeds: int = SEEDS) -> Verdict:
    """Run seeds with this mistake until one is violated."""
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


def main(names: Sequence[str]) -> int:
    """0: each mistake was found."""
    chosen = [each for each in mistakes() if not names or each.name in names]
    killed = 0
    with copy_of_the_tree() as copy:
        for mistake in chosen:
            verdict = hunt(mistake, copy)
            killed += verdict.found is not None
            print(
                f"{'found' if verdict.found else 'ALIVE'}  {mistake.about:12} {mistake.name:40} {verdict.found or verdict.wrong}",
                flush=True,
            )
    print(f"{killed} of {len(chosen)} mistakes are found")
    return int(killed < len(chosen))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
