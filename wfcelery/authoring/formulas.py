"""What a trace is made of: expressions and what they look at, the blocks that guard, the tasks they become."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

FAILING = frozenset({"failed", "timed_out", "cancelled"})
COMPLETED = frozenset({"succeeded", "failed", "timed_out", "skipped"})


@dataclass(slots=True, eq=False)
class TracedTask:
    """One call, wait or fan-out in a workflow's body."""

    name: str
    trace: object  # whose task it is; a reference is of no use in another trace
    fields: dict[str, Any]
    guards: tuple[Guard, ...] = ()
    continues: bool = False  # on_error=Failed: its failure is a value
    needs: list[TracedTask] = field(default_factory=list)
    after: dict[TracedTask, frozenset[str]] = field(default_factory=dict)
    conditions: list[Formula] = field(default_factory=list)  # beside those of its guards
    item_condition: Formula | None = None  # of a fan-out: asked for each item, behind all others
    leads_to: dict[str, list[TracedTask]] = field(default_factory=dict)  # on_success, on_complete -> targets
    publish: dict[str, Any] = field(default_factory=dict)
    followed: bool = False
    branch: TracedTask | None = None  # of a race, that it stands in
    race: TracedTask | None = None  # whose branch it is
    section: TracedTask | None = None  # that it stands in
    inside: list[TracedTask] = field(default_factory=list)  # of a branch or a section, or the branches of a race

    @property
    def usual_ends(self) -> frozenset[str]:
        """What `after` without more accepts of it."""
        return frozenset({"succeeded", "skipped"}) | (frozenset({"failed", "timed_out"}) if self.continues else frozenset())

    @property
    def ends_with_value(self) -> frozenset[str]:
        """How it ends where it is worth something."""
        return self.usual_ends - {"skipped"}


@dataclass(frozen=True, slots=True, eq=False)
class Use:
    """A task whose value, or error, an expression looks at."""

    task: TracedTask
    kind: Literal["value", "error"] = "value"


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """One either(): its alternatives, and whether something is left where none of them ran."""

    alternatives: tuple[Formula, ...]
    has_default: bool


@dataclass(frozen=True, slots=True, eq=False)
class Formula:
    """An expression and what it depends on.

    `task` is set where it is the whole value of one task, `mixed` where it is a text with expressions in it.
    """

    source: str
    uses: tuple[Use, ...] = ()
    choices: tuple[Choice, ...] = ()
    task: TracedTask | None = None
    mixed: str | None = None
    plain: bool = False  # one reference, with nothing done to it

    @property
    def template(self) -> str:
        """The formula as a whole value of a definition."""
        return self.mixed if self.mixed is not None else f"{{{{ {self.source} }}}}"

    @property
    def all_uses(self) -> tuple[Use, ...]:
        """What it looks at, in either() too."""
        inner = tuple(use for choice in self.choices for each in choice.alternatives for use in each.all_uses)
        return self.uses + inner


@dataclass(slots=True, eq=False)
class Chain:
    """A `when` and the `otherwise`s that follow it: the condition each of them said, in order."""

    conditions: list[Formula] = field(default_factory=list)
    branches: int = 0
    closed: bool = False  # by an otherwise() without a condition: one of the branches always runs


@dataclass(frozen=True, slots=True, eq=False)
class Guard:
    """A with-block whose calls may not come to run: behind a condition, or behind the end of a task."""

    shown: str
    condition: Formula | None = None
    ends: tuple[tuple[TracedTask, frozenset[str]], ...] = ()
    chain: Chain | None = None

    @property
    def keeps_out(self) -> bool:
        """Whether what is inside may be left out while the run goes well."""
        return self.condition is not None or any("succeeded" not in ends for _, ends in self.ends)
