"""What a tree of processes has used: CPU with that of its dead children, and memory as it is shared out."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

TICK_MS = 1000 / os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Process:
    """A process as `/proc/<pid>/stat` tells of it; the CPU is its own and that of the children it has waited for."""

    pid: int
    parent: int
    cpu_ms: float


def processes() -> dict[int, Process]:
    """All processes of the machine."""
    found = (_read(int(name)) for name in os.listdir(_PROC) if name.isdigit())
    return {process.pid: process for process in found if process is not None}


def tree(all_: dict[int, Process], roots: Iterable[int]) -> list[Process]:
    """The roots and everything below them."""
    children: dict[int, list[int]] = {}
    for process in all_.values():
        children.setdefault(process.parent, []).append(process.pid)
    members, open_ = [], [pid for pid in roots if pid in all_]
    while open_:
        pid = open_.pop()
        members.append(all_[pid])
        open_ += children.get(pid, [])
    return members


def cpu_ms(members: Iterable[Process]) -> float:
    """What they used since they began. It never shrinks: whoever dies is added to its parent, which waits for it."""
    return sum(member.cpu_ms for member in members)


def memory_mb(members: Iterable[Process]) -> float:
    """PSS: what is shared counts as a part for each that shares it. A process that has just ended counts as nothing."""
    return sum(_pss_kb(member.pid) for member in members) / 1024


def machine_busy_ms() -> float:
    """CPU that the whole machine has used since it started: neither idle nor waiting for a disk."""
    words = (_PROC / "stat").read_text().splitlines()[0].split()[1:9]
    user, nice, system, _, _, irq, softirq, steal = (int(word) for word in words)
    return (user + nice + system + irq + softirq + steal) * TICK_MS


def _read(pid: int) -> Process | None:
    try:
        told = (_PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name, in parentheses, may itself hold spaces and parentheses.
    fields = told.rpartition(")")[2].split()
    return Process(pid, int(fields[1]), sum(int(field) for field in fields[11:15]) * TICK_MS)


def _pss_kb(pid: int) -> int:
    try:
        lines = (_PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
