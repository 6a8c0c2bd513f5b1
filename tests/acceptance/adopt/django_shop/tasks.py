"""The tasks that the shop has had for years. They know nothing of workflows."""

import json
import os
import time

from celery import shared_task
from django.conf import settings
from shop.models import Order


def note(what, **more):
    """One line in the ledger of what was done to the world."""
    line = json.dumps({"what": what, "at": time.time(), "pid": os.getpid(), **more}) + "\n"
    with open(settings.LEDGER, "a") as ledger:
        ledger.write(line)


class MailServerBusy(Exception):
    pass


@shared_task(bind=True, autoretry_for=(MailServerBusy,), max_retries=3, default_retry_delay=0.2, retry_backoff=False)
def send_receipt(self, order_id):
    order = Order.objects.get(pk=order_id)
    note("receipt", order=order_id, retries=self.request.retries)
    if self.request.retries == 0:
        raise MailServerBusy
    return f"receipt for {order.customer}"


@shared_task
def count_orders():
    return Order.objects.count()


@shared_task(rate_limit="4/s")
def ping(number):
    note("ping", number=number)
    return number
