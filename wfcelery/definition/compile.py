"""From a definition to the plan that `core.decide` reads. Assumes what `problems` checks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from wfcelery.definition.approving import asked_of
from wfcelery.definition.bodies import BODIES, embedded, embeds
from wfcelery.definition.closing import closing_nodes, undo
from wfcelery.definition.document import Definition, Task
from wfcelery.definition.edges import Way, conditional_blocks, counted, fork, on_error_of, usual_on_error, ways_of
from wfcelery.definition.expressions import Expression, Template
from wfcelery.definition.fields import RetrySpec
from wfcelery.definition.model import signature as signature_of
from wfcelery.definition.ordering import node_names, topological
from wfcelery.definition.plan import NOTHING, Callee, Edge, Node, Plan, RetryPolicy, Rounds
from wfcelery.definition.regions import closed_by, passed_by
from wfcelery.definition.secrecy import secrecy_of
from wfcelery.definition.sections import behind_a_gate, gates_of, sections_of
from wfcelery.definition.shares import Share
from wfcelery.errors import DefinitionProblems

_KINDS: Mapping[str, Literal["sleep", "wait", "approval"]] = {"sleep": "sleep", "wait": "wait", "approval": "approval"}
WIDE = 100  # child runs that a fan-out has open at once, where its `concurrency` does not say how many
MOST_ROUNDS = 1_000  # of a loop, where its `max_rounds` does not say how many
_HANDLED = frozenset({"failed", "timed_out", "cancelled"})
_OF_ITEMS = frozenset({"item", "index"})


def compile_plan(definition: Definition, signature: str | None = None) -> Plan:
    """The plan of a definition. Raises `ExpressionError` or `DefinitionProblems` where `problems` would have told more."""
    ways = ways_of(definition)
    compiler = _Compiler(definition, ways)
    nodes = behind_a_gate(definition, compiler.nodes())
    entries = tuple(name for name, node in nodes.items() if not node.inbound)
    closing = {node.name: node for node in closing_nodes(definition, policy_of)}
    output = None if definition.output is None else Template.parse(definition.output)
    return Plan(
        name=definition.name,
        version=definition.version,
        signature=signature if signature is not None else signature_of(definition),
        nodes=nodes | closing,
        entries=entries,
        vars={name: Template.parse(value) for name, value in definition.vars.items()},
        output=output,
        output_reads=output.tasks if output is not None else NOTHING,
        timeout=definition.timeout,
        sections=sections_of(definition),
        loose=any(node.callee is not None and not node.callee.waits for node in nodes.values()),
        defaults={name: parameter.default for name, parameter in definition.parameters.items() if not parameter.required},
        required=frozenset(name for name, parameter in definition.parameters.items() if parameter.required),
        on_error=usual_on_error(definition),
        undoable=tuple(node.undoes for node in closing.values() if node.undoes is not None),
        hooks={node.hook: name for name, node in closing.items() if node.hook is not None},
    )


class _Compiler:
    def __init__(self, definition: Definition, ways: list[Way]) -> None:
        self.definition = definition
        self.ways = ways
        self.tasks = {task.name: (task, block) for task, block in definition.every_task()}
        self.on_error = on_error_of(definition)
        self.secrecy = secrecy_of(definition)
        self.conditional = conditional_blocks(definition)
        self.closed_by, self.passed_by = closed_by(definition), passed_by(definition)
        self.barred = frozenset(name for closed in self.closed_by.values() for name in closed)
        self.inbound: dict[str, list[Way]] = {}
        self.outbound: dict[str, list[Way]] = {}
        for way in ways:
            self.inbound.setdefault(way.target, []).append(way)
            self.outbound.setdefault(way.source, []).append(way)
        self.edges: dict[tuple[str, str], Edge] = {}

    def nodes(self) -> dict[str, Node]:
        for target, ways in self.inbound.items():
            counts = counted(ways)
            for way in ways:
                self.edges[(way.source, target)] = Edge(
                    way.source, target, way.required, way.transition, way.branches, counted=way.source in counts
                )
        names = node_names(self.definition)
        order = topological(names, self.ways)
        if len(order) < len(names):
            raise DefinitionProblems(self.definition.name, ["its tasks come after each other in a circle"])
        return {name: self.node(name) for name in order}

    def node(self, name: str) -> Node:
        if name.endswith(":fork"):
            return self.fork(name)
        task, block = self.tasks[name]
        common = self.common(name, task)
        if task.is_block:
            return self.gate(task, _both(self.inside(task)), common)
        when, item_when = self.conditions(task, block)
        if task.type in ("end", "fail", "continue_as_new"):
            return self.last(task, when, common)
        if task.type in BODIES:
            return self.call(task, when, item_when, common)
        publish, decision = _led_on(task)
        with_items, each = _listed(task)
        arguments = Template.parse(task.arguments) if task.arguments else None
        duration = None if task.duration is None else Template.parse(task.duration)
        until = None if task.until is None else Template.parse(task.until)
        gates, asked = gates_of(task), asked_of(task)
        key = None if task.key is None else Template.parse(task.key)
        return Node(
            name=name,
            kind=_KINDS.get(task.type, "action"),
            action=task.action or "",
            when=when,
            with_items=with_items,
            filter=each,
            batch_size=task.batch_size,
            item_when=item_when,
            concurrency=task.concurrency,
            success=None if task.success is None else Share.parse(task.success),
            tolerate=None if task.tolerate is None else Share.parse(task.tolerate),
            closes_rest=task.cancel_rest and task.success is not None,
            input=arguments,
            publish=publish,
            decision=decision,
            duration=duration,
            until=until,
            race=self.race_of(block),
            event=task.event or "",
            key=key,
            keep=task.keep,
            roles=task.roles,
            data=task.data,
            approval=asked,
            retry=None if task.retry is None else policy_of(task.retry),
            timeout=task.timeout,
            soft_timeout=task.soft_timeout,
            queue=task.queue,
            priority=task.priority,
            commit=task.commit,
            hides=self.secrecy.inputs.get(name, frozenset()),
            gates=gates,
            reads=_reads(
                *(when, with_items, each, item_when, arguments, duration, until, key, *publish.values(), *decision),
                *(gate.key for gate in gates),
                *(() if asked is None else (asked.title, asked.assignees)),
            ),
            **common,
        )

    def race_of(self, block: Task | None) -> str | None:
        """The race that a block is, or stands in."""
        while block is not None and block.type != "race":
            block = self.tasks[block.name][1]
        return None if block is None else block.name

    def conditions(self, task: Task, block: Task | None) -> tuple[Expression | None, Expression | None]:
        """What is asked before the task begins, and what is asked for each of its items."""
        if task.with_items is None or task.type == "loop":
            return _both(task.when, self.inside(block)), None
        whole = _both(self.inside(block), task.when)
        return (None, None) if whole is None else whole.parted(_OF_ITEMS)

    def inside(self, block: Task | None) -> str | None:
        """The `when` of a block's tasks: that nothing skipped its fork."""
        if block is None or block.name not in self.conditional:
            return None
        return f"task['{fork(block.name)}'].status == 'succeeded'"

    def common(self, name: str, task: Task) -> dict[str, Any]:
        inbound, outbound = self.inbound.get(name, ()), self.outbound.get(name, ())
        handled: set[str] = set()
        for way in outbound:
            handled |= way.transition | (way.after if way.explicit and way.after is not None else NOTHING)
        entry_of_block = task.is_block and name.endswith(":fork")
        begins = not task.is_block or entry_of_block
        return {
            "inbound": tuple(self.edges[(way.source, way.target)] for way in inbound),
            "outbound": tuple(self.edges[(way.source, way.target)] for way in outbound),
            "join": None if entry_of_block else _join_of(task),
            "cancel_rest": task.cancel_rest and task.success is None and not entry_of_block,
            "handles": frozenset(handled & _HANDLED),
            "cancels": () if entry_of_block else self.closed_by.get(name, ()),
            "barred": name in self.barred,
            "passes": () if entry_of_block else tuple(self.passed_by.get(name, ())),
            "unless_reached": task.unless_reached if begins else (),
            "on_error": self.on_error[task.name],
            "undone_by": None if task.compensate is None else undo(task.name),
        }

    def fork(self, name: str) -> Node:
        task, block = self.tasks[name.removesuffix(":fork")]
        when = _both(task.when, self.inside(block))
        gates = gates_of(task)
        reads = _reads(when, *(gate.key for gate in gates))
        return Node(name=name, kind="gate", when=when, gates=gates, reads=reads, **self.common(name, task))

    def last(self, task: Task, when: Expression | None, common: Mapping[str, Any]) -> Node:
        """A task that ends the run, well or not."""
        kind: Literal["end", "fail", "continue_as_new"] = task.type if task.type == "fail" or task.type == "continue_as_new" else "end"
        said = {"end": task.output, "fail": task.message, "continue_as_new": task.input}[kind]
        result = None if said is None else Template.parse(said)
        return Node(name=task.name, kind=kind, when=when, result=result, code=task.code, reads=_reads(when, result), **common)

    def call(self, task: Task, when: Expression | None, item_when: Expression | None, common: Mapping[str, Any]) -> Node:
        """A task that runs a workflow as a child, once, for each item, or in rounds."""
        publish, decision = _led_on(task)
        items, each = _listed(task)
        arguments = Template.parse(task.input) if task.input else None
        rounds = _rounds(task, items) if task.type == "loop" else None
        asked = () if rounds is None else (rounds.until, rounds.going_on)
        fans_out = items is not None and rounds is None
        return Node(
            name=task.name,
            kind="call",
            when=when,
            with_items=items if fans_out else None,
            filter=each,
            batch_size=task.batch_size,
            item_when=item_when,
            concurrency=task.concurrency or (WIDE if fans_out else None),
            success=None if task.success is None else Share.parse(task.success),
            tolerate=None if task.tolerate is None else Share.parse(task.tolerate),
            closes_rest=task.cancel_rest and task.success is not None,
            input=arguments,
            publish=publish,
            decision=decision,
            retry=None if task.retry is None else policy_of(task.retry),
            timeout=task.timeout,
            queue=task.queue,
            priority=task.priority,
            reads=_reads(when, items, each, item_when, arguments, *asked, *publish.values(), *decision),
            callee=_callee(self.definition, task, rounds),
            **common,
        )

    def gate(self, task: Task, when: Expression | None, common: Mapping[str, Any]) -> Node:
        fields = {child.name: "results" if child.with_items is not None and child.type != "loop" else "result" for child in task.tasks}
        worth: Any = {child: f"{{{{ task.{child}.{field} }}}}" for child, field in fields.items()}
        result = Template.parse({"won": _first_of(task)} if task.type == "race" else worth)
        publish, decision = _led_on(task)
        return Node(
            name=task.name,
            kind="gate",
            when=when,
            leaves=fork(task.name) if task.limit is not None or task.lock is not None else None,
            publish=publish,
            decision=decision,
            result=result,
            reads=_reads(when, result, *publish.values(), *decision),
            **common,
        )


