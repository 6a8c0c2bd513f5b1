"""A call of a step inside a workflow: a task of its graph, and a reference to what it will be worth."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from inspect import signature
from typing import Any, Protocol, TypeVar, cast

from pydantic import ValidationError

from wfcelery.authoring.formulas import Formula, Use
from wfcelery.authoring.gates import keys_in, said_of_gates
from wfcelery.authoring.options import NO_RETRY, OF_ITEMS, ItemTest, Retry, check_whole
from wfcelery.authoring.references import Reference, references_in
from wfcelery.authoring.registry import StepSpec
from wfcelery.authoring.shape import POSITIONAL, Shape, told
from wfcelery.authoring.tracing import current_trace, looked_at, refusal, templated, written_out
from wfcelery.definition.expressions import bare
from wfcelery.definition.redaction import text_of
from wfcelery.definition.spans import seconds
from wfcelery.errors import AuthoringError, CannotCarry

T = TypeVar("T")


class Shaped(Protocol):
    """What a task calls: a step or a workflow, by its name, with the shape of its function."""

    @property
    def name(self) -> str: ...
    @property
    def shape(self) -> Shape: ...


def traced_call(spec: StepSpec, options: Mapping[str, Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Reference:
    """One task that calls the step once."""
    for name in OF_ITEMS:
        if name in options:
            raise refusal(f"{name}= is for a fan-out: {short_name(spec)}.options({name}=…).map(items)")
    named = named_by(spec, args, kwargs)
    trace = current_trace(spec.name)
    task = trace.add(short_name(spec), options, said_of(spec, options, named), looked_at([named, keys_in(options)]))
    return Reference(Formula(f"task.{task.name}.result", (Use(task),), task=task, plain=True))


def traced_map(spec: StepSpec, options: Mapping[str, Any], items: Any, args: tuple[Any, ...], shared: Mapping[str, Any]) -> Reference:
    """One task that calls the step once for each item."""
    named = named_by(spec, (Reference(Formula("item", plain=True)), *args), shared)
    return fanned_out(spec, options, items, said_of(spec, options, named), named)


def fanned_out(spec: Shaped, options: Mapping[str, Any], items: Any, said: dict[str, Any], named: Mapping[str, Any]) -> Reference:
    """One task that does once for each item what `said` says of it."""
    trace = current_trace(f"{spec.name}.map()")
    batch_size: dict[str, int] = {}
    if isinstance(items, Batches):
        items, batch_size = items.items, {"batch_size": items.size}
    if isinstance(items, (str, bytes, Mapping)) or not isinstance(items, (Reference, list, tuple, range, set, frozenset)):
        raise refusal(f"{short_name(spec)}.map() takes a list, or what a step returned, not {items!r}")
    given = items if isinstance(items, Reference) else list(items)
    said = said | {"with_items": templated(given, f"{short_name(spec)}.map()"), **batch_size}
    tests = {name: asked_of_items(spec, name, options[name]) for name in ("filter", "when") if name in options}
    if "filter" in tests:
        said["filter"] = tests["filter"].source
    task = trace.add(short_name(spec), options, said, [*looked_at([given, named]), *tests.values()])
    task.item_condition = tests.get("when")
    return Reference(Formula(f"task.{task.name}.results", (Use(task),), task=task, plain=True))


@dataclass(frozen=True, slots=True, eq=False)
class Batches:
    """A list, in lists of at most so many of its items."""

    items: Any
    size: int


def batched(items: Iterable[T], size: int, /) -> list[list[T]]:
    """The items of `.map(...)` in lists of at most so many, each of which one execution takes: `load.map(batched(rows, 100))`.

    The results are one for each list.
    """
    current_trace("batched()")
    check_whole("batched(size)", size, 1)
    return cast("list[list[T]]", Batches(items, size))


def asked_of_items(spec: Shaped, name: str, test: ItemTest) -> Formula:
    """What is asked of each item, as an expression over item and index."""
    where = f"{short_name(spec)}.options({name}=…)"
    if isinstance(test, str):
        _, uses = written_out(where, test)
        return Formula(bare(test), uses)
    given = [Reference(Formula(root, plain=True)) for root in ("item", "index")]
    found = test(*given[: 2 if len(signature(test).parameters) > 1 else 1])
    if not isinstance(found, Reference):
        raise refusal(f"{where} was decided while the workflow was traced: it is {found!r} for every item")
    return found._wf


def said_of(spec: StepSpec, options: Mapping[str, Any], named: Mapping[str, Any]) -> dict[str, Any]:
    """What a definition says of such a task: the step, its input, and the options of this one call."""
    said: dict[str, Any] = {"action": spec.name}
    given = inputs_of(spec, named)
    if POSITIONAL in given:
        said["args"] = given.pop(POSITIONAL)
    if given:
        said["input"] = given
    if spec.shape.secret_result:
        said["secret"] = sorted(map(text_of, spec.shape.secret_result))
    said |= {name: usual for name in ("compensate", "on_error") if (usual := getattr(spec, name)) is not None}
    return said | said_by(options)


def said_by(options: Mapping[str, Any]) -> dict[str, Any]:
    """What a definition says of the options of one call."""
    said: dict[str, Any] = {}
    for name in ("queue", "priority", "concurrency", "success", "tolerate", "join", "cancel_rest", "commit", "on_error"):
        if name in options:
            said[name] = options[name]
    for name in ("timeout", "soft_timeout"):
        if options.get(name) is not None:
            said[name] = seconds(options[name])
    said |= said_of_gates(options, templated)
    if "compensate" in options:
        said["compensate"] = options["compensate"]
    if "retry" in options:
        retry: Retry = options["retry"] or NO_RETRY
        said["retry"] = retry.document()
    return said


def inputs_of(spec: Shaped, named: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call as a definition writes them."""
    return {name: _input(spec, name, value) for name, value in named.items()}


def named_by(spec: Shaped, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return spec.shape.named(args, kwargs)
    except AuthoringError as error:
        raise refusal(str(error)) from None


def _input(spec: Shaped, name: str, value: Any) -> Any:
    if name != POSITIONAL and not any(True for _ in references_in(value)):
        return _constant(spec, name, value)
    return templated(value, f"{short_name(spec)}({name})")


def _constant(spec: Shaped, name: str, value: Any) -> Any:
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


def short_name(spec: Shaped) -> str:
    """What a task that calls it is called, if nothing else is said."""
    return spec.name.rpartition(".")[2].replace("-", "_")
