"""A definition, compiled once per process: the nodes of its graph and the edges between them.

`core.decide` reads nothing else about a workflow. A plan is immutable and holds compiled
expressions; it is found by the signature of its definition.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from wfcelery.definition.document import ParentClose
from wfcelery.definition.expressions import Expression, Template
from wfcelery.definition.redaction import Path
from wfcelery.definition.shares import Share

# How a node can end, as edges see it. `skipped`: its own `when` was false. `dead`: no way to it was left.
End = Literal["succeeded", "failed", "timed_out", "cancelled", "skipped", "dead"]

NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When a failed attempt runs again. Spans are seconds; attempts are `count` + 1."""

    count: int = 3
    delay: float = 1.0
    backoff: Literal["constant", "linear", "exponential"] = "exponential"
    max_delay: float | None = 60.0
    jitter: bool = True
    on_error: Expression | None = None
    non_retryable: tuple[str, ...] = ()
    total: float | None = None


@dataclass(frozen=True, slots=True)
class Gate:
    """What a step passes before it begins: whoever has the same kind and key shares it. `terms` are its numbers."""

    kind: Literal["limit", "lock", "breaker", "rate"]
    key: Template
    terms: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Edge:
    """Everything one node says about one that comes after it; at most one edge joins two nodes.

    `required` are the ends that `after` and `needs` accept (None: a pure transition). `transition`
    are the ends by which `on_...` leads here, `branches` the numbers of the decision branches that do.
    """

    source: str
    target: str
    required: frozenset[str] | None = None
    transition: frozenset[str] = NOTHING
    branches: frozenset[int] = frozenset()
    counted: bool = False  # what `join` counts: transitions, or, where there are none, every `after`

    def fires(self, end: str, branch: int | None) -> bool:
        """Whether this end of the source leads on; otherwise the edge is dead."""
        if self.required is not None and end not in self.required:
            return False
        if self.transition or self.branches:
            return end in self.transition or (end == "succeeded" and branch in self.branches)
        return self.required is not None


