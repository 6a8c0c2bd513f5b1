"""Exclusive choice."""

from wfcelery import either, otherwise, step, when, workflow


@step(name="expenses.clerk")
def clerk(amount: float) -> str:
    return f"the clerk signs {amount:g}"


@step(name="expenses.manager")
def manager(amount: float) -> str:
    return f"the manager signs {amount:g}"


@workflow(name="sign_expenses")
def pattern(amount: float) -> str:
    with when(amount > 100):
        large = manager(amount)
    with otherwise():
        small = clerk(amount)
    return either(large, small)
