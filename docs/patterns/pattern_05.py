"""Simple merge."""

from wfcelery import either, otherwise, step, when, workflow


@step(name="till.by_card")
def by_card(amount: float) -> str:
    return f"card {amount:g}"


@step(name="till.in_cash")
def in_cash(amount: float) -> str:
    return f"cash {amount:g}"


@step(name="till.receipt")
def receipt(paid: str) -> str:
    return f"received by {paid}"


@workflow(name="pay_at_the_till")
def pattern(amount: float, card: bool) -> str:
    with when(card):
        carded = by_card(amount)
    with otherwise():
        cashed = in_cash(amount)
    return receipt(either(carded, cashed))
