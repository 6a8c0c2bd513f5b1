import redis
from django.conf import settings
from django.db import transaction
from django.http import JsonResponse
from shop.models import Order
from shop.workflows import booked, fulfil

from wfcelery import get_run, start_workflow


class CardRefused(Exception):
    pass


def place(request):
    """An order and its run, in one commit."""
    with transaction.atomic():
        order = Order(customer=request.GET["customer"])
        order.save()
        run = start_workflow(fulfil.bind(order.pk, order.customer, float(request.GET.get("seconds", 0))), key=f"order-{order.pk}")
        if "refused" in request.GET:
            raise CardRefused
    return JsonResponse({"order": order.pk, "run": run.id})


def basket(request):
    """Three orders: one is taken back by its savepoint, two are kept, one of them after its savepoint was released."""
    customer = request.GET["customer"]
    with transaction.atomic():
        kept = _order(f"{customer} kept")
        try:
            with transaction.atomic():
                _order(f"{customer} dropped")
                raise CardRefused
        except CardRefused:
            pass
        with transaction.atomic():
            released = _order(f"{customer} released")
        rung = messages()
    return JsonResponse({"runs": [kept, released], "rung_before_commit": rung, "rung_after_commit": messages()})


def book(request):
    with transaction.atomic():
        order = Order.objects.create(customer="a booker")
        run = start_workflow(booked.bind(order.pk, request.GET["trouble"]))
    return JsonResponse({"order": order.pk, "run": run.id})


def result(request):
    return JsonResponse({"result": get_run(request.GET["run"]).result(timeout=0)})


def _order(customer):
    order = Order.objects.create(customer=customer)
    return start_workflow(fulfil.bind(order.pk, customer, 0.0), key=f"order-{order.pk}").id


def messages():
    """How many messages wait for a worker."""
    with redis.Redis.from_url(settings.CELERY_BROKER_URL) as broker:
        return broker.llen("celery")
