"""What the shop adds: steps, and a workflow with an old task in it."""

import os
import signal
import time

from django.db import connection, transaction
from shop.models import Booking, Order
from shop.tasks import note

from wfcelery import GiveUp, Retry, adopt, current_step, sleep, step, workflow

send_receipt = adopt("shop.tasks.send_receipt", returns=str)


@step(retry=Retry(count=3, delay="0.2s", backoff="constant", jitter=False))
def charge(order_id: int, customer: str) -> str:
    this = current_step()
    note("charge", order=order_id, attempt=this.attempt, key=this.key)
    if this.attempt == 1:
        raise ConnectionError("the bank does not answer")
    return f"charged {customer}"


@step
def pack(order_id: int, seconds: float) -> int:
    """Takes so long at its first attempt."""
    this = current_step()
    note("pack", order=order_id, attempt=this.attempt, key=this.key)
    if this.attempt == 1:
        time.sleep(seconds)
    return this.attempt


@step
def ship(order_id: int, charged: str, receipt: str) -> str:
    note("ship", order=order_id)
    return f"{charged}, {receipt}"


@workflow
def fulfil(order_id: int, customer: str, seconds: float) -> str:
    receipt = send_receipt(order_id)
    rested = sleep("1s", after=receipt)
    charged = charge.options(after=rested)(order_id, customer)
    packed = pack.options(after=charged)(order_id, seconds)
    return ship.options(after=packed)(order_id, charged, receipt)


@step(transactional=True, retry=Retry(count=2, delay="0.1s", jitter=False))
def book(order_id: int, trouble: str) -> int:
    """Marks the order and books it; troubled in its first attempt, after it has written."""
    this = current_step()
    order = Order.objects.select_for_update().get(pk=order_id)
    order.paid = True
    order.save()
    booking = Booking.objects.create(order=order, attempt=this.attempt)
    note("book", order=order_id, attempt=this.attempt)
    if trouble == "crash" and this.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if trouble == "error" and this.attempt == 1:
        raise ConnectionError("the ledger of the bank is closed")
    if trouble == "lost connection" and this.attempt == 1:
        with connection.cursor() as cursor:
            cursor.execute("select pg_terminate_backend(pg_backend_pid())")
    if trouble == "hook":
        transaction.on_commit(lambda: {}["what was hung on the commit"])
    if trouble == "refusal":
        raise GiveUp("no such account")
    return booking.pk


@workflow
def booked(order_id: int, trouble: str) -> int:
    return book(order_id, trouble)


if "SHOP_FAULT" in os.environ:

    @workflow
    def faulty(order_id: int) -> None:
        lost = ship.options(after="pakc")(order_id, "", "")
        pack.options(after=lost)(order_id, 0.0)
