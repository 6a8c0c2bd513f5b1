"""What a workflow's Python cannot mean is told at once, with the line and the way to say it."""

# A body takes the order whether it looks at it or not.

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from tests.unit.authoring.shop import Order, charge, label, notify, refund, reserve, ship
from wfcelery import (
    AuthoringError,
    Retry,
    adopt,
    after,
    approval,
    either,
    end,
    error,
    expr,
    fail,
    failed,
    is_none,
    otherwise,
    publish,
    region,
    sleep,
    sleep_until,
    step,
    text,
    when,
    workflow,
)
from wfcelery.authoring.decorators import Workflow


def told_by(body: Callable[[Any], Any]) -> str:
    """The sentence that tracing this body raises."""
    with pytest.raises(AuthoringError) as caught:
        _ = Workflow(body, {"name": "told"}, None).definition
    return str(caught.value)


# ---- references ------------------------------------------------------------------------------------------------------


def test_an_if_on_a_reference_names_when() -> None:
    assert "write `with when(…):`" in told_by(lambda order: 1 if order.express else 2)


def test_and_names_the_ampersand() -> None:
    for body in (lambda order: order.express and order.x, lambda order: not order.express, lambda order: 1 < order.total < 5):
        assert "`&`, `|`, not_() for and, or, not" in told_by(body)


def test_a_loop_over_a_reference_names_map() -> None:
    assert "write step.map(items)" in told_by(lambda order: [label(line, "A6") for line in order.lines])


def test_len_of_a_reference_names_expr() -> None:
    assert "write expr('… | length')" in told_by(lambda order: notify(len(order.lines)))


def test_an_f_string_names_text() -> None:
    for body in (lambda order: notify(f"order {order.id}"), lambda order: notify(str(order.id)), lambda order: notify(f"{order.id}")):
        assert "write text('… {}', x)" in told_by(body)


def test_a_method_of_a_reference_names_a_step() -> None:
    assert "parameters.order.sku.upper is called" in (sentence := told_by(lambda order: notify(order.sku.upper())))
    assert "put it into a step" in sentence


def test_in_and_a_set_and_a_change_are_told() -> None:
    def changed(order: Any) -> None:
        order.sku = "x"

    assert "write expr('… in …')" in told_by(lambda order: notify(3 in order.lines))
    assert "used as a key" in told_by(lambda order: {order.sku})
    assert "a step returns the changed value" in told_by(changed)


def test_the_line_is_named() -> None:
    def wrong(order: Any) -> None:
        if order.express:
            notify()

    assert told_by(wrong).startswith(f"{__name__}:{wrong.__code__.co_firstlineno + 1}: parameters.order.express is asked")


def test_a_reference_of_another_trace_is_told() -> None:
    kept: list[Any] = []

    @workflow
    def first(order: Order) -> None:
        kept.append(charge(order.id, order.total))

    _ = first.definition

    assert "comes from the trace of another workflow" in told_by(lambda order: notify(kept[0]))


# ---- conditions, order, ends -----------------------------------------------------------------------------------------


def test_when_of_a_plain_bool_names_is_none() -> None:
    assert "write is_none(x)" in told_by(lambda order: when(order.coupon is None))
    assert "was decided while the workflow was traced" in told_by(lambda order: when(False))


def test_an_end_is_no_condition() -> None:
    assert "with after(failed(x)):" in told_by(lambda order: when(failed(charge(order.id, 1))))
    assert "with after(failed(x)):" in told_by(lambda order: 1 if failed(charge(order.id, 1)) else 2)


def test_after_takes_no_name() -> None:
    assert "after= takes what a step returned" in told_by(lambda order: charge.options(after="reserve")(1, Decimal(1)))


def test_after_takes_no_expression() -> None:
    assert "parameters.order.total is an expression" in told_by(lambda order: charge.options(after=order.total)(1, Decimal(1)))
    assert "an expression" in told_by(lambda order: notify(error(charge(order.id, 1).reference)))


def test_after_takes_no_class() -> None:
    assert "not <class 'int'>" in told_by(lambda order: after(int))


def test_cancels_takes_a_region_or_what_a_step_returned() -> None:
    def foreign(order: Any) -> None:
        kept: list[Any] = []

        @workflow
        def other(order: Order) -> None:
            kept.append(region("there"))
            reserve(order.sku, 1)

        _ = other.definition
        notify.options(cancels=kept[0])(order.id)

    assert "cancels= takes what a step returned, not 'search'" in told_by(lambda order: notify.options(cancels="search")(order.id))
    assert "the region there comes from the trace of another workflow" in told_by(foreign)
    assert "region() is a name of letters" in told_by(lambda order: region("no way"))


