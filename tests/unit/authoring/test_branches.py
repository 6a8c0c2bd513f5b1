"""Guards: when, otherwise, after; and either(), which says what is meant outside of them."""

from __future__ import annotations

import pytest

from tests.unit.authoring.shop import Order, charge, notify, refund, reserve, ship, tasks_of
from wfcelery import AuthoringError, after, completed, either, error, failed, otherwise, sleep, when, workflow
from wfcelery.definition.model import After


def test_a_guard_is_the_condition_of_every_call_inside() -> None:
    @workflow
    def guarded(order: Order) -> None:
        with when(order.express):
            notify(1)
            with when(order.total > 500):
                notify(2)

    tasks = tasks_of(guarded)

    assert tasks["notify"].when == "parameters.order.express"
    assert tasks["notify_2"].when == "parameters.order.express and gt(parameters.order.total, 500)"


def test_otherwise_refuses_what_came_before_it() -> None:
    @workflow
    def branched(order: Order) -> None:
        with when(order.express):
            notify(1)
        with otherwise(order.quantity > 5):
            notify(2)
        with otherwise():
            notify(3)

    tasks = tasks_of(branched)

    assert tasks["notify_2"].when == "(not parameters.order.express) and gt(parameters.order.quantity, 5)"
    assert tasks["notify_3"].when == "(not parameters.order.express) and (not gt(parameters.order.quantity, 5))"


def test_a_condition_on_a_result_needs_that_result() -> None:
    @workflow
    def asked(order: Order) -> None:
        stock = reserve(order.sku, 1)
        with when(stock == "north"):
            notify()

    assert tasks_of(asked)["notify"].needs == ("reserve",)


def test_inside_one_guard_a_value_is_awaited_so_that_both_are_skipped_by_their_own_condition() -> None:
    @workflow
    def chain(order: Order) -> None:
        with when(order.express):
            paid = charge(order.id, order.total)
            ship(order.id, paid)

    task = tasks_of(chain)["ship"]

    assert (task.needs, task.after) == ((), (After(task="charge"),))


def test_two_branches_that_assign_one_name_are_told_at_once() -> None:
    @workflow
    def two(order: Order) -> None:
        with when(order.express):
            one = charge(order.id, order.total)
        with otherwise():
            one = refund(order.id, order.total)
        notify(one)

    with pytest.raises(
        AuthoringError, match=r"task\.refund\.result has a value only where \(not parameters\.order\.express\); outside write either\("
    ):
        _ = two.definition


def test_a_guarded_value_as_the_result_is_told() -> None:
    @workflow
    def leaking(order: Order) -> str:
        with when(order.express):
            paid = charge(order.id, order.total)
        return paid  # noqa: RET504 - it stands outside of the block

    with pytest.raises(AuthoringError, match="outside write either"):
        _ = leaking.definition


def test_either_takes_the_branch_that_ran_and_waits_for_both() -> None:
    @workflow
    def merged(order: Order) -> str:
        with when(order.express):
            one = charge(order.id, order.total)
        with otherwise():
            two = refund(order.id, order.total)
        return ship(order.id, either(one, two))

    task = tasks_of(merged)["ship"]

    assert task.input["paid"] == "{{ either(task.charge.result, task.refund.result) }}"
    assert task.after == (After(task="charge"), After(task="refund"))
    assert (task.needs, task.when) == ((), None)


def test_either_of_branches_that_may_all_be_left_out_is_left_out_with_them() -> None:
    @workflow
    def perhaps(order: Order) -> None:
        with when(order.express):
            one = charge(order.id, order.total)
        with otherwise(order.quantity > 5):
            two = refund(order.id, order.total)
        ship(order.id, either(one, two))

    assert tasks_of(perhaps)["ship"].when == "((task.charge.status == 'succeeded') or (task.refund.status == 'succeeded'))"


