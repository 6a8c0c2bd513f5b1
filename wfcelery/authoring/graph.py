"""From a function to a definition: the look at its source, the trace, and the document they give."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from wfcelery.authoring.calls import said_of, short_name
from wfcelery.authoring.formulas import Formula, TracedTask
from wfcelery.authoring.parameters import Parameters
from wfcelery.authoring.references import Reference
from wfcelery.authoring.registry import StepSpec
from wfcelery.authoring.shape import POSITIONAL, told
from wfcelery.authoring.source_check import check_source
from wfcelery.authoring.tracing import Trace, all_of, looked_at, templated, tracing
from wfcelery.authoring.undoing import hooks_of
from wfcelery.definition.expressions import Expression
from wfcelery.definition.model import Definition
from wfcelery.definition.spans import seconds
from wfcelery.definition.values import encode
from wfcelery.errors import AuthoringError


def traced(
    function: Callable[..., Any], name: str, version: str, description: str, parameters: Parameters, options: Mapping[str, Any]
) -> Definition:
    """The definition of a workflow function. Twice the same."""
    check_source(function, name)
    document: dict[str, Any] = {"name": name, "version": version, "parameters": parameters.document()}
    if description:
        document["description"] = description
    if options.get("timeout") is not None:
        document["timeout"] = seconds(options["timeout"])
    if options.get("on_error") is not None:
        document["on_error"] = options["on_error"]
    if hooks := hooks_of(options):
        document["hooks"] = hooks
    if options.get("triggers"):
        document["triggers"] = [each.document() for each in options["triggers"]]
    if options.get("tags"):
        document["tags"] = list(options["tags"])
    if options.get("concurrency") is not None:
        document["concurrency"] = options["concurrency"].document()
    return _definition(document | body_of(function, name, tuple(parameters.shape.parameters)))


def _definition(document: dict[str, Any]) -> Definition:
    try:
        return Definition.model_validate(document)
    except ValidationError as error:
        raise AuthoringError("; ".join(f"{where}: {what}" for where, what in told(error)), where=document["name"]) from None


def body_of(function: Callable[..., Any], name: str, parameters: Sequence[str]) -> dict[str, Any]:
    """The tasks and the output of a workflow function."""
    with tracing(name) as trace:
        result = function(**{each: Reference(Formula(f"parameters.{each}", plain=True)) for each in parameters})
        for each in looked_at(result):
            trace.check(each)
        output = {} if result is None else {"output": templated(result, "the result")}
        return {"tasks": documents(trace), **output}


def documents(trace: Trace) -> list[dict[str, Any]]:
    """The tasks of a trace as a definition writes them."""
    for section in trace.tasks:
        if "lock" in section.fields and section.inside:
            _come_after_what_is_outside(section)
    return [_document(task) for task in trace.tasks if task.branch is None and task.race is None and task.section is None]


def _come_after_what_is_outside(section: TracedTask) -> None:
    """A section begins when all has ended that something inside comes after: nobody waits for that with the lock."""
    members = set(_members(section))
    for member in members:
        for source in (*member.needs, *member.after):
            if source not in members and source is not section and source not in section.needs:
                section.after.setdefault(source, source.usual_ends)


def _members(task: TracedTask) -> Iterator[TracedTask]:
    for each in task.inside:
        yield each
        yield from _members(each)


def _document(task: TracedTask) -> dict[str, Any]:
    document: dict[str, Any] = {"name": task.name, **task.fields}
    conditions = [guard.condition for guard in task.guards if guard.condition is not None] + task.conditions
    if task.item_condition is not None:
        conditions.append(_operand(task.item_condition) if conditions else task.item_condition)
    if conditions:
        document["when"] = all_of(conditions).template
    if task.needs:
        document["needs"] = [source.name for source in task.needs]
    if task.after:
        document["after"] = [_after(source, ends) for source, ends in task.after.items()]
    for transition, targets in task.leads_to.items():
        document[transition] = [target.name for target in dict.fromkeys(targets)]
    if task.publish:
        document["publish"] = dict(task.publish)
    if task.inside:
        document["tasks"] = [_document(inner) for inner in task.inside]
    return document


def _operand(condition: Formula) -> Formula:
    return Formula(Expression.parse(condition.source).operand, condition.uses, condition.choices)


def _after(source: TracedTask, ends: frozenset[str]) -> Any:
    return source.name if ends == source.usual_ends else {source.name: sorted(ends)}


def one_step(spec: StepSpec, options: Mapping[str, Any], extras: Sequence[str]) -> Definition:
    """The definition of a run of one step. `extras` are given arguments that its signature does not name."""
    parameters = Parameters(spec.name, spec.shape).document()
    task_input = {name: f"{{{{ parameters.{name} }}}}" for name in parameters}
    for name in extras:
        given = _parameter(name)
        parameters[given], task_input[name] = {"required": True}, f"{{{{ parameters.{given} }}}}"
    short = short_name(spec)
    said = said_of(spec, options, {})
    if not said.get("compensate"):
        said.pop("on_error", None)  # alone it has nothing to undo and nothing to stop
    return _definition(
        {
            "name": spec.name,
            "version": "1",
            "parameters": parameters,
            "tasks": [{"name": short, **said, "input": task_input}],
            "output": f"{{{{ task.{short}.result }}}}",
        }
    )


def one_input(spec: StepSpec, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The stored input of a run of one step, and the arguments that its signature does not name."""
    named = spec.shape.named(args, kwargs)
    extras = tuple(name for name in named if name not in spec.shape.parameters)
    stored = Parameters(spec.name, spec.shape).validate({name: value for name, value in named.items() if name not in extras})
    return stored | {_parameter(name): encode(named[name]) for name in extras}, extras


def _parameter(name: str) -> str:
    return "args" if name == POSITIONAL else name
