"""Uses of the surface that mypy --strict and pyright (strict) accept without one error, note or ignore."""
# pyright: strict

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import ParamSpec, TypeVar, assert_type

from pydantic import BaseModel, SecretStr

from wfcelery import (
    ApprovalNotice,
    Approved,
    Breaker,
    Bulk,
    Cause,
    Compensate,
    Concurrency,
    DefinitionVersion,
    Failed,
    GiveUp,
    InvalidSchedule,
    KeyConflict,
    Limit,
    QuotaExceeded,
    Rate,
    Retry,
    RetryLater,
    Run,
    RunFailed,
    Schedule,
    Step,
    Submitted,
    Workflow,
    aapprove,
    aarchive_definition,
    aassign,
    abulk,
    add_items,
    adopt,
    after,
    aget_schedule,
    alist_schedules,
    approval,
    approve,
    apublish_definition,
    archive_definition,
    areject,
    aschedule,
    asend_event,
    assign,
    astart_workflow,
    aunarchive_definition,
    batched,
    builtin,
    bulk,
    complete_items,
    completed,
    continue_as_new,
    current_step,
    either,
    end,
    error,
    expr,
    fail,
    failed,
    form,
    get_run,
    get_schedule,
    hold,
    is_none,
    list_schedules,
    lock,
    loop,
    not_,
    on_event,
    once,
    otherwise,
    publish,
    publish_definition,
    race,
    region,
    reject,
    release,
    required,
    rerun_failed,
    schedule,
    secret,
    send_event,
    sleep,
    sleep_until,
    start_workflow,
    step,
    text,
    timed_out,
    unarchive_definition,
    wait_event,
    when,
    workflow,
)
from wfcelery.builtin import Answer, Attachment, Delivery, Sent, email, http, noop, sql, webhook


class Line(BaseModel):
    sku: str
    quantity: int


class Order(BaseModel):
    id: int
    sku: str
    quantity: int
    total: Decimal
    express: bool = False
    coupon: str | None = None
    ship_at: datetime
    lines: list[Line]


class Stock(BaseModel):
    warehouse: str


class Receipt(BaseModel):
    reference: str


class Label(BaseModel):
    url: str


class Parcel(BaseModel):
    code: str


class Note(BaseModel):
    reason: str


# ---- 1. An order -----------------------------------------------------------------------------------------------------


@step
def reserve(sku: str, quantity: int) -> Stock:
    return Stock(warehouse=f"{sku}-{quantity}")


@step(retry=Retry(count=5, delay="1s", backoff="exponential", max_delay="1m", jitter=True), timeout="30s", queue="payments")
def charge(order_id: int, amount: Decimal) -> Receipt:
    return Receipt(reference=current_step().key)


@step
def label(line: Line, size: str) -> Label:
    return Label(url=f"{line.sku}/{size}")


@step
def label_all(lines: list[Line], size: str) -> list[Label]:
    return [Label(url=f"{line.sku}/{size}") for line in lines]


@step
def ship(order_id: int, paid: Receipt, labels: Sequence[Label | Failed]) -> Parcel:
    return Parcel(code=str(order_id))


notify = adopt("shop.tasks.notify")


@step
def review(order_id: int, total: Decimal) -> Note:
    return Note(reason=f"{order_id} {total}")


@workflow(version="1")
def order(order: Order) -> Parcel:
    stock = reserve(order.sku, order.quantity)
    with when(order.total > 500):
        reviewed = review(order.id, order.total)
    paid = charge.options(after=[stock, reviewed])(order.id, order.total)
    labels = label.options(concurrency=50, on_error=Failed).map(order.lines, size="A6")
    assert_type(labels, list[Label | Failed])
    notify(order.id, paid)
    return ship(order.id, paid, labels)


def place(new: Order) -> str:
    run = start_workflow(order.bind(new), key=f"order-{new.id}")
    assert_type(run, Run[Parcel])
    start_workflow("order", {"order": new.model_dump()}, key=f"order-{new.id}")
    start_workflow(charge.bind(7, Decimal(900)), key="charge-7")
    return run.result(timeout="30s").code


# ---- 2. async steps, and a step as an ordinary function --------------------------------------------------------------


@step
async def rate(currency: str) -> Decimal:
    return Decimal(1)


@step(timeout="10s", queue="web")
async def convert(amount: Decimal, at: Decimal) -> Decimal:
    return amount * at


@workflow
def in_euro(amount: Decimal, currency: str) -> Decimal:
    return convert(amount, rate(currency))


