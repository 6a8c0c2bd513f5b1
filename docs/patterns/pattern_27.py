"""Complete multiple instance activity."""

import time

from wfcelery import current_step, step, workflow


@step(name="petition.sign")
def sign(seconds: float) -> float | None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        current_step().check_cancelled()
        time.sleep(0.05)
    return seconds


@step(name="petition.hand_in")
def hand_in(signatures: list[float | None]) -> list[float | None]:
    return signatures


@workflow(name="petition")
def pattern(sign_after: list[float]) -> list[float | None]:
    return hand_in(sign.options(concurrency=3, commit="each").map(sign_after))
