"""Python and YAML are two spellings of one thing; what problems() says of a traced definition."""

from __future__ import annotations

import pytest
import yaml
from pydantic import BaseModel

from tests.unit.authoring.shop import Order, apologise, charge, label, notify, refund, reserve, ship
from wfcelery import (
    Failed,
    Retry,
    after,
    approval,
    either,
    end,
    error,
    expr,
    fail,
    failed,
    otherwise,
    publish,
    region,
    sleep,
    text,
    when,
    workflow,
)
from wfcelery.definition.compile import compile_plan
from wfcelery.definition.model import Definition, signature
from wfcelery.definition.problems import problems

FULFILMENT = """
name: fulfilment
version: "1"
parameters: {order: {type: object, required: true}}
tasks:
  - {name: reserve, action: tests.unit.authoring.shop.reserve,
     input: {sku: "{{ parameters.order.sku }}", quantity: "{{ parameters.order.quantity }}"}}
  - name: review
    action: shop.tasks.notify
    when: "{{ gt(parameters.order.total, 500) }}"
    input: {order_id: "{{ parameters.order.id }}"}
  - name: charge
    action: tests.unit.authoring.shop.charge
    after: [reserve, review]
    queue: payments
    input: {order_id: "{{ parameters.order.id }}", amount: "{{ parameters.order.total }}"}
    retry: {count: 5, delay: 1s, backoff: exponential, max_delay: 1m, jitter: true}
    timeout: 30s
    on_failure: apologise
  - {name: label, action: tests.unit.authoring.shop.label, with_items: "{{ parameters.order.lines }}", concurrency: 50, on_error: continue,
     input: {line: "{{ item }}", size: A6}}
  - {name: notify, action: shop.tasks.notify, needs: [charge],
     input: {order_id: "{{ parameters.order.id }}", receipt: "{{ task.charge.result }}"}}
  - {name: ship, action: tests.unit.authoring.shop.ship, needs: [charge, label],
     input: {order_id: "{{ parameters.order.id }}", paid: "{{ task.charge.result }}", labels: "{{ task.label.results }}"}}
  - {name: apologise, action: tests.unit.authoring.shop.apologise,
     input: {order_id: "{{ parameters.order.id }}", reason: "{{ task.charge.error.message }}"}}
output: "{{ task.ship.result }}"
"""


@workflow(version="1")
def fulfilment(order: Order) -> str:
    stock = reserve(order.sku, order.quantity)
    with when(order.total > 500):
        reviewed = notify.options(name="review")(order_id=order.id)
    paid = charge.options(
        after=[stock, reviewed],
        queue="payments",
        retry=Retry(count=5, delay="1s", backoff="exponential", max_delay="1m", jitter=True),
        timeout="30s",
    )(order.id, order.total)
    labels = label.options(concurrency=50, on_error=Failed).map(order.lines, size="A6")
    notify(order_id=order.id, receipt=paid)
    with after(failed(paid)):
        apologise(order.id, error(paid).message)
    return ship(order.id, paid, labels)


@pytest.mark.promise("E1")
def test_an_order_in_python_and_in_yaml_has_one_signature() -> None:
    written = Definition.model_validate(yaml.safe_load(FULFILMENT))

    assert signature(fulfilment.definition) == signature(written)
    assert problems(fulfilment.definition) == []


GUARDED = """
name: guarded
parameters: {order: {type: object, required: true}}
tasks:
  - {name: reserve, action: tests.unit.authoring.shop.reserve, input: {sku: "{{ parameters.order.sku }}", quantity: 1}}
  - {name: fail, type: fail, needs: [reserve], when: '{{ eq(task.reserve.result, "none") }}',
     message: "nothing left of {{ parameters.order.sku }}", code: out_of_stock}
  - {name: free, type: end, after: [reserve], when: "{{ eq(parameters.order.total, 0) }}", output: a gift}
  - {name: charge, action: tests.unit.authoring.shop.charge, after: [reserve],
     input: {order_id: "{{ parameters.order.id }}", amount: "{{ parameters.order.total }}"}}
output: "{{ task.charge.result }}"
"""


def test_end_and_fail_in_python_and_in_yaml_have_one_signature() -> None:
    @workflow
    def guarded(order: Order) -> str:
        stock = reserve(order.sku, 1)
        with when(stock == "none"):
            fail(text("nothing left of {}", order.sku), code="out_of_stock")
        with when(order.total == 0):
            end("a gift", name="free", after=stock)
        return charge.options(after=stock)(order.id, order.total)

    written = Definition.model_validate(yaml.safe_load(GUARDED))

    assert signature(guarded.definition) == signature(written)
    assert problems(guarded.definition) == []


