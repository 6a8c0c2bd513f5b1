"""Which attempts the processes of a worker execute: written by those who execute, read by the parent.

The memory is shared by the parent and its children: a head with the parent's word to all (flags, the
worker's id), a slot for each child (pid, birth, tokens), and the list of tokens that are cancelled. Every
byte has one writer, so nothing is locked. Where the parent executes itself (threads, solo), a set does.
"""

from __future__ import annotations

import mmap
import os
import struct
import tempfile
from collections.abc import Collection
from dataclasses import dataclass, field
from threading import Lock
from uuid import UUID

from billiard import current_process

from wfcelery.errors import InternalError
from wfcelery.worker import processes

VARIABLE = "WFCELERY_SLOTS"  # where a spawned child finds the memory

HEAD, SLOT, COUNT, PLACES = 64, 128, 1024, 7
CANCELLED = HEAD + SLOT * COUNT
MOST_CANCELLED = 1023
SIZE = CANCELLED + 16 * (MOST_CANCELLED + 1)
EVENTS, DRAINING, UNKNOWN, WORKER = 0, 1, 2, 16  # where in the head
NOBODY = bytes(16)


@dataclass(frozen=True, slots=True)
class Child:
    """One process of the pool that has executed something."""

    pid: int
    birth: int

    def __str__(self) -> str:
        return f"{self.pid}:{self.birth}"


