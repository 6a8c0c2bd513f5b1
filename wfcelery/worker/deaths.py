"""Sees the death of a pool's child within milliseconds."""

from __future__ import annotations

import os
import select
from dataclasses import dataclass, field

from wfcelery.worker.slots import Child, SharedSlots

GONE = -1  # dead and reaped before anybody looked


@dataclass(slots=True)
class ChildWatch:
    """Watches every child that has stamped a slot. A zombie that nobody has reaped is told once."""

    slots: SharedSlots
    living: dict[Child, int | None] = field(default_factory=dict)  # its pidfd; None: the system has none
    _told: set[Child] = field(default_factory=set)
    _poll: select.poll = field(init=False)

    def __post_init__(self) -> None:
        self._poll = select.poll()  # not when this file is imported: a web process may have had it taken out by eventlet

    def look(self, seconds: float) -> list[Child]:
        """Wait that long, or until one dies; the children that have died since the last look."""
        ready = {descriptor for descriptor, _ in self._poll.poll(int(seconds * 1000))}
        now = self.slots.children()
        self._told &= now.keys()
        for child in now.keys() - self.living.keys() - self._told:
            self._begin(child)
        dead = [child for child, descriptor in self.living.items() if child not in now or self._is_dead(child, descriptor, ready)]
        for child in dead:
            self._end(child)
        return dead

    def close(self) -> None:
        for child in list(self.living):
            self._end(child)

    def _begin(self, child: Child) -> None:
        try:
            descriptor = os.pidfd_open(child.pid) if hasattr(os, "pidfd_open") else None
        except ProcessLookupError:
            descriptor = GONE
        except OSError:  # forbidden by a sandbox, or an old kernel
            descriptor = None
        if descriptor is not None and descriptor >= 0:
            self._poll.register(descriptor, select.POLLIN)
        self.living[child] = descriptor

    def _end(self, child: Child) -> None:
        descriptor = self.living.pop(child)
        self._told.add(child)
        if descriptor is not None and descriptor >= 0:
            self._poll.unregister(descriptor)
            os.close(descriptor)

    def _is_dead(self, child: Child, descriptor: int | None, ready: set[int]) -> bool:
        if descriptor is not None:
            return descriptor == GONE or descriptor in ready
        try:
            # WNOWAIT: the pool will want to reap it itself.
            return os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None
        except ChildProcessError:
            return True
