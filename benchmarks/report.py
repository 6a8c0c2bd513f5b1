"""What the cells say: medians, spreads, ratios, and the file that holds them all."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.cells import Cell, Journal
from benchmarks.sides.catalogue import FLOOR, OURS, RAW
from benchmarks.sides.peers.catalogue import PEERS_BY_NAME
from benchmarks.workloads import WORKLOADS

AGAINST_RAW = ("W1", "W2", "W3_100", "W3_1000", "W3_10000", "W4")
AGAINST_FLOOR = ("W1", "W2", "W3_1000", "W4")
OF_PEERS = (*AGAINST_RAW, "W5")
LONG_CHAINS = ("W6_100", "W6_1000", "W6_10000")


@dataclass(frozen=True, slots=True)
class Spread:
    """The figures of one cell over the rounds."""

    median: float
    least: float
    most: float


class Report:
    """Reads cells. A workload with a wrong or missing answer in any round has no figure on that side."""

    def __init__(self, cells: Sequence[Cell]) -> None:
        self.cells = cells

    def figures(self, side: str, workload: str) -> dict[int, float]:
        """By round; empty where any answer was lost."""
        cells = self._of(side, workload)
        if any(cell.error for cell in cells):
            return {}
        return {cell.round: cell.figure for cell in cells if cell.figure is not None}

    def spread(self, side: str, workload: str) -> Spread | None:
        return _spread(self.figures(side, workload).values())

    def ratio(self, side: str, other: str, workload: str) -> Spread | None:
        """The side's figure over the other's of the same round."""
        ours, theirs = self.figures(side, workload), self.figures(other, workload)
        return _spread(ours[round_] / theirs[round_] for round_ in ours.keys() & theirs.keys())

    def flatness(self, side: str) -> Spread | None:
        """The cost of a step where it is highest over where it is lowest, of one run of 100, 1,000 and 10,000 steps."""
        figures = [self.figures(side, workload) for workload in LONG_CHAINS]
        rounds = set.intersection(*(set(each) for each in figures))
        return _spread(max(each[round_] for each in figures) / min(each[round_] for each in figures) for round_ in rounds)

    def per_step(self, side: str, workload: str, name: str) -> float | None:
        """The median of one of its costs (`Costs.per_step`)."""
        return _median(cell.per_step[name] for cell in self._whole(side, workload) if cell.per_step and name in cell.per_step)

    def memory(self, side: str, group: str) -> float | None:
        """The most that a group of processes held in any cell, in MB."""
        return max((cell.memory_mb[group] for cell in self.cells if cell.side == side and cell.memory_mb), default=None)

    def other_cores(self) -> float | None:
        """What else the machine did meanwhile: the median of the cells, in cores."""
        return _median(cell.other_cores for cell in self.cells if cell.other_cores is not None)

    def size(self, workload: str) -> int | None:
        """How large the workload was in this run."""
        return next((cell.size for cell in self.cells if cell.workload == workload), None)

    def lost(self) -> list[Cell]:
        return [cell for cell in self.cells if cell.error is not None]

    def absent(self) -> list[tuple[str, str, str]]:
        """The sides that could not run at all: each with the command that failed and what it said."""
        found = {cell.side: (cell.side, cell.command, cell.error or "") for cell in self.cells if cell.command is not None}
        return list(found.values())

    def answers(self) -> int:
        return sum(cell.answers for cell in self.cells)

    def _of(self, side: str, workload: str) -> list[Cell]:
        return [cell for cell in self.cells if (cell.side, cell.workload) == (side, workload)]

    def _whole(self, side: str, workload: str) -> list[Cell]:
        return [cell for cell in self._of(side, workload) if cell.error is None]


def document(journal: Journal, finished: bool) -> dict[str, Any]:
    """The results file. Every ratio is wfcelery's figure (prefork) over the other's in the same round, the median of the rounds."""
    report, plan = Report(journal.cells), journal.plan
    late, others = report.spread(OURS, "W5"), [side for side in plan.sides if side in PEERS_BY_NAME]
    return {
        "at": journal.at,
        "commit": plan.commit + (f"+{plan.code}" if plan.code else ""),
        "finished": finished,
        "rounds": {
            workload.name: {side: list(report.figures(side, workload.name).values()) for side in plan.sides} for workload in WORKLOADS
        },
        "ratios": _medians(AGAINST_RAW, lambda workload: report.ratio(OURS, RAW, workload)) | {"W6": _rounded(report.flatness(OURS))},
        "floor": _medians(AGAINST_FLOOR, lambda workload: report.ratio(OURS, FLOOR, workload)),
        "W5_late_p95_ms": _rounded(late),
        **({"peers": {side: _of_peer(report, side) for side in others}} if others else {}),
        "answers_checked": report.answers(),
        "cells_without_a_figure": len(report.lost()),
        "other_cores": report.other_cores(),
        "servers": plan.servers,
        "machine": plan.machine,
        "cells": [asdict(cell) for cell in journal.cells],
    }


def _of_peer(report: Report, side: str) -> dict[str, Any]:
    """Its figures over raw Celery's in the same round; or the command that failed and its error."""
    peer = PEERS_BY_NAME[side]
    told: dict[str, Any] = {"label": peer.label, "packages": [*peer.packages, *peer.node_packages]}
    for _, command, error in (each for each in report.absent() if each[0] == side):
        return told | {"command": command, "error": error}
    ratios = _medians(AGAINST_RAW, lambda workload: report.ratio(side, RAW, workload))
    return told | {"ratios": ratios, "W5_late_p95_ms": _rounded(report.spread(side, "W5"))}


def write(path: Path, journal: Journal) -> None:
    """All at once or not at all."""
    half = path.with_suffix(".part")
    half.write_text(json.dumps(document(journal, finished=True), indent=1) + "\n")
    half.replace(path)


def read(path: Path) -> tuple[dict[str, Any], Report]:
    """A results file, and its cells."""
    told = json.loads(path.read_text())
    return told, Report([Cell(**cell) for cell in told["cells"]])


def _medians(workloads: Sequence[str], ratio: Callable[[str], Spread | None]) -> dict[str, float | None]:
    return {workload: _rounded(ratio(workload)) for workload in workloads}


def _rounded(spread: Spread | None) -> float | None:
    return None if spread is None else round(spread.median, 3)


def _spread(values: Any) -> Spread | None:
    found = sorted(values)
    return Spread(statistics.median(found), found[0], found[-1]) if found else None


def _median(values: Any) -> float | None:
    found = list(values)
    return statistics.median(found) if found else None
