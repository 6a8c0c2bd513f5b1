"""Mistakes of the protocol's model, made in the code: each patch must turn tests red.

`python -m tests.mutants.run [NAME ...]` copies the tree once, sees that the tests that the patches name are green there,
then applies one patch at a time to the copy, runs its tests and takes it back. A patch that no longer applies counts as a failure.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MOST_SECONDS = 300
# A patch that raises one of these is broken itself: its tests are red for nothing.
BROKEN = ("SyntaxError", "NameError", "ImportError", "AttributeError", "TypeError", "OperationalError", "ProgrammingError")
NOT_COPIED = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "dist", "node_modules")


@dataclass(frozen=True, slots=True)
class Patch:
    """A unified diff below a header: what the mistake is, its name in the model (or `none`), and the tests that must see it."""

    path: Path
    mistake: str
    mutant: str
    tests: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.path.stem


def patches(folder: Path = Path(__file__).parent) -> list[Patch]:
    """All of a folder, by name."""
    return [_read(path) for path in sorted(folder.glob("*.patch"))]


def _read(path: Path) -> Patch:
    fields: dict[str, list[str]] = {"Mistake": [], "Mutant": [], "Test": []}
    for line in path.read_text().partition("\n--- ")[0].splitlines():
        key, _, value = line.partition(": ")
        fields[key].append(value)
    return Patch(path, fields["Mistake"][0], fields["Mutant"][0], tuple(fields["Test"]))


@contextmanager
def copy_of_the_tree() -> Iterator[Path]:
    """A copy to make mistakes in."""
    with tempfile.TemporaryDirectory(prefix="wfcelery-mutants-") as folder:
        os.chmod(folder, 0o755)  # noqa: S103  the tests' servers run as somebody else where we are root
        copy = Path(folder) / "tree"
        shutil.copytree(ROOT, copy, ignore=NOT_COPIED)
        yield copy


def red(patch: Patch, copy: Path) -> str | None:
    """Apply, run its tests, take it back. None: they are red, as they must be; else what is wrong."""
    applied = apply_patch(copy, patch.path)
    if applied.returncode:
        return f"does not apply any more: {applied.stdout.strip()}"
    try:
        ended = run(patch.tests, copy)
    except subprocess.TimeoutExpired:
        return f"its tests did not end in {MOST_SECONDS} s"
    finally:
        apply_patch(copy, patch.path, "--reverse")
    if ended.returncode == pytest.ExitCode.TESTS_FAILED:
        why = next((line[1:].strip() for line in ended.stdout.splitlines() if line.startswith("E  ")), "")
        return f"is broken itself: {why}" if any(name in why.partition(":")[0] for name in BROKEN) else None
    if ended.returncode == pytest.ExitCode.OK:
        return "its tests are green"
    return f"its tests did not run (pytest: {ended.returncode})\n{ended.stdout[-2000:]}{ended.stderr[-2000:]}"


def run(tests: Sequence[str], copy: Path) -> subprocess.CompletedProcess[str]:
    """Run tests of the copy, in the copy, by the examples of every check: they are the same each time."""
    command = [sys.executable, "-B", "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    return subprocess.run(
        command,
        cwd=copy,
        env=os.environ | {"PYTHONPATH": str(copy), "HYPOTHESIS_PROFILE": "check"},
        capture_output=True,
        text=True,
        check=False,
        timeout=MOST_SECONDS,
    )


def apply_patch(copy: Path, path: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Make a mistake in a copy, or with `--reverse` take it back."""
    command = ["patch", "--strip=1", "--batch", "--no-backup-if-mismatch", "--reject-file=-", "--fuzz=1", *more, "--input", str(path)]
    if not more:
        tried = subprocess.run([*command, "--dry-run"], cwd=copy, capture_output=True, text=True, check=False)
        if tried.returncode:
            return tried
    return subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)


def main(names: Sequence[str]) -> int:
    """0: the tests are green without the patches, and red with each of them."""
    chosen = [patch for patch in patches() if not names or patch.name in names]
    wrong = 0
    with copy_of_the_tree() as copy:
        tests = sorted({test for patch in chosen for test in patch.tests})
        before = run(tests, copy)
        if before.returncode:
            print(f"the tests are not green as it is\n{before.stdout[-4000:]}")
            return 1
        for patch in chosen:
            problem = red(patch, copy)
            wrong += problem is not None
            print(f"{'red ' if problem is None else 'FAIL'}  {patch.name:40} {problem or patch.mistake}", flush=True)
    print(f"{len(chosen) - wrong} of {len(chosen)} patches turn the tests red")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
