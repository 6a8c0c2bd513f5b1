"""What a results file says follows from its cells."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

from benchmarks import page
from benchmarks.cells import Cell, Journal, Plan
from benchmarks.costs import GROUPS
from benchmarks.report import Report, document, read, write

SERVERS = {"server_version": "18", "fsync": "on", "synchronous_commit": "on", "appendfsync": "everysec"}
MACHINE = {"cores": "2", "python": "3.11", "celery": "5.7"}
PLAN = Plan("abc", "", ("raw", "wfcelery", "threads", "floor"), (("W1", 40),), 3, SERVERS, MACHINE)
CPU = {f"cpu_{group}": 0.5 for group in GROUPS}
MEMORY = dict.fromkeys(GROUPS, 100.0)
TIMES = "\N{MULTIPLICATION SIGN}"


def cell(round_: int, side: str, workload: str, figure: float | None, error: str | None = None) -> Cell:
    return Cell(round_, side, workload, 40, figure, 40, 400, error, CPU, MEMORY, 0.1)


def test_a_ratio_is_taken_within_a_round_and_then_the_median_of_them() -> None:
    raw = [cell(round_, "raw", "W1", figure) for round_, figure in enumerate((10, 100, 20), 1)]
    ours = [cell(round_, "wfcelery", "W1", figure) for round_, figure in enumerate((5, 20, 8), 1)]

    ratio = Report([*raw, *ours]).ratio("wfcelery", "raw", "W1")

    assert ratio is not None
    assert (ratio.median, ratio.least, ratio.most) == (0.4, 0.2, 0.5)


def test_a_workload_that_lost_work_in_one_round_has_no_figure() -> None:
    report = Report([cell(1, "raw", "W1", 10), cell(2, "raw", "W1", None, "the answer is 9"), cell(1, "wfcelery", "W1", 5)])

    assert report.figures("raw", "W1") == {}
    assert report.ratio("wfcelery", "raw", "W1") is None
    assert len(report.lost()) == 1


def test_flatness_is_the_dearest_step_over_the_cheapest_of_all_sizes() -> None:
    cells = [cell(1, "wfcelery", name, figure) for name, figure in (("W6_100", 2.0), ("W6_1000", 1.6), ("W6_10000", 1.8))]

    flat = Report(cells).flatness("wfcelery")

    assert flat is not None
    assert flat.median == 1.25


def test_a_size_that_is_missing_leaves_flatness_open() -> None:
    assert Report([cell(1, "wfcelery", "W6_100", 2.0), cell(1, "wfcelery", "W6_1000", 1.6)]).flatness("wfcelery") is None


def test_a_results_file_says_what_it_promises() -> None:
    cells = [cell(1, side, name, 10) for side in PLAN.sides for name in ("W1", "W2", "W3_1000", "W3_10000", "W4", "W5")]

    told = document(Journal(None, "2026-01-01T00:00:00+00:00", PLAN, cells), finished=True)

    assert {"W1", "W2", "W3_1000", "W3_10000", "W4", "W6"} <= told["ratios"].keys()
    assert told["floor"] == {"W1": 1.0, "W2": 1.0, "W3_1000": 1.0, "W4": 1.0}
    assert (told["W5_late_p95_ms"], told["answers_checked"], told["rounds"]["W1"]["raw"]) == (10, 40 * len(cells), [10])


def test_the_page_and_its_picture_are_made_from_a_results_file(tmp_path: Path) -> None:
    cells = [cell(1, side, "W1", figure) for side, figure in (("raw", 20), ("wfcelery", 10), ("floor", 5))]
    write(tmp_path / "it.json", Journal(None, "2026-01-01T00:00:00+00:00", PLAN, cells))
    told, report = read(tmp_path / "it.json")

    text, picture = page.page("it.json", told, report), page.drawn(report)

    assert "| W1 | 0.5 | 0.25 | 2 |" in text
    parts = ET.fromstring(picture).iter()  # noqa: S314  ours
    shown = [part.text for part in parts if part.text and part.text.endswith(TIMES) and part.get("class") is None]
    assert shown == [f"2 {TIMES}", f"4 {TIMES}"]
