"""What is stored of one run: its row, its steps, its waits, its dead letters, its history."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from tests.unit.core import oracle
from tests.unit.core.generators import LATE, Scenario, definition_of
from wfcelery.core.decision import DeadLetter
from wfcelery.core.events import Fact
from wfcelery.core.rows import NO_ITEM, RunRow, StepRow
from wfcelery.core.states import STEP_ENDED, RunStatus, StepStatus
from wfcelery.definition.compile import compile_plan

ORGANIZATION = "default"


@dataclass
class Wait:
    id: UUID
    step: UUID
    kind: str
    status: str = "open"


@dataclass
class Child:
    id: UUID
    step: UUID
    asked: set[str] = field(default_factory=set)  # what its parent has told it


@dataclass
class Letter:
    letter: DeadLetter
    status: str


@dataclass
class Coverage:
    """Which transitions the examples have reached."""

    run: Counter[tuple[RunStatus | None, RunStatus]] = field(default_factory=Counter)
    step: Counter[tuple[StepStatus | None, StepStatus]] = field(default_factory=Counter)
    wait: Counter[tuple[str | None, str]] = field(default_factory=Counter)


class Stored:
    """One run and what the driver remembers of it."""

    def __init__(self, scenario: Scenario, seen: Coverage | None = None) -> None:
        self.scenario = scenario
        self.graph = scenario.graph | {"parameters": scenario.graph["parameters"] | {LATE: True}}
        self.flats = oracle.flatten(self.graph)
        self.plan = compile_plan(definition_of(scenario.graph), "s")
        self.random = random.Random(scenario.seed)
        self.minted = 0
        self.run = RunRow(
            id=self.mint(), organization_id=ORGANIZATION, workflow="random", definition="s", status=RunStatus.PENDING, version=0,
            input=scenario.graph["parameters"],
        )  # fmt: skip
        self.steps: dict[UUID, StepRow] = {}
        self.waits: dict[UUID, Wait] = {}
        self.letters: list[Letter] = []
        self.children: dict[UUID, Child] = {}  # those that have not ended
        self.born: set[UUID] = set()  # all there ever were
        self.history: list[list[dict[str, Any]]] = []
        self.inbox: list[Fact] = []
        self.told: list[Fact] = []  # for repetitions
        self.published: Any = None
        self.spent: Counter[tuple[str, int]] = Counter()  # attempts that have come to an end
        self.episode: Counter[tuple[str, int]] = Counter()  # of these, those before the last retry from the dead letters
        self.fenced: Counter[tuple[str, int]] = Counter()  # attempts that were taken away while somebody executed them
        self.tried_again = 0
        self.asked: str | None = None  # cancel, deadline
        self.called_off: set[str] = set()  # closed by a region before the run had come to them
        self.too_late: set[str] = set()  # whose milestone had passed
        self.again: set[str] = set()  # tasks that a retry has opened once more
        self.by_hand: dict[str, str] = {}  # steps that somebody has decided, and how
        self.added = self.completed = self.rerun = 0  # how often somebody has done that
        self.decided: set[str] = set()  # fan-outs that the run has left behind, with items under way
        self.frozen: dict[str, Any] = {}  # what they were worth then
        self.seen = seen or Coverage()

    def mint(self) -> UUID:
        self.minted += 1
        return UUID(int=self.minted)

    def named(self, name: str) -> StepRow | None:
        return next((row for row in self.steps.values() if row.name == name and row.item == NO_ITEM), None)

    def items(self, fan_out: StepRow) -> list[StepRow]:
        return sorted((row for row in self.steps.values() if row.fan_out == fan_out.id), key=lambda row: row.item)

    def tasks(self) -> dict[str, StepRow]:
        """The tasks of the graph."""
        return {row.name: row for row in self.steps.values() if row.item == NO_ITEM and ":" not in row.name.removesuffix(":fork")}

    def closing(self) -> dict[str, StepRow]:
        """What undoes them, and hooks."""
        return {row.name: row for row in self.steps.values() if row.item == NO_ITEM and is_closing(row.name)}

    def observed(self) -> dict[str, str]:
        """How tasks ended, as the rows say it, without those that were skipped; of a fan-out the run may have gone on before."""
        ended = {name: end_of(row) for name, row in self.tasks().items() if row.status in STEP_ENDED - {StepStatus.SKIPPED}}
        ended |= {name: "skipped" for name, how in self.by_hand.items() if how == "skipped"}
        return ended | {name: "succeeded" for name, row in self.tasks().items() if is_decided(row)}


def is_closing(name: str) -> bool:
    return name.endswith((":compensate", ":hook"))


def end_of(row: StepRow) -> str:
    """What was undone had succeeded."""
    return "succeeded" if row.status is StepStatus.COMPENSATED else str(row.status)


def is_stopped(why: str) -> bool:
    return why.startswith(("stopped:", "failing:", "unadvanced:")) or why == "unhandled"


def is_decided(row: StepRow) -> bool:
    """Whether the run has gone on, though items of this fan-out are still under way."""
    return row.status is StepStatus.WAITING and row.why in ("decided", "closing:decided", "unadvanced:succeeded")


def as_read(row: StepRow) -> StepRow:
    return replace(row, seen=(row.status, row.token))


def named_by(facts: Iterable[Fact]) -> set[UUID]:
    ids: set[UUID] = set()
    for fact in facts:
        ids.update(found for name in ("step", "fan_out") if (found := getattr(fact, name, None)) is not None)
        ids.update(end.step for end in getattr(fact, "ends", ()))
        ids.update(step for step, _ in getattr(fact, "calls", ()))
    return ids


def assert_legal(table: Mapping[Any, Mapping[str, frozenset[Any]]], was: Any, to: Any) -> None:
    assert any(to in ways for ways in table[was].values()), f"no way leads from {was} to {to}"
