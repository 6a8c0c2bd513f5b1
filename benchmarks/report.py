"""What a run of the benchmark leaves behind: a file that grows by one cell at a time, and a table."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.workloads import WORKLOADS, Measured, Workload

SIDES = ("raw", "wfcelery")
LABELS = {"raw": "raw Celery", "wfcelery": "wfcelery"}


@dataclass(frozen=True, slots=True)
class Cell:
    """One workload, on one side, in one round."""

    round: int
    side: str
    workload: str
    size: int
    figure: float | None
    answers: int
    error: str | None = None


@dataclass(slots=True)
class Report:
    """All cells so far; written anew, as a whole, after each of them."""

    path: Path | None
    facts: dict[str, str]
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    cells: list[Cell] = field(default_factory=list)

    def add(self, round_: int, side: str, workload: Workload, size: int, measured: Measured | None, error: str | None = None) -> None:
        figure, answers = (measured.figure, measured.answers) if measured else (None, 0)
        self.cells.append(Cell(round_, side, workload.name, size, figure, answers, error))
        if self.path is not None:
            self._write(self.path)

    def ratios(self) -> dict[str, float | None]:
        """wfcelery's figure over raw Celery's of the same round; the median of the rounds; none if any answer was wrong."""
        return {workload.name: self._ratio(workload.name) for workload in WORKLOADS}

    def median(self, side: str, workload: str) -> float | None:
        figures = self._figures(side, workload)
        return statistics.median(figures.values()) if figures else None

    def size(self, workload: Workload) -> int:
        """How large the workload was in this run."""
        return next((cell.size for cell in self.cells if cell.workload == workload.name), workload.size)

    def lost(self) -> list[Cell]:
        return [cell for cell in self.cells if cell.error is not None]

    def _ratio(self, workload: str) -> float | None:
        ours, raw = self._figures("wfcelery", workload), self._figures("raw", workload)
        both = ours.keys() & raw.keys()
        return round(statistics.median(ours[round_] / raw[round_] for round_ in both), 3) if both else None

    def _figures(self, side: str, workload: str) -> dict[int, float]:
        cells = [cell for cell in self.cells if (cell.side, cell.workload) == (side, workload)]
        if any(cell.error for cell in cells):
            return {}
        return {cell.round: cell.figure for cell in cells if cell.figure is not None}

    def _write(self, path: Path) -> None:
        document: dict[str, Any] = {
            "at": self.at.isoformat(timespec="seconds"),
            "commit": commit(),
            "rounds": max(cell.round for cell in self.cells),
            "ratios": self.ratios(),
            "answers_checked": sum(cell.answers for cell in self.cells),
            "servers": self.facts,
            "machine": machine(),
            "cells": [asdict(cell) for cell in self.cells],
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        half = path.with_suffix(".part")
        half.write_text(json.dumps(document, indent=1) + "\n")
        half.replace(path)


def table(report: Report) -> str:
    """Medians side by side and their ratio, as Markdown."""
    ratios = report.ratios()
    lines = ["| | workload | raw Celery | wfcelery | ratio |", "|---|---|---|---|---|"]
    for workload in WORKLOADS:
        raw, ours = (_text(report.median(side, workload.name), workload.unit) for side in SIDES)
        ratio = ratios[workload.name]
        better = " (more is better)" if workload.more_is_better else ""
        what = workload.what.format(size=f"{report.size(workload):,}")
        lines.append(f"| {workload.name} | {what}{better} | {raw} | {ours} | {'-' if ratio is None else f'{ratio:.2f}'} |")
    return "\n".join(lines)


def machine() -> dict[str, str]:
    packages = {name: version(name) for name in ("celery", "kombu", "redis", "psycopg", "sqlalchemy")}
    return {"python": platform.python_version(), "system": platform.platform(), "cores": str(os.cpu_count())} | packages


def commit() -> str:
    """The commit measured, with a plus where the work tree differs from it."""
    here = Path(__file__).parent
    try:
        head = _git("rev-parse", "--short=12", "HEAD", folder=here)
        return head + ("+" if _git("status", "--porcelain", "--untracked-files=no", folder=here) else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*words: str, folder: Path) -> str:
    return subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def _text(figure: float | None, unit: str) -> str:
    return "-" if figure is None else f"{figure:,.3g} {unit}" if figure < 1000 else f"{figure:,.0f} {unit}"
