"""What `.options(...)` and `.map` say of a fan-out, and that YAML says the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.authoring.shop import Line, Order, label, reserve
from wfcelery import AuthoringError, Failed, batched, step, when, workflow
from wfcelery.authoring.yaml import load_yaml
from wfcelery.definition.compile import compile_plan
from wfcelery.definition.model import signature
from wfcelery.definition.problems import problems

CHOSEN = """
name: chosen
parameters: {order: {type: object, required: true}}
tasks:
  - {name: stock, action: tests.unit.authoring.shop.reserve,
     input: {sku: "{{ parameters.order.sku }}", quantity: "{{ parameters.order.quantity }}"}}
  - name: label
    action: tests.unit.authoring.shop.label
    needs: [stock]
    with_items: "{{ parameters.order.lines }}"
    filter: "{{ gt(item.quantity, 0) }}"
    when: "{{ gt(parameters.order.total, 5) and ne(item.sku, task.stock.result) }}"
    concurrency: 5
    success: 80%
    tolerate: 3
    cancel_rest: true
    on_error: continue
    input: {line: "{{ item }}", size: A6}
  - {name: first, action: tests.unit.authoring.shop.label, with_items: "{{ parameters.order.lines }}",
     when: "{{ index < 3 or item.sku == 'x' }}",
     input: {line: "{{ item }}", size: A6}}
  - {name: packed, action: tests.unit.authoring.test_fan_outs.pack, with_items: "{{ parameters.order.lines }}", batch_size: 10,
     input: {lines: "{{ item }}"}}
"""


@step
def pack(lines: list[Line]) -> int:
    return len(lines)


@workflow
def chosen(order: Order) -> None:
    stock = reserve.options(name="stock")(order.sku, order.quantity)
    with when(order.total > 5):
        label.options(
            filter=lambda line: line.quantity > 0,
            when=lambda line: line.sku != stock,
            concurrency=5,
            success="80 %",
            tolerate=3,
            cancel_rest=True,
            on_error=Failed,
        ).map(order.lines, size="A6")
    label.options(name="first", when="{{ index < 3 or item.sku == 'x' }}").map(order.lines, size="A6")
    pack.options(name="packed").map(batched(order.lines, 10))


def test_a_fan_out_in_python_and_in_yaml_has_one_signature() -> None:
    assert [str(problem) for problem in problems(chosen.definition) if problem.severity == "error"] == []
    assert signature(chosen.definition) == signature(load_yaml(CHOSEN))


def test_what_a_condition_asks_of_no_item_is_asked_of_the_task() -> None:
    nodes = compile_plan(chosen.definition).nodes

    assert nodes["label"].when is not None
    assert nodes["label"].when.roots == {"parameters"}
    assert nodes["label"].item_when is not None
    assert nodes["label"].item_when.roots == {"item", "task"}
    assert nodes["first"].when is None


def test_a_condition_of_items_keeps_its_parts_together_behind_a_guard() -> None:
    @workflow
    def guarded(order: Order) -> None:
        with when(order.express):
            label.options(when="index < 3 or item.quantity > 1").map(order.lines, size="A6")

    (task,) = guarded.definition.tasks
    assert task.when == "parameters.order.express and (index < 3 or item.quantity > 1)"


REFUSED: list[tuple[Callable[[Order], Any], str]] = [
    (lambda order: label.options(filter="item.x")(order.lines[0], "A6"), "filter= is for a fan-out"),
    (lambda order: label.options(success=2)(order.lines[0], "A6"), "success= is for a fan-out"),
    (
        lambda order: label.options(filter=lambda _: True).map(order.lines, size="A6"),
        "was decided while the workflow was traced: it is True",
    ),
    (lambda order: label.options(when="item.").map(order.lines, size="A6"), "{{ item. }}"),
    (lambda order: label.options(when="task.gone.result").map(order.lines, size="A6"), "looks at task gone, which no call before it made"),
    (lambda _: label.options(success="much"), "label.options(), success: it is a whole number of items, or a percentage such as 80%"),
    (lambda _: label.options(success=0), "success is a whole number from 1 on, not 0"),
    (lambda _: label.options(tolerate=-1), "tolerate is a whole number from 0 on, not -1"),
    (lambda _: label.options(filter=3), "filter is an expression over item and index, or a function of them, not 3"),
    (lambda order: pack.map(batched(order.lines, 0)), "batched(size) is a whole number from 1 on, not 0"),
]


@pytest.mark.parametrize(("says", "text"), REFUSED, ids=[text for _, text in REFUSED])
def test_what_a_fan_out_cannot_mean_is_refused(says: Callable[[Order], Any], text: str) -> None:
    @workflow
    def refused(order: Order) -> None:
        says(order)

    with pytest.raises(AuthoringError) as told:
        _ = refused.definition
    assert text in str(told.value)


def test_batches_mean_something_only_in_a_workflow() -> None:
    with pytest.raises(AuthoringError, match=r"batched\(\) means something only inside a @workflow"):
        batched([1, 2, 3], 2)
