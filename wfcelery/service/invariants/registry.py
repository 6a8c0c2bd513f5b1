"""What an invariant is, and where each one is entered: by its number, its short name and what it promises."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from uuid import UUID

from wfcelery.service.invariants.case import Case
from wfcelery.service.invariants.whole import Whole

OfRun = Callable[[Case], Iterator[str]]
OfWhole = Callable[[Whole], Iterator[tuple[UUID | None, str]]]


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that must never be, and the invariant that says so."""

    number: int
    name: str
    what: str

    def __str__(self) -> str:
        return f"{self.number} {self.name}: {self.what}"


@dataclass(frozen=True, slots=True)
class Invariant:
    """Something that always holds. Several checks may stand for one number: on each run, and across all of them."""

    number: int
    name: str
    promise: str  # one sentence
    needs: tuple[str, ...]  # beside the tables: effects, starts, tap, drained, bound, healed
    check: OfRun | None = None
    across: OfWhole | None = None

    def problem(self, what: str) -> Problem:
        """Say that it does not hold."""
        return Problem(self.number, self.name, what)


INVARIANTS: list[Invariant] = []

# Numbers of section 3 of the list of invariants that wait for what they speak of.
LATER = {
    21: "events",
    33: "a second release",
    37: "webhooks",
}


def invariant(number: int, name: str, promise: str, *needs: str) -> Callable[[OfRun], OfRun]:
    """Enter a check of one run."""

    def enter(check: OfRun) -> OfRun:
        INVARIANTS.append(Invariant(number, name, promise, needs, check=check))
        return check

    return enter


def across_runs(number: int, name: str, promise: str, *needs: str) -> Callable[[OfWhole], OfWhole]:
    """Enter a check of all runs together."""

    def enter(check: OfWhole) -> OfWhole:
        INVARIANTS.append(Invariant(number, name, promise, needs, across=check))
        return check

    return enter