async def outside() -> None:
    assert_type(await rate.afn("USD"), Decimal)
    assert_type(reserve.fn("a", 1), Stock)
    assert_type(reserve("a", 1), Stock)
    assert_type(reserve.delay("a", 1), Submitted[Stock])
    run = await astart_workflow(in_euro.bind(Decimal(3), currency="USD"), priority=3)
    assert_type(await run.aresult(), Decimal)
    named = await astart_workflow("in_euro", {"amount": "3", "currency": "USD"})
    print(await named.aresult(timeout=3))


# ---- 3. What a Django developer writes: a model's method starts, a manager's static method is a step, a view asks ----


class OrderRow:
    pk: int = 0
    total: Decimal = Decimal(0)

    def submit(self) -> Run[Receipt]:
        return start_workflow(settle.bind(self.pk, self.total), key=f"settle-{self.pk}", using="default", tags=["web"])

    @staticmethod
    @step(transactional=True)
    def mark_paid(pk: int, receipt: Receipt) -> None:
        current_step().connection.execute("UPDATE orders SET paid = ? WHERE id = ?", (receipt.reference, pk))


@workflow
def settle(pk: int, total: Decimal) -> Receipt:
    receipt = charge(pk, total)
    marked = OrderRow.mark_paid(pk, receipt)
    notify.options(after=marked)(pk)  # a step without a result still has an end
    return receipt


def view(pk: int) -> dict[str, str]:
    run = get_run(f"settle-{pk}", settle)
    add_items(run, "label", [Line(sku="a", quantity=1)])
    complete_items(run.id, "label", by="ops")
    rerun_failed(run, "label")
    assert_type(run, Run[Receipt])
    if bulk("retry", "status=failed workflow=settle created>2h", by="ada").able < 100:
        assert_type(bulk("retry", "status=failed workflow=settle created>2h", by="ada", yes=True), Bulk)
    for cause in run.why():
        assert_type(cause, Cause)
        if cause.kind == "dead_letter" and cause.step == "charge":
            run.complete("charge", Receipt(reference="by hand"), "seen at the bank", by="ada")
        elif cause.step is not None:
            run.skip(cause.step, "no need")
        elif cause.kind == "ended":
            assert_type(run.rerun("charge", by="ada"), Run[Receipt])
            assert_type(run.replay([{"op": "replace", "path": "/total", "value": 5}], key="again"), Run[Receipt])
            run.replay(set={"total": 5}, same_version=True)
        else:
            run.retry(by="ada")
    try:
        return {"status": run.status(), "reference": run.result(timeout=0.1).reference}
    except RunFailed as problem:
        return {"status": "failed", "step": problem.step, "why": problem.error.message}
    except KeyConflict:
        return {"status": "conflict"}


async def many() -> int:
    done = await abulk("resume", "status=paused reason=quota", yes=True)
    return done.matching + done.moved_on


# ---- 4. Branches, and the value of the one that ran ------------------------------------------------------------------


@dataclass
class Letter:
    number: int


@step
def send_letter(order_id: int) -> Letter:
    return Letter(order_id)


@step
def send_parcel(order_id: int) -> Parcel:
    return Parcel(code=str(order_id))


@step
def track(what: Letter | Parcel, note: str | None = None) -> None: ...


@workflow
def deliver(order: Order) -> Letter | Parcel:
    with when((order.quantity == 1) & not_(order.express)):
        letter = send_letter(order.id)
    with otherwise(order.express | (order.total > 100)):
        fast = send_parcel(order.id)
    with otherwise():
        slow = send_parcel.options(queue="slow")(order.id)
    sent = either(letter, fast, slow)
    assert_type(sent, Letter | Parcel)
    with when(order.total > 500):
        note = review(order.id, order.total)
        assert_type(note, Note)
    track(sent, note=either(note.reason, None))  # None where nobody was asked
    return sent


# ---- 5. Values that may be None --------------------------------------------------------------------------------------


@step
def find_discount(coupon: str) -> Decimal | None:
    return None


@step
def apply_discount(order_id: int, percent: Decimal) -> None: ...


@workflow
def discount(order: Order) -> None:
    with when(not_(is_none(order.coupon))):
        percent = find_discount(required(order.coupon))
        apply_discount(order.id, required(percent))


# ---- 6. Failures as paths --------------------------------------------------------------------------------------------


@step
def apologise(order_id: int, reason: str) -> None: ...


@workflow(timeout="3d", tags=["money"])
def careful(order: Order) -> Receipt:
    paid = charge(order.id, order.total)
    with after(failed(paid), timed_out(paid)):
        apologise(order.id, error(paid).message)
    notify.options(after=completed(paid))(order.id)
    publish(reference=paid.reference)
    return paid


