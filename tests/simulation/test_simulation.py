"""Thousands of seeds through the real engine; a seed is a history; and the rig sees the mistakes it is there to see."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.mutants.run import copy_of_the_tree
from tests.simulation.killing import Mistake, hunt, mistakes

ROOT = Path(__file__).resolve().parents[2]
ALL = mistakes()
TODAY = datetime.now(UTC).toordinal() * 6
TODAYS = [ALL[(TODAY + number) % len(ALL)] for number in range(6)]  # six a day; `make check-long` hunts all of them
RARE = (
    "a commit landed late",
    "a flush lost messages",
    "a dead letter was retried",
    "two attempts of a step overlapped",
    "history: step_lost",
    "history: step_timed_out",
    "history: step_parked",
    "history: step_unadvanced",
    "history: step_handed_back",
    "history: items_handed_back",
    "history: run_timed_out",
)


def told(*arguments: str, folder: Path) -> dict[str, Any]:
    """What a run of the rig reports."""
    report = folder / "report.json"
    command = [sys.executable, "-m", "tests.simulation", *arguments, "--json", str(report)]
    ended = subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False)
    assert report.exists(), ended.stderr[-2000:]
    found: dict[str, Any] = json.loads(report.read_text())
    return found


def check(found: dict[str, Any]) -> None:
    assert found["violations"] == []
    assert [what for what in RARE if not found["sometimes"].get(what)] == [], "what never happened is not shown"
    assert found["most_faults_in_one_seed"] >= 8


@pytest.mark.timeout(600)
def test_no_seed_breaks_a_promise(tmp_path: Path) -> None:
    check(told("--seeds", "3000", folder=tmp_path))


@pytest.mark.long
def test_no_seed_of_twenty_minutes_breaks_a_promise(tmp_path: Path) -> None:
    first = str(datetime.now(UTC).toordinal() * 100_000)
    check(told("--first", first, "--seeds", "1000000", "--seconds", "1200", folder=tmp_path))


def test_a_seed_is_one_history_byte_for_byte(tmp_path: Path) -> None:
    def trace(name: str) -> bytes:
        file = tmp_path / name
        command = [sys.executable, "-m", "tests.simulation", "--seed", "18", "--trace", str(file)]
        subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, check=True)
        return file.read_bytes()

    first = trace("first")
    assert len(first.splitlines()) > 50
    assert trace("second") == first


@pytest.fixture(scope="module")
def copy() -> Iterator[Path]:
    with copy_of_the_tree() as made:
        yield made


def named(chosen: Sequence[Mistake]) -> dict[str, Any]:
    return {"argvalues": chosen, "ids": [each.name for each in chosen]}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("mistake", **named(TODAYS))
def test_the_mistakes_of_today_are_found(copy: Path, mistake: Mistake) -> None:
    assert hunt(mistake, copy).wrong is None


@pytest.mark.long
@pytest.mark.parametrize("mistake", **named(ALL))
def test_every_mistake_is_found(copy: Path, mistake: Mistake) -> None:
    assert hunt(mistake, copy).wrong is None


def test_there_are_mistakes_about_each_rule() -> None:
    about = [each.about for each in ALL]
    assert len(ALL) >= 30
    assert all(about.count(rule) >= 3 for rule in ("token", "commit order", "due check", "budget", "key", "inbox"))
