"""The cells of one benchmark, on disk as each of them ends, so that one that is broken off goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.costs import Costs
from benchmarks.workloads import Workload

UNFINISHED = ".unfinished.jsonl"


@dataclass(frozen=True, slots=True)
class Cell:
    """One workload, on one side, in one round; an error where it has no figure."""

    round: int
    side: str
    workload: str
    size: int
    figure: float | None
    answers: int
    steps: int = 0
    error: str | None = None
    per_step: dict[str, float] | None = None
    memory_mb: dict[str, float] | None = None
    other_cores: float | None = None
    command: str | None = None
    """What failed, where the side could not run at all."""

    @staticmethod
    def costing(round_: int, side: str, workload: Workload, size: int, figure: float, answers: int, steps: int, costs: Costs) -> Cell:
        """A cell that went well."""
        rounded = {name: round(value, 4) for name, value in costs.per_step(steps).items()}
        memory = {name: round(value, 1) for name, value in costs.memory_mb.items()}
        return Cell(round_, side, workload.name, size, figure, answers, steps, None, rounded, memory, round(costs.other_cores, 2))


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured, and on what: only a benchmark with the same plan may go on with another's cells."""

    commit: str
    code: str
    """A digest of what differs from that commit; empty where nothing does."""
    sides: tuple[str, ...]
    sizes: tuple[tuple[str, int], ...]
    rounds: int
    servers: dict[str, str]
    machine: dict[str, str]


class Journal:
    """A header and one line a cell, each on the disk before the next cell begins. Without a path nothing is kept."""

    def __init__(self, path: Path | None, at: str, plan: Plan, cells: Iterable[Cell] = ()) -> None:
        self.path, self.at, self.plan = path, at, plan
        self.cells = list(cells)

    @staticmethod
    def begun(path: Path | None, at: str, plan: Plan) -> Journal:
        """A new one."""
        journal = Journal(path, at, plan)
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            _append(path, {"at": at, "plan": asdict(plan)})
        return journal

    @staticmethod
    def read(path: Path) -> Journal:
        """One that was broken off; a line that was cut is left out."""
        text = path.read_text()
        if not text.endswith("\n"):
            _end_line(path)  # what comes next must not hang on a line that was cut
        first, *rest = text.splitlines()
        head = json.loads(first)
        plan = head["plan"] | {"sides": tuple(head["plan"]["sides"]), "sizes": tuple((name, size) for name, size in head["plan"]["sizes"])}
        return Journal(path, head["at"], Plan(**plan), [Cell(**cell) for cell in _whole(rest)])

    def add(self, cell: Cell) -> None:
        self.cells.append(cell)
        if self.path is not None:
            _append(self.path, asdict(cell))

    def turn(self, round_: int, workload: str) -> list[Cell]:
        """The cells of one workload in one round: what is compared with each other."""
        return [cell for cell in self.cells if (cell.round, cell.workload) == (round_, workload)]

    def forget(self, round_: int, workload: str) -> None:
        """A turn that was broken off is measured anew as a whole: a ratio compares cells of the same minutes."""
        self.cells = [cell for cell in self.cells if (cell.round, cell.workload) != (round_, workload)]
        if self.path is not None:
            _append(self.path, {"forget": [round_, workload]})

    def close(self) -> None:
        """The benchmark is over, and its results are kept elsewhere."""
        if self.path is not None:
            self.path.unlink()


def unfinished(folder: Path, plan: Plan) -> Journal | None:
    """The newest benchmark with this plan that was broken off here."""
    found = (Journal.read(path) for path in sorted(folder.glob(f"*{UNFINISHED}"), reverse=True))
    return next((journal for journal in found if journal.plan == plan), None)


def machine() -> dict[str, str]:
    packages = {name: version(name) for name in ("celery", "kombu", "redis", "psycopg", "sqlalchemy")}
    return {"python": platform.python_version(), "system": platform.platform(), "cores": str(os.cpu_count())} | packages


def commit() -> tuple[str, str]:
    """The commit that is measured, and a digest of what differs from it in the work tree, empty where nothing does."""
    try:
        changes = _git("diff", "HEAD", "--", "wfcelery", "benchmarks", ":!benchmarks/results", ":!*.md")
        return _git("rev-parse", "--short=12", "HEAD"), hashlib.sha256(changes.encode()).hexdigest()[:12] if changes else ""
    except (OSError, subprocess.CalledProcessError):
        return "unknown", ""


def _git(*words: str) -> str:
    root = Path(__file__).parent.parent
    return subprocess.run(["git", *words], cwd=root, check=True, capture_output=True, text=True).stdout.strip()


def _append(path: Path, line: dict[str, Any]) -> None:
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")
        file.flush()
        os.fsync(file.fileno())


def _end_line(path: Path) -> None:
    with path.open("a") as file:
        file.write("\n")


def _whole(lines: Iterable[str]) -> list[dict[str, Any]]:
    cells: list[dict[str, Any]] = []
    for line in lines:
        try:
            told = json.loads(line)
        except json.JSONDecodeError:
            continue  # the machine stopped in the middle of it
        if "forget" in told:
            cells = [cell for cell in cells if [cell["round"], cell["workload"]] != told["forget"]]
        else:
            cells.append(told)
    return cells
