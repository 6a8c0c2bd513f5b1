"""Mistakes. `# E: text`: exactly one error on that line in mypy --strict and in pyright; `a || b` where the two name different things.

`# N: name`: no checker can see it; the test of that name in tests/unit/authoring shows what tells it. check.py compares.
"""

from __future__ import annotations

from decimal import Decimal

from good import (
    Line,
    Order,
    OrderRow,
    Parcel,
    Receipt,
    State,
    Stock,
    adopted,
    apologise,
    apply_discount,
    charge,
    find_discount,
    give_back,
    label,
    merge,
    notify,
    order,
    pages,
    poll_state,
    rate,
    refund,
    reserve,
    send_letter,
    send_parcel,
    ship,
    track,
    typed_notify,
    typed_result,
)

from wfcelery import (
    Compensate,
    Failed,
    GiveUp,
    Limit,
    Retry,
    Run,
    add_items,
    after,
    batched,
    bulk,
    current_step,
    either,
    error,
    expr,
    failed,
    get_run,
    hold,
    is_none,
    loop,
    not_,
    on_event,
    once,
    otherwise,
    race,
    release,
    required,
    schedule,
    secret,
    send_event,
    sleep,
    start_workflow,
    step,
    text,
    wait_event,
    when,
    workflow,
)
from wfcelery.builtin import email, http, sql, webhook


def cursor_of(state: State) -> str | None:
    return state.cursor


def done_of(state: State) -> bool:
    return state.done


def loops(new: Order) -> None:
    loop(poll_state, until=lambda state: state.dnoe, max_rounds=3)  # E: dnoe
    loop(poll_state, until=cursor_of, max_rounds=3)  # E: str
    loop(poll_state, until=done_of)  # E: max_rounds
    loop(poll_state, until=lambda state: state.done, max_rounds=3)(new)  # E: Order
    order.options(parent_close="detach")  # E: parent_close || detach


def edges(new: Order, line: Line) -> None:
    paid = charge(new.id, new.total)
    stock = reserve(new.sku, new.quantity)
    ship(new.id, stock, [])  # E: Stock
    ship(new.id, [paid], [])  # E: list[Receipt]
    charge(new.id)  # E: amount
    charge(new.id, new.total, 3)  # E: Too many arguments || Expected 2 positional
    pages(label(line, "A6"), copise=2)  # E: copise
    charge(new.id, new.totl)  # E: totl
    charge(new.id, stock.reference)  # E: reference
    merge(label(line, "A6"))  # E: Label
    typed_notify(new.id, stock)  # E: Stock
    charge(typed_result(1), typed_result(2))  # E: int
    track(either(send_letter(1), send_parcel(2)), stock)  # E: Stock
    track(either(send_letter(1), stock))  # E: Stock
    apply_discount(new.id, find_discount("x"))  # E: None
    find_discount(new.coupon)  # E: None
    OrderRow.mark_paid("7", paid)  # E: str || Literal['7']


def undo(new: Order) -> None:
    charge.options(compensate=give_back)  # E: Step
    charge.options(compensate=Compensate(apologise))  # E: Compensate
    charge.options(compensate=Compensate(refund, even_if_unkown=True))  # E: even_if_unkown
    charge.options(compensate=charge(new.id, new.total))  # E: Receipt
    charge.options(on_error="continue")  # E: options || continue
    step(compensate=7)  # E: int || Literal[7]
    workflow(on_complete=3)  # E: int || Literal[3]
    workflow(on_error="ignore")  # E: workflow || ignore


def built_in(new: Order) -> None:
    http()  # E: url
    http("https://example.com", method="FETCH")  # E: FETCH
    http("https://example.com", form={"a": None})  # E: None
    http("https://example.com", expect="200")  # E: str || Literal['200']
    email("ann@example.com", "Hello")  # E: text
    email("ann@example.com", "Hello", "Hi", attachments=["a.txt"])  # E: str
    sql("select 1", [1])  # E: list[int]
    webhook("https://example.com", "order.paid")  # E: data
    charge(new.id, http("https://example.com").status)  # E: int


def fan_out(new: Order) -> None:
    label.map([1], size="A6")  # E: int || list[int]
    label.map(new.lines, size=6)  # E: int || Literal[6]
    label.map(new.lines)  # E: size
    label.map(new.sku, size="A6")  # E: str
    pages.map(label.map(new.lines, size="A6"), colors=True)  # E: colors
    merge(label.options(on_error=Failed).map(new.lines, size="A6"))  # E: Failed
    merge(pages.map(label.map(new.lines, size="A6")))  # E: list[int]
    label.map(batched(new.lines, 10), size="A6")  # E: list[Line]
    label.options(success=0.8).map(new.lines, size="A6")  # E: float
    add_items("run", "label", 3)  # E: int || Literal[3]


def options(new: Order) -> None:
    charge.options(timeuot="30s")  # E: timeuot
    charge.options(queue=3)  # E: int || Literal[3]
    charge.options(on_error="continue")  # E: continue
    charge.options(on_error=int)  # E: int
    charge.options(retry=3)  # E: Retry
    charge.options(commit="all")  # E: all
    Retry(backof="linear")  # E: backof
    Retry(backoff="exponentail")  # E: exponentail
    sleep(None)  # E: None
    sleep("2d", nam="nap")  # E: nam
    on_event("order.placed", wen="true")  # E: wen
    wait_event("paid", typ=Stock)  # E: typ
    with race() as first, first.branch():  # E: Too few arguments || 1 more positional
        notify()
    charge(new.id, wait_event("paid", type=Stock).amuont)  # E: amuont
    send_event("paid", {"amount": 1}, kye="7")  # E: kye