@step
def give_back(sku: str, quantity: int, result: Stock | None = None) -> None: ...


@step
def refund(order_id: int, amount: Decimal, result: Receipt | None = None) -> None: ...


@step(compensate=refund, on_error="compensate", retry=Retry(2))
def charge_gently(order_id: int, amount: Decimal) -> Receipt:
    return Receipt(reference=str(order_id))


@step
def close_books(order: Order, ending: str, error: dict[str, str | None] | None = None) -> None: ...


@workflow(on_error="compensate", on_failure=close_books.options(queue="desk"), on_cancel="shop.tell", on_complete=close_books)
def undone(order: Order) -> Receipt | Failed:
    reserve.options(compensate=give_back)(order.sku, order.quantity)
    with after(charge_gently.options(compensate=None)(order.id, order.total)):
        charge_gently.options(on_error="stop")(order.id, order.total)
    careful_undo = Compensate(refund, even_if_unknown=True, retry=Retry(5), timeout="30s")
    return charge.options(compensate=careful_undo, on_error=Failed)(order.id, order.total)


# ---- 7. Fan-out over a list with shared arguments, and over another fan-out ------------------------------------------


@step
def merge(parts: list[Label], title: str = "") -> Label:
    return parts[0]


@step
def pages(label: Label, copies: int = 1, *, colour: bool = False) -> int:
    return copies


@workflow
def print_all(lines: list[Line], size: str) -> int:
    labels = label.options(concurrency=5, retry=Retry(2, "5s")).map(lines, size=size)
    chosen = label.options(filter=lambda line: line.quantity > 0, when=lambda line, index: index < 100, success="80%", tolerate=3)
    assert_type(chosen.map(lines, size=size), list[Label])
    assert_type(label_all.options(concurrency=2, filter="item.quantity > 0").map(batched(lines, 10), size=size), list[list[Label]])
    assert_type(labels, list[Label])
    counts = pages.map(labels, 2, colour=True)
    assert_type(counts, list[int])
    return pages(merge(labels, title=text("{} labels of {}", size, lines[0].sku)))


# ---- 8. Time, order without data, expressions, input in containers ---------------------------------------------------


@step
def report(day: date, rows: list[Stock], by_name: dict[str, Receipt]) -> None: ...


@workflow(tags=["nightly"])
def nightly(day: date, order: Order) -> None:
    a, b = reserve("a", 1), reserve("b", 2)
    paid = charge(order.id, order.total * 2 - 1)
    with after(sleep_until(order.ship_at), a):
        report(day, [a, b], {"paid": paid})
    with after(sleep("2d")):
        apologise(order.id, expr("parameters.order.coupon | default('none')", type=str))


@step
def poll(feed: str) -> int:
    data = current_step().data
    cursor = data.get("cursor", 0)
    data.put("cursor", cursor + 1, expires="7d")
    return len(feed) if data.add("begun", True) or data.swap("begun", True, False) else 0


async def cursor_of(run: Run[int]) -> object:
    assert_type(run.data.delete("begun"), bool)
    await run.data.aput("cursor", None)
    return await run.data.aget("cursor") or list(run.data.keys())


@step
def call(url: str, token: SecretStr, user: str) -> int:
    return len(url + token.get_secret_value() + user)


@workflow
def with_a_secret(url: str) -> int:
    return call(url, secret("api_token", type=SecretStr), secret("api_user"))


@workflow
def approved(order: Order) -> Receipt:
    plain = approval("Anything else?")
    assert_type(plain, Approved[None])
    ok = approval(
        text("Order {}", order.id),
        name="approve",
        assignees=["role:finance"],
        form=Note,
        remind="4h",
        escalate=[("1d", "role:cfo"), ("2d", ["role:ceo", "bob"])],
        timeout="3d",
    )
    assert_type(ok, Approved[Note])
    with after(failed(ok)):
        apologise(order.id, error(ok).message)
    apologise.options(name="thanks", after=plain)(order.id, ok.form.reason)
    return charge.options(after=ok)(order.id, order.total)


@form
class Signature(BaseModel):
    name: str


def answer(run: Run[Receipt], notice: ApprovalNotice) -> None:
    assign(run, notice.step, ["role:legal", "bob"], actor="ada")
    reject(run, "approve", actor="ada", roles=["finance"], comment="too dear")
    approve("order-1042", "approve", actor="ada", roles=["finance"], form=Note(reason="fine"), comment="go on")
    approve(run, "approve", actor="ada", form={"reason": "fine"})


