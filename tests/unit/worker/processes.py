"""Real `celery worker` processes over the app of `worker_app`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from tests.servers import caretaker

T = TypeVar("T")
ROOT = Path(__file__).parents[3]


def eventually(what: Callable[[], T], within: float = 20.0) -> T:
    """The first truthy answer; an error after the deadline."""
    end = time.monotonic() + within
    while not (answer := what()):
        assert time.monotonic() < end, f"not within {within:g} s: the answer is still {answer!r}"
        time.sleep(0.02)
    return answer


class Worker:
    """One `celery worker`, its output in the folder."""

    def __init__(self, folder: Path, broker: str | None, *options: str, **environment: str) -> None:
        self.log = folder / "worker.log"
        names = {"TEST_FOLDER": str(folder), **({"TEST_BROKER": broker} if broker else {}), **environment}
        command = [sys.executable, "-m", "celery", "-A", "tests.unit.worker.worker_app", "worker", "-l", "INFO"]
        command += ["--without-mingle", "--without-gossip", *options]
        self.process: subprocess.Popen[bytes] = caretaker.start(command, self.log, environment={**os.environ, **names}, folder=ROOT)

    @property
    def pid(self) -> int:
        return self.process.pid

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def stop(self, how: int = signal.SIGTERM, within: float = 30) -> int:
        self.process.send_signal(how)
        return self.process.wait(within)


@contextmanager
def running(folder: Path, broker: str | None, *options: str, **environment: Any) -> Iterator[Worker]:
    """A worker that has registered, and is gone afterwards."""
    registered = (folder / "log").read_text().count('"register"') if (folder / "log").exists() else 0
    worker = Worker(folder, broker, *options, **environment)
    try:
        eventually(lambda: _registered(folder, registered, worker), 40)
        yield worker
    finally:
        caretaker.end(worker.process)


def _registered(folder: Path, before: int, worker: Worker) -> bool:
    assert worker.process.poll() is None, worker.output()[-4000:]
    log = folder / "log"
    return log.exists() and log.read_text().count('"register"') > before and "ready." in worker.output()
