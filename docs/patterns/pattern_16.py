"""Deferred choice."""

from wfcelery import either, expr, otherwise, race, sleep, step, wait_event, when, workflow


@step(name="tickets.print")
def print_it(amount: int) -> str:
    return f"a ticket for {amount}"


@step(name="tickets.give_back")
def give_back(why: str) -> str:
    return f"the seat is free: {why}"


@workflow(name="sell_a_ticket")
def pattern(order: str, patience: str) -> str:
    with race(name="first") as first:
        with first.branch("paid") as paid:
            payment = wait_event("payment", key=order, name="payment")
        with first.branch("refused"):
            wait_event("refusal", key=order, name="refusal")
        with first.branch("late"):
            sleep(patience, name="patience")
    with when(paid.won):
        ticket = print_it.options(name="print")(payment)
    with otherwise():
        free = give_back(expr("task.first.result.won", type=str))
    return either(ticket, free)