async def answer_slowly(run: Run[Receipt]) -> None:
    await aassign(run, "approve", "role:legal")
    await areject(run, "approve", actor="ada")
    await aapprove(run, "approve", actor="ada", form=Note(reason="fine"))


@workflow
def called_off(order: Order) -> Receipt | None:
    with region("goods") as goods:
        stock = reserve(order.sku, order.quantity)
        paid = charge.options(after=stock)(order.id, order.total)
    late = sleep("2d", name="late", cancels=[goods, paid])
    apologise.options(when_reached=stock, unless_reached=[paid, late])(order.id, "it takes longer")
    return paid


@workflow
def guarded(order: Order) -> Receipt | None:
    stock = reserve(order.sku, order.quantity)
    with when(stock.warehouse == "none"):
        fail(text("nothing left of {}", order.sku), code="out_of_stock")
    with when(order.total == 0):
        end(None, name="free", after=stock)
    return charge.options(after=stock)(order.id, order.total)


# ---- 9. Errors raised in a step; helpers that take any step; typed adoption ------------------------------------------


def ask_the_bank(order_id: int) -> str:
    return str(order_id)


@step
def careful_charge(order_id: int) -> Receipt:
    if current_step().attempt > 3:
        raise GiveUp("card refused")
    if current_step().attempt > 2:
        raise QuotaExceeded("10m", "the bank lets no more through")
    current_step().heartbeat({"at": 1})
    current_step().check_cancelled()
    if once(f"bank-{order_id}", ask_the_bank, order_id, expires="24h", wait="10s"):
        return Receipt(reference="known")
    raise RetryLater("5m")


def wire(order_id: int, receipt: Receipt) -> bool:
    """Never called: the types of a task that lives elsewhere."""
    raise NotImplementedError


P = ParamSpec("P")
R = TypeVar("R")
typed_notify = adopt("shop.tasks.wire", like=wire)
typed_result = adopt("shop.tasks.count", returns=int)


