"""Static partial join for multiple instances."""

import time

from wfcelery import step, workflow


@step(name="journal.read")
def read(seconds: float) -> float | None:
    time.sleep(seconds)
    return seconds


@step(name="journal.print")
def print_(reviews: list[float | None]) -> list[float | None]:
    return reviews


@workflow(name="review")
def pattern(take: list[float]) -> list[float | None]:
    return print_.options(name="print")(read.options(success=2).map(take))
