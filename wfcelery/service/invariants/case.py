"""One run before the checker: its evidence, and what can be read off it once for all invariants."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from uuid import UUID

from wfcelery.core.draft import digest
from wfcelery.core.folding import Folded, Place, fold
from wfcelery.core.rows import NO_ITEM, RunRow, StepRow
from wfcelery.core.states import RUN_ENDED
from wfcelery.core.step_machine import OPERATOR
from wfcelery.definition.compile import compile_plan
from wfcelery.definition.model import Definition, signature
from wfcelery.definition.plan import Node, Plan
from wfcelery.definition.values import is_kept_back
from wfcelery.errors import WfceleryError
from wfcelery.service.invariants.chronicle import Chronicle, chronicle
from wfcelery.service.invariants.ledgers import Ledgers
from wfcelery.store.evidence import Evidence


@dataclass(slots=True)
class Case:
    """One run. `folded` and `story` are None where the history has a gap or cannot be read, `plan` where the definition cannot."""

    found: Evidence
    ledgers: Ledgers
    rows: dict[Place, StepRow] = field(init=False)
    items: dict[UUID, list[StepRow]] = field(init=False)  # by the fan-out's id, in the order of their numbers
    gap: str | None = field(init=False)
    unreadable: str | None = field(init=False, default=None)
    folded: Folded | None = field(init=False, default=None)
    story: Chronicle | None = field(init=False, default=None)
    plan: Plan | None = field(init=False, default=None)
    bad_definition: str | None = field(init=False)
    moves: list[tuple[int, Plan | None]] = field(init=False, default_factory=list)  # versions, and the plans until them

    def __post_init__(self) -> None:
        self.rows = {(row.name, row.item): row for row in self.found.steps}
        self.items = {}
        for row in sorted(self.found.steps, key=lambda row: row.item):
            if row.fan_out is not None:
                self.items.setdefault(row.fan_out, []).append(row)
        self.gap = _gap([row.version for row in self.found.history])
        if self.gap is None:
            try:
                self.folded = fold((row.version, row.facts) for row in self.found.history)
                self.story = chronicle(self.found.history)
            except (ValueError, KeyError, TypeError, AttributeError) as problem:
                self.folded, self.unreadable = None, f"{type(problem).__name__}: {problem}"
        self.plan, self.bad_definition = _plan(self.run.definition, self.found.body)
        for told in self.story.facts if self.story is not None else ():
            if told.what == "run_moved":
                self.moves.append((told.version, _plan(told.fact["was"], self.found.bodies.get(told.fact["was"]))[0]))

    def is_of(self, told: object, value: object) -> bool:
        """Whether a digest of the history is that of a stored value; yes, where there is none or the value cannot be read here."""
        if told is None or any(is_kept_back(part) for part in (value if isinstance(value, list) else [value])):
            return True
        own = digest(value)
        return told == (own if self.found.seal is None else self.found.seal(own))

    @property
    def run(self) -> RunRow:
        return self.found.run

    @property
    def ended(self) -> bool:
        return self.run.status in RUN_ENDED

    @property
    def quarantined(self) -> bool:
        """Whether the run was put aside, and nobody has taken it back."""
        return any(letter.step is None and letter.status == "open" for letter in self.found.letters)

    def by_hand(self, row: StepRow) -> bool:
        """Whether a person decided how this step ended."""
        told = (self.story.of if self.story is not None else {}).get((row.name, row.item), ())
        return any(each.fact.get("why") == OPERATOR for each in told)

    def node(self, name: str, version: int | None = None) -> Node | None:
        """A task, as the definition has it that the run went by in this version; without one, the definition that it goes by now."""
        plan = next((before for moved, before in self.moves if version is not None and version < moved), self.plan)
        return None if plan is None else plan.nodes.get(name)

    def closes(self, name: str) -> bool:
        """Whether a step is a compensation or a hook, which a run does when its end is decided."""
        node = self.plan.nodes.get(name) if self.plan is not None else None
        return node is not None and node.closes

    def tasks(self) -> list[StepRow]:
        """The rows that are no items."""
        return [row for row in self.found.steps if row.item == NO_ITEM]


def named(place: Place) -> str:
    """A task or an item, as sentences name it."""
    return place[0] if place[1] == NO_ITEM else f"{place[0]}[{place[1]}]"


def called(row: StepRow) -> str:
    """A row, as sentences name it."""
    return named((row.name, row.item))


def _gap(versions: list[int]) -> str | None:
    for expected, version in enumerate(versions, 1):
        if version != expected:
            return f"version {expected} is missing from the history"
    return None


@lru_cache(maxsize=256)
def _plan(signed: str, body: str | None) -> tuple[Plan | None, str | None]:
    """The plan of a definition, or what is wrong with it."""
    if body is None:
        return None, f"the definition {signed[:12]} is not stored"
    try:
        definition = Definition.model_validate_json(body)
        if signature(definition) != signed:
            return None, f"the definition that is stored as {signed[:12]} is another one"
        return compile_plan(definition, signed), None
    except (ValueError, WfceleryError) as problem:
        return None, f"the definition {signed[:12]} cannot be read: {type(problem).__name__}"
