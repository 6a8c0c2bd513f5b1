"""The history of a run as a sequence: which fact came after which, and how the attempts of each step ended."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from wfcelery.core.folding import Place
from wfcelery.core.quorums import TOO_FEW
from wfcelery.core.rows import NO_ITEM
from wfcelery.store.reading import HistoryRow

# Facts that end an attempt, where they carry its number.
_ENDS = ("step_succeeded", "step_failed", "step_timed_out", "step_retried", "step_lost", "step_parked", "step_put_off", "step_cancelled")
RUN_ENDS = ("run_succeeded", "run_failed", "run_cancelled", "run_timed_out")


@dataclass(frozen=True, slots=True)
class Told:
    """One fact, in its commit. Commits are ordered by their versions, facts within one by their place in the list."""

    version: int
    at: datetime
    since: datetime | None  # when the commit before it was made
    what: str
    fact: Mapping[str, Any]

    @property
    def place(self) -> Place | None:
        """The task, or the item, that it is about."""
        return (self.fact["step"], self.fact.get("item", NO_ITEM)) if "step" in self.fact else None


@dataclass(frozen=True, slots=True)
class Closing:
    """How one attempt ended. Attempts of groups, and those that a join fenced, carry no number."""

    told: Told
    attempt: int | None
    started: datetime | None


@dataclass(slots=True)
class Chronicle:
    """All facts in their order, and those about each task and item."""

    facts: list[Told] = field(default_factory=list)
    of: dict[Place, list[Told]] = field(default_factory=dict)
    _closings: dict[Place, list[Closing]] = field(default_factory=dict)

    def closings(self, place: Place) -> Sequence[Closing]:
        """How the attempts of a task or an item ended, oldest first."""
        found = self._closings.get(place)
        if found is None:
            found = self._closings[place] = list(self._closed(place))
        return found

    def _closed(self, place: Place) -> Iterator[Closing]:
        for told in self.of.get(place, ()):
            fact = told.fact
            numbered = told.what in _ENDS and "attempt" in fact
            fenced = told.what == "step_cancelled" and not numbered and str(fact.get("why", "")).endswith(":running")
            if numbered or fenced or told.what == "items_succeeded":
                started = fact.get("started")
                yield Closing(told, fact.get("attempt"), datetime.fromisoformat(started) if started else None)

    def burials(self, place: Place) -> int:
        """How often it failed for good. A fan-out that fails because an item did is not buried itself."""
        count, fanned = 0, False
        for told in self.of.get(place, ()):
            if told.what == "fan_out_opened":
                fanned = True
            elif told.what == "step_reopened" and told.fact.get("anew"):
                fanned = False
            elif told.what in ("step_failed", "step_timed_out") and (not fanned or _is_short(told)):
                count += 1
        return count


def _is_short(told: Told) -> bool:
    return (told.fact.get("error") or {}).get("code") == TOO_FEW


def chronicle(history: Iterable[HistoryRow]) -> Chronicle:
    """Read the rows of a history, in the order of their versions."""
    found = Chronicle()
    since: datetime | None = None
    for row in history:
        for fact in row.facts:
            told = Told(row.version, row.at, since, fact["fact"], fact)
            found.facts.append(told)
            for place in _places(fact):
                found.of.setdefault(place, []).append(told)
        since = row.at
    return found


def _places(fact: Mapping[str, Any]) -> Iterable[Place]:
    if "step" not in fact:
        return ()
    name = fact["step"]
    if isinstance(fact.get("items"), list):
        return [(name, item) for first, last in fact["items"] for item in range(first, last + 1)]
    if fact["fact"] in ("items_born", "items_let_go"):
        return [(name, item) for item in range(fact["first"], fact["last"])]
    return [(name, fact.get("item", NO_ITEM))]
