"""Structured loop."""

from wfcelery import expr, loop, step, when, workflow


@step(name="plant.drain")
def drain(level: int, left: int | None) -> int:
    return max((level if left is None else left) - 3, 0)


@step(name="plant.close")
def close(level: int) -> str:
    return f"drained from {level}"


@workflow(name="drain_tank")
def pattern(level: int) -> str:
    with when(level > 0):
        drained = loop(drain, while_=lambda left: left > 0, max_rounds=50)(level, expr("last"))
    return close.options(after=drained)(level)
