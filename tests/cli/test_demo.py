"""`wfcelery demo`, killed while a step runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.command_line import environment


def begin(folder: Path, seed: int, *options: str) -> subprocess.Popen[str]:
    folder.mkdir()
    command = [sys.executable, "-m", "wfcelery.cli", "demo", "--json", "--seed", str(seed), *options]
    return subprocess.Popen(command, cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def told(demo: subprocess.Popen[str]) -> dict[str, Any]:
    out, err = demo.communicate(timeout=100)
    assert demo.returncode == 0, f"{out}\n{err}"
    said: dict[str, Any] = json.loads(out)
    assert said["wrong"] == []
    assert said["interrupted"]
    assert set(said["interrupted"]) <= {again["step"] for again in said["again"]}
    assert all(again["attempt"] >= 2 for again in said["again"])
    return said


def test_the_demo_survives_its_kill_three_times_and_a_seed_changes_the_figures(tmp_path: Path) -> None:
    demos = [begin(tmp_path / str(seed), seed, "--pace", "0.25") for seed in (1, 2, 3)]
    airports = [told(demo)["airports"] for demo in demos]
    assert len(set(airports)) > 1
    assert (tmp_path / "1" / "demo-output" / "airports.svg").read_text().startswith("<svg")


def test_the_demo_on_postgresql_and_redis_with_two_workers_and_a_beat(tmp_path: Path) -> None:
    assert told(begin(tmp_path / "production", 4, "--production", "--pace", "0.25"))["airports"] > 1000


@pytest.mark.long
def test_the_demo_survives_its_kill_twenty_times(tmp_path: Path) -> None:
    for seed in range(20):
        told(begin(tmp_path / str(seed), seed))
