"""Which process is meant: a pid alone is used again, a pid with its birth is not."""

from __future__ import annotations

import os
import socket
import time
from functools import cache
from pathlib import Path

_STARTED = str(time.time_ns())  # where the system does not say when a process began, this one's import must do


def birth(pid: int) -> str | None:
    """When a process began, as its system counts; None where there is no such process, or it is a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return _STARTED if pid == os.getpid() else None
    return None if fields[0] in (b"Z", b"X") else fields[19].decode()


def identity(pid: int | None = None) -> str:
    """A process as "pid:birth"."""
    asked = os.getpid() if pid is None else pid
    return f"{asked}:{birth(asked) or '?'}"


def lives(process: str) -> bool:
    """Whether the process of that identity is still there, on this host."""
    pid, _, began = process.partition(":")
    return birth(int(pid)) == began


@cache
def host() -> str:
    """The name of this host, its boot and its pid namespace: two containers of one name are two hosts."""
    name = socket.gethostname()
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
        namespace = os.readlink("/proc/self/ns/pid").strip("pid:[]")
    except OSError:
        return name
    return f"{name}/{boot}/{namespace}"
