"""The fulfilment of an order: goods set aside, money taken, labels printed, customer told, parcel sent.

`orders.yaml` says the same in YAML. Both are one definition.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from celery import shared_task
from pydantic import BaseModel

from tasks import shop
from wfcelery import Failed, GiveUp, Retry, adopt, after, current_step, error, failed, step, workflow


class Line(BaseModel):
    sku: str
    quantity: int


class Order(BaseModel):
    id: int
    sku: str
    quantity: int
    total: Decimal
    card: str = "good"
    lines: list[Line]


class Stock(BaseModel):
    warehouse: str


class Receipt(BaseModel):
    reference: str
    amount: Decimal


class Label(BaseModel):
    url: str


class Parcel(BaseModel):
    code: str
    labels: int


@step
def reserve(sku: str, quantity: int) -> Stock:
    return Stock(warehouse=shop.take_from_stock(sku, quantity, current_step().key))


@step(retry=Retry(count=5, delay="1s", backoff="exponential", max_delay="1m", jitter=True), timeout="30s")
def charge(order_id: int, amount: Decimal, card: str) -> Receipt:
    here = current_step()
    try:
        return Receipt(reference=shop.take_money(order_id, amount, here.key, here.attempt, card), amount=amount)
    except shop.CardRefusedError as refused:
        raise GiveUp(str(refused)) from refused


@step
def label(line: Line, size: str) -> Label:
    return Label(url=shop.print_label(line.sku, size, current_step().key))


@step
def apologise(order_id: int, reason: str) -> None:
    shop.send_mail(order_id, f"We are sorry: {reason}", current_step().key)


@step
def ship(order_id: int, paid: Receipt, labels: Sequence[Label | Failed]) -> Parcel:
    printed = sum(isinstance(made, Label) for made in labels)
    return Parcel(code=shop.hand_over(order_id, printed, current_step().key), labels=printed)


@shared_task  # type: ignore[untyped-decorator]
def notify(order_id: int, receipt: dict[str, str]) -> str:
    """A Celery task that was here before; it knows nothing of workflows."""
    shop.send_mail(order_id, f"Paid, {receipt['reference']}", f"paid-{order_id}")
    return "told"


notified = adopt("tasks.orders.notify")


@workflow(version="1")
def fulfil(order: Order) -> Parcel:
    stock = reserve(order.sku, order.quantity)
    paid = charge.options(after=stock)(order.id, order.total, order.card)
    labels = label.options(concurrency=50, on_error=Failed).map(order.lines, size="A6")
    notified(order_id=order.id, receipt=paid)
    with after(failed(paid)):
        apologise(order.id, error(paid).message)
    return ship(order.id, paid, labels)
