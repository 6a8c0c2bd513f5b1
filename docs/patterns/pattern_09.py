"""Structured discriminator."""

import time

from wfcelery import step, workflow


@step(name="taxi.call")
def call(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


@step(name="taxi.leave")
def leave(to: str) -> str:
    return f"off to {to}"


@workflow(name="call_two_taxis")
def pattern(to: str, near: float, far: float) -> str:
    first = call.options(name="near")(near)
    second = call.options(name="far")(far)
    return leave.options(after=[first, second], join=1)(to)
