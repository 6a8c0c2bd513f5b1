"""`wfcelery dev` and `wfcelery worker`: supervisors and children that die."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.acceptance.eventually import eventually
from tests.cli.command_line import Cli, ended, start, start_dev
from wfcelery.worker.processes import birth


def test_a_killed_worker_is_started_again_and_its_step_runs_again(tmp_path: Path, sqlite_url: str) -> None:
    dev, cli = start_dev(tmp_path, sqlite_url), Cli(sqlite_url)
    try:
        run = start(cli, "napping", '{"seconds": 60}')
        eventually(lambda: cli.json("runs", "show", run)[0]["executing"] == ["nap"])
        killed = dev.worker()
        os.kill(killed, signal.SIGKILL)
        view = ended(cli, run)
        assert view["status"] == "succeeded"
        assert (view["steps"][0]["attempt"], view["steps"][0]["lost"]) == (2, 1)
        assert [attempt["outcome"] for attempt in view["steps"][0]["attempts"]] == ["lost", "succeeded"]
        worker = dev.worker()
        assert worker != killed
        assert dev.stop() == 0
        assert birth(worker) is None
        assert (
            cli.json("workers", "list") == []
            or [row for row in cli.json("workers", "list") if row["process"].startswith(f"{worker}:")] == []
        )
    finally:
        dev.process.kill()
        dev.process.wait(10)


def test_a_worker_ends_with_a_supervisor_that_was_killed(tmp_path: Path, sqlite_url: str) -> None:
    dev = start_dev(tmp_path, sqlite_url)
    worker = dev.worker()
    dev.process.kill()
    dev.process.wait(10)
    eventually(lambda: birth(worker) is None, what="the worker is gone")
