"""The command line in this process, and `wfcelery dev` in another."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from tests.acceptance.eventually import eventually
from wfcelery.cli import group

ROOT = Path(__file__).resolve().parents[2]
FLOWS = "tests.cli.flows"


@dataclass
class Cli:
    """`wfcelery` on one database."""

    url: str
    runner: CliRunner = field(default_factory=CliRunner)

    def __call__(self, *arguments: str, code: int = 0) -> Result:
        result = self.runner.invoke(group, ["--database", self.url, *arguments], prog_name="wfcelery")
        assert result.exit_code == code, f"{arguments}: {result.exit_code}\n{result.output}\n{result.exception!r}"
        return result

    def lines(self, *arguments: str, code: int = 0) -> list[str]:
        return self(*arguments, code=code).stdout.splitlines()

    def json(self, *arguments: str, code: int = 0) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines(*arguments, "--json", code=code)]


@dataclass
class Dev:
    """A `wfcelery dev`."""

    process: subprocess.Popen[bytes]
    log: Path

    def worker(self) -> int:
        """The pid of its worker child."""
        places = Path(f"/proc/{self.process.pid}/task").glob("*/children")  # each thread has its own
        found = [int(pid) for place in places for pid in place.read_text().split()]
        assert found, self.log.read_text()
        return found[0]

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("WFCELERY_", "PYTEST"))}
    return {**kept, "PYTHONPATH": str(ROOT), **more}


def start_dev(folder: Path, url: str, *options: str, **settings: str) -> Dev:
    log = folder / "dev.log"
    command = [sys.executable, "-m", "wfcelery.cli", "--database", url, "dev", FLOWS, *options]
    with log.open("ab") as output:
        process = subprocess.Popen(command, cwd=folder, env=environment(**settings), stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    eventually(lambda: " ready." in log.read_text(), what="dev is ready", explain=log.read_text)
    return Dev(process, log)


def ended(cli: Cli, run: str) -> dict[str, Any]:
    """A run, when it has ended."""

    def look() -> dict[str, Any] | None:
        (view,) = cli.json("runs", "show", run)
        return view if view["status"] in ("succeeded", "failed", "cancelled", "timed_out") else None

    return eventually(look, what=f"{run} ends")


def start(cli: Cli, workflow: str, input: str, *options: str) -> str:
    """Start a run by its name, with the code at hand as `-A` gives it."""
    (run,) = cli.lines("-A", FLOWS, "runs", "start", workflow, input, *options)
    return run
