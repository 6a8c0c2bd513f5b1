"""Cancelling partial join for multiple instances."""

import time

from wfcelery import current_step, step, workflow


@step(name="mirrors.fetch")
def fetch(seconds: float) -> float | None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        current_step().check_cancelled()
        time.sleep(0.05)
    return seconds


@step(name="mirrors.compare")
def compare(copies: list[float | None]) -> list[float | None]:
    return copies


@workflow(name="download")
def pattern(take: list[float]) -> list[float | None]:
    return compare(fetch.options(success=2, cancel_rest=True).map(take))
