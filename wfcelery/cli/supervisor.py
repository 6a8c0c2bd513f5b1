"""A supervisor with one worker child: started again when it dies, ended with its supervisor, whatever ends that."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from wfcelery.clock import monotonic
from wfcelery.worker import supervised

SHORT = 5.0  # seconds; a child that lives less is started again with growing pauses
LONGEST_PAUSE = 5.0
PATIENCE = 10.0  # seconds for a child to end in peace


@dataclass(slots=True)
class Child:
    """One process that shall run as long as its supervisor does."""

    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    log: Path | None = None  # None: where the supervisor's own output goes
    died: Callable[[int], None] = lambda code: None  # noqa: ARG005 - told its exit code before it is started again
    _process: subprocess.Popen[bytes] | None = None
    _ended: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    @property
    def pid(self) -> int:
        """The process that runs now, or ran last."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> Child:
        """Start it, and a thread that starts it again whenever it is gone."""
        self._spawn()
        self._thread = threading.Thread(target=self._watch, name="wfcelery-supervisor", daemon=True)
        self._thread.start()
        return self

    def ask(self) -> None:
        """Ask it to end, and do not wait."""
        self._ended.set()
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def stop(self) -> None:
        """End it: asked first, killed when it does not listen."""
        if not self._ended.is_set():
            self.ask()
        process = self._process
        if process is not None and process.poll() is None:
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._thread is not None:
            self._thread.join(PATIENCE)

    def _watch(self) -> None:
        pause, began = 0.0, monotonic()
        while True:
            assert self._process is not None
            code = self._process.wait()
            if self._ended.is_set():
                return
            self.died(code)
            pause = 0.0 if monotonic() - began >= SHORT else min(LONGEST_PAUSE, pause * 2 or 0.2)
            if self._ended.wait(pause):
                return
            began = monotonic()
            self._spawn()

    def _spawn(self) -> None:
        environment = {**os.environ, **self.environment, **supervised.environment()}
        output: IO[Any] | None = None if self.log is None else self.log.open("ab")
        try:
            # A group of its own: Ctrl-C is for the supervisor, which asks its child to finish what it does.
            self._process = subprocess.Popen(  # noqa: S603 - our own command line
                list(self.command), stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, process_group=0
            )
        finally:
            if output is not None:
                output.close()


def worker_command(module: str, *options: str) -> list[str]:
    """`wfcelery worker` with this Python, for an app or a module, with the database as its bell."""
    return [sys.executable, "-m", "wfcelery.cli", "worker", "-A", module, "--bell", "database", *options]


def worker_environment(database: str, *places: Path) -> dict[str, str]:
    """What such a child is told: where the tables are, and to look into them five times a second."""
    return {"WFCELERY_DATABASE_URL": database, "WFCELERY_POLL": os.environ.get("WFCELERY_POLL", "0.2"), "PYTHONPATH": path(*places)}


def path(*places: Path) -> str:
    """A PYTHONPATH by which a child finds what this process finds: these places, and the folder it was called in."""
    given = os.environ.get("PYTHONPATH")
    return os.pathsep.join([*map(str, places), os.getcwd(), *([given] if given else [])])
