"""Free ports, and waiting until somebody answers."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path


class DidNotStart(AssertionError):
    """A server ended, or did not answer in time; its log says why."""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_until_it_answers(process: subprocess.Popen[bytes], answers: Callable[[], bool], log: Path, within: float) -> None:
    deadline = time.monotonic() + within
    while not answers():
        code = process.poll()
        if code is not None or time.monotonic() > deadline:
            said = log.read_text(errors="replace")[-4000:]
            what = f"ended with {code}" if code is not None else f"did not answer within {within:g} s"
            raise DidNotStart(f"{Path(str(process.args[0])).name} {what}:\n{said}")  # type: ignore[index]
        time.sleep(0.02)
