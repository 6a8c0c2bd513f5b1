"""What the benchmark gives to a peer's processes, and how they wait: nothing here needs more than Python itself."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

POLLING = 0.01
"""Seconds between two looks, wherever a peer asks again and again and lets one choose how often."""


def database() -> str:
    """The URL of the peer's own PostgreSQL database."""
    return os.environ["BENCH_DATABASE_URL"]


def folder() -> Path:
    """A folder of the peer's own, gone when the benchmark ends."""
    return Path(os.environ["BENCH_FOLDER"])


def port(place: int) -> int:
    """One of the few ports that are the peer's."""
    return int(os.environ["BENCH_PORTS"].split(",")[place])


def beside(program: str) -> Path:
    """A program of the peer's environment."""
    return Path(sys.prefix) / "bin" / program


def become(*words: str | int | Path) -> NoReturn:
    """This process goes on as another program."""
    command = [str(word) for word in words]
    os.execv(command[0], command)


def wait_for_port(number: int, seconds: float = 90.0) -> None:
    """Until somebody listens there."""

    def listens() -> bool:
        with socket.socket() as caller:
            return caller.connect_ex(("127.0.0.1", number)) == 0

    wait_until(listens, seconds, f"nobody listens on port {number}", 0.1)


def wait_until(there: Callable[[], bool], seconds: float, otherwise: str, between: float = POLLING) -> None:
    """Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while not there():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{otherwise} after {seconds:g} s")
        time.sleep(between)