def test_what_an_approval_takes_is_told() -> None:
    for body, sentence in (
        (lambda order: approval(""), "approval() takes a title, a text that says what is asked, not ''"),
        (lambda order: approval("go?", escalate=["1d"]), 'approval(escalate) is a list of pairs such as ("1d", "role:cfo"), not \'1d\''),
        (lambda order: approval("go?", escalate=[("1d", [])]), "approval(escalate): [] names nobody who is asked then"),
        (lambda order: approval("go?", remind="soon"), "approval(), remind: 'soon' is not a span of time"),
        (lambda order: approval("go?", form=order), "approval(form) is a class, such as a pydantic model"),
        (lambda order: approval("go?", asignees=["ada"]), "approval() has no option asignees; did you mean assignees?"),
    ):
        assert sentence in told_by(body)


def test_a_milestone_is_what_a_step_returned() -> None:
    for told in (
        told_by(lambda order: notify.options(when_reached="booked")(order.id)),
        told_by(lambda order: notify.options(unless_reached="booked")(order.id)),
    ):
        assert "_reached= takes what a step returned, not 'booked'" in told


def test_either_is_of_steps() -> None:
    assert "either() takes values of steps" in told_by(lambda order: either(order.id, None))
    assert "either() takes values of steps" in told_by(lambda order: either(None, charge(order.id, 1)))


# ---- arguments and options -------------------------------------------------------------------------------------------


def test_a_call_with_wrong_arguments_is_told_where_it_stands() -> None:
    assert "charge: missing a required argument: 'amount'" in told_by(lambda order: charge(order.id))
    assert "charge: amount: Input should be" in told_by(lambda order: charge(order.id, "much"))
    assert "order_id: Input should be a valid integer" in told_by(lambda order: charge("x", Decimal(1)))


def test_a_value_that_cannot_be_stored_is_told() -> None:
    assert "object, which cannot be stored" in told_by(lambda order: notify(object()))


def test_options_are_checked_where_they_are_written() -> None:
    for call, sentence in (
        (lambda: charge.options(timeout="30 sconds"), "'30 sconds' is not a span of time"),
        (lambda: charge.options(priority=-1), "priority is a whole number from 0 to 255, not -1"),
        (lambda: charge.options(concurrency=0), "concurrency is a whole number from 1 on, not 0"),
        (lambda: charge.options(timeuot="3s"), "has no option timeuot; did you mean timeout?"),
        (lambda: charge.options(on_error="continue"), 'on_error is "stop", "compensate" or Failed'),
        (lambda: charge.options(retry=3), "retry is a Retry(...) or None, not 3"),
        (lambda: charge.options(name="first charge"), "is a name of letters, digits and underscores"),
        (lambda: Retry(backoff="exponentail"), "did you mean exponential?"),
        (lambda: Retry(count=-1), "Retry(count) is a whole number from 0 on"),
        (lambda: step(quueue="x"), "@step has no option quueue; did you mean queue?"),
        (lambda: workflow(verison="x"), "@workflow has no option verison; did you mean version?"),
    ):
        with pytest.raises(AuthoringError) as caught:
            call()  # type: ignore[no-untyped-call]
        assert sentence in str(caught.value)


def test_concurrency_of_a_single_call_is_told() -> None:
    assert "concurrency= is for a fan-out" in told_by(lambda order: charge.options(concurrency=3)(order.id, 1))


def test_two_tasks_of_one_name_are_told() -> None:
    def body(order: Any) -> None:
        charge.options(name="pay")(order.id, order.total)
        refund.options(name="pay")(order.id, order.total)

    assert "two tasks of told are called pay" in told_by(body)


def test_map_takes_a_list() -> None:
    assert "label.map() takes a list" in told_by(lambda order: label.map("abc", size="A6"))


# ---- texts, waits, publish -------------------------------------------------------------------------------------------


def test_text_wants_a_value_for_each_place() -> None:
    assert "has a place without a value" in told_by(lambda order: text("{} {}", order.id))
    assert "has no place for each of its values" in told_by(lambda order: text("{}", order.id, order.sku))
    assert "round(2)" in told_by(lambda order: text("{:.2f}", order.total))


def test_an_expression_is_read_where_it_is_written() -> None:
    assert "looks at task chrage, which no call before it made" in told_by(lambda order: expr("task.chrage.result"))
    assert "{{ 1 + }}" in told_by(lambda order: expr("1 + "))


