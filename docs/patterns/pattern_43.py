"""Explicit termination."""

import time

from wfcelery import end, fail, step, text, when, workflow


@step(name="office.register")
def register(debts: float) -> float:
    return debts


@step(name="office.interview")
def interview(seconds: float) -> str:
    time.sleep(seconds)
    return "admitted after an interview"


@workflow(name="admit")
def pattern(debts: float, seconds: float) -> str:
    known = register(debts)
    talked = interview(seconds)
    with when(known > 1000):
        fail(text("debts of {}", known), code="in_debt", name="refuse")
    with when(known == 0):
        end("admitted without an interview", name="admit_at_once")
    return talked