def conditions(new: Order) -> None:
    paid = charge(new.id, new.total)
    with when(new.coupon):  # E: str
        notify()
    with when(failed(paid)):  # E: End
        notify()
    with when(~(new.total > 5)):  # E: int
        notify()
    with when(new.total > "500"):  # E: >
        notify()
    with when((new.total > 5) & "x"):  # E: __and__ || &
        notify()
    error(paid).mesage  # E: mesage # noqa: B018


@workflow
def wrong_result(new: Order) -> Parcel:
    return charge(new.id, new.total)  # E: Receipt


def start(new: Order) -> None:
    start_workflow(order.bind(new), ky="x")  # E: ky
    start_workflow(order.bind(new), on_conflict="ignore")  # E: ignore
    start_workflow(order.bind("1042"))  # E: str || Literal['1042']
    start_workflow(order.bind())  # E: order
    start_workflow(adopted.bind(order_di=3, order_id=3))  # E: order_di
    start_workflow(order)  # E: Workflow[
    start_workflow(order(new))  # E: Parcel
    bad: str = start_workflow(order.bind(new)).result()  # E: Parcel
    worse: Stock = get_run("order-1042", order).result()  # E: Parcel
    print(bad, worse, start_workflow(order.bind(new)).reslut())  # E: reslut
    once("k", reserve.fn, "a", 1, expire="1h")  # E: expire


async def from_async(new: Order) -> None:
    await rate("USD")  # E: await || is not awaitable
    await start_workflow(order.bind(new))  # E: await || is not awaitable
    print(current_step().atempt)  # E: atempt
    raise GiveUp()  # E: reason


# mypy adds "Untyped decorator makes function ... untyped" on the same line (an overloaded decorator that matches nothing is Any)


@step(retires=3)  # E: retires || No overloads for "step"
def misspelt(x: int) -> int:
    return x


@step(queue=3)  # E: int || Literal[3]
def mistyped(x: int) -> int:
    return x


@workflow(verison="1")  # E: verison || No overloads for "workflow"
def misspelt_too(x: int) -> int:
    return x


# ---- what types cannot see -------------------------------------------------------------------------------------------


@workflow  # N: test_a_workflow_is_a_plain_def
async def coroutine(x: int) -> int:
    return x


class Shop:
    @step  # N: test_a_step_has_no_self
    def restock(self, sku: int) -> int:
        return sku


def unseen(new: Order) -> str:
    paid = charge(new.id, new.total)
    if new.express:  # N: test_an_if_on_a_reference_names_when
        notify()
    if new.express and new.total > 5:  # N: test_and_names_the_ampersand
        notify()
    for line in new.lines:  # N: test_a_loop_over_a_reference_names_map
        label(line, "A6")
    notify(len(new.lines))  # N: test_len_of_a_reference_names_expr
    notify(f"order {new.id}", str(new.id))  # N: test_an_f_string_names_text
    notify(new.sku.upper())  # N: test_a_method_of_a_reference_names_a_step
    with when(new.total > 500):  # N: test_a_comparison_is_a_function_over_exact_values
        notify()
    with when(new.coupon is None):  # N: test_when_of_a_plain_bool_names_is_none
        notify()
    if new.coupon is None:  # N: test_is_none_is_told_by_the_source
        notify()
    try:  # N: test_try_is_told_by_the_source
        charge(new.id, new.total)
    except ValueError:
        notify()
    with when(new.express):
        one = send_parcel(1)
    with otherwise():
        one = send_parcel(2)
    notify(one)  # N: test_two_branches_that_assign_one_name_are_told_at_once
    charge.options(after="reserve")(1, Decimal(1))  # N: test_after_takes_no_name
    charge.options(after=new.total)(1, Decimal(1))  # N: test_after_takes_no_expression
    charge.options(timeout="30 sconds")  # N: test_options_are_checked_where_they_are_written
    charge.options(priority=-1, concurrency=0)  # N: test_options_are_checked_where_they_are_written
    sleep("2d")  # N: test_a_sleep_that_nothing_waits_for_is_a_problem
    expr("parameters.order.totl > 5", type=bool)  # N: test_a_misspelt_field_of_a_parameter_is_a_problem
    with after(paid, Stock):  # N: test_after_takes_no_class
        notify()
    text("{} {}", new.id)  # N: test_text_wants_a_value_for_each_place
    charge(secret("order"), Decimal(1))  # E: int
    charge(1, secret("amount", type=Stock))  # E: Decimal
    with when(not_(is_none(new.coupon))):
        return required(new.coupon)  # N: test_a_return_inside_a_block_is_told_by_the_source
    return "a constant may be returned"


def by_hand(run: Run[Receipt]) -> None:
    run.skip()  # E: step
    run.retry(by=7)  # E: str
    bulk("delete", "status=failed")  # E: delete
    run.rerun()  # E: step
    run.replay(5)  # E: int || Literal[5]
    run.why().clear()  # E: clear
    run.data.put("cursor")  # E: Too few arguments || 1 more positional
    run.data.put(1, 2)  # E: str
    run.data["cursor"] = 1  # E: indexed assignment || __setitem__


def by_the_clock(new: Order) -> None:
    schedule("nightly", order.bind(new), cron="0 3 * * *", overlap="skp")  # E: overlap
    schedule("nightly", order.bind(new), crn="0 3 * * *")  # E: crn
    schedule("nightly", order.bind(new), every=[1])  # E: every
    schedule("nightly", order, every="1h")  # E: Workflow


def behind_gates() -> None:
    charge.options(limit="gateway")  # E: limit
    charge.options(limit=Limit("gateway", slot=3))  # E: slot
    charge.options(lock=Limit("gateway"))  # E: lock
    charge.options(braker=None)  # E: braker
    hold("step:charge", til="6h")  # E: til
    release("step:charge", until="6h")  # E: until