def test_sleep_takes_a_span_and_sleep_until_a_time_with_a_zone() -> None:
    assert "'2 dayz' is not a span" in told_by(lambda order: sleep("2 dayz"))
    assert "has no time zone" in told_by(lambda order: sleep_until(datetime(2030, 1, 1)))  # noqa: DTZ001


def test_end_and_fail_stand_in_a_block_and_fail_says_why() -> None:
    assert "would end every run as it begins" in told_by(lambda order: end(order.id))
    assert "would end every run as it begins" in told_by(lambda order: fail("no"))
    assert "takes a text that says why" in told_by(lambda order: fail(""))
    assert "fail(code) is a text" in told_by(lambda order: fail("no", code=7))  # type: ignore[arg-type]
    assert "has no option nam" in told_by(lambda order: end(order.id, nam="x"))  # type: ignore[call-arg]


def test_publish_is_of_one_step() -> None:
    assert "made of what exactly one step returned" in told_by(lambda order: publish(x=order.id))


def test_is_none_of_a_value_that_is_known_is_told() -> None:
    assert "is known while it is traced" in told_by(lambda order: is_none(3))


# ---- outside of a workflow, and registration -------------------------------------------------------------------------


def test_the_words_of_a_workflow_mean_nothing_outside_of_one() -> None:
    for word in (lambda: when(True), otherwise, lambda: sleep("1s"), lambda: publish(x=1), lambda: reserve.map(["a"], 1)):
        with pytest.raises(AuthoringError, match="means something only inside a @workflow"):
            word()  # type: ignore[no-untyped-call]


def test_a_workflow_that_is_called_names_start_workflow() -> None:
    @workflow
    def called(order: Order) -> None:
        notify(order.id)

    with pytest.raises(AuthoringError, match=r"start_workflow\(called\.bind\(\.\.\.\)\)"):
        called(Order(id=1, sku="a", total=Decimal(1)))


def test_a_workflow_is_a_plain_def() -> None:
    async def coroutine(x: int) -> int:
        return x

    def starred(*x: int) -> None: ...

    with pytest.raises(AuthoringError, match="a workflow is a plain def"):
        workflow(coroutine)
    with pytest.raises(AuthoringError, match="takes no \\* and no \\*\\*"):
        workflow(starred)


def test_a_step_has_no_self() -> None:
    with pytest.raises(AuthoringError, match="a step has no self; write @staticmethod above @step"):

        class Shop:
            @step
            def restock(self, sku: int) -> int:
                return sku


def test_a_step_does_not_yield() -> None:
    def yielding(x: int) -> Any:
        yield x

    with pytest.raises(AuthoringError, match="a step returns its result; it does not yield"):
        step(yielding)


def test_adopt_takes_a_task_or_its_name() -> None:
    with pytest.raises(AuthoringError, match=r"adopt\(\) takes a Celery task or its name"):
        adopt(ship.fn)


# ---- the look at the source ------------------------------------------------------------------------------------------


def test_is_none_is_told_by_the_source() -> None:
    def body(order: Any) -> None:
        coupon = order.coupon
        if coupon is None:
            notify()

    place = f"{__name__}:{body.__code__.co_firstlineno + 2}"
    assert told_by(body) == f"{place}: `is` is decided while the workflow is traced: write is_none(x), in `with when(…):`"


def test_try_is_told_by_the_source() -> None:
    def body(order: Any) -> None:
        try:
            charge(order.id, order.total)
        except ValueError:
            notify()

    assert "write `with after(failed(x)):`" in told_by(body)


def test_a_return_inside_a_block_is_told_by_the_source() -> None:
    def body(order: Any) -> Any:
        with when(order.express):
            return charge(order.id, order.total)
        return None

    assert "a return inside `with when(…):` ends the trace" in told_by(body)


def test_everything_the_source_tells_is_told_at_once() -> None:
    def body(order: Any) -> None:
        if isinstance(order.sku, str):
            notify()
        match order.sku:
            case "x":
                notify()
        notify(f"{order.id!r}")

    sentence = told_by(body)

    assert "isinstance() is decided" in sentence
    assert "match is decided" in sentence
    assert "the value is not there while the workflow is traced" in sentence


def test_python_over_what_is_known_is_left_alone() -> None:
    limit = None

    @workflow
    def unrolled(order: Order) -> None:
        if limit is None and isinstance(3, int):
            for size in ("A5", "A6"):
                label.map(order.lines, size=size)

    assert [task.name for task in unrolled.definition.tasks] == ["label", "label_2"]
