"""Structured partial join."""

import time

from wfcelery import step, workflow


@step(name="board.sign")
def sign(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


@step(name="board.enter_into_force")
def enter_into_force(law: str) -> str:
    return f"{law} is in force"


@workflow(name="two_of_three_sign")
def pattern(law: str, chair: float, treasurer: float, secretary: float) -> str:
    signed = [
        sign.options(name="chair")(chair),
        sign.options(name="treasurer")(treasurer),
        sign.options(name="secretary")(secretary),
    ]
    return enter_into_force.options(after=signed, join=2)(law)
