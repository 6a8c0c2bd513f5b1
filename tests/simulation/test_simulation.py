"""Thousands of seeds through the real engine; a seed is a history; and the rig sees the mistakes it is there to see."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.mutants.run import copy_of_the_tree
from tests.simulation.killing import Mistake, hunt, mistakes, of_today
from tests.simulation.simulate import simulate

ROOT = Path(__file__).resolve().parents[2]
ALL = mistakes()
# Seeds in which the engine, or the rig's own idea of a crash or of a value, was wrong once.
RED_ONCE = 300_005_727, 400_001_065, 400_024_573, 400_030_270, 400_038_646, 500_025_687
FIXED = 3_000  # seeds that every check runs; the rest of its time goes to seeds that are new each day
SECONDS = 100
DAY = datetime.now(UTC).toordinal() * 100_000  # the first of today's
# A set of seeds in which one of these never happens shows less than it says.
RARE = (
    *(f"{beats} beats" for beats in range(4)),
    "clocks differed",
    "a deploy in mid-run",
    "a commit landed late",
    "a crash took a claim back",
    "a dead letter was retried",
    "a flush lost messages",
    "a process was stopped past its lease",
    "two attempts of a step overlapped",
    "killed idle",
    "killed before a transaction",
    "killed between a commit and its answer",
    "killed between a commit and its rings",
    "killed in a step",
    "killed in a pause of the engine",
    "history: items_handed_back",
    "history: run_cancelled",
    "history: run_timed_out",
    "history: step_advanced",
    "history: step_handed_back",
    "history: step_lost",
    "history: step_parked",
    "history: step_timed_out",
    "history: step_unadvanced",
    "history: wait_came",
    *(f"schedule: {overlap}" for overlap in ("skip", "buffer", "allow", "cancel")),
    "schedule: a slot was skipped",
    "schedule: a run was cancelled",
)
FAULTS = (
    "away",
    "child killed",
    "clash",
    "database crash",
    "flush",
    "forged message",
    "message late",
    "message lost",
    "message repeated",
    "stopped",
    "unknown, landed",
    "unknown, late",
    "unknown, lost",
    "worker killed",
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
    assert [what for what in FAULTS if not found["faults"].get(what)] == []
    assert found["unknown_commits"] >= 0.03 * found["commits"]
    assert found["most_faults_in_one_seed"] >= 8


@pytest.mark.timeout(900)
def test_no_seed_breaks_a_promise(tmp_path: Path) -> None:
    """The same seeds each day, which reach all there is to reach; then new ones, of which a red one is a bug that was found."""
    known = told("--seeds", str(FIXED), folder=tmp_path)
    check(known)
    assert known["seeds"] == FIXED
    left = max(10.0, SECONDS - known["seconds"])
    new = told("--first", str(DAY), "--seeds", "1000000", "--seconds", str(left), folder=tmp_path)
    assert new["violations"] == [], "make simulate SEED=... tells one of these again"
    assert new["seeds"] > 0


@pytest.mark.parametrize("seed", RED_ONCE)
def test_a_seed_that_was_red_once_stays_green(seed: int, tmp_path: Path) -> None:
    found = told("--first", str(seed), "--seeds", "1", folder=tmp_path)
    assert (found["seeds"], found["violations"]) == (1, [])


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_twenty_minutes_of_seeds_break_no_promise_and_every_mistake_is_found(tmp_path: Path) -> None:
    """One report of both; WFCELERY_TEST_SIMULATION_JSON says where it is to stay."""
    found = told("--first", str(DAY), "--seeds", "1000000", "--seconds", "1200", "--mutants", "all", folder=tmp_path)
    kept = os.environ.get("WFCELERY_TEST_SIMULATION_JSON")
    if kept:
        Path(kept).write_text(json.dumps(found, indent=2) + "\n")
    check(found)
    assert found["alive"] == []
    assert found["mutants"] == found["mutants_killed"] == len(ALL)


def test_a_seed_is_one_history_byte_for_byte(tmp_path: Path) -> None:
    def trace(name: str) -> bytes:
        file = tmp_path / name
        command = [sys.executable, "-m", "tests.simulation", "--seed", "38", "--trace", str(file)]
        subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, check=True)
        return file.read_bytes()

    first = trace("first")
    assert len(first.splitlines()) > 50
    assert trace("second") == first


def test_a_world_leaves_nothing_to_the_next() -> None:
    """They use one database in memory, one after the other."""

    def trace(seed: int) -> list[str]:
        lines: list[str] = []
        simulate(seed, lines.append)
        return lines

    alone = trace(38)
    for seed in range(39, 43):
        simulate(seed)
    assert len(alone) > 50
    assert trace(38) == alone


@pytest.fixture(scope="module")
def copy() -> Iterator[Path]:
    with copy_of_the_tree() as made:
        yield made


@pytest.mark.timeout(900)
@pytest.mark.parametrize("mistake", of_today(), ids=lambda each: each.name)
def test_the_mistakes_of_today_are_found(copy: Path, mistake: Mistake) -> None:
    assert hunt(mistake, copy).wrong is None


def test_there_are_mistakes_about_each_rule() -> None:
    about = [each.about for each in ALL]
    assert len(ALL) >= 30
    assert all(about.count(rule) >= 3 for rule in ("token", "lock", "commit order", "due check", "budget", "key", "inbox"))