@dataclass(frozen=True, slots=True)
class Asked:
    """What an approval asks. Spans are seconds from its opening."""

    title: Template
    assignees: Template | None
    form: Mapping[str, Any] | None  # the name of a model, a JSON schema, or both
    remind: float | None
    escalate: tuple[tuple[float, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True)
class Rounds:
    """How often a loop's workflow runs, one run after the other: once for each item, until something holds, or while it does."""

    items: Template | None = None
    until: Expression | None = None  # asked after each round
    going_on: Expression | None = None  # likewise: `while`
    most: int = 1_000
    every: float | None = None  # seconds between the end of a round and the next


@dataclass(frozen=True, slots=True)
class Callee:
    """Which workflow a node runs as a child: the newest of a name, or the one of a signature, which the definition brings itself."""

    name: str
    signature: str | None = None
    parent_close: ParentClose = "request_cancel"
    waits: bool = True
    rounds: Rounds | None = None  # of a loop


@dataclass(frozen=True, slots=True)
class Node:
    """One task of the graph.

    `gate` is a node that is over as soon as it is reached: the fork and the join of a parallel block. So are `end`, `fail`
    and `continue_as_new`, and the run with them.
    `handles` are the ends that some transition (or `after` with that end) takes care of.
    `when` of a fan-out is what its condition asks of no single item; `item_when` is the rest of it.
    `reads` are the tasks whose end the node's when, items, input, publish or decision look at.
    """

    name: str
    kind: Literal["action", "sleep", "wait", "approval", "gate", "call", "end", "fail", "continue_as_new"]
    action: str = ""
    inbound: tuple[Edge, ...] = ()
    outbound: tuple[Edge, ...] = ()
    join: int | None = None
    cancel_rest: bool = False
    cancels: tuple[str, ...] = ()  # nodes that are closed when it has succeeded
    barred: bool = False  # whether another node may close it before it is reached
    passes: tuple[str, ...] = ()  # nodes that do not begin any more when it has succeeded
    unless_reached: tuple[str, ...] = ()  # nodes after whose success it does not begin
    when: Expression | None = None
    with_items: Template | None = None
    filter: Expression | None = None  # asked for each element of the list: those for which it is false are left out
    batch_size: int | None = None  # elements that make one item
    item_when: Expression | None = None  # asked when an item is claimed: where it is false the item is skipped
    concurrency: int | None = None
    success: Share | None = None  # items that have to succeed
    tolerate: Share | None = None  # items that may fail
    closes_rest: bool = False  # whether the other items are closed once enough have succeeded
    input: Template | None = None
    publish: Mapping[str, Template] = field(default_factory=dict)
    decision: tuple[Expression | None, ...] = ()  # branch number -> its condition; None: the default branch
    duration: Template | None = None  # sleep: a span
    until: Template | None = None  # sleep: a time
    race: str | None = None  # sleep: the race it runs in, where what came before it counts
    event: str = ""  # wait: its name
    key: Template | None = None  # wait: which of them
    keep: bool = True  # wait: whether one that came before meets it
    roles: tuple[str, ...] = ()  # wait: who may send it; none: anybody
    data: Mapping[str, Any] = field(default_factory=dict)  # wait: the JSON schema of its data
    approval: Asked | None = None
    on_error: Literal["stop", "continue", "compensate"] = "stop"
    handles: frozenset[str] = NOTHING
    retry: RetryPolicy | None = None  # None: what the code says
    timeout: float | None = None
    soft_timeout: float | None = None
    queue: str | None = None
    priority: int | None = None
    commit: Literal["group", "each"] = "group"
    gates: tuple[Gate, ...] = ()
    leaves: str | None = None  # the gate of the section that is over with this node
    reads: frozenset[str] = NOTHING
    hides: frozenset[Path] = frozenset()  # secret places in its input: what stands there is in no error and no log
    # gate: what its result is; end: what the run returns; fail: what its error says; continue_as_new: the input of the next run
    result: Template | None = None
    code: str | None = None  # fail: the code of its error
    callee: Callee | None = None  # call: the workflow
    undone_by: str | None = None  # the node that undoes it
    undoes: str | None = None  # the task that this node undoes
    even_if_unknown: bool = False  # undoes: attempts that began and of whose success nothing is known, too
    hook: str | None = None  # when the run does it: `on_failure`, `on_cancel`, `on_complete`

    @property
    def fans_out(self) -> bool:
        return self.with_items is not None

    @property
    def ends_run(self) -> bool:
        """Whether the run is over when it has come to this."""
        return self.kind in ("end", "fail", "continue_as_new")

    @property
    def closes(self) -> bool:
        """Whether it stands in no graph: it is done when the end of the run is decided, and before it has ended."""
        return self.undoes is not None or self.hook is not None

    def takes_care_of(self, how: str) -> bool:
        """Whether the run goes on as if nothing were when this node ends so. What closes a run goes on by itself, and is never handled."""
        return not self.closes and (self.on_error == "continue" or how in self.handles)


@dataclass(frozen=True, slots=True)
class Plan:
    """The compiled graph of one definition. `nodes` are in topological order."""

    name: str
    version: str
    signature: str
    nodes: Mapping[str, Node]
    entries: tuple[str, ...]
    vars: Mapping[str, Template] = field(default_factory=dict)
    output: Template | None = None
    output_reads: frozenset[str] = NOTHING
    timeout: float | None = None
    sections: Mapping[str, frozenset[str]] = field(default_factory=dict)  # the gate of a lock over several nodes -> what is inside
    defaults: Mapping[str, Any] = field(default_factory=dict)  # default values of parameters
    required: frozenset[str] = NOTHING  # parameters that have none
    loose: bool = False  # whether a task of it begins runs that nobody waits for
    on_error: Literal["stop", "continue", "compensate"] = "stop"  # of the run as a whole: when it is cancelled or too late
    undoable: tuple[str, ...] = ()  # the tasks that have a compensation
    hooks: Mapping[str, str] = field(default_factory=dict)  # when a hook is done -> its node

    @property
    def closes(self) -> bool:
        """Whether its runs may have something to do between the decision on their end and the end."""
        return bool(self.undoable or self.hooks)