def run_now(what: Step[P, R] | Workflow[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    return start_workflow(what.bind(*args, **kwargs)).result()


@workflow
def adopted(order_id: int) -> bool:
    assert_type(typed_result(order_id), int)
    return typed_notify(order_id, receipt=careful_charge(order_id))


# ---- steps that are built in ------------------------------------------------------------------------------------------


@workflow
def built_in(person: int, partner: str) -> str:
    http("https://directory.example.com/token", method="POST", form={"grant": "refresh", "scope": ["read", "write"], "days": 7})
    found = http("https://directory.example.com/people", query={"id": person}, timeout="10s", expect=[200, 404])
    assert_type(found, Answer)
    with when(found.status == 404):
        builtin.fail(text("nobody has the number {}", person), code="unknown")
    kept = sql("insert into people (id, team) values (:id, :team)", {"id": person, "team": found.body.team})
    assert_type(email.options(after=kept)(["ann@example.com"], "Kept", "Hello", attachments=[Attachment(name="a.txt", content=b"a")]), Sent)
    told = webhook.options(after=kept)(partner, "person.kept", {"id": person})
    assert_type(told, Delivery)
    noop(told.status)
    return told.id


def check() -> None:
    assert_type(run_now(adopted, 3), bool)


# ---- 10. Schedules ---------------------------------------------------------------------------------------------------


def by_the_clock(first: Order) -> list[str]:
    made = schedule(
        "nightly", nightly.bind(date(2026, 1, 1), first), cron="0 3 * * *", timezone="Europe/Berlin", overlap="skip", catch_up="1h"
    )
    assert_type(made, Schedule)
    schedule("hourly", "nightly", {"day": date(2026, 1, 1)}, every="1h", slot_as="order", tags=["reports"], deadline="30m")
    try:
        get_schedule("nightly").backfill("2026-03-01", first.ship_at, limit=31)
    except InvalidSchedule as wrong:
        return [f"{where}: {what}" for where, what in wrong.errors]
    made.pause("the shop is closed")
    assert_type(made.next(3)[0], datetime)
    made.resume()
    assert_type(made.run(key="by hand"), Run)
    return [each.name for each in list_schedules() if each.show().paused]


@step
def fetch(cursor: int) -> int:
    return cursor + 1


@workflow
def poll_for_ever(cursor: int = 0) -> int:
    seen = fetch(cursor)
    with after(sleep("1m", after=seen)), when(seen < 1_000):
        continue_as_new(cursor=seen)
    return seen


# ---- 11. Definitions -------------------------------------------------------------------------------------------------


async def by_the_clock_in_a_coroutine(first: Order) -> Run:
    made = await aschedule("weekly", nightly.bind(date(2026, 1, 1), first), every="7d")
    await made.apause()
    await made.aresume()
    await made.abackfill("2026-03-01", first.ship_at, dry_run=True)
    assert_type(await made.anext(), Sequence[datetime])
    if (await made.ashow()).paused or not await alist_schedules():
        await (await aget_schedule("weekly")).adelete()
    return await made.arun()


async def by_hand(file: Path) -> str:
    stored = publish_definition(order, draft=True, by="ada")
    assert_type(stored, DefinitionVersion)
    assert_type(await apublish_definition(f"{stored.name}@{stored.version}"), DefinitionVersion)
    publish_definition(file)
    publish_definition({"name": "empty", "tasks": []})
    assert_type(archive_definition("order@1", by="ada"), Sequence[DefinitionVersion])
    unarchive_definition("order@1")
    await aarchive_definition("order")
    if not get_run("order-1").move("2", dry_run=True).problems:
        await get_run("order-1", order).amove("latest", by="ada")
    for each in await aunarchive_definition("order"):
        if each.status == "published":
            return start_workflow("order", version=each.version).id
    return ""


# ---- limits ----------------------------------------------------------------------------------------------------------


@workflow
def with_gates(new: Order) -> Receipt:
    gently = charge.options(limit=Limit(text("gateway-{}", new.id), slots=3), rate=Rate("20/s", "gateway", burst=5))
    paid = gently(new.id, new.total)
    once_only = charge.options(lock=text("order-{}", new.id), breaker=Breaker("gateway", failures=5, within="1m", open_for="30s"))
    return once_only.options(rate="10/m", after=paid)(new.id, new.total)


@workflow(concurrency=Concurrency("shop-{{ parameters.new.id }}", limit=2, when_full="keep_newest"))
def with_a_section(new: Order) -> Receipt:
    with lock(text("till-{}", new.id), name="till"):
        paid = charge(new.id, new.total)
        notify(new.id, paid)
    return paid


def by_hold() -> None:
    hold("step:charge", reason="the gateway is down", until="6h", by="ada")
    release("step:charge", rate="20/s")


# ---- events ----------------------------------------------------------------------------------------------------------


class Payment(BaseModel):
    amount: Decimal


@workflow
def paid_from_outside(new: Order) -> Receipt:
    payment = wait_event("payment", key=new.id, type=Payment, timeout="2d", keep=False, roles=["cashier"])
    assert_type(payment, Payment)
    with after(timed_out(payment)):
        apologise(new.id, "too late")
    return charge(new.id, payment.amount)


class State(BaseModel):
    done: bool
    cursor: str | None = None


@step
def poll_state(shipment: str, verbose: bool = False) -> State:
    return State(done=verbose)


async def bank_calls(order_id: int, amount: Decimal) -> str:
    send_event("payment", Payment(amount=amount), key=str(order_id), dedup="evt-1")
    get_run("order-1").send_event("payment", {"amount": 1}, actor="ada", role="cashier")
    await get_run("order-1").asend_event("payment")
    return await asend_event("payment", everyone=True, organization_id="shop", join=False)


@workflow
def await_delivery(shipment: str) -> State:
    return loop(poll_state, until=lambda state: state.done, every="30s", max_rounds=100)(shipment, verbose=True)


@workflow
def one_round(shipment: str) -> State:
    return poll_state.options(after=sleep("5s"))(shipment)


@workflow
def family(new: Order, shipments: list[str]) -> Parcel:
    background = order.options(parent_close="abandon").start(new)
    assert_type(background, str)
    states = one_round.options(concurrency=5, on_error=Failed).map(shipments)
    assert_type(states, list[State | Failed])
    last = loop(one_round, while_=lambda state: not_(state.done), max_rounds=5)(shipments[0])
    assert_type(last, State)
    return order.options(parent_close="terminate", timeout="1d", after=[background, last, states])(new)


@workflow
def reminder(new: Order) -> Receipt | None:
    with race() as first:
        with first.branch("paid") as paid:
            payment = wait_event("payment", key=new.id, type=Payment)
        with first.branch("late") as late:
            sleep("14d")
    with when(paid.won):
        receipt = charge(new.id, payment.amount)
    with when(late.won):
        apologise(new.id, "too late")
    return either(receipt, None)


@workflow(triggers=[on_event("order.placed", when="event.data.amount > 5", input={"new": "{{ event.data }}"}, key="{{ event.key }}")])
def placed_outside(new: Order) -> Receipt:
    return charge(new.id, new.total)