CALLED_OFF = """
name: called_off
parameters: {order: {type: object, required: true}}
tasks:
  - {name: reserve, action: tests.unit.authoring.shop.reserve, region: [goods, all_of_it],
     input: {sku: "{{ parameters.order.sku }}", quantity: 1}}
  - {name: charge, action: tests.unit.authoring.shop.charge, region: all_of_it, when_reached: reserve,
     input: {order_id: "{{ parameters.order.id }}", amount: "{{ parameters.order.total }}"}}
  - {name: sleep, type: sleep, duration: 2d, cancels: all_of_it}
  - {name: notify, action: shop.tasks.notify, after: {reserve: succeeded}, unless_reached: [charge, sleep], cancels: [goods, charge]}
"""


def test_regions_and_milestones_have_one_signature_in_both_spellings() -> None:
    @workflow
    def called_off(order: Order) -> None:
        goods = region("goods")
        with region("all_of_it") as everything:
            with goods:
                stock = reserve(order.sku, 1)
            paid = charge.options(when_reached=stock)(order.id, order.total)
        late = sleep("2d", cancels=everything)
        notify.options(when_reached=[stock], unless_reached=[late, paid], cancels=[paid, goods])()

    written = Definition.model_validate(yaml.safe_load(CALLED_OFF))

    assert signature(called_off.definition) == signature(written)
    assert [str(problem) for problem in problems(called_off.definition)] == []


APPROVED = """
name: approved
parameters: {order: {type: object, required: true}}
tasks:
  - {name: approve, type: approval, title: "Order {{ parameters.order.id }}", assignees: ["role:finance"], form: Note, remind: 4h,
     escalate: [{after: 1d, to: "role:cfo"}], timeout: 2d}
  - {name: charge, action: tests.unit.authoring.shop.charge, after: approve,
     input: {order_id: "{{ parameters.order.id }}", amount: "{{ parameters.order.total }}"}}
  - {name: notify, action: shop.tasks.notify, needs: [approve],
     args: ["{{ task.approve.result.form.reason }}", "{{ task.approve.result.by }}"]}
"""


class Note(BaseModel):
    reason: str


def test_an_approval_has_one_signature_in_both_spellings() -> None:
    @workflow
    def approved(order: Order) -> None:
        ok = approval(
            text("Order {}", order.id),
            name="approve",
            assignees=["role:finance"],
            form=Note,
            remind="4h",
            escalate=[("1d", "role:cfo")],
            timeout="2d",
        )
        charge.options(after=ok)(order.id, order.total)
        notify(ok.form.reason, ok.by)

    written = Definition.model_validate(yaml.safe_load(APPROVED))

    assert signature(approved.definition) == signature(written)
    assert [str(problem) for problem in problems(approved.definition)] == []


def test_another_condition_is_another_signature() -> None:
    written = Definition.model_validate(yaml.safe_load(FULFILMENT.replace("500", "501")))

    assert signature(fulfilment.definition) != signature(written)


def test_every_way_to_merge_branches_is_free_of_problems_and_compiles() -> None:
    @workflow
    def merged(order: Order) -> str | None:
        stock = reserve(order.sku, 1)
        with when((order.total > 500) & (stock == "north")):
            one = charge(order.id, order.total)
            three = refund(order.id, order.total)
        with otherwise(order.express):
            two = refund(order.id, order.total)
        with otherwise():
            four = ship(order.id, "x")
        first = ship(order.id, either(one, two, four))
        second = ship(order.id, either(one, two))
        paid = charge.options(name="last", on_error=Failed)(order.id, order.total)
        risky = charge.options(name="risky")(order.id, order.total)
        with after(failed(risky)):
            with when(order.express):
                rescued = refund(order.id, order.total)
            apologise(order.id, error(risky).message)
            alone = refund(order.id, order.total)
        notify(either(risky, alone), either(rescued, None), either(three, None), first, second, paid)
        publish(paid=risky)
        notify.options(after=sleep("1m"))(expr("vars.paid"))
        return either(first, second, None)

    told = [problem for problem in problems(merged.definition) if problem.severity == "error"]

    assert [str(problem) for problem in told] == []
    assert set(compile_plan(merged.definition).nodes) == {task.name for task in merged.definition.tasks}


def test_a_sleep_that_nothing_waits_for_is_a_problem() -> None:
    @workflow
    def idle(order: Order) -> None:
        sleep("2d")
        notify(order.id)

    assert ["nothing comes after this sleep" in str(problem) for problem in problems(idle.definition)] == [True]


def test_a_misspelt_field_of_a_parameter_is_a_problem() -> None:
    @workflow
    def misspelt(order: Order) -> None:
        with when(expr("parameters.order.totl > 5", type=bool)):
            notify(order.id)

    assert ["totl" in str(problem) for problem in problems(misspelt.definition)] == [True]
