"""What a call of a workflow function with references becomes."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from tests.unit.authoring.shop import Line, Order, apologise, charge, label, notify, refund, reserve, ship, tasks_of
from wfcelery import (
    Failed,
    Retry,
    adopt,
    after,
    completed,
    error,
    expr,
    failed,
    publish,
    sleep,
    sleep_until,
    text,
    timed_out,
    when,
    workflow,
)
from wfcelery.authoring.decorators import Workflow
from wfcelery.definition.model import After, canonical_json


def test_tracing_twice_gives_the_same_json() -> None:
    def body(order: Order) -> str:
        stock = reserve(order.sku, order.quantity)
        with when(order.total > 500):
            refund(order.id, order.total)
        return ship.options(after=stock)(order.id, charge(order.id, order.total * 2), label.map(order.lines, size="A6"))

    first, second = (canonical_json(Workflow(body, {"name": "twice"}, locals()).definition) for _ in range(2))

    assert first == second


def test_a_value_that_is_passed_on_draws_an_edge_and_the_order_of_the_code_draws_none() -> None:
    @workflow
    def chained(order: Order) -> str:
        reserve(order.sku, order.quantity)
        paid = charge(order.id, order.total)
        return ship(order.id, paid)

    tasks = tasks_of(chained)

    assert tasks["ship"].needs == ("charge",)
    assert tasks["charge"].needs == ()
    assert tasks["ship"].input == {"order_id": "{{ parameters.order.id }}", "paid": "{{ task.charge.result }}"}
    assert chained.definition.output == "{{ task.ship.result }}"


def test_a_comparison_is_a_function_over_exact_values() -> None:
    @workflow
    def compared(order: Order) -> None:
        with when((order.total * 2 - 1 > Decimal("499.5")) & (order.lines[0].sku != "x") | (order.quantity < 10)):
            notify()

    assert tasks_of(compared)["notify"].when == (
        '((gt(sub(mul(parameters.order.total, 2), 1), decimal("499.5")) and ne(parameters.order.lines[0].sku, "x"))'
        " or lt(parameters.order.quantity, 10))"
    )


def test_an_index_may_be_a_reference_and_a_key_may_be_any_text() -> None:
    @workflow
    def looked_up(names: dict[str, str], key: str) -> None:
        notify(names[key], names["first name"], names["plain"])

    assert tasks_of(looked_up)["notify"].args == [
        "{{ parameters.names[parameters.key] }}",
        '{{ parameters.names["first name"] }}',
        "{{ parameters.names.plain }}",
    ]


def test_references_in_lists_and_dicts_draw_edges_too() -> None:
    @workflow
    def gathered(order: Order) -> dict[str, object]:
        paid, stock = charge(order.id, order.total), reserve(order.sku, 1)
        notify(all=[paid, {"stock": stock}], plain={"at": datetime(2030, 1, 1)})  # noqa: DTZ001 - a constant of the author's
        return {"paid": paid, "n": 3}

    task = tasks_of(gathered)["notify"]

    assert task.needs == ("charge", "reserve")
    assert task.input == {
        "all": ["{{ task.charge.result }}", {"stock": "{{ task.reserve.result }}"}],
        "plain": {"at": {"$wf": ["datetime", "2030-01-01T00:00:00"]}},
    }
    assert gathered.definition.output == {"paid": "{{ task.charge.result }}", "n": 3}


def test_a_constant_that_looks_like_a_template_stays_a_text() -> None:
    @workflow
    def quoted() -> None:
        notify("{{ parameters.x }}")

    assert tasks_of(quoted)["notify"].args == ['{{ "{{ parameters.x }}" }}']


def test_a_fan_out_takes_the_item_as_its_first_parameter_and_is_worth_the_list_of_results() -> None:
    @workflow
    def fanned(lines: list[Line], size: str) -> list[str | Failed]:
        labels = label.options(concurrency=50, on_error=Failed).map(lines, size=size)
        notify(labels)
        return labels

    tasks = tasks_of(fanned)

    assert tasks["label"].with_items == "{{ parameters.lines }}"
    assert tasks["label"].input == {"line": "{{ item }}", "size": "{{ parameters.size }}"}
    assert (tasks["label"].concurrency, tasks["label"].on_error) == (50, "continue")
    assert tasks["notify"].args == ["{{ task.label.results }}"]
    assert fanned.definition.output == "{{ task.label.results }}"


def test_what_a_call_says_is_in_the_definition_and_what_the_step_says_is_not() -> None:
    @workflow(version="7", timeout="2d", tags=["web"])
    def said(order: Order) -> None:
        charge.options(retry=Retry(2, "5s"), timeout="30s", queue="slow", priority=3, name="pay")(order.id, order.total)
        refund.options(retry=None)(order.id, order.total)
        reserve(order.sku, 1)

    tasks = tasks_of(said)

    assert (tasks["pay"].retry.count, tasks["pay"].retry.delay, tasks["pay"].timeout) == (2, 5.0, 30.0)
    assert (tasks["pay"].queue, tasks["pay"].priority) == ("slow", 3)
    assert tasks["refund"].retry.count == 0
    assert (tasks["reserve"].retry, tasks["reserve"].timeout, tasks["reserve"].queue) == (None, None, None)
    assert (said.definition.version, said.definition.timeout, said.definition.tags) == ("7", 172_800.0, ("web",))


def test_calls_of_one_step_are_numbered() -> None:
    @workflow
    def numbered() -> None:
        reserve("a", 1)
        reserve("b", 1)
        reserve.options(name="last")("c", 1)

    assert list(tasks_of(numbered)) == ["reserve", "reserve_2", "last"]


def test_after_orders_without_data_and_names_the_end_that_is_meant() -> None:
    @workflow
    def ordered(order: Order) -> None:
        stock = reserve(order.sku, 1)
        paid = charge.options(after=stock)(order.id, order.total)
        with after(failed(paid), timed_out(paid)):
            apologise(order.id, error(paid).message)
        notify.options(after=[stock, completed(paid)])(order.id)
        with after(sleep("2d"), sleep_until(order.ship_at)):  # type: ignore[arg-type]
            notify()

    tasks = tasks_of(ordered)

    assert tasks["charge"].after == (After(task="reserve"),)
    assert tasks["apologise"].after == (After(task="charge", ends=("failed", "timed_out")),)
    assert tasks["apologise"].needs == ()
    assert tasks["apologise"].input["reason"] == "{{ task.charge.error.message }}"
    assert tasks["notify"].after == (After(task="reserve"), After(task="charge", ends=("failed", "skipped", "succeeded", "timed_out")))
    assert (tasks["sleep"].duration, tasks["sleep_2"].until) == ("2d", "{{ parameters.order.ship_at }}")
    assert tasks["notify_2"].after == (After(task="sleep"), After(task="sleep_2"))


def test_an_error_alone_waits_for_the_failure() -> None:
    @workflow
    def sorry(order: Order) -> None:
        paid = charge(order.id, order.total)
        apologise(order.id, error(paid).message)

    assert tasks_of(sorry)["apologise"].after == (After(task="charge", ends=("failed", "timed_out")),)


def test_text_is_a_template_of_its_own_and_part_of_a_condition() -> None:
    @workflow
    def told(order: Order) -> None:
        notify(text("order {} of {who}", order.id, who=order.sku))
        with when(text("{}-{}", order.id, order.sku) == "1-a"):
            notify()

    tasks = tasks_of(told)

    assert tasks["notify"].args == ["order {{ parameters.order.id }} of {{ parameters.order.sku }}"]
    assert tasks["notify_2"].when == 'eq((parameters.order.id ~ "-" ~ parameters.order.sku), "1-a")'


def test_an_expression_draws_the_edges_of_the_tasks_it_names() -> None:
    @workflow
    def escaped(order: Order) -> None:
        charge(order.id, order.total)
        notify(expr("task.charge.result | upper"))

    tasks = tasks_of(escaped)

    assert tasks["notify"].needs == ("charge",)
    assert tasks["notify"].args == ["{{ (task.charge.result | upper) }}"]


def test_a_step_publishes_what_is_made_of_its_result() -> None:
    @workflow
    def published(order: Order) -> None:
        paid = charge(order.id, order.total)
        publish(receipt=paid, note=text("paid {}", paid))

    assert tasks_of(published)["charge"].publish == {"receipt": "{{ task.charge.result }}", "note": "paid {{ task.charge.result }}"}


def test_names_of_annotations_may_be_defined_after_the_workflow() -> None:
    @workflow
    def early(number: Later) -> None:  # type: ignore[valid-type]  # noqa: F821
        notify(number)

    globals()["Later"] = int

    assert early.definition.parameters["number"].type == "integer"


def test_an_adopted_task_with_the_types_of_a_function_has_named_arguments() -> None:
    def wire(order_id: int, receipt: str) -> bool:
        raise NotImplementedError

    typed = adopt("shop.tasks.wire", like=wire)

    @workflow
    def wired(order: Order) -> bool:
        return typed(order.id, receipt="r")

    assert tasks_of(wired)["wire"].input == {"order_id": "{{ parameters.order.id }}", "receipt": "r"}


def test_a_run_of_one_step_has_a_definition_that_does_not_change_with_its_arguments() -> None:
    first, second = ship.bind(1, "a"), ship.bind(2, paid="b", labels=["x"])

    assert first.definition is second.definition
    assert first.input == {"order_id": 1, "paid": "a", "labels": None}
    assert first.definition.output == "{{ task.ship.result }}"