@dataclass(slots=True)
class SharedSlots:
    """The slots of one worker. `open` in the parent before any fork; everything else finds the memory by itself."""

    parent: int | None = None
    memory: mmap.mmap | None = None
    _descriptor: int | None = None
    _local: set[UUID] = field(default_factory=set)
    _lock: Lock = field(default_factory=Lock)
    _owner: int | None = None
    _at: int = 0
    _child: str = ""
    _worker: UUID = UUID(bytes=NOBODY)  # noqa: RUF009 - a constant
    _known: tuple[int, frozenset[bytes]] = (-1, frozenset())

    # ---- the parent --------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Make the memory, for this process and the children it will have."""
        self.close()
        if hasattr(os, "memfd_create"):
            self._descriptor = os.memfd_create("wfcelery")
            place = f"/proc/{os.getpid()}/fd/{self._descriptor}"
        else:
            self._descriptor, place = tempfile.mkstemp(prefix="wfcelery-slots-")
        os.ftruncate(self._descriptor, SIZE)
        self.memory = mmap.mmap(self._descriptor, SIZE)
        self.parent, self._local, self._known = os.getpid(), set(), (-1, frozenset())
        self._child = processes.identity()
        os.environ[VARIABLE] = place
        self.flag(UNKNOWN, True)

    def close(self) -> None:
        """Let the memory go; tokens written from now on are an error."""
        if self._descriptor is not None and self.parent == os.getpid():
            os.close(self._descriptor)
            os.environ.pop(VARIABLE, None)
        self._descriptor = self.memory = self.parent = None

    def known_as(self, worker: UUID) -> None:
        """From now on the database knows this worker by that id; before, nothing may be claimed."""
        self._memory()[WORKER : WORKER + 16] = worker.bytes
        self.flag(UNKNOWN, False)

    def flag(self, which: int, value: bool) -> None:
        """Set one of the head's flags: EVENTS, DRAINING, UNKNOWN."""
        self._memory()[which] = value

    def children(self) -> dict[Child, frozenset[UUID]]:
        """Every child that has a slot, dead ones too, with the tokens in it."""
        rows = struct.iter_unpack("qq" + "16s" * PLACES, self._memory()[HEAD:CANCELLED])
        return {
            Child(pid, birth): frozenset(UUID(bytes=token) for token in tokens if token != NOBODY) for pid, birth, *tokens in rows if pid
        }

    def own(self) -> frozenset[UUID]:
        """What this process executes itself."""
        with self._lock:
            return frozenset(self._local)

    def tell_cancelled(self, tokens: Collection[UUID]) -> None:
        """Say which of the executing attempts shall end; replaces what was said before."""
        memory, listed = self._memory(), sorted(tokens)[:MOST_CANCELLED]
        (number,) = struct.unpack_from("q", memory, CANCELLED)
        if number % 2 == 0 and self._listed() == frozenset(token.bytes for token in listed):
            return
        # Odd while it is being written: who reads then does not take it for the last word.
        struct.pack_into("qq", memory, CANCELLED, number + 1, len(listed))
        memory[CANCELLED + 16 : CANCELLED + 16 * (1 + len(listed))] = b"".join(token.bytes for token in listed)
        struct.pack_into("q", memory, CANCELLED, number + 2)

    # ---- whoever executes --------------------------------------------------------------------------------------------

    def take(self, token: UUID) -> None:
        """From now on this token is renewed; once, however often a transaction that takes it is repeated."""
        if os.getpid() == self.parent:
            with self._lock:
                self._local.add(token)
        elif self._place_of(token.bytes) is None:
            self._swap(NOBODY, token.bytes)

    def drop(self, token: UUID) -> None:
        """The attempt is over; a token that is not there is none's business."""
        if os.getpid() == self.parent:
            with self._lock:
                self._local.discard(token)
        else:
            self._swap(token.bytes, NOBODY)

    def identity(self) -> tuple[UUID, str]:
        """The worker's id in wf_worker, and this process as "pid:birth"."""
        known = self._memory()[WORKER : WORKER + 16]
        if os.getpid() != self.parent:
            self._mine()
        if known != self._worker.bytes:
            self._worker = UUID(bytes=known)
        return self._worker, self._child

    def flagged(self, which: int) -> bool:
        """One of the head's flags; False where there is no worker."""
        return self._attached() and bool(self._memory()[which])

    def cancelled(self, token: UUID) -> bool:
        """Whether the parent has said that this attempt shall end."""
        if not self._attached():
            return False
        (number,) = struct.unpack_from("q", self._memory(), CANCELLED)
        if number != self._known[0]:
            listed = self._listed()
            if number % 2:
                return token.bytes in listed
            self._known = (number, listed)
        return token.bytes in self._known[1]

    # ---- memory ------------------------------------------------------------------------------------------------------

    def _listed(self) -> frozenset[bytes]:
        memory = self._memory()
        (count,) = struct.unpack_from("q", memory, CANCELLED + 8)
        return frozenset(memory[at : at + 16] for at in range(CANCELLED + 16, CANCELLED + 16 * (1 + count), 16))

    def _attached(self) -> bool:
        return self.memory is not None or VARIABLE in os.environ

    def _memory(self) -> mmap.mmap:
        if self.memory is None:
            place = os.environ.get(VARIABLE)
            if place is None:
                raise InternalError("this process is no worker: it has no place for what it executes")
            with open(place, "r+b") as file:  # spawned, not forked
                self.memory = mmap.mmap(file.fileno(), SIZE)
        return self.memory

    def _mine(self) -> int:
        # Stamped at first use: right in a replaced child too, and no handler has to run while a child starts.
        if self._owner != os.getpid():
            index = getattr(current_process(), "index", None)
            if index is None or index >= COUNT:
                raise InternalError(f"no slot for this process (its place in the pool is {index})")
            memory, self._at = self._memory(), HEAD + SLOT * index
            self._child = processes.identity()
            pid, _, began = self._child.partition(":")
            memory[self._at : self._at + SLOT] = bytes(SLOT)  # its predecessor's tokens go first
            struct.pack_into("qq", memory, self._at, int(pid), int(began))
            self._owner, self._known = os.getpid(), (-1, frozenset())
        return self._at

    def _place_of(self, token: bytes) -> int | None:
        start = self._mine() + 16
        slot = self._memory()[start : start + 16 * PLACES]
        at = slot.find(token)
        while at % 16 and at >= 0:  # the end of one and the beginning of another
            at = slot.find(token, at + 1)
        return None if at < 0 else start + at

    def _swap(self, old: bytes, new: bytes) -> None:
        at = self._place_of(old)
        if at is not None:
            self._memory()[at : at + 16] = new
        elif old == NOBODY:
            raise InternalError("this process executes more attempts at once than its slot has places")
