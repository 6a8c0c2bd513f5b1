"""What a state is made of: tuples with names, so that millions of them can be compared and kept."""

from __future__ import annotations

from typing import Any, NamedTuple

Token = tuple[int, int]  # attempt, and what only this attempt has
Bell = tuple[str, int, int]  # a message: step | items | run, which one, and which of several
Fact = Any  # cancel | pause | resume, or a tuple that says what about

OPEN = ("running", "paused")  # of a run
ENDING = {"cancelling": "cancelled", "failing": "failed"}  # of a run: nothing advances any more, and how it will end
OVER = ("succeeded", "cancelled", "failed")  # of a run
DONE = ("succeeded", "timed_out")  # of a step: what follows may go on
ENDED = (*DONE, "cancelled", "failed")  # of a step
UNDER_WAY = ("running", "reported")  # of a step: it has a token


class V(Exception):
    """A violated promise."""


class RolledBack(Exception):
    """A transaction that changed nothing: fenced, or a row was not as it had been read."""


class Step(NamedTuple):
    """The row of a step, of a fan-out, or of one of its items; the last four serve the checks alone."""

    status: str
    blockers: int = 0  # predecessors that have not ended
    token: Token | None = None
    why: str = ""  # of a held step: pause | limit
    later: bool = False  # of a ready step: its due time is still to come
    failures: int = 0
    items_left: int = 0  # of a fan-out
    buried: bool = False  # it has an open dead letter
    attempt: int = 0
    claims: int = 0
    unflushed: bool = False  # its claim is committed, and a crash of the database can take it back
    judged: bool = True  # whether its lease can end
    effects: int = 0  # how often its transactional effect was applied


class Attempt(NamedTuple):
    """What a worker has claimed under one token: a step, or a group of items."""

    steps: tuple[int, ...]
    token: Token


class Worker(NamedTuple):
    """Where a worker is in its story, and what it holds."""

    at: str = "idle"  # idle exec ran wait put tell try hold publish look ask next
    own: Attempt | None = None
    failed: tuple[int, ...] = ()  # those of its own whose code raised
    keep: Attempt | None = None  # a kept step that it has not begun
    run: int = -1
    fan: int | None = None  # the fan-out whose items it works off
    facts: tuple[Fact, ...] = ()  # what it read in the inbox
    seen: tuple[str, ...] = ()  # the statuses it read, where it will write over them
    counters: tuple[int, ...] = ()  # counters read too early: mutants only
    bells: frozenset[Bell] = frozenset()

    def attempts(self) -> tuple[Attempt, ...]:
        """What it knows it is executing: exactly these tokens are renewed."""
        return tuple(a for a in (self.own, self.keep) if a is not None)


IDLE = Worker()


class State(NamedTuple):
    """One state of the whole system."""

    runs: tuple[str, ...]
    steps: tuple[Step, ...]
    inbox: tuple[tuple[Fact, ...], ...]  # of each run
    bells: frozenset[Bell]  # messages under way
    workers: tuple[Worker, ...]
    ghost: Worker | None  # a COMMIT under way whose sender has lost its connection or is dead
    budget: tuple[int, ...]  # what may still happen, in the order of BUDGET
    published: frozenset[int]  # serves one mutant only


FAULTS = ("crash", "lose", "dup", "stall", "unknown", "dbcrash")
REQUESTS = ("cancel", "pause", "resume")
BUDGET = (*FAULTS, *REQUESTS, "timeout", "fail", "retry")
