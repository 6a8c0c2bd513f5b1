"""A call of a step inside a workflow: a task of its graph, and a reference to what it will be worth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from wfcelery.authoring.formulas import Formula, Use
from wfcelery.authoring.options import NO_RETRY, Retry
from wfcelery.authoring.references import Reference, references_in
from wfcelery.authoring.registry import StepSpec
from wfcelery.authoring.shape import POSITIONAL, told
from wfcelery.authoring.tracing import current_trace, looked_at, refusal, templated
from wfcelery.definition.spans import seconds
from wfcelery.errors import AuthoringError, CannotCarry


def traced_call(spec: StepSpec, options: Mapping[str, Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Reference:
    """One task that calls the step once."""
    for name in ("concurrency", "commit"):
        if name in options:
            raise refusal(f"{name}= is for a fan-out: {short_name(spec)}.options({name}=…).map(items)")
    named = _named(spec, args, kwargs)
    trace = current_trace(spec.name)
    task = trace.add(short_name(spec), options, said_of(spec, options, named), looked_at(named))
    return Reference(Formula(f"task.{task.name}.result", (Use(task),), task=task, plain=True))


def traced_map(spec: StepSpec, options: Mapping[str, Any], items: Any, args: tuple[Any, ...], shared: Mapping[str, Any]) -> Reference:
    """One task that calls the step once for each item."""
    trace = current_trace(f"{spec.name}.map()")
    if isinstance(items, (str, bytes, Mapping)) or not isinstance(items, (Reference, list, tuple, range, set, frozenset)):
        raise refusal(f"{short_name(spec)}.map() takes a list, or what a step returned, not {items!r}")
    given = items if isinstance(items, Reference) else list(items)
    named = _named(spec, (Reference(Formula("item", plain=True)), *args), shared)
    said = said_of(spec, options, named)
    said["with_items"] = templated(given, f"{short_name(spec)}.map()")
    task = trace.add(short_name(spec), options, said, looked_at([given, named]))
    return Reference(Formula(f"task.{task.name}.results", (Use(task),), task=task, plain=True))


def said_of(spec: StepSpec, options: Mapping[str, Any], named: Mapping[str, Any]) -> dict[str, Any]:
    """What a definition says of such a task: the step, its input, and the options of this one call."""
    said: dict[str, Any] = {"action": spec.name}
    given = {name: _input(spec, name, value) for name, value in named.items()}
    if POSITIONAL in given:
        said["args"] = given.pop(POSITIONAL)
    if given:
        said["input"] = given
    for name in ("queue", "priority", "concurrency", "join", "cancel_rest", "commit", "on_error"):
        if name in options:
            said[name] = options[name]
    for name in ("timeout", "soft_timeout"):
        if options.get(name) is not None:
            said[name] = seconds(options[name])
    if "retry" in options:
        retry: Retry = options["retry"] or NO_RETRY
        said["retry"] = retry.document()
    return said


def _named(spec: StepSpec, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return spec.shape.named(args, kwargs)
    except AuthoringError as error:
        raise refusal(str(error)) from None


def _input(spec: StepSpec, name: str, value: Any) -> Any:
    if name != POSITIONAL and not any(True for _ in references_in(value)):
        return _constant(spec, name, value)
    return templated(value, f"{short_name(spec)}({name})")


def _constant(spec: StepSpec, name: str, value: Any) -> Any:
    """A constant argument, checked against its annotation here and now."""
    try:
        stored = spec.shape.store(name, value)
    except ValidationError as error:
        raise refusal(f"{short_name(spec)}: " + "; ".join(f"{where}: {what}" for where, what in told(error, name))) from None
    except CannotCarry as error:
        raise refusal(f"{short_name(spec)}({name}): {error}") from None
    try:
        return templated(value, name)  # as it was written: 5 stays 5 where a Decimal is wanted
    except AuthoringError:
        return templated(stored, name)


def short_name(spec: StepSpec) -> str:
    """What a task that calls this step is called, if nothing else is said."""
    return spec.name.rpartition(".")[2].replace("-", "_")
