"""`loop(...)`: a step or a workflow, again and again, until something holds of what it returned."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, Unpack, cast

from typing_extensions import TypeVar

from wfcelery.authoring.calls import inputs_of, named_by, said_by, said_of, short_name
from wfcelery.authoring.children import closing
from wfcelery.authoring.decorators import Step, Workflow
from wfcelery.authoring.formulas import Formula, Use
from wfcelery.authoring.options import LoopOptions, check_options, check_task_name, check_whole
from wfcelery.authoring.references import Reference
from wfcelery.authoring.shape import POSITIONAL
from wfcelery.authoring.tracing import current_trace, looked_at, refusal, templated
from wfcelery.definition.spans import seconds

P = ParamSpec("P")
R = TypeVar("R")


def loop(
    body: Callable[P, R],
    /,
    *,
    until: Callable[[R], bool] | None = None,
    while_: Callable[[R], bool] | None = None,
    max_rounds: int,
    **options: Unpack[LoopOptions],
) -> Callable[P, R]:
    """Run the step or workflow again and again: `loop(poll, until=lambda state: state.done, max_rounds=100)(shipment)`.

    Each round is a child run. What it returned is asked after each round; the value of the loop is that of the last. What a
    round is given may look at `expr("last")`, what the round before returned (None in the first), at `expr("round")`, from 1,
    and with `with_items=` at `expr("item")` and `expr("index")`.
    """
    trace = current_trace("loop()")
    check_options("loop()", options, LoopOptions.__annotations__)
    check_whole("loop(max_rounds)", max_rounds, 1)
    if not isinstance(body, Step | Workflow):
        raise refusal(f"loop() takes a step or a workflow, not {body!r}")
    if "name" in options:
        check_task_name("loop(name)", options["name"])
    if until is not None and while_ is not None:
        raise refusal("loop() takes until= or while_=, not both")
    if until is None and while_ is None and "with_items" not in options:
        raise refusal("loop() says how long it goes on: until=, while_= or with_items=")
    asked = {word: _asked(word, test) for word, test in (("until", until), ("while", while_)) if test is not None}
    items = options.get("with_items")
    spans = {"every": options.get("every"), "timeout": options.get("timeout")}

    def rounds(*args: P.args, **kwargs: P.kwargs) -> R:
        called = cast("Step[..., Any] | Workflow[..., Any]", body)
        named = named_by(_shaped(called), args, kwargs)
        said = _said(called, named) | {word: formula.template for word, formula in asked.items()} | {"max_rounds": max_rounds}
        said |= {word: seconds(span) for word, span in spans.items() if span is not None}
        if items is not None:
            said["with_items"] = templated(items, "loop(with_items)")
        task = trace.add(short_name(_shaped(called)), options, said | closing(options), [*looked_at([named, items]), *asked.values()])
        return cast("R", Reference(Formula(f"task.{task.name}.result", (Use(task),), task=task, plain=True)))

    return rounds


def _shaped(body: Step[..., Any] | Workflow[..., Any]) -> Any:
    return body.spec if isinstance(body, Step) else body


def _said(body: Step[..., Any] | Workflow[..., Any], named: Mapping[str, Any]) -> dict[str, Any]:
    """What is run in each round: a workflow by its name, or the step as the only task of a workflow of its own."""
    given = inputs_of(_shaped(body), named)
    if POSITIONAL in given:
        raise refusal(f"{short_name(_shaped(body))}: what a loop runs takes its input by name")
    said: dict[str, Any] = {"type": "loop", **({"input": given} if given else {})}
    if isinstance(body, Workflow):
        return said | {"workflow": body.name, **said_by(body._said), **closing(body._said)}
    short = short_name(body.spec)
    inside = {name: f"{{{{ parameters.{name} }}}}" for name in given}
    task = {"name": short, **said_of(body.spec, body._said, {}), **({"input": inside} if inside else {})}
    return said | {"tasks": [task], "output": f"{{{{ task.{short}.result }}}}"}


def _asked(word: str, test: Callable[[Any], object]) -> Formula:
    """What is asked after each round, as an expression over `last`."""
    found = test(Reference(Formula("last", plain=True)))
    if not isinstance(found, Reference):
        raise refusal(f"loop({word}=…) was decided while the workflow was traced: it is {found!r} after every round")
    return found._wf
