"""Multiple instances without synchronization."""

from time import sleep

from wfcelery import step, workflow


@step(name="post.send")
def send(order: int) -> str:
    sleep(order)
    return f"order {order} is sent"


@workflow
def send_order(order: int) -> str:
    return send(order)


@workflow
def start_one(order: int) -> str:
    return send_order.options(parent_close="abandon").start(order)


@workflow(name="send_orders")
def pattern(orders: list[int]) -> list[str]:
    return start_one.map(orders)
