"""A benchmark that is broken off goes on where it stopped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from benchmarks.cells import UNFINISHED, Cell, Journal, Plan, unfinished

PLAN = Plan("abc", "", ("raw", "wfcelery"), (("W1", 40), ("W2", 200)), 5, {"fsync": "on"}, {"cores": "2"})


def begun(folder: Path, name: str = "one") -> Journal:
    return Journal.begun(folder / f"{name}{UNFINISHED}", "2026-01-01T00:00:00+00:00", PLAN)


def cell(round_: int, side: str, workload: str = "W1") -> Cell:
    return Cell(round_, side, workload, 40, 1.5, 40, 400, None, {"cpu_worker": 0.5}, {"worker": 99.0}, 0.1)


def test_every_cell_is_there_again_after_the_benchmark_died(tmp_path: Path) -> None:
    journal = begun(tmp_path)
    journal.add(cell(1, "raw"))
    journal.add(cell(1, "wfcelery"))

    found = unfinished(tmp_path, PLAN)

    assert found is not None
    assert (found.cells, found.at, found.plan) == (journal.cells, journal.at, PLAN)


def test_a_line_that_was_cut_is_left_out_and_the_next_one_is_whole(tmp_path: Path) -> None:
    journal = begun(tmp_path)
    journal.add(cell(1, "raw"))
    assert journal.path is not None
    with journal.path.open("a") as file:
        file.write('{"round": 1, "side": "wfc')

    found = Journal.read(journal.path)
    found.add(cell(1, "wfcelery"))

    assert Journal.read(journal.path).cells == [cell(1, "raw"), cell(1, "wfcelery")]


def test_a_turn_that_was_broken_off_is_forgotten_for_good(tmp_path: Path) -> None:
    journal = begun(tmp_path)
    journal.add(cell(1, "raw"))
    journal.add(cell(1, "wfcelery"))
    journal.add(cell(1, "raw", "W2"))
    assert journal.path is not None

    journal.forget(1, "W2")

    assert Journal.read(journal.path).cells == journal.cells == [cell(1, "raw"), cell(1, "wfcelery")]


def test_another_commit_does_not_go_on_with_these_cells(tmp_path: Path) -> None:
    begun(tmp_path)

    assert unfinished(tmp_path, replace(PLAN, commit="def")) is None
    assert unfinished(tmp_path, replace(PLAN, code="changed")) is None


def test_a_finished_benchmark_leaves_nothing_to_go_on_with(tmp_path: Path) -> None:
    begun(tmp_path).close()

    assert unfinished(tmp_path, PLAN) is None
