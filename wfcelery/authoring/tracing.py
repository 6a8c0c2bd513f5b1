"""A workflow function, called once with references, becomes a graph: one task a call, edges where values go.

What a call takes from another draws an edge; the order of the code draws none. A value from inside a
guarding block is refused outside of it: either() says which one is meant.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

from wfcelery.authoring.formulas import Chain, Choice, Formula, Guard, TracedTask, Use
from wfcelery.authoring.naming import REACHED, End, closing_of, ends_of, points_of, refusal, whole_task
from wfcelery.authoring.options import check_task_name
from wfcelery.authoring.references import Reference, literal, references_in
from wfcelery.definition.expressions import Expression
from wfcelery.definition.values import encode
from wfcelery.errors import CannotCarry, ExpressionError

__all__ = [
    "End",
    "Trace",
    "active_trace",
    "all_of",
    "constant",
    "current_trace",
    "ends_of",
    "looked_at",
    "ran",
    "refusal",
    "templated",
    "tracing",
    "whole_task",
    "written_out",
]

_active: ContextVar[Trace | None] = ContextVar("wfcelery_trace", default=None)


@dataclass(slots=True, eq=False)
class Trace:
    """One call of a workflow function."""

    workflow: str
    tasks: list[TracedTask] = field(default_factory=list)
    stack: list[Guard] = field(default_factory=list)
    branch: TracedTask | None = None  # of a race, around the call
    regions: list[str] = field(default_factory=list)  # those around the call, the innermost last
    sections: list[TracedTask] = field(default_factory=list)  # likewise
    _chains: list[Chain | None] = field(default_factory=lambda: [None])  # by depth: the chain of branches that came last
    _given: set[str] = field(default_factory=set)

    # ---- tasks -------------------------------------------------------------------------------------------------------

    def add(self, name: str, options: Mapping[str, Any], said: Mapping[str, Any], looked_at: Iterable[Formula]) -> TracedTask:
        """One more task; `said` is what the definition says of it beside its name, edges and guards."""
        task = TracedTask(self._name(name, options.get("name")), self, dict(said), tuple(self.stack), branch=self.branch)
        for guard in self.stack:
            self._order(task, guard.ends)
            if guard.condition is not None:
                self._depend(task, guard.condition)
        self._order(task, ends_of(options.get("after"), self))
        self._order(task, [(point, REACHED) for point in points_of("when_reached", options, self)])
        task.fields |= closing_of(options, self.regions, self)
        for each in looked_at:
            self.check(each)
            self._depend(task, each)
        self._settle(task)
        self.tasks.append(task)
        section = self.sections[-1] if self.sections else None
        if section is not None and section.branch is self.branch:
            task.section = section
            section.inside.append(task)
        elif self.branch is not None:
            self.branch.inside.append(task)
        return task

    def _name(self, usual: str, wanted: str | None) -> str:
        if wanted is not None:
            check_task_name("name", wanted)
            if wanted in self._given:
                raise refusal(f"two tasks of {self.workflow} are called {wanted}")
            self._given.add(wanted)
            return wanted
        name, number = usual, 1
        while name in self._given:
            number += 1
            name = f"{usual}_{number}"
        self._given.add(name)
        return name

    # ---- edges -------------------------------------------------------------------------------------------------------

    def _order(self, task: TracedTask, ends: Iterable[tuple[TracedTask, frozenset[str]]]) -> None:
        asked: dict[TracedTask, frozenset[str]] = {}
        for source, accepted in ends:
            asked[source] = asked.get(source, frozenset()) | accepted
        for source, accepted in asked.items():
            both = task.after.get(source, accepted) & accepted
            if not both:
                raise refusal(f"{task.name} is to come after two ends of {source.name} that exclude each other")
            task.after[source] = both
            source.followed = True

    def _depend(self, task: TracedTask, looked_at: Formula) -> None:
        for use in looked_at.uses:
            use.task.followed = True
            rival = outside_of(task.branch, use.task)
            if rival is not None:
                _need_the_race_of(task, rival)
            elif use.kind == "error":
                self._depend_on_error(task, use.task)
            elif self._skips_along(task, use.task):
                self._order(task, [(use.task, use.task.usual_ends)])
            elif use.task not in task.needs:
                task.needs.append(use.task)
        for choice in looked_at.choices:
            self._depend_on_choice(task, choice)

    def _depend_on_error(self, task: TracedTask, source: TracedTask) -> None:
        if source.continues:
            self._order(task, [(source, source.usual_ends)])
        elif source not in task.after:
            self._order(task, [(source, frozenset({"failed", "timed_out"}))])

    @staticmethod
    def _skips_along(task: TracedTask, source: TracedTask) -> bool:
        """Whether the source is left out only where this task's own condition leaves it out as well.

        It is enough then to come after the source. With `needs` the task would end as one that could not
        be reached, and what comes after it, either(x, None) too, would never run.
        """
        keeping = [guard for guard in source.guards if guard.keeps_out]
        return bool(keeping) and not source.conditions and all(guard.condition and guard in task.guards for guard in keeping)

    def _depend_on_choice(self, task: TracedTask, choice: Choice) -> None:
        uses = [use for each in choice.alternatives for use in each.all_uses]
        for use in uses:
            rival = outside_of(task.branch, use.task)
            if rival is not None:
                use.task.followed = True
                _need_the_race_of(task, rival)
        uses = [use for use in uses if outside_of(task.branch, use.task) is None]
        if not uses:
            return
        members = list(dict.fromkeys(use.task for use in uses))
        outer = set(task.guards)
        closed = [guard for member in members for guard in member.guards if guard not in outer and guard.keeps_out]
        for member in members:
            member.followed = True
        if closed and all(guard.condition is not None for guard in closed) and all(use.kind == "value" for use in uses):
            self._order(task, [(member, member.usual_ends) for member in members])
            if not choice.has_default and not _one_always_runs(choice, outer):
                task.conditions.append(Formula(f"({' or '.join(f'({ran(each)})' for each in choice.alternatives)})"))
            return
        # Some of them may never be reached, which only a transition can tell from one that is skipped.
        for use in uses:
            for transition in _leading(use):
                use.task.leads_to.setdefault(transition, []).append(task)
        if choice.has_default:
            free = [member for member in members if not any(guard.keeps_out and guard not in outer for guard in member.guards)]
            sources = [source for guard in closed for source, _ in guard.ends] + free
            for source in dict.fromkeys(sources):
                source.leads_to.setdefault("on_complete", []).append(task)

    def _settle(self, task: TracedTask) -> None:
        for source in task.needs:
            accepted = task.after.get(source)
            if accepted is None:
                continue
            if not accepted & source.ends_with_value:
                raise refusal(
                    f"{source.name} has no value where it did not succeed; write error({source.name}), or options(on_error=Failed)"
                )
            if accepted >= source.ends_with_value:
                del task.after[source]

    # ---- guards ------------------------------------------------------------------------------------------------------

    def check(self, looked_at: Formula) -> None:
        """Every value an expression looks at exists where it is used."""
        for use in looked_at.uses:
            if use.task.trace is not self:
                raise refusal(f"{looked_at.source} comes from the trace of another workflow")
            outside = [guard for guard in use.task.guards if guard.keeps_out and guard not in self.stack]
            if outside and use.kind == "value":
                raise refusal(f"{looked_at.source} has a value only {outside[-1].shown}; outside write either({looked_at.source}, …)")
            rival = outside_of(self.branch, use.task)
            if rival is not None and not self._has_won(rival):
                way = f"write it in `with when({rival.name}.won):`, or either({looked_at.source}, …)"
                raise refusal(f"{looked_at.source} has a value only where the branch {rival.name} has won: {way}")
        for choice in looked_at.choices:
            for each in choice.alternatives:
                self._check_foreign(each)

    def _has_won(self, branch: TracedTask) -> bool:
        """Whether a block around the call says that this branch has won."""
        sources = [guard.condition.source for guard in self.stack if guard.condition is not None]
        return any(won(branch) in source and f"(not {won(branch)})" not in source for source in sources)

    def _check_foreign(self, looked_at: Formula) -> None:
        if any(use.task.trace is not self for use in looked_at.all_uses):
            raise refusal(f"{looked_at.source} comes from the trace of another workflow")

    @contextmanager
    def guarded(self, guard: Guard) -> Iterator[None]:
        """The calls inside stand behind this guard."""
        if guard.chain is None:
            self._chains[-1] = None
        self.stack.append(guard)
        self._chains.append(None)
        try:
            yield
        finally:
            self.stack.pop()
            self._chains.pop()

    def when(self, condition: Formula) -> Guard:
        """A new chain of branches."""
        self.check(condition)
        chain = self._chains[-1] = Chain([condition], 1)
        return Guard(f"where {condition.source}", condition, chain=chain)

    def otherwise(self, condition: Formula | None) -> Guard:
        """The next branch of the chain that came last in this block."""
        chain = self._chains[-1]
        if chain is None or chain.closed:
            raise refusal("otherwise() follows a `with when(…):` of the same block, and nothing follows an otherwise() without a condition")
        parts = [Formula(f"(not {each.source})", each.uses, each.choices) for each in chain.conditions]
        if condition is None:
            chain.closed = True
        else:
            self.check(condition)
            parts.append(condition)
            chain.conditions.append(condition)
        chain.branches += 1
        whole = all_of(parts)
        return Guard(f"where {whole.source}", whole, chain=chain)


def won(branch: TracedTask) -> str:
    """The expression that a branch of a race has won."""
    assert branch.race is not None
    return f"(task.{branch.race.name}.result.won == '{branch.name}')"


def outside_of(here: TracedTask | None, source: TracedTask) -> TracedTask | None:
    """The outermost branch of a race that a task stands in, and the one that uses it does not."""
    around: list[TracedTask] = []
    while here is not None and here.race is not None:
        around.append(here)
        here = here.race.branch
    found, at = None, source.branch
    while at is not None and at.race is not None and at not in around:
        found, at = at, at.race.branch
    return found


def _need_the_race_of(task: TracedTask, branch: TracedTask) -> None:
    """When the race is over all its branches are: who looks into one of them waits for no more than that."""
    assert branch.race is not None
    branch.race.followed = True
    if branch.race not in task.needs and branch.race not in task.after:
        task.needs.append(branch.race)


def all_of(parts: Sequence[Formula]) -> Formula:
    """True where all parts are. Those behind the first that is not are not looked at."""
    return Formula(
        " and ".join(each.source for each in parts),
        tuple(use for each in parts for use in each.uses),
        tuple(choice for each in parts for choice in each.choices),
    )


def _one_always_runs(choice: Choice, outer: set[Guard]) -> bool:
    """Whether the alternatives stand in all the branches of one chain that ends with otherwise()."""
    own = [{guard for use in each.all_uses for guard in use.task.guards if guard not in outer} for each in choice.alternatives]
    branches = {next(iter(guards)) for guards in own if len(guards) == 1}
    chains = {guard.chain for guard in branches}
    if len(branches) < len(own) or len(chains) != 1:
        return False
    chain = chains.pop()
    return chain is not None and chain.closed and chain.branches == len(branches)


def _leading(use: Use) -> tuple[str, ...]:
    """The transitions by which a task leads on where it is worth what is used of it."""
    if use.kind == "error":
        return ("on_failure", "on_timeout")
    return ("on_success", "on_failure", "on_timeout") if use.task.continues else ("on_success",)


def ran(alternative: Formula) -> str:
    """The condition that everything an alternative looks at is worth something."""
    tests = list(dict.fromkeys(_status_test(use) for use in alternative.uses))
    for choice in alternative.choices:
        if not choice.has_default:
            tests.append(f"({' or '.join(f'({ran(each)})' for each in choice.alternatives)})")
    return " and ".join(tests) or "true"


def _status_test(use: Use) -> str:
    status = f"task.{use.task.name}.status"
    if use.kind == "error":
        return f"{status} in ['failed', 'timed_out']"
    return f"{status} in ['succeeded', 'failed', 'timed_out']" if use.task.continues else f"{status} == 'succeeded'"


# ---- what a trace is asked -------------------------------------------------------------------------------------------


def active_trace() -> Trace | None:
    """The trace under way, or None: calls are ordinary calls."""
    return _active.get()


def current_trace(what: str) -> Trace:
    """The trace under way; without one, `what` has no meaning."""
    trace = _active.get()
    if trace is None:
        raise refusal(f"{what} means something only inside a @workflow")
    return trace


@contextmanager
def tracing(workflow: str) -> Iterator[Trace]:
    """Calls of steps become tasks of a new trace."""
    trace = Trace(workflow)
    before = _active.set(trace)
    try:
        yield trace
    finally:
        _active.reset(before)


# ---- values ----------------------------------------------------------------------------------------------------------


def written_out(where: str, source: str) -> tuple[Expression, tuple[Use, ...]]:
    """An expression that an author wrote as a text, and the tasks it looks at."""
    trace = current_trace(where)
    try:
        parsed = Expression.parse(source)
    except ExpressionError as wrong:
        raise refusal(str(wrong)) from None
    known = {task.name: task for task in trace.tasks}
    missing = sorted(name for name in parsed.tasks if name not in known)
    if missing:
        raise refusal(f"{where} looks at task {missing[0]}, which no call before it made")
    return parsed, tuple(Use(known[name]) for name in sorted(parsed.tasks))


def looked_at(value: object) -> list[Formula]:
    """The formulas of all references inside a value."""
    return [reference._wf for reference in references_in(value)]


def templated(value: object, where: str) -> Any:
    """A value as a definition holds it: references as templates, constants in stored form."""
    if isinstance(value, Reference):
        return value._wf.template
    if any(True for _ in references_in(value)):
        if isinstance(value, Mapping):
            return {_key(key, where): templated(item, f"{where}.{key}") for key, item in value.items()}
        if is_dataclass(value) and not isinstance(value, type):
            return {each.name: templated(getattr(value, each.name), f"{where}.{each.name}") for each in fields(value)}
        if isinstance(value, (list, tuple)):
            return [templated(item, f"{where}[{index}]") for index, item in enumerate(value)]
        raise refusal(f"{where}: a {type(value).__name__} with a reference inside cannot be written down; use a list or a dict")
    try:
        return constant(encode(value))
    except CannotCarry as error:
        raise refusal(f"{where}: {error}") from None


def _key(key: object, where: str) -> str:
    if not isinstance(key, str):
        raise refusal(f"{where}: the keys of a dict that holds a reference are texts, not {key!r}")
    return key


def constant(stored: Any) -> Any:
    """A stored constant; a text that looks like a template is written so that it stays a text."""
    if isinstance(stored, str):
        return f"{{{{ {literal(stored)} }}}}" if any(mark in stored for mark in ("{{", "{%", "{#")) else stored
    if isinstance(stored, dict):
        return {key: constant(item) for key, item in stored.items()}
    if isinstance(stored, list):
        return [constant(item) for item in stored]
    return stored
