"""Which way a traced graph goes: guards, either() and failures, played over the compiled plan."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.authoring.shop import charge, notify, refund, reserve, ship
from wfcelery import Workflow, after, either, error, failed, otherwise, when, workflow
from wfcelery.definition.compile import compile_plan
from wfcelery.definition.plan import Node


def played(flow: Workflow[..., Any], parameters: dict[str, Any], failing: tuple[str, ...] = ()) -> dict[str, Any]:
    """The first argument of every task that ran; "failed" for one that failed."""
    plan = compile_plan(flow.definition)
    ends: dict[str, str] = {}
    tasks: dict[str, Any] = {}
    for name, node in plan.nodes.items():
        scope = {"parameters": parameters, "vars": {}, "task": tasks}
        ends[name] = _end(node, ends, scope, failing)
        ran = ends[name] in ("succeeded", "failed")
        given = node.input.render(scope) if ran and node.input is not None else {}
        first = given["*"][0] if "*" in given else next(iter(given.values()), None)
        tasks[name] = {
            "status": ends[name] if ran else "skipped",
            "result": first if ends[name] == "succeeded" else None,
            "error": {"type": "ValueError", "code": None, "message": f"{name} failed"} if ends[name] == "failed" else None,
        }
    return {name: tasks[name]["result"] if end == "succeeded" else end for name, end in ends.items() if end in ("succeeded", "failed")}


def _end(node: Node, ends: dict[str, str], scope: dict[str, Any], failing: tuple[str, ...]) -> str:
    fired = [edge.fires(ends[edge.source], None) for edge in node.inbound]
    leading = [fires for edge, fires in zip(node.inbound, fired, strict=True) if edge.transition]
    required = [fires for edge, fires in zip(node.inbound, fired, strict=True) if edge.required is not None]
    if not all(required) or (leading and not any(leading)):
        return "dead"
    if node.when is not None and not node.when.evaluate(scope):
        return "skipped"
    return "failed" if node.name in failing else "succeeded"


@workflow
def branches(express: bool, large: bool) -> None:
    with when(express):
        one = charge.options(name="one")(1, 1)  # type: ignore[arg-type]
        inner = ship.options(name="inner")(2, one)
        with when(large):
            deep = ship.options(name="deep")(3, inner)
    with otherwise(large):
        two = refund.options(name="two")(4, 1)  # type: ignore[arg-type]
    notify.options(name="both")(either(one, two))
    notify.options(name="maybe")(either(inner, None))
    notify.options(name="deepest")(either(deep, inner, two, "none"))


@pytest.mark.parametrize(
    ("express", "large", "expected"),
    [
        (True, True, {"one": 1, "inner": 2, "deep": 3, "both": 1, "maybe": 2, "deepest": 3}),
        (True, False, {"one": 1, "inner": 2, "both": 1, "maybe": 2, "deepest": 2}),
        (False, True, {"two": 4, "both": 4, "maybe": None, "deepest": 4}),
        (False, False, {"maybe": None, "deepest": "none"}),
    ],
)
def test_the_branch_that_ran_gives_the_value(express: bool, large: bool, expected: dict[str, Any]) -> None:
    assert played(branches, {"express": express, "large": large}) == expected


@workflow
def rescue(express: bool) -> None:
    paid = charge.options(name="paid")(1, 1)  # type: ignore[arg-type]
    with after(failed(paid)):
        other = refund.options(name="other")(2, 1)  # type: ignore[arg-type]
        with when(express):
            fast = reserve.options(name="fast")("3", 1)
    notify.options(name="sent")(either(paid, other))
    notify.options(name="rushed")(either(fast, "no"))
    notify.options(name="why")(either(error(paid).message, "well"))


@pytest.mark.parametrize(
    ("express", "failing", "expected"),
    [
        (True, (), {"paid": 1, "sent": 1, "rushed": "no", "why": "well"}),
        (True, ("paid",), {"paid": "failed", "other": 2, "fast": "3", "sent": 2, "rushed": "3", "why": "paid failed"}),
        (False, ("paid",), {"paid": "failed", "other": 2, "sent": 2, "rushed": "no", "why": "paid failed"}),
    ],
)
def test_what_is_done_after_a_failure_stands_in_for_the_value(express: bool, failing: tuple[str, ...], expected: dict[str, Any]) -> None:
    assert played(rescue, {"express": express}, failing) == expected
