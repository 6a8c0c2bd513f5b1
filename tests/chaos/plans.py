"""The load: seeded runs, each of which says beforehand how it must end, whatever goes wrong on the way."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any

from tests.simulation import stories
from tests.unit.core.generators import definition_of, flat
from wfcelery.definition.model import Definition

# Every key is used once by each of them: a key is unique within one organization alone.
ORGANIZATIONS = ("default", "acme", "umbra")

# How often each kind comes up.
SHARES = {
    "chain": 16,
    "diamond": 12,
    "fan": 7,
    "narrow_fan": 4,
    "retried": 10,
    "doomed": 4,
    "handled": 5,
    "nap": 8,
    "long": 10,
    "endless": 5,
    "watched": 2,
    "paid": 8,
    "booked": 6,
    "evolving": 8,
    "graph": 12,
}
CAN_BE_CANCELLED = ("chain", "diamond", "fan", "retried", "nap", "long")
WORDS = ("fail", "fail", "refused", "fatal")


@dataclass(frozen=True)
class Plan:
    """One run as the client asks for it, and how it must end."""

    number: int
    organization: str
    key: str
    kind: str
    input: dict[str, Any]
    status: str  # as it must end if nobody cancels it
    answer: Any = None  # of a run that succeeded
    error: str | None = None  # what the message of a failed run's error holds
    cancel_after: float | None = None  # seconds; one that would end by itself may have done so before
    must_be_cancelled: bool = False
    graph: dict[str, Any] | None = field(default=None, repr=False)
    definition: Definition | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """What the run is started by."""
        if self.definition is not None:
            return self.definition.name
        return "evolving" if self.kind == "evolving" else f"chaos_app.{self.kind}"

    def wrong(self, status: str, output: Any, error: Mapping[str, Any] | None, lost_for_good: bool) -> str | None:
        """What is wrong with an end, if anything. `lost_for_good`: a step of it had spent its budget of lost workers."""
        if status == "cancelled" and self.cancel_after is not None:
            return None
        if self.must_be_cancelled:
            return f"it is {status}, and only a cancel ends it"
        if self.kind == "graph":
            return None  # how it must end follows from how its steps did: `verdicts` says so
        if status != self.status:
            return f"it is {status}, and must be {self.status}"
        if status == "failed":
            message = str((error or {}).get("message"))
            return None if self.error is not None and self.error in message else f"it failed with {message!r}, not with {self.error!r}"
        if self.kind == "evolving":
            return None if re.fullmatch(r"(\d+)-\1-\1", str(output)) else f"it began by one revision and went on by another: {output!r}"
        if output == self.answer or (lost_for_good and self.kind == "handled"):
            return None
        return f"its answer is {output!r}, and must be {self.answer!r}"


def canary_of(seed: int, organization: str = "") -> str:
    """A text that the payloads of a run hold, all of them or those of one organization, and nothing that is no payload."""
    return f"canary-{seed}-{organization}"


def plan_of(seed: int, number: int) -> Plan:
    """The run of this number; the same for ever. Three in a row are of one kind and have one key, each in its organization."""
    group, organization = number // len(ORGANIZATIONS), ORGANIZATIONS[number % len(ORGANIZATIONS)]
    kind = Random(f"{seed}/kind/{group}").choices(list(SHARES), list(SHARES.values()))[0]
    random = Random(f"{seed}/{number}")
    start = partial(Plan, number, organization, f"{seed}-{group}-{kind}", kind)
    if kind == "graph":
        return start({}, "", **_graph(random, number))
    made = MAKERS[kind](random, f"{canary_of(seed, organization)}-{number}")
    if kind in CAN_BE_CANCELLED and random.random() < 0.05:
        made["cancel_after"] = random.uniform(0.0, 3.0)
    return start(**made)


def _made(given: dict[str, Any], answer: Any = None, status: str = "succeeded", **more: Any) -> dict[str, Any]:
    return {"input": given, "answer": answer, "status": status, **more}


def _retried(random: Random) -> dict[str, Any]:
    times = random.randint(1, 4)
    return _made({"times": times}, times)


def _fan(random: Random) -> dict[str, Any]:
    numbers = list(range(random.randint(50, 200)))
    return _made({"numbers": numbers}, sum(number * number for number in numbers))


def _narrow_fan(random: Random) -> dict[str, Any]:
    numbers = list(range(random.randint(10, 40)))
    return _made({"numbers": numbers}, sum(number * number for number in numbers))


def _booked(random: Random) -> dict[str, Any]:
    amounts = list(range(random.randint(1, 4)))
    return _made({"amounts": amounts}, sum(amounts))


def _paid(random: Random) -> dict[str, Any]:
    amount = random.randint(1, 1000)
    return _made({"amount": amount}, amount)


def _failing(random: Random, status: str) -> dict[str, Any]:
    reason = f"number {random.randint(1, 10**9)} is lost"  # an author's own words are kept as they are: no canary in them
    return _made({"reason": reason}, status=status, error=reason if status == "failed" else None)


def _cancelled(given: dict[str, Any], after: float) -> dict[str, Any]:
    return _made(given, status="cancelled", cancel_after=after, must_be_cancelled=True)


MAKERS: dict[str, Callable[[Random, str], dict[str, Any]]] = {
    "chain": lambda random, word: _made({"word": word}, f"{word}-a-b-c-d"),
    "diamond": lambda random, word: _made({"word": word}, f"({word}-t-l)({word}-t-r)"),
    "fan": lambda random, word: _fan(random),
    "narrow_fan": lambda random, word: _narrow_fan(random),
    "retried": lambda random, word: _retried(random),
    "doomed": lambda random, word: _failing(random, status="failed"),
    "handled": lambda random, word: _failing(random, status="succeeded"),
    "nap": lambda random, word: _made({"word": word}, f"{word}-a-b"),
    "long": lambda random, word: _made({"word": word, "seconds": round(random.uniform(0.5, 4.0), 1)}, f"{word}-a-b"),
    "endless": lambda random, word: _cancelled({"word": word}, random.uniform(0.2, 4.0)),
    "watched": lambda random, word: _cancelled({"seconds": 3600.0}, random.uniform(0.5, 4.0)),
    "paid": lambda random, word: _paid(random),
    "booked": lambda random, word: _booked(random),
    "evolving": lambda random, word: _made({}),
}


# ---- random graphs ------------------------------------------------------------------------------------------------------


def _graph(random: Random, number: int) -> dict[str, Any]:
    """A random graph of the simulation's, with what becomes of each attempt written into its steps' inputs."""
    graph = _sound(random)
    document = definition_of(graph).model_dump(mode="json", by_alias=True, exclude_unset=True)
    document["name"] = f"graph-{number}"
    tasks = {task["name"]: task for task in flat(graph["tasks"])}
    for task in [inner for outer in document["tasks"] for inner in (outer, *outer.get("tasks", ()))]:
        if task.get("type", "action") == "action":
            task["input"] = _input(random, tasks[task["name"]], task)
    return {"graph": graph, "definition": Definition.model_validate(document)}


def _sound(random: Random) -> dict[str, Any]:
    graph = stories.story_of(random.getrandbits(40)).graphs[0]
    for task in flat(graph["tasks"]):
        task.pop("timeout", None)  # a frozen worker would be a timeout, which no seed can foretell
    return graph


def _input(random: Random, task: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    words: dict[str, list[str]] = {}
    for item in range(task["items"]) if "items" in task else (-1,):
        if random.random() < 0.2:
            words[str(item)] = [random.choice(WORDS) for _ in range(random.randint(1, 2))]
    found: dict[str, Any] = {"words": words, "given": dict(document.get("input") or {})}
    if "items" in task:
        found["place"] = "{{ item }}"
    return found
