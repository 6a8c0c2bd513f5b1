"""Recursion."""

from wfcelery import either, step, when, workflow


@step(name="math.times")
def times(n: int, rest: int) -> int:
    return n * rest


@workflow(name="factorial")
def pattern(n: int) -> int:
    with when(n > 1):
        smaller = pattern.options(name="smaller")(n - 1)
    return times(n, either(smaller, 1))
