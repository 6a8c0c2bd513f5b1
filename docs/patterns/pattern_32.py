"""Cancelling partial join."""

import time

from wfcelery import step, workflow


@step(name="quorum.answer")
def answer(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


@step(name="quorum.commit")
def commit(write: str) -> str:
    return f"{write} is written"


@workflow(name="write_to_a_quorum")
def pattern(write: str, north: float, south: float, east: float) -> str:
    answers = [
        answer.options(name="north")(north),
        answer.options(name="south")(south),
        answer.options(name="east")(east),
    ]
    return commit.options(after=answers, join=2, cancel_rest=True)(write)