def test_either_with_none_goes_on_without_the_branch() -> None:
    @workflow
    def optional(order: Order) -> str | None:
        with when(order.express):
            paid = charge(order.id, order.total)
            sent = ship(order.id, paid)
        notify(either(sent, None))
        return either(sent, None)

    task = tasks_of(optional)["notify"]

    assert task.args == ["{{ either(task.ship.result, none) }}"]
    assert (task.after, task.when) == ((After(task="ship"),), None)
    assert optional.definition.output == "{{ either(task.ship.result, none) }}"


def test_either_of_a_step_and_of_what_was_done_after_its_failure_is_led_to_by_both() -> None:
    @workflow
    def fallback(order: Order) -> str:
        paid = charge(order.id, order.total)
        with after(failed(paid)):
            other = refund(order.id, order.total)
        return ship(order.id, either(paid, other))

    tasks = tasks_of(fallback)

    assert tasks["charge"].on_success == ("ship",)
    assert tasks["refund"].on_success == ("ship",)
    assert (tasks["ship"].needs, tasks["ship"].after) == ((), ())
    assert tasks["ship"].input["paid"] == "{{ (task.charge.result if task.charge.status == 'succeeded' else task.refund.result) }}"


def test_either_with_none_of_what_is_done_after_a_failure_goes_on_without_the_failure() -> None:
    @workflow
    def unless(order: Order) -> None:
        paid = charge(order.id, order.total)
        with after(failed(paid)):
            other = refund(order.id, order.total)
        notify(either(other, None))

    tasks = tasks_of(unless)

    assert tasks["refund"].on_success == ("notify",)
    assert tasks["charge"].on_complete == ("notify",)


def test_a_value_where_its_step_failed_is_told() -> None:
    @workflow
    def contrary(order: Order) -> None:
        paid = charge(order.id, order.total)
        with after(failed(paid)):
            notify(paid)

    with pytest.raises(AuthoringError, match=r"charge has no value where it did not succeed; write error\("):
        _ = contrary.definition


def test_what_comes_after_any_end_is_no_guard() -> None:
    @workflow
    def always(order: Order) -> str:
        paid = charge(order.id, order.total)
        with after(completed(paid), sleep("1s")):
            sent = ship(order.id, "x")
        return sent  # noqa: RET504 - it stands outside of the block

    assert always.definition.output == "{{ task.ship.result }}"


def test_otherwise_alone_and_after_a_last_otherwise_is_told() -> None:
    @workflow
    def lonely(order: Order) -> None:
        with otherwise(order.express):
            notify()

    @workflow
    def late(order: Order) -> None:
        with when(order.express):
            notify()
        with otherwise():
            notify()
        with otherwise():
            notify()

    for each in (lonely, late):
        with pytest.raises(AuthoringError, match=r"otherwise\(\) follows a `with when"):
            _ = each.definition


def test_either_may_stand_in_either() -> None:
    @workflow
    def nested(order: Order) -> None:
        with when(order.express):
            one = charge(order.id, order.total)
        with otherwise(order.quantity > 5):
            two = refund(order.id, order.total)
        with when(order.total > 500):
            three = reserve(order.sku, 1)
        notify(either(either(one, two), three))

    assert tasks_of(nested)["notify"].when == (
        "((((task.charge.status == 'succeeded') or (task.refund.status == 'succeeded'))) or (task.reserve.status == 'succeeded'))"
    )


def test_the_error_of_a_step_or_none_is_led_to_by_every_end() -> None:
    @workflow
    def noted(order: Order) -> None:
        paid = charge(order.id, order.total)
        notify(either(error(paid).message, None))

    task = tasks_of(noted)["charge"]

    assert (task.on_failure, task.on_timeout, task.on_complete, task.on_success) == (("notify",), ("notify",), ("notify",), ())
    chosen = "(task.charge.error.message if task.charge.status in ['failed', 'timed_out'] else none)"
    assert tasks_of(noted)["notify"].args == [f"{{{{ {chosen} }}}}"]