def _led_on(task: Task) -> tuple[dict[str, Template], tuple[Expression | None, ...]]:
    """What a task publishes, and the conditions of its branches."""
    publish = {key: Template.parse(value) for key, value in task.publish.items()}
    return publish, tuple(None if branch.default or branch.when is None else Expression.parse(branch.when) for branch in task.decision)


def _listed(task: Task) -> tuple[Template | None, Expression | None]:
    """The items of a task, and what is asked of each before it is one."""
    items = None if task.with_items is None else Template.parse(task.with_items)
    return items, None if task.filter is None else Expression.parse(task.filter)


def _callee(definition: Definition, task: Task, rounds: Rounds | None) -> Callee:
    name, signed = task.workflow or "", None
    if embeds(task):
        body = embedded(definition, task)
        name, signed = body.name, signature_of(body)
    return Callee(name, signed, task.parent_close or "request_cancel", task.wait, rounds)


def _rounds(task: Task, items: Template | None) -> Rounds:
    until = Expression.parse(task.until) if isinstance(task.until, str) else None
    going_on = None if task.while_ is None else Expression.parse(task.while_)
    return Rounds(items, until, going_on, MOST_ROUNDS if task.max_rounds is None else task.max_rounds, task.every)


def _both(*conditions: str | None) -> Expression | None:
    said = [condition for condition in conditions if condition is not None]
    if not said:
        return None
    return Expression.parse(said[0] if len(said) == 1 else " and ".join(f"({condition})" for condition in said))


def _join_of(task: Task) -> int | None:
    if task.type == "race":
        return 1
    return task.join if isinstance(task.join, int) else None


def _first_of(race: Task) -> str:
    """The name of the branch that has won: nobody asks before one has, or when two have."""
    *others, last = (branch.name for branch in race.tasks)
    chosen = f"'{last}'"
    for name in reversed(others):
        chosen = f"('{name}' if task.{name}.status == 'succeeded' else {chosen})"
    return f"{{{{ {chosen} }}}}"


def _reads(*parts: Expression | Template | None) -> frozenset[str]:
    found: frozenset[str] = NOTHING
    for part in parts:
        if part is not None and part.tasks:
            found |= part.tasks
    return found


def policy_of(spec: RetrySpec) -> RetryPolicy:
    """A definition's retry as the engine reads it."""
    return RetryPolicy(
        count=spec.count,
        delay=spec.delay,
        backoff=spec.backoff,
        max_delay=spec.max_delay,
        jitter=spec.jitter,
        on_error=None if spec.on_error is None else Expression.parse(spec.on_error),
        non_retryable=spec.non_retryable,
        total=spec.total,
    )
